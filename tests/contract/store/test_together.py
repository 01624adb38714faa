"""Several at once on one database: tasks, and two stores that know nothing of each other (F-02, F-10, F-106, F-107)."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import event
from tests.opening import BY

from antechamber.lifecycle import Act, MachineFact, SessionFact
from antechamber.model import (
    TERMINAL_STATUSES,
    AccessKind,
    Actor,
    MachineState,
    Operator,
    Purpose,
    Reason,
    SessionStatus,
    new_secret,
)
from antechamber.store import Asked, CliEnded, Idempotency, Limits, RunLimits, Store

from .conftest import NOON, Steps, later
from .running import Running

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
async def pair(store, prompt):
    """Two stores on one database."""
    other = await Store.open(prompt.url, world="demo")
    yield Steps(store), Steps(other)
    await other.close()


async def test_f010_f107_of_capture_cancel_expiry_and_a_machines_end_at_once_exactly_one_wins(pair, noon):
    first, second = pair
    winners: set[SessionStatus] = set()
    turn = 0
    # until it was a race: on a busy computer one of them may be the first for a while
    while turn < 8 or len(winners) == 1:
        assert turn < 80
        turn += 1
        user = f"user{turn}"
        session = await first.awaiting(user)
        contenders = [
            second.store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon),
            first.capture(session),
            first.store.sessions.apply(session.id, SessionFact.TIME_RAN_OUT, at=noon),
            second.store.sessions.apply(session.id, SessionFact.MACHINE_ENDED, at=noon),
        ]
        rotated = contenders[turn % 4 :] + contenders[: turn % 4]
        answers = await asyncio.gather(*rotated)
        moved = [answer for answer in answers if answer.decision.act is Act.MOVE]
        after = await second.store.sessions.get(session.id)
        assert len(moved) == 1
        assert moved[0].session == after
        assert after.status in TERMINAL_STATUSES
        current = await first.store.credentials.current(session.owner, "codex")
        assert (current is not None) == (after.status is SessionStatus.COMPLETED)
        winners.add(after.status)


async def test_f024_f106_many_requests_at_once_make_one_live_session(pair, prompt):
    first, second = pair
    created = await asyncio.gather(*(steps.create() for steps in (first, second) * 5))
    assert len({one.session.id for one in created}) == 1
    assert sorted(one.outcome for one in created) == ["created", *["live"] * 9]
    assert prompt.run("SELECT count(*) FROM machines") == [(1,)]


async def test_many_replacements_at_once_leave_one_live_session(pair, prompt):
    first, second = pair
    await asyncio.gather(*(steps.create(replace=True) for steps in (first, second) * 4))
    assert len(await first.store.sessions.list(live=True)) == 1
    assert prompt.run("SELECT count(*) FROM auth_sessions WHERE reason = 'superseded'") == [(7,)]


async def test_one_idempotency_key_at_once_makes_one_session(pair):
    first, second = pair
    key = Idempotency("k", "aa", "operator")
    created = await asyncio.gather(*(steps.create(idempotency=key) for steps in (first, second) * 4))
    assert len({one.session.id for one in created}) == 1


async def test_two_captures_of_one_session_at_once_store_one_version(pair, prompt):
    first, second = pair
    session = await first.awaiting()
    outcomes = await asyncio.gather(*(steps.capture(session) for steps in (first, second) * 3))
    assert sorted(one.outcome for one in outcomes) == ["captured", *["repeated"] * 5]
    assert prompt.run("SELECT credential_id, version FROM credential_versions") == [(outcomes[0].credential.id, 1)]


async def test_f106_captures_that_read_the_same_version_do_not_overwrite_each_other(pair, noon):
    first, second = pair
    credential = (await first.completed()).credential
    session = await first.awaiting()
    deletion, capture = await asyncio.gather(
        second.store.credentials.delete(credential.id, at=noon, version=1, by=BY),
        first.capture(session, credential_id=credential.id, expected_version=1),
    )
    assert (deletion is None) == (capture.outcome == "captured")
    assert (capture.outcome == "conflict") == (deletion is not None)


@pytest.mark.parametrize("phase", ["starting", "awaiting", "seen", "gave up"])
async def test_a_capture_just_before_a_deadline_and_the_deadline_agree_on_one_end(pair, phase):
    first, second = pair
    for turn in range(6):
        session = await (first.starting if phase == "starting" else first.awaiting)(f"{phase} {turn}")
        if phase in {"seen", "gave up"}:
            seen = SessionFact.SCREEN_SEEN
            session = (await first.store.sessions.apply(session.id, seen, at=later(1), expires_at=later(500))).session
        if phase == "gave up":
            ended = CliEnded(1, "no", Reason.CLI_ENDED, "exit code 1", 1)
            session = await first.store.attempts.ended(session.id, ended, at=later(2), expires_at=later(120))
        contenders = [
            first.capture(session, at=session.expires_at - timedelta(microseconds=1)),
            second.store.sessions.time_out(session.id, at=session.expires_at),
        ]
        await asyncio.gather(*(contenders if turn % 2 else reversed(contenders)))
        after = await second.store.sessions.get(session.id)
        current = await first.store.credentials.current(session.owner, "codex")
        assert after.status.terminal
        assert (current is not None) == (after.status is SessionStatus.COMPLETED)
        # the report that comes again is told the same
        assert (await first.capture(session)).outcome == ("repeated" if current else "refused")


async def test_a_deletion_and_a_capture_at_once_leave_what_was_captured_or_a_tombstone_of_it(pair, noon):
    first, second = pair
    for turn in range(6):
        credential = (await first.completed(f"user{turn}")).credential
        session = await first.awaiting(f"user{turn}")
        contenders = [second.store.credentials.delete(credential.id, at=noon, by=BY), first.capture(session)]
        await asyncio.gather(*(contenders if turn % 2 else reversed(contenders)))
        captured = await first.capture(session)
        assert captured.outcome in {"captured", "repeated"}
        stored = await second.store.credentials.get(captured.session.captured_credential_id)
        # deleted after the capture it is the tombstone of both versions; before it there is a new one
        assert stored.id != credential.id or stored.deleted_at is not None


async def test_f074_f108_one_uid_goes_to_one_machine(pair):
    first, second = pair
    rows = [await first.check_machine() for _ in range(6)]
    begun = await asyncio.gather(
        *(steps.begin(row, host_uid=200_001) for row, steps in zip(rows, (first, second) * 3, strict=True))
    )
    assert sum(row is not None for row in begun) == 1


async def test_a_stop_and_a_beginning_at_once_never_start_what_was_stopped(pair, noon):
    first, second = pair
    for _ in range(4):
        row = await first.check_machine()
        begun, stopped = await asyncio.gather(
            first.begin(row),
            second.store.machines.apply(row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=noon),
            return_exceptions=True,
        )
        after = await first.store.machines.get(row.id)
        assert after.state is (MachineState.GONE if isinstance(begun, Exception) else MachineState.STOPPING)
        assert not isinstance(stopped, Exception)


async def test_a_right_that_many_redeem_at_once_is_redeemed_once(pair, noon):
    first, second = pair
    session, secret = await first.pending(), new_secret()
    await first.store.access.grant(AccessKind.TICKET, secret, session_id=session.id, at=noon, expires_at=later(30))
    redeemed = await asyncio.gather(
        *(
            steps.store.access.redeem(AccessKind.TICKET, secret, session_id=session.id, at=noon)
            for steps in (first, second) * 4
        )
    )
    assert redeemed.count(True) == 1


async def test_uses_of_one_destination_at_once_all_count(pair, noon):
    first, second = pair
    session = await first.pending()
    await asyncio.gather(
        *(
            steps.store.destinations.record(
                session.id, "auth.example.test", 443, "allowed", bytes_out=1, bytes_in=10, connections=1, at=noon
            )
            for steps in (first, second) * 5
        )
    )
    (destination,) = await first.store.destinations.list(session.id)
    assert (destination.bytes_out, destination.bytes_in, destination.connections) == (10, 100, 10)


async def test_event_numbers_grow_over_all_sessions_without_a_repetition(pair):
    first, second = pair
    sessions = await asyncio.gather(*(steps.awaiting(f"u{n}") for n, steps in enumerate((first, second) * 3)))
    events = [event for session in sessions for event in await first.store.sessions.events(session.id)]
    assert len({event.seq for event in events}) == len(events)
    for session in sessions:
        numbers = [event.seq for event in await second.store.sessions.events(session.id)]
        assert numbers == sorted(numbers)


async def test_whoever_is_cancelled_at_any_statement_leaves_it_whole_and_no_lock(pair):
    first, second = pair
    engine = first.store._database._engine.sync_engine
    cut_short = 0
    # the first three are of reading the present version
    for nth in range(3, 15):
        session = await first.awaiting(f"user{nth}")
        task = asyncio.get_running_loop().create_task(first.capture(session))
        statements = itertools.count()

        def cancel(*_, task=task, statements=statements, nth=nth):
            if next(statements) == nth:
                task.cancel()

        for moment in ("before_cursor_execute", "commit"):
            event.listen(engine, moment, cancel)
        with suppress(asyncio.CancelledError):
            await task
        for moment in ("before_cursor_execute", "commit"):
            event.remove(engine, moment, cancel)
        cut_short += task.cancelled()
        after = await second.store.sessions.get(session.id)
        assert after.status is SessionStatus.COMPLETED
        assert await second.store.credentials.current(session.owner, "codex") is not None
    assert cut_short > 5


@pytest.mark.parametrize("part", ["sessions", "machines", "nodes", "credentials", "access", "destinations"])
async def test_f009_every_public_method_of_the_store_runs_to_its_end(store, part):
    methods = inspect.getmembers(type(getattr(store, part)), inspect.iscoroutinefunction)
    public = [method for name, method in methods if not name.startswith("_")]
    assert public
    assert all(hasattr(method, "__wrapped__") for method in public)


async def test_of_many_that_end_one_login_at_once_one_does(pair, noon):
    first, second = pair
    login, ann = new_secret(), Operator("https://issuer.example", "4711", "ann@example.com")
    cookies = [new_secret() for _ in range(10)]
    until = {"login_expires_at": later(600), "cookie_expires_at": later(3600)}
    ended = await asyncio.gather(
        *(
            steps.store.logins.enter(login, cookie, ann, terms="a" * 64, at=noon, **until)
            for steps, cookie in zip(itertools.cycle(pair), cookies, strict=False)
        )
    )
    assert ended.count(True) == 1
    held = [await second.store.logins.entered(cookie, at=noon) is not None for cookie in cookies]
    assert held == ended
    assert await first.store.logins.entered(cookies[ended.index(True)], at=noon) is not None


@pytest.mark.timeout(120)
async def test_who_takes_a_turn_and_who_stores_do_not_wait_for_each_other(store, steps, prompt):
    """An opening on demand, a run and a sign-in are counted first, and what a machine sends is stored meanwhile."""
    other = await Store.open(prompt.url, world="demo")
    here, there = Running(steps), Steps(other)
    asked = Asked(Purpose.REVEAL, Actor.COMMAND_LINE)
    try:
        for turn in range(30):
            credential = await here.credential(f"ada{turn}")
            run = await here.run(credential)
            session = await steps.awaiting(f"bob{turn}")
            await asyncio.gather(
                here.write_back(run),
                other.openings.ask(credential.id, asked, at=NOON, an_hour=0),
                other.runs.create(here.new(credential), at=later(1), limits=RunLimits(owner=1000)),
                steps.capture(session),
                there.create(f"bob{turn}", replace=True, limits=Limits(owner_live=1000)),
            )
        if prompt.kind == "postgres":
            assert prompt.run(DEADLOCKS) == [(0,)]
    finally:
        await other.close()
