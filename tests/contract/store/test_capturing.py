"""Capture is one transaction: the credential stored and the session completed, or nothing (F-01, F-03, F-04, F-43)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.opening import BY

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act, Command, SessionFact
from antechamber.model import IdPrefix, Reason, Sealed, SessionStatus, new_id


async def test_a_capture_stores_the_credential_and_completes_the_session(store, steps, noon):
    captured = await steps.completed(report_id="rep_1", fields={"file_whole_at": "12:00"})
    session, credential = captured.session, captured.credential
    assert captured.outcome == "captured"
    assert (session.status, session.ended_at, session.expires_at) == (SessionStatus.COMPLETED, noon, None)
    assert (session.captured_credential_id, session.captured_version) == (credential.id, 1)
    assert await store.sessions.get(session.id) == session
    assert await store.credentials.current(session.owner, "codex") == credential
    assert (credential.version, credential.session_id, credential.claims.account) == (1, session.id, "ada@example.test")
    assert captured.event.fields == {
        "file_whole_at": "12:00",
        "credential_id": credential.id,
        "version": 1,
        "report_id": "rep_1",
        "account": "first",
    }
    assert (await store.sessions.events(session.id))[-1] == captured.event
    assert Command.STOP_MACHINE_AFTER_GRACE in captured.decision.commands


async def test_what_was_sealed_comes_back_byte_by_byte(store, steps):
    credential = (await steps.completed(ciphertext=b"\x00\xff DUMMY")).credential
    assert await store.credentials.sealed(credential.id) == (
        credential,
        Sealed(b"\x00\xff DUMMY", b"DUMMY wrapped key", "key_00000001", 1),
    )


async def test_a_capture_may_come_while_the_machine_is_still_starting(steps):
    assert (await steps.capture(await steps.starting())).session.status is SessionStatus.COMPLETED


async def test_a_second_report_changes_nothing(store, steps, noon):
    first = await steps.completed()
    events = await store.sessions.events(first.session.id)
    again = await steps.capture(first.session, ciphertext=b"DUMMY other", at=noon + timedelta(seconds=1))
    assert (again.outcome, again.session, again.credential) == ("repeated", first.session, first.credential)
    assert again.event is None
    assert await store.sessions.events(first.session.id) == events
    _, sealed = await store.credentials.sealed(first.credential.id)
    assert sealed.ciphertext == b"DUMMY ciphertext"


async def test_a_second_report_is_a_repetition_also_after_a_later_sign_in(steps):
    first = await steps.completed()
    await steps.completed()
    assert (await steps.capture(first.session)).outcome == "repeated"


@pytest.mark.parametrize("fact", [SessionFact.CANCELLED, SessionFact.TIME_RAN_OUT, SessionFact.SIGN_IN_FAILED])
async def test_a_capture_for_a_session_that_ended_otherwise_is_refused_and_stores_nothing(store, steps, noon, fact):
    session = await steps.awaiting()
    ended = (await store.sessions.apply(session.id, fact, at=noon)).session
    late = await steps.capture(ended)
    assert (late.outcome, late.session, late.credential) == ("refused", ended, None)
    assert late.decision.error is Code.CAPTURE_REFUSED
    assert late.event.fields == {"refused": True}
    assert await store.credentials.current(session.owner, "codex") is None
    assert not await store.has_sealed_rows()


async def test_a_capture_before_the_machine_began_is_refused(steps):
    assert (await steps.capture(await steps.pending())).outcome == "refused"


async def test_a_capture_of_an_unknown_session_is_an_error_of_the_caller(steps):
    session = (await steps.completed()).session
    with pytest.raises(CallerError) as refused:
        await steps.capture(replace(session, id="ses_00000000000000000000"))
    assert refused.value.code is Code.SESSION_NOT_FOUND


async def test_f043_signing_in_again_raises_the_version_and_keeps_the_id(store, steps, noon, prompt):
    first = await steps.completed()
    second = await steps.completed(ciphertext=b"DUMMY second", at=noon + timedelta(days=1))
    assert second.credential.id == first.credential.id
    assert (second.credential.version, second.credential.created_at) == (2, first.credential.created_at)
    assert second.credential.stored_at == noon + timedelta(days=1)
    assert len(await store.credentials.list()) == 1
    history = prompt.run("SELECT version, session_id FROM credential_versions ORDER BY version")
    assert history == [(1, first.session.id), (2, second.session.id)]
    assert prompt.run("SELECT count(*) FROM provider_credentials WHERE ciphertext = ?", b"DUMMY ciphertext") == [(0,)]


async def test_a_version_that_moved_on_is_a_conflict_and_nothing_is_written(store, steps):
    first = await steps.completed()
    session = await steps.awaiting()
    for stale in (0, 2):
        conflict = await steps.capture(session, expected_version=stale)
        assert (conflict.outcome, conflict.credential) == ("conflict", first.credential)
        assert conflict.event is None
    assert (await store.sessions.get(session.id)).status is SessionStatus.AWAITING_SIGN_IN
    assert (await steps.capture(session)).outcome == "captured"


async def test_the_right_version_of_another_credential_is_a_conflict(steps):
    await steps.completed()
    session = await steps.awaiting()
    other = new_id(IdPrefix.CREDENTIAL)
    assert (await steps.capture(session, credential_id=other, expected_version=1)).outcome == "conflict"


async def test_a_credential_that_was_deleted_meanwhile_is_a_conflict_and_then_a_new_id(store, steps, noon):
    first = await steps.completed()
    session = await steps.awaiting()
    await store.credentials.delete(first.credential.id, at=noon, by=BY)
    stale = await steps.capture(session, credential_id=first.credential.id, expected_version=1)
    assert (stale.outcome, stale.credential) == ("conflict", None)
    again = await steps.capture(session)
    assert (again.outcome, again.credential.version) == ("captured", 1)
    assert again.credential.id != first.credential.id


async def test_f001b_completed_stays_completed_whatever_comes_after(store, steps, noon):
    session = (await steps.completed()).session
    for fact in SessionFact:
        if fact is not SessionFact.CAPTURED:
            moved = await store.sessions.apply(session.id, fact, at=noon, reason=Reason.MACHINE_ENDED)
            assert moved.decision.act is not Act.MOVE
    after = await store.sessions.get(session.id)
    assert (after.status, after.reason) == (SessionStatus.COMPLETED, None)
    assert after.captured_credential_id == session.captured_credential_id


BROKEN = {
    "sqlite": "CREATE TRIGGER broken BEFORE INSERT ON events WHEN NEW.kind = 'captured'"
    " BEGIN SELECT RAISE(ABORT, 'the_disk_burns'); END",
    "postgres": "ALTER TABLE events ADD CONSTRAINT the_disk_burns CHECK (kind <> 'captured') NOT VALID",
}
MENDED = {"sqlite": "DROP TRIGGER broken", "postgres": "ALTER TABLE events DROP CONSTRAINT the_disk_burns"}


async def test_f001_an_error_within_a_capture_leaves_nothing_of_it(store, steps, prompt):
    first = await steps.completed()
    session = await steps.awaiting()
    prompt.run(BROKEN[prompt.kind])
    with pytest.raises(RuntimeError, match="the_disk_burns"):
        await steps.capture(session, ciphertext=b"DUMMY second")
    assert (await store.sessions.get(session.id)).status is SessionStatus.AWAITING_SIGN_IN
    credential, sealed = await store.credentials.sealed(first.credential.id)
    assert (credential.version, sealed.ciphertext) == (1, b"DUMMY ciphertext")
    prompt.run(MENDED[prompt.kind])
    assert (await steps.capture(session)).outcome == "captured"
