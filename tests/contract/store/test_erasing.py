"""Everything of one owner is removed, step by step, and a record without a name stays."""

import asyncio

import pytest
from tests.contract.store.conftest import NODE, NOON, later
from tests.contract.store.test_retention import counts

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import AccessKind, Actor, Owner, Reason, SessionStatus, new_secret
from antechamber.store import Idempotency, Store
from antechamber.store.erasures import BATCH

ADA, BOB = Owner("ada"), Owner("bob")
BY = Actor.OPERATOR_TOKEN


async def check_of(store, credential_id):
    return await store.machines.create_check(
        node=NODE, driver="scripted", at=NOON, expires_at=later(60), credential_id=credential_id
    )


@pytest.fixture
def begin(store):
    async def erase(owner=ADA, at=NOON, by=Actor.OPERATOR_TOKEN):
        return await store.erasures.begin(owner, by=by, at=at)

    return erase


async def finished(store, erasure_id, at=NOON):
    """Let the machines that are waited for end, as their attendants do, and carry the erasure out."""
    if (asked := await store.erasures.get(erasure_id)) is not None:
        for row in await store.erasures.waits_for(asked):
            await store.machines.apply(row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=at)
    did = True
    while did:
        erasure, did = await store.erasures.step(erasure_id, at=at)
    return erasure


async def a_life(store, steps, user):
    """Have somebody with everything that can be kept of one: return their live session and their credential's id."""
    ended = await steps.cancelled(user)
    await steps.end_machine(await steps.machine(ended))
    captured = await steps.completed(user, ciphertext=f"DUMMY {user}s ciphertext".encode())
    await steps.end_machine(await steps.machine(captured.session))
    old = await steps.completed(user, "gemini")
    await steps.end_machine(await steps.machine(old.session))
    await store.credentials.delete(old.credential.id, at=NOON, by=Actor.OPERATOR_TOKEN)
    key = Idempotency(f"key of {user}", "hash", "test")
    live = (await steps.create(user, idempotency=key)).session
    await store.access.grant(AccessKind.LINK, new_secret(), session_id=live.id, at=NOON, expires_at=later(60))
    await store.destinations.record(
        captured.session.id, f"{user}.test", 443, "allowed", bytes_out=1, bytes_in=1, connections=1, at=NOON
    )
    return live, captured.credential.id


async def test_nothing_of_the_person_is_left_anywhere_and_another_person_is_untouched(store, steps, prompt, begin):
    await a_life(store, steps, "bob")
    of_bob = counts(prompt)
    await a_life(store, steps, "ada")
    erasure = await begin()
    done = await finished(store, erasure.id)
    assert (done.user_id, done.asked_by, done.asked_at, done.finished_at) == (None, BY, NOON, NOON)
    assert (done.sessions, done.machines, done.credentials) == (4, 4, 2)
    assert done.events > 10
    assert counts(prompt) == of_bob
    tables = ("auth_sessions", "provider_credentials", "erasures", "destinations", "idempotency_keys", "events")
    for table in tables:
        rows = str(prompt.run(f"SELECT * FROM {table}"))  # noqa: S608 - our tables
        assert not any(word in rows for word in ("'ada'", "ada.test", "key of ada")), table
    assert prompt.run("SELECT count(*) FROM credential_versions") == [(2,)]
    assert (await store.credentials.current(BOB, "codex")) is not None


async def test_no_byte_of_a_removed_credential_is_left_in_the_files(store, steps, prompt, begin):
    live, _ = await a_life(store, steps, "ada")
    await finished(store, (await begin()).id)
    assert await store.sessions.get(live.id) is None
    if prompt.kind == "sqlite":
        # PostgreSQL keeps bytes that no statement reads until it uses their space again: docs/how-to/postgresql.md
        assert b"DUMMY adas ciphertext" not in prompt.bytes_on_disk()
        assert b"ada.test" not in prompt.bytes_on_disk()


async def test_from_the_moment_that_it_is_asked_for_nothing_of_theirs_opens_or_goes_on(store, steps, begin):
    live, credential_id = await a_life(store, steps, "ada")
    running = await steps.begin(await steps.machine(live))
    erasure = await begin()
    ended = await store.sessions.get(live.id)
    assert (ended.status, ended.reason) == (SessionStatus.CANCELLED, Reason.CANCELLED_BY_CALLER)
    assert await store.credentials.sealed(credential_id) is None
    assert (await steps.capture(live)).outcome == "refused"
    with pytest.raises(CallerError) as refused:
        await steps.create("ada")
    assert refused.value.code is Code.OWNER_BEING_ERASED
    assert (await steps.create("bob")).outcome == "created"
    assert [row.id for row in await store.erasures.waits_for(erasure)] == [running.id]


