from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.store.conftest import DAY

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SessionFact
from antechamber.model import AccessKind, MachineKind, MachineState, Reason, SessionStatus, new_secret
from antechamber.store import Idempotency

KEY = Idempotency(key="k-1", body_hash="aa", caller="operator")


async def link_of(store, session, at):
    secret = new_secret()
    await store.access.grant(
        AccessKind.LINK, secret, session_id=session.id, at=at, expires_at=at + timedelta(minutes=15)
    )
    return secret


async def holds(store, secret, session, at):
    return await store.access.holds(AccessKind.LINK, secret, session_id=session.id, at=at)


async def test_a_new_session_is_pending_with_a_requested_machine_and_its_first_event(store, steps, noon):
    created = await steps.create()
    session, machine = created.session, await steps.machine(created.session)
    assert (created.outcome, session.status, session.created_at) == ("created", SessionStatus.PENDING, noon)
    assert (machine.id, machine.state, machine.kind) == (
        session.machine_id,
        MachineState.REQUESTED,
        MachineKind.SIGN_IN,
    )
    assert machine.expires_at == session.expires_at == noon + timedelta(seconds=60)
    (event,) = await store.sessions.events(session.id)
    assert (event.kind, event.before, event.after, event.at) == ("created", None, "pending", noon)


async def test_what_was_stored_is_what_comes_back_also_after_reopening(store, steps):
    created = await steps.create()
    assert await store.sessions.get(created.session.id) == created.session
    assert created.session.fields.display_name == "Ada"
    assert created.session.created_at.tzinfo is not None


async def test_an_unknown_session_is_none(store):
    assert await store.sessions.get("ses_00000000000000000000") is None


async def test_a_second_request_of_the_same_owner_and_provider_gets_the_live_session(steps):
    first = await steps.create()
    second = await steps.create()
    assert (second.outcome, second.session) == ("live", first.session)


async def test_another_owner_or_provider_gets_a_session_of_its_own(steps):
    sessions = [await steps.pending("ada", "codex"), await steps.pending("ada", "gemini"), await steps.pending("bob")]
    assert len({session.id for session in sessions}) == 3


async def test_f019_after_a_terminal_session_a_new_one_is_created(steps):
    ended = await steps.cancelled()
    assert (await steps.create()).session.id != ended.id


async def test_replace_ends_the_live_session_and_creates_another_in_one_step(store, steps):
    old = await steps.awaiting()
    created = await steps.create(replace=True)
    assert created.outcome == "created"
    assert created.superseded == await store.sessions.get(old.id)
    assert (created.superseded.status, created.superseded.reason) == (SessionStatus.CANCELLED, Reason.SUPERSEDED)
    assert [event.kind for event in await store.sessions.events(old.id)][-1] == "superseded"


async def test_replace_without_a_live_session_just_creates(steps):
    assert (await steps.create(replace=True)).superseded is None


async def test_the_same_key_and_body_get_the_same_session_even_after_it_ended(store, steps, noon):
    first = await steps.create(idempotency=KEY)
    again = await steps.create(idempotency=KEY)
    assert (again.outcome, again.session.id) == ("repeated", first.session.id)
    await store.sessions.apply(first.session.id, SessionFact.CANCELLED, at=noon)
    ended = await steps.create(idempotency=KEY)
    assert (ended.outcome, ended.session.status) == ("repeated", SessionStatus.CANCELLED)


async def test_the_same_key_with_another_body_is_refused_and_creates_nothing(store, steps):
    await steps.create(idempotency=KEY)
    with pytest.raises(CallerError) as refused:
        await steps.create(user="bob", idempotency=Idempotency(KEY.key, "bb", KEY.caller))
    assert refused.value.code is Code.IDEMPOTENCY_MISMATCH
    assert len(await store.sessions.list()) == 1


async def test_the_same_key_of_another_caller_is_another_key(steps):
    first = await steps.create(idempotency=KEY)
    other = await steps.create(user="bob", idempotency=Idempotency(KEY.key, "bb", "another"))
    assert other.session.id != first.session.id


async def test_a_key_that_got_a_live_session_keeps_answering_with_it(steps):
    live = await steps.create()
    assert (await steps.create(idempotency=KEY)).outcome == "live"
    again = await steps.create(idempotency=KEY)
    assert (again.outcome, again.session.id) == ("repeated", live.session.id)


async def test_a_key_that_met_an_opened_session_is_not_remembered_so_that_it_is_refused_again(store, steps, noon):
    live = await steps.create()
    await store.sessions.apply(live.session.id, SessionFact.OPENED, at=noon)
    assert [(await steps.create(idempotency=KEY)).outcome for _ in range(2)] == ["live", "live"]


async def test_an_answer_that_is_not_new_voids_the_earlier_links_until_one_was_opened(store, steps, noon):
    first = (await steps.create(idempotency=KEY)).session
    link = await link_of(store, first, noon)
    await steps.create(idempotency=KEY)
    assert not await holds(store, link, first, noon)
    link = await link_of(store, first, noon)
    await steps.create()
    assert not await holds(store, link, first, noon)
    await store.sessions.apply(first.id, SessionFact.OPENED, at=noon)
    link = await link_of(store, first, noon)
    await steps.create(idempotency=KEY)
    assert await holds(store, link, first, noon)


async def test_links_stay_when_the_caller_says_so(store, steps, noon):
    session = await steps.pending()
    link = await link_of(store, session, noon)
    await steps.create(links_void=False)
    assert await holds(store, link, session, noon)


async def test_an_expired_key_is_pruned_and_then_free(store, steps, noon):
    first = await steps.create(idempotency=KEY)
    assert (await store.retention.prune(noon + timedelta(hours=23), DAY)).idempotency_keys == 0
    await store.sessions.apply(first.session.id, SessionFact.CANCELLED, at=noon)
    assert (await store.retention.prune(noon + timedelta(hours=24), DAY)).idempotency_keys == 1
    assert (await steps.create(idempotency=KEY)).outcome == "created"
