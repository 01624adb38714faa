from __future__ import annotations

from datetime import timedelta

import pytest

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SESSION_TABLE, Act, SessionFact
from antechamber.model import Reason, SessionStatus

UNKNOWN = "ses_00000000000000000000"
CELLS = [
    (status, fact) for status, facts in SESSION_TABLE.items() for fact in facts if fact is not SessionFact.CAPTURED
]


async def bring_to(status, store, steps, noon):
    match status:
        case SessionStatus.PENDING:
            return await steps.pending()
        case SessionStatus.STARTING:
            return await steps.starting()
        case SessionStatus.AWAITING_SIGN_IN:
            return await steps.awaiting()
        case SessionStatus.COMPLETED:
            return (await steps.completed()).session
        case SessionStatus.CANCELLED:
            return await steps.cancelled()
    fact = SessionFact.NOBODY_CAME if status is SessionStatus.EXPIRED else SessionFact.SIGN_IN_FAILED
    return (await store.sessions.apply((await steps.awaiting()).id, fact, at=noon)).session


@pytest.mark.parametrize(("status", "fact"), CELLS, ids=str)
async def test_f030_every_cell_of_the_table_is_what_the_database_takes(store, steps, noon, status, fact):
    session = await bring_to(status, store, steps, noon)
    rule = SESSION_TABLE[status][fact]
    moved = await store.sessions.apply(session.id, fact, at=noon + timedelta(seconds=5))
    assert moved.decision.act is rule.act
    assert moved.session.status is (rule.to or status)
    assert await store.sessions.get(session.id) == moved.session
    assert moved.session.status.terminal == (moved.session.ended_at is not None)
    assert moved.session.status.terminal == (moved.session.expires_at is None)
    if rule.act is Act.REFUSE:
        assert moved.session == session
        assert moved.event.fields == {"refused": True}


async def test_a_move_writes_its_event_its_time_and_the_next_deadline(store, steps, noon):
    session = await steps.pending()
    at, deadline = noon + timedelta(seconds=3), noon + timedelta(seconds=90)
    moved = await store.sessions.apply(
        session.id, SessionFact.MACHINE_BOOTING, at=at, expires_at=deadline, fields={"boot_ms": 3}
    )
    assert (moved.session.status, moved.session.status_at, moved.session.expires_at) == ("starting", at, deadline)
    assert (moved.event.before, moved.event.after, moved.event.at) == ("pending", "starting", at)
    assert moved.event.fields == {"boot_ms": 3}
    assert (await store.sessions.events(session.id))[-1] == moved.event


async def test_a_move_without_a_deadline_keeps_the_present_one(store, steps, noon):
    session = await steps.pending()
    moved = await store.sessions.apply(session.id, SessionFact.MACHINE_BOOTING, at=noon)
    assert moved.session.expires_at == session.expires_at


async def test_an_ending_keeps_its_reason_and_the_detail_for_the_log(store, steps, noon):
    session = await steps.awaiting()
    moved = await store.sessions.apply(
        session.id, SessionFact.SIGN_IN_FAILED, at=noon, reason=Reason.CREDENTIAL_UNUSABLE, detail="no tokens"
    )
    assert (moved.session.status, moved.session.reason, moved.session.detail) == (
        SessionStatus.FAILED,
        Reason.CREDENTIAL_UNUSABLE,
        "no tokens",
    )
    assert moved.event.reason is Reason.CREDENTIAL_UNUSABLE


async def test_notes_set_their_times_once_and_a_repetition_writes_nothing(store, steps, noon):
    session = await steps.awaiting()
    first = {}
    for fact in (SessionFact.OPENED, SessionFact.CONSENTED, SessionFact.SCREEN_SEEN):
        first[fact] = await store.sessions.apply(session.id, fact, at=noon)
    count = len(await store.sessions.events(session.id))
    for fact, earlier in first.items():
        again = await store.sessions.apply(session.id, fact, at=noon + timedelta(seconds=9))
        assert again.event == earlier.event
        assert again.decision.act is Act.NOTE
    after = await store.sessions.get(session.id)
    assert after.opened_at == after.consented_at == after.screen_seen_at == noon
    assert len(await store.sessions.events(session.id)) == count


async def test_the_first_sight_of_the_screen_starts_the_sign_in_clock_and_a_later_one_does_not(store, steps, noon):
    session = await steps.awaiting()
    seen_at, deadline = noon + timedelta(seconds=20), noon + timedelta(seconds=620)
    await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=seen_at, expires_at=deadline)
    again = await store.sessions.apply(
        session.id, SessionFact.SCREEN_SEEN, at=noon + timedelta(seconds=30), expires_at=noon + timedelta(seconds=999)
    )
    assert (again.session.screen_seen_at, again.session.expires_at) == (seen_at, deadline)


@pytest.mark.parametrize("fact", [SessionFact.TERMINAL_ASKS, SessionFact.SCREEN_SEEN])
async def test_what_would_give_a_new_deadline_gives_none_to_a_session_that_has_ended(store, steps, noon, fact):
    session = await steps.cancelled()
    moved = await store.sessions.apply(session.id, fact, at=noon, expires_at=noon + timedelta(seconds=600))
    assert moved.session == session


async def test_other_notes_leave_the_deadline_alone(store, steps, noon):
    session = await steps.awaiting()
    noted = await store.sessions.apply(session.id, SessionFact.OPENED, at=noon, expires_at=noon + timedelta(days=1))
    assert noted.session.expires_at == session.expires_at


async def test_notes_after_completion_are_kept(store, steps, noon):
    session = (await steps.completed()).session
    noted = await store.sessions.apply(session.id, SessionFact.SUCCESS_SHOWN, at=noon)
    ended = await store.sessions.apply(session.id, SessionFact.MACHINE_ENDED, at=noon, fields={"exit_code": 1})
    assert noted.session.success_shown_at == noon
    assert ended.session.status is SessionStatus.COMPLETED
    assert (await store.sessions.events(session.id))[-1].fields == {"exit_code": 1}


async def test_a_refusal_that_is_repeated_is_recorded_once_in_each_status(store, steps, noon):
    session = await steps.pending()
    for _ in range(3):
        await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=noon)
    await store.sessions.apply(session.id, SessionFact.MACHINE_BOOTING, at=noon)
    await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=noon)
    refused = [event.before for event in await store.sessions.events(session.id) if event.fields.get("refused")]
    assert refused == ["pending", "starting"]


async def test_a_refused_note_can_be_accepted_later(store, steps, noon):
    session = await steps.starting()
    await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=noon)
    await store.sessions.apply(session.id, SessionFact.MACHINE_READY, at=noon)
    seen = await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=noon)
    assert seen.session.screen_seen_at == noon


async def test_an_unknown_session_is_an_error_of_the_caller(store, noon):
    with pytest.raises(CallerError) as refused:
        await store.sessions.apply(UNKNOWN, SessionFact.CANCELLED, at=noon)
    assert refused.value.code is Code.SESSION_NOT_FOUND


async def test_a_capture_cannot_be_applied_without_its_credential(store, steps, noon):
    session = await steps.awaiting()
    with pytest.raises(ValueError, match="together with its credential"):
        await store.sessions.apply(session.id, SessionFact.CAPTURED, at=noon)


async def test_a_naive_time_is_refused(store, steps, noon):
    session = await steps.awaiting()
    with pytest.raises(RuntimeError, match="aware"):
        await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon.replace(tzinfo=None))
    assert (await store.sessions.get(session.id)).status is SessionStatus.AWAITING_SIGN_IN