async def test_an_erasure_waits_for_the_machine_that_checks_what_is_theirs_and_removes_its_row(
    store, steps, prompt, begin
):
    captured = await steps.completed("ada")
    await steps.end_machine(await steps.machine(captured.session))
    check = await steps.begin(await check_of(store, captured.credential.id))
    other = await steps.completed("bob")
    await steps.begin(await check_of(store, other.credential.id))
    assert (await store.erasures.holdings(ADA)).machines == 1
    erasure = await begin()
    assert [row.id for row in await store.erasures.waits_for(erasure)] == [check.id]
    assert (await store.erasures.step(erasure.id, at=NOON))[1] is False
    await steps.end_machine(check)
    done = await finished(store, erasure.id)
    assert done.machines == 2, "the one that signed in and the one that checked"
    assert await store.machines.get(check.id) is None
    assert prompt.run("SELECT count(*) FROM events WHERE machine_id = ?", check.id) == [(0,)]


async def test_no_check_begins_of_what_has_been_deleted(store, steps):
    captured = await steps.completed("ada")
    await store.credentials.delete(captured.credential.id, at=NOON, by=Actor.OPERATOR_TOKEN)
    for credential_id in (captured.credential.id, "cred_00000000000000000000"):
        with pytest.raises(CallerError) as refused:
            await check_of(store, credential_id)
        assert refused.value.code is Code.CREDENTIAL_NOT_FOUND


async def test_rows_go_only_when_no_machine_of_theirs_runs(store, steps, begin):
    live, _ = await a_life(store, steps, "ada")
    running = await steps.begin(await steps.machine(live))
    erasure = await begin()
    assert (await store.erasures.step(erasure.id, at=NOON))[1] is False
    assert await store.sessions.get(live.id) is not None
    assert running.node == NODE
    await steps.end_machine(running)
    assert (await finished(store, erasure.id)).finished_at is not None
    assert await store.machines.get(running.id) is None


async def test_asking_again_returns_what_is_under_way_and_afterwards_there_is_nobody(store, steps, begin):
    await a_life(store, steps, "ada")
    first, second = await asyncio.gather(begin(), begin(at=later(5), by=Actor.DASHBOARD))
    assert first.id == second.id
    await finished(store, first.id)
    assert await begin() is None
    assert (await finished(store, first.id, at=later(60))).finished_at == NOON, "and it does not change any more"
    with pytest.raises(CallerError) as unknown:
        await store.erasures.step("era_00000000000000000000", at=NOON)
    assert unknown.value.code is Code.ERASURE_NOT_FOUND


async def test_who_comes_again_starts_from_nothing(store, steps, begin):
    _, credential_id = await a_life(store, steps, "ada")
    await finished(store, (await begin()).id)
    key = Idempotency("key of ada", "another hash", "test")
    created = await steps.create("ada", idempotency=key)
    assert created.outcome == "created"
    assert [one.id for one in await store.sessions.list(user_id=ADA.user_id, application=ADA.application)] == [
        created.session.id
    ]
    await store.sessions.apply(created.session.id, SessionFact.CANCELLED, at=NOON)
    captured = await steps.completed("ada")
    assert captured.credential.version == 1
    assert captured.credential.id != credential_id


async def test_a_service_that_is_killed_between_two_steps_is_followed_by_one_that_goes_on(store, steps, prompt, begin):
    for _ in range(2 * BATCH + 1):
        await steps.end_machine(await steps.machine(await steps.cancelled("ada")))
    erasure = await begin()
    after, did = await store.erasures.step(erasure.id, at=NOON)
    assert did
    assert (after.sessions, after.finished_at) == (BATCH, None)
    other = await Store.open(prompt.url, world="demo")
    try:
        assert [one.id for one in await other.erasures.unfinished()] == [erasure.id]
        # both at once, as on two nodes
        done, _ = await asyncio.gather(finished(other, erasure.id), finished(store, erasure.id))
    finally:
        await other.close()
    assert (done.sessions, done.machines) == (2 * BATCH + 1, 2 * BATCH + 1)
    assert counts(prompt)[:3] == [0, 0, 0]


async def test_the_record_is_kept_and_is_not_changed_at_a_prompt_either(store, steps, prompt, begin):
    await steps.cancelled("ada")
    live = await begin()
    assert prompt.refused_change("erasures", "asked_by = 'dashboard'", live.id) == "an erasure stays whose it is"
    assert "names_nobody_when_finished" in prompt.refused_change("erasures", "user_id = NULL", live.id)
    await steps.end_machine(
        await steps.machine((await store.sessions.list(user_id=ADA.user_id, application=ADA.application))[0])
    )
    await finished(store, live.id)
    assert prompt.refused_change("erasures", "sessions = 0", live.id) == "a finished erasure does not change"
    assert prompt.refusal("DELETE FROM erasures") == "the record of an erasure is kept"
    assert [one.id for one in await store.erasures.list(5)] == [live.id]
