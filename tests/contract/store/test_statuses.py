"""A credential's status between sign-ins: moved once by whoever comes first, with its story."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.opening import BY

from antechamber.credential_life import CredentialFact
from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act
from antechamber.model import Claims, CredentialReason, CredentialStatus
from antechamber.store import CREDENTIALS, Kept, Store

from .conftest import NOON, later

CS, CF, R = CredentialStatus, CredentialFact, CredentialReason
NEAR = timedelta(seconds=60)
UNTIL = Claims("ada@example.test", "pro", later(1000), renewable=False, ends_at=later(1000))
RENEWED = Claims("ada@example.test", "pro", later(1000), renewable=True, ends_at=None)


def kinds(events):
    return [(event.kind, event.before, event.after) for event in events]


async def test_a_sign_in_makes_a_credential_active_and_that_is_where_its_story_begins(store, steps, noon):
    captured = await steps.completed(claims=UNTIL)
    credential = captured.credential
    assert (credential.status, credential.status_reason, credential.status_at) == (CS.ACTIVE, R.SIGNED_IN, noon)
    assert credential.claims == UNTIL
    (first,) = await store.statuses.events(credential.id)
    assert (first.kind, first.before, first.after, first.reason) == (CF.CAPTURED, None, CS.ACTIVE, R.SIGNED_IN)
    assert (first.version, first.session_id, first.fields) == (1, captured.session.id, {"account": "first"})


async def test_time_moves_what_nothing_can_renew(store, steps):
    credential = (await steps.completed(claims=UNTIL)).credential
    assert await store.statuses.due(later(939), NEAR) == []
    assert await store.statuses.move_by_time(credential.id, later(939), NEAR) is None
    assert await store.statuses.due(later(940), NEAR) == [credential.id]
    near = (await store.statuses.move_by_time(credential.id, later(940), NEAR)).credential
    assert (near.status, near.status_reason, near.status_at) == (CS.EXPIRING, R.EXPIRY_NEAR, later(940))
    assert await store.statuses.due(later(999), NEAR) == []
    assert await store.statuses.due(later(1000), NEAR) == [credential.id]
    over = (await store.statuses.move_by_time(credential.id, later(1000), NEAR)).credential
    assert (over.status, over.status_reason) == (CS.NEEDS_SIGN_IN, R.EXPIRED)
    assert await store.statuses.due(later(9000), NEAR) == []
    assert await store.credentials.current(over.owner, "codex") == over


async def test_time_alone_never_moves_what_renews_itself(store, steps):
    credential = (await steps.completed(claims=RENEWED)).credential
    assert await store.statuses.due(later(10**8), NEAR) == []
    assert await store.statuses.move_by_time(credential.id, later(10**8), NEAR) is None
    assert (await store.credentials.get(credential.id)).status is CS.ACTIVE


async def test_two_services_move_it_once(store, steps, prompt):
    if prompt.kind == "sqlite":
        pytest.skip("one service has the file")
    credential = (await steps.completed(claims=UNTIL)).credential
    other = await Store.open(prompt.url, world="demo")
    both = [each.statuses.move_by_time(credential.id, later(1000), NEAR) for each in (store, other) for _ in range(4)]
    made = await asyncio.gather(*both)
    await other.close()
    assert sum(one.decision.act is Act.MOVE for one in made) == 1
    assert [event.kind for event in await store.statuses.events(credential.id)] == [CF.CAPTURED, CF.EXPIRED]


async def test_a_sign_in_makes_it_active_again_with_the_time_of_its_own(store, steps):
    first = await steps.completed(claims=UNTIL)
    await store.statuses.move_by_time(first.credential.id, later(1000), NEAR)
    again = (await steps.completed(claims=RENEWED, at=later(2000))).credential
    assert (again.id, again.version) == (first.credential.id, 2)
    assert (again.status, again.status_reason, again.status_at) == (CS.ACTIVE, R.SIGNED_IN, later(2000))
    assert kinds(await store.statuses.events(again.id)) == [
        (CF.CAPTURED, None, CS.ACTIVE),
        (CF.EXPIRED, CS.ACTIVE, CS.NEEDS_SIGN_IN),
        (CF.CAPTURED, CS.NEEDS_SIGN_IN, CS.ACTIVE),
    ]


async def test_news_of_an_older_version_changes_nothing(store, steps, noon):
    await steps.completed()
    second = (await steps.completed()).credential
    assert await store.statuses.apply(second.id, CF.CHECK_REFUSED, at=noon, version=1) is None
    assert await store.credentials.get(second.id) == second


async def test_a_check_that_said_no_is_taken_back_by_one_that_says_yes(store, steps, noon):
    credential = (await steps.completed()).credential
    no = await store.statuses.apply(credential.id, CF.CHECK_REFUSED, at=noon)
    assert (no.credential.status, no.credential.status_reason) == (CS.NEEDS_SIGN_IN, R.CHECK_REFUSED)
    yes = await store.statuses.apply(credential.id, CF.CHECK_ACCEPTED, at=noon)
    assert (yes.credential.status, yes.credential.status_reason) == (CS.ACTIVE, R.CHECK_ACCEPTED)


async def test_what_repeats_itself_is_written_once(store, steps, noon):
    credential = (await steps.completed()).credential
    for _ in range(3):
        made = await store.statuses.apply(credential.id, CF.CHECK_ACCEPTED, at=noon)
        assert made.decision.act is Act.NOTE
    assert [event.kind for event in await store.statuses.events(credential.id)] == [CF.CAPTURED, CF.CHECK_ACCEPTED]


async def test_a_deletion_and_a_rejection_leave_the_story_with_the_tombstone(store, steps, noon):
    deleted = (await steps.completed()).credential
    tombstone = await store.credentials.delete(deleted.id, at=later(5), by=BY)
    assert (tombstone.status, tombstone.status_reason, tombstone.status_at) == (CS.DELETED, R.DELETED, later(5))
    again = await steps.completed()
    rejected = (await store.credentials.reject(again.session.id, at=later(6))).deleted
    assert (rejected.status, rejected.status_reason) == (CS.DELETED, R.REJECTED)
    last = (await store.statuses.events(rejected.id))[-1]
    assert (last.kind, last.session_id) == (CF.REJECTED, again.session.id)
    refused = await store.statuses.apply(deleted.id, CF.SAID_REVOKED, at=noon)
    assert (refused.decision.error, refused.event) == (Code.CREDENTIAL_NOT_FOUND, None)


async def test_what_is_said_of_an_unknown_credential_is_an_error_of_the_caller(store, noon):
    with pytest.raises(CallerError) as refused:
        await store.statuses.apply("cred_00000000000000000000", CF.SAID_REVOKED, at=noon)
    assert refused.value.code is Code.CREDENTIAL_NOT_FOUND
    assert await store.statuses.move_by_time("cred_00000000000000000000", noon, NEAR) is None


@pytest.mark.parametrize("fact", [CF.CAPTURED, CF.DELETED, CF.REJECTED])
async def test_what_stores_or_deletes_is_not_only_said(store, steps, noon, fact):
    credential = (await steps.completed()).credential
    with pytest.raises(ValueError, match="together with what it stores"):
        await store.statuses.apply(credential.id, fact, at=noon)


async def test_each_change_is_told(store, steps, noon):
    with store.changes.watch(CREDENTIALS) as signal:
        credential = (await steps.completed()).credential
        assert await signal.wait(5)
        await store.statuses.apply(credential.id, CF.SAID_REVOKED, at=noon)
        assert await signal.wait(5)
        await store.credentials.delete(credential.id, at=noon, by=BY)
        assert await signal.wait(5)


async def test_credentials_are_counted_by_status(store, steps, noon):
    await steps.completed("ada")
    bob = (await steps.completed("bob")).credential
    await store.statuses.apply(bob.id, CF.SAID_REVOKED, at=noon)
    gone = (await steps.completed("eve")).credential
    await store.credentials.delete(gone.id, at=noon, by=BY)
    assert (await store.standing()).credentials == {("codex", CS.ACTIVE): 1, ("codex", CS.REVOKED): 1}


async def test_the_database_refuses_what_no_status_is(store, steps, prompt, noon):
    credential = (await steps.completed()).credential
    said = {
        "status = 'asleep'": "status_with_reason",
        "status = 'needs_sign_in'": "status_with_reason",
        "status = 'deleted', status_reason = 'deleted'": "deleted_is_tombstone",
        "status = 'expiring', status_reason = 'expiry_near'": "expires_at_a_known_time",
        "version = version + 1, status = 'revoked', status_reason = 'said_revoked'": "a new version of a credential",
    }
    for assignment, refusal in said.items():
        assert refusal in prompt.refused_change("provider_credentials", assignment, credential.id)
    await store.statuses.apply(credential.id, CF.SAID_REVOKED, at=noon)
    revived = prompt.refused_change(
        "provider_credentials", "status = 'active', status_reason = 'signed_in'", credential.id
    )
    assert revived == "a revoked credential stays revoked until a sign-in"
    born = prompt.refusal(
        "INSERT INTO provider_credentials (id, application, user_id, provider, version, session_id, ciphertext,"
        " wrapped_key, key_id, format_version, created_at, stored_at, status, status_reason, status_at)"
        " SELECT 'cred_x', application, 'eve', provider, 1, session_id, ciphertext, wrapped_key, key_id, 1, created_at,"
        " stored_at, 'revoked', 'said_revoked', status_at FROM provider_credentials"
    )
    assert born == "a credential begins as active"
    assert prompt.refusal("UPDATE credential_events SET kind = 'x'") == "an event of a credential does not change"


async def test_f030_f102_every_word_is_accepted_by_its_column(store, steps, prompt):
    checks = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name IN ('provider_credentials', 'credential_events')",
        "postgres": "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'",
    }
    said = "".join(sql for (sql,) in prompt.run(checks[prompt.kind]))
    assert all(f"'{word}'" in said for enum in (CS, R) for word in enum)


async def test_the_hours_of_another_place_change_nothing(store, steps):
    east = Claims(ends_at=later(1000).astimezone(), renewable=False)
    credential = (await steps.completed(claims=east)).credential
    assert credential.claims.ends_at == NOON + timedelta(seconds=1000)
    assert await store.statuses.due(later(1000), timedelta(0)) == [credential.id]


async def test_an_old_story_goes_and_what_is_stored_stays(store, steps):
    credential = (await steps.completed(claims=UNTIL)).credential
    await store.statuses.apply(credential.id, CF.CHECK_ACCEPTED, at=later(86_000))
    kept = Kept(timedelta(days=1), timedelta(days=1), timedelta(days=1))
    await store.retention.prune(later(86_400), kept)
    assert [event.kind for event in await store.statuses.events(credential.id)] == [CF.CHECK_ACCEPTED]
    assert await store.credentials.get(credential.id) == credential
