"""Signing in again: the same id, the next version, the same account unless another one may take its place."""

from __future__ import annotations

import pytest
from tests.opening import BY

from antechamber.lifecycle import SessionFact
from antechamber.model import Claims, Reason, SessionStatus
from antechamber.store import NewSession

from .conftest import later

ADA, EVE, NOBODY = Claims("ada@example.test"), Claims("eve@example.test"), Claims()


@pytest.fixture
def awaiting_with(store, steps):
    async def begin(*, replace_account: bool, user: str = "ada"):
        new = steps.new(user)
        created = await store.sessions.create(
            NewSession(new.owner, new.provider, new.fields, new.driver, new.expires_at, None, replace_account),
            at=later(0),
        )
        for fact in (SessionFact.MACHINE_BOOTING, SessionFact.MACHINE_READY):
            moved = await store.sessions.apply(created.session.id, fact, at=later(0), expires_at=later(600))
        return moved.session

    return begin


async def test_another_account_is_refused_and_the_old_version_stays_as_it_was(store, steps, noon):
    first = (await steps.completed(claims=ADA, ciphertext=b"DUMMY first")).credential
    before = await store.credentials.sealed(first.id)
    story = await store.statuses.events(first.id)
    refused = await steps.completed(claims=EVE, ciphertext=b"DUMMY second")
    assert (refused.outcome, refused.credential) == ("other_account", first)
    session = await store.sessions.get(refused.session.id)
    assert (session.status, session.reason) == (SessionStatus.FAILED, Reason.OTHER_ACCOUNT)
    assert session.captured_credential_id is None
    assert await store.credentials.sealed(first.id) == before
    assert [one.version for one in await store.credentials.versions(first.id)] == [1]
    assert await store.statuses.events(first.id) == story
    assert (refused.event.kind, refused.event.reason) == (SessionFact.SIGN_IN_FAILED, Reason.OTHER_ACCOUNT)


async def test_a_refused_capture_that_comes_again_is_still_refused(store, steps):
    first = (await steps.completed(claims=ADA)).credential
    session = await steps.awaiting()
    assert (await steps.capture(session, claims=EVE)).outcome == "other_account"
    again = await steps.capture(session, claims=EVE)
    assert again.outcome == "refused"
    # neither can it be made good by another file of the same machine
    assert (await steps.capture(session, claims=ADA)).outcome == "refused"
    assert await store.credentials.current(first.owner, "codex") == first


async def test_no_address_of_either_account_is_in_what_the_refusal_leaves(store, steps, prompt):
    await steps.completed(claims=ADA)
    session = (await steps.completed(claims=EVE)).session
    said = f"{session.detail} {[event.fields for event in await store.sessions.events(session.id)]}"
    assert "@" not in said
    assert b"eve@example.test" not in prompt.bytes_on_disk()


async def test_another_account_takes_its_place_where_that_was_asked_for(store, steps, awaiting_with):
    first = (await steps.completed(claims=ADA)).credential
    session = await awaiting_with(replace_account=True)
    second = await steps.capture(session, claims=EVE)
    assert (second.outcome, second.event.fields["account"]) == ("captured", "replaced")
    assert (second.credential.id, second.credential.version) == (first.id, 2)
    assert second.credential.claims == EVE
    assert (await store.statuses.events(first.id))[-1].fields == {"account": "replaced"}


@pytest.mark.parametrize(
    ("before", "after", "compared"),
    [
        (ADA, ADA, "same"),
        (ADA, Claims("ADA@example.test"), "same"),
        (ADA, NOBODY, "unknown"),
        (NOBODY, ADA, "unknown"),
        (NOBODY, NOBODY, "unknown"),
    ],
)
async def test_the_same_account_and_one_that_is_not_known_may_sign_in_again(store, steps, before, after, compared):
    first = (await steps.completed(claims=before)).credential
    second = await steps.completed(claims=after)
    assert (second.outcome, second.event.fields["account"]) == ("captured", compared)
    assert (second.credential.id, second.credential.version) == (first.id, 2)


async def test_a_first_sign_in_and_one_after_a_deletion_compare_with_nothing(store, steps, noon):
    first = await steps.completed(claims=ADA)
    await store.credentials.delete(first.credential.id, at=noon, by=BY)
    again = await steps.completed(claims=EVE)
    assert [one.event.fields["account"] for one in (first, again)] == ["first", "first"]
    assert again.credential.id != first.credential.id


async def test_what_came_in_between_is_what_counts(store, steps, awaiting_with):
    """The account is compared under the lock, not with what was read before."""
    await steps.completed(claims=EVE)
    late = await steps.awaiting()
    read_before = {"credential_id": "cred_00000000000000000000", "expected_version": 0}
    assert (await steps.capture(late, claims=ADA, **read_before)).outcome == "conflict"
    assert (await steps.capture(late, claims=ADA)).outcome == "other_account"


async def test_who_asks_again_before_anybody_came_is_who_counts(store, steps, noon):
    new = steps.new()
    first = (await store.sessions.create(new, at=noon)).session
    asked = NewSession(new.owner, new.provider, new.fields, new.driver, new.expires_at, None, replace_account=True)
    live = await store.sessions.create(asked, at=noon)
    assert (live.outcome, live.session.id, live.session.replace_account) == ("live", first.id, True)
    assert (await store.sessions.create(new, at=noon)).session.replace_account is False


async def test_what_the_person_agreed_to_is_not_changed_from_a_prompt(store, prompt, awaiting_with, noon):
    session = await awaiting_with(replace_account=False)
    await store.sessions.apply(session.id, SessionFact.CONSENTED, at=noon)
    value = "1" if prompt.kind == "sqlite" else "true"
    refusal = prompt.refused_change("auth_sessions", f"replace_account = {value}", session.id)
    assert "settled when the person agrees" in refusal


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (SessionFact.CANCELLED, Reason.CANCELLED_BY_PERSON),
        (SessionFact.TIME_RAN_OUT, None),
        (SessionFact.NOBODY_CAME, None),
        (SessionFact.MACHINE_ENDED, None),
        (SessionFact.SIGN_IN_FAILED, Reason.CREDENTIAL_UNUSABLE),
        (SessionFact.SUPERSEDED, None),
    ],
)
async def test_a_sign_in_that_ends_badly_leaves_the_owner_the_version_before(store, steps, fact, reason):
    first = (await steps.completed(ciphertext=b"DUMMY first")).credential
    before = await store.credentials.sealed(first.id)
    session = await steps.awaiting()
    ended = await store.sessions.apply(session.id, fact, at=later(1), reason=reason)
    assert ended.session.status.terminal
    assert (await steps.capture(session, ciphertext=b"DUMMY late")).outcome == "refused"
    assert await store.credentials.sealed(first.id) == before
