"""Runs of the CLI in one session: at most so many, each told of once, and never after the end."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.store.conftest import NOON, later

from antechamber.errors import Code
from antechamber.lifecycle import Act, SessionFact
from antechamber.model import Reason, SessionStatus
from antechamber.store import CliEnded
from antechamber.store.attempts import MOST


def ending(attempt=1, reason=Reason.CLI_ENDED):
    return CliEnded(attempt, "no such account", reason, "exit code 1", 1)


async def ended(store, session, attempt=1, *, at=NOON, **more):
    return await store.attempts.ended(session.id, ending(attempt, **more), at=at, expires_at=later(120))


async def again(store, session, attempt=1):
    return await store.attempts.again(session.id, attempt, at=NOON, expires_at=later(600))


@pytest.fixture
async def seen(store, steps):
    """A session whose person sees the screen."""
    session = await steps.awaiting()
    await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=NOON, expires_at=later(600))
    return await store.sessions.get(session.id)


async def kinds(store, session):
    return [event.kind for event in await store.sessions.events(session.id)]


async def test_a_run_that_gives_up_before_its_person_leaves_the_session_waiting_for_them(store, seen):
    noted = await ended(store, seen)
    assert (noted.status, noted.gave_up_at, noted.cli_said) == (seen.status, NOON, "no such account")
    assert noted.expires_at == later(120)
    assert (await kinds(store, seen))[-1] == SessionFact.CLI_GAVE_UP


async def test_waiting_for_the_person_never_makes_a_session_longer(store, seen):
    noted = await store.attempts.ended(seen.id, ending(), at=NOON, expires_at=later(6000))
    assert noted.expires_at == later(600)


async def test_a_run_that_gives_up_before_anybody_has_seen_the_screen_fails_the_session(store, steps):
    for session in (await steps.pending("a"), await steps.starting("b"), await steps.awaiting("c")):
        failed = await ended(store, session)
        assert (failed.status, failed.reason) == (SessionStatus.FAILED, Reason.CLI_ENDED)
        assert failed.gave_up_at is None


async def test_what_the_person_cannot_mend_fails_the_session(store, seen):
    failed = await ended(store, seen, reason=Reason.CREDENTIAL_UNUSABLE)
    assert (failed.status, failed.reason) == (SessionStatus.FAILED, Reason.CREDENTIAL_UNUSABLE)


async def test_started_again_the_session_has_its_whole_time(store, seen):
    await ended(store, seen)
    moved = await again(store, seen)
    assert moved.decision.act is Act.NOTE
    after = moved.session
    assert (after.attempt, after.gave_up_at, after.cli_said, after.detail) == (2, None, "", "")
    assert after.expires_at == later(600)
    assert (await kinds(store, seen))[-2:] == [SessionFact.CLI_GAVE_UP, SessionFact.STARTED_AGAIN]


async def test_one_run_is_started_again_once_however_often_it_is_asked(store, seen):
    await ended(store, seen)
    moves = await asyncio.gather(*(again(store, seen) for _ in range(5)))
    assert {move.session.attempt for move in moves} == {2}
    assert {move.decision.act for move in moves} == {Act.NOTE}
    assert (await kinds(store, seen)).count(SessionFact.STARTED_AGAIN) == 1


async def test_what_comes_late_of_an_earlier_run_changes_nothing(store, seen):
    await ended(store, seen)
    await again(store, seen)
    late = await ended(store, seen)
    assert (late.attempt, late.gave_up_at) == (2, None)
    assert (await kinds(store, seen)).count(SessionFact.CLI_GAVE_UP) == 1


async def test_the_last_run_that_gives_up_fails_the_session(store, seen):
    for attempt in range(1, MOST):
        assert (await ended(store, seen, attempt)).gave_up_at is not None
        await again(store, seen, attempt)
    failed = await ended(store, seen, MOST)
    assert (failed.status, failed.reason) == (SessionStatus.FAILED, Reason.CLI_ENDED)
    assert (await kinds(store, seen)).count(SessionFact.CLI_GAVE_UP) == MOST - 1


async def test_a_tool_that_runs_is_not_started_again(store, seen):
    refused = await again(store, seen)
    assert (refused.decision.act, refused.decision.error) == (Act.REFUSE, Code.CLI_RUNS)
    await ended(store, seen)
    assert (await again(store, seen, 7)).decision.error is Code.CLI_RUNS
    assert (await store.sessions.get(seen.id)).attempt == 1


async def test_what_has_ended_is_not_started_again_and_not_given_up(store, steps):
    session = await steps.cancelled()
    assert (await again(store, session)).decision.error is Code.SESSION_ENDED
    assert (await ended(store, session)).status is SessionStatus.CANCELLED
    assert (await store.sessions.get(session.id)).attempt == 1


async def test_a_deadline_that_a_click_has_just_moved_on_ends_nothing(store, seen):
    await ended(store, seen)
    await again(store, seen)
    assert (await store.sessions.time_out(seen.id, at=later(120))).status is SessionStatus.AWAITING_SIGN_IN
    over = await store.sessions.time_out(seen.id, at=later(600), detail="why")
    assert (over.status, over.reason, over.detail) == (SessionStatus.EXPIRED, Reason.SIGN_IN_TIMED_OUT, "why")


async def test_a_run_that_gave_up_fails_the_session_for_its_own_reason_when_nobody_starts_another(store, seen):
    await ended(store, seen)
    over = await store.sessions.time_out(seen.id, at=later(120), detail="something else")
    assert (over.status, over.reason, over.detail) == (SessionStatus.FAILED, Reason.CLI_ENDED, "exit code 1")
    assert await store.sessions.time_out(seen.id, at=later(999)) == over


async def test_a_click_and_the_deadline_at_once_agree_on_one_end(store, seen):
    await ended(store, seen)
    clicked, _ = await asyncio.gather(again(store, seen), store.sessions.time_out(seen.id, at=later(120)))
    after = await store.sessions.get(seen.id)
    taken = clicked.decision.act is Act.NOTE
    assert after.status is (SessionStatus.AWAITING_SIGN_IN if taken else SessionStatus.FAILED)
    assert after.attempt == (2 if taken else 1)


@pytest.mark.parametrize("fact", [SessionFact.PAGE_ASKED, SessionFact.TERMINAL_ASKS])
async def test_what_a_run_asks_for_is_noted_once_in_each_run(store, seen, fact):
    for attempt in (1, 2):
        for _ in range(3):
            await store.sessions.apply(seen.id, fact, at=NOON, expires_at=later(900))
        assert (await kinds(store, seen)).count(fact) == attempt
        await ended(store, seen, attempt)
        await again(store, seen, attempt)
    # only the first of a session gives it another deadline
    assert (await store.sessions.get(seen.id)).expires_at == later(600)
