"""The service's clock goes an hour forward or back while people sign in.

Deadlines are times of day, in the database, so that a restart keeps them and several services agree. So a clock that
goes forward ends what is due then, after the guest was asked once more; one that goes back makes nothing longer than
it was meant to be, and keeps nobody out.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timedelta

import pytest

from antechamber.errors import Code, ProviderError
from antechamber.lifecycle import SessionFact
from antechamber.model import IdPrefix, MachineState, SessionStatus, new_id
from antechamber.providers import CapturedFile
from antechamber.signin import now
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import ADA, BUILD, WHOLE, scene
from tests.opening import opened

HOUR = timedelta(hours=1)


async def seen(stage, *sessions):
    """Wait until a service has seen the present deadlines of these sessions."""
    known = stage.reconciler._deadlines
    for one in sessions:
        deadline = (await stage.signin.session(one.id)).expires_at
        while known._seen.get(one.id, (None, 0))[0] != deadline:
            await asyncio.sleep(0.02)


@pytest.fixture
async def stage(site):
    async with scene(site.folder, database_url=site.url, egress_after_capture_s=0) as opened:
        yield opened


async def test_a_sign_in_that_began_before_the_clock_went_back_completes(stage):
    stage.clock.ahead = HOUR
    session, guest = await stage.awaiting()
    stage.clock.ahead = timedelta(0)
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_machine_ends_in_its_grace_also_when_the_clock_goes_back_after_the_capture(stage):
    stage.clock.ahead = HOUR
    session, guest = await stage.awaiting()
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")
    stage.clock.ahead = timedelta(0)
    assert (await stage.machine_ended(session.id)).state is MachineState.GONE
    assert (await stage.signin.session(session.id)).status is SessionStatus.COMPLETED


async def test_a_failed_sign_in_gives_its_machine_back_also_when_the_clock_goes_back(stage):
    stage.clock.ahead = HOUR
    session, guest = await stage.awaiting()
    await guest.end_cli(1, "no")
    await stage.until(session.id, "failed")
    stage.clock.ahead = timedelta(0)
    await stage.machine_ended(session.id)


async def test_whoever_waits_when_the_clock_goes_back_is_not_expired_and_can_cancel_or_begin_anew(stage):
    stage.clock.ahead = HOUR
    session, _ = await stage.awaiting()
    stage.clock.ahead = timedelta(0)
    assert await stage.store.sessions.due(stage.clock()) == []
    other = await stage.start(replace=True)
    await stage.guests.get()
    await stage.until(other.id, "awaiting_sign_in")
    assert (await stage.signin.session(session.id)).reason == "superseded"
    await stage.signin.cancel(other.id, by_person=True)
    for one in (session, other):
        await stage.machine_ended(one.id)


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_waits_ends_in_its_time_also_when_the_clock_goes_back(site, restarted):
    waits = dict.fromkeys(("start_s", "nobody_came_s", "sign_in_s", "again_s", "wait_s"), 6)
    async with scene(site.folder, database_url=site.url, **waits) as stage:
        stage.clock.ahead = HOUR
        waiting, _ = await stage.awaiting()
        stage.make_guest = lambda: SignInGuest(build=BUILD)
        starting = await stage.start(user_id="bob")
        await stage.until(starting.id, "starting")
        await seen(stage, waiting, starting)
        stage.clock.ahead = timedelta(0)
        if restarted:
            await stage.restart()
        async with asyncio.timeout(20):
            assert (await stage.until(waiting.id, "expired")).reason == "nobody_came"
            assert (await stage.until(starting.id, "failed")).reason == "machine_did_not_start"
            for one in (waiting, starting):
                await stage.machine_ended(one.id)


async def test_a_clock_that_goes_forward_ends_what_is_due_then_and_the_next_sign_in_completes(stage):
    session, _ = await stage.awaiting()
    stage.clock.ahead = HOUR
    ended = await stage.until(session.id, "expired")
    assert ended.reason == "nobody_came"
    await stage.machine_ended(session.id)
    stage.clock.ahead = timedelta(0)
    # what has ended an hour from now is in nobody's way
    other, guest = await stage.awaiting()
    assert await guest.sign_in(WHOLE) is None
    await stage.until(other.id, "completed")


async def test_a_file_that_is_whole_when_the_clock_goes_forward_is_captured_before_the_session_expires(stage):
    session, guest = await stage.awaiting()
    guest.write_file(WHOLE)
    stage.clock.ahead = HOUR
    await stage.until(session.id, "completed")


async def test_what_was_completed_before_the_clock_went_is_completed_after_it_has_gone_there_and_back(stage):
    session, guest = await stage.awaiting()
    assert await guest.sign_in(WHOLE) is None
    for ahead in (HOUR, timedelta(0), -HOUR, timedelta(0)):
        stage.clock.ahead = ahead
        await stage.restart()
        assert (await stage.signin.session(session.id)).status is SessionStatus.COMPLETED
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
    await stage.machine_ended(session.id)


async def test_a_service_says_that_it_lives_also_when_its_clock_has_gone_back(stage):
    stage.clock.ahead = HOUR
    await stage.node.join()
    stage.clock.ahead = timedelta(0)
    await stage.node.beat()
    assert (await stage.store.nodes.get(stage.node_id)).seen_at <= now()


@pytest.mark.parametrize("written", [timedelta(0), 5 * HOUR], ids=["before its session", "in a time to come"])
async def test_a_file_completes_its_session_though_the_clock_went_there_and_back_around_it(stage, written):
    stage.clock.ahead = HOUR
    session, guest = await stage.awaiting()
    await seen(stage, session)
    stage.clock.ahead = written
    guest.write_file(WHOLE)
    # the session comes due by this, and its guest is asked once more
    stage.clock.ahead = 2 * HOUR
    await stage.until(session.id, "completed")
    (captured,) = [event for event in await stage.signin.events(session.id) if event.kind == SessionFact.CAPTURED]
    assert "file_whole_at" not in captured.fields, "a time that cannot be is told to nobody"


async def test_when_the_file_was_whole_is_told_where_the_clock_has_not_moved(stage):
    session, guest = await stage.awaiting()
    await guest.sign_in(WHOLE)
    (captured,) = [event for event in await stage.signin.events(session.id) if event.kind == SessionFact.CAPTURED]
    whole_at = datetime.fromisoformat(captured.fields["file_whole_at"])
    assert session.created_at < whole_at <= datetime.fromisoformat(captured.fields["checked_at"])


async def test_a_file_that_was_there_before_the_tool_by_its_machines_own_word_is_refused(stage):
    session, _ = await stage.awaiting()
    old = CapturedFile(WHOLE["credential"], stage.clock.ns(), new=False)
    with pytest.raises(ProviderError, match=Code.CREDENTIAL_STALE):
        await stage.signin.capture(session.id, session.machine_id, new_id(IdPrefix.REPORT), {"credential": old})
    assert (await stage.signin.session(session.id)).reason == "credential_unusable"
    await stage.machine_ended(session.id)


async def test_whoever_comes_in_the_moment_in_which_their_deadline_passes_has_the_whole_time(site, monkeypatch):
    async with scene(site.folder, database_url=site.url, nobody_came_s=3, sign_in_s=600) as stage:
        stage.clock.ahead = HOUR
        session, _ = await stage.awaiting()
        await seen(stage, session)
        # only by the monotonic clock is it due from here on
        stage.clock.ahead = timedelta(0)
        read, came, looked = stage.store.sessions.deadlines, asyncio.Event(), asyncio.Semaphore(0)

        async def deadlines():
            found = await read()
            if came.is_set():
                looked.release()
            if not came.is_set() and stage.reconciler._deadlines.passed(found, stage.clock()):
                came.set()
                await stage.signin.consent(session.id)
                await stage.signin.screen_seen(session.id)
            return found

        monkeypatch.setattr(stage.store.sessions, "deadlines", deadlines)
        await came.wait()
        # whatever the look that saw it due has begun is over some looks later
        for _ in range(10):
            await looked.acquire()
        assert not stage.reconciler._timing_out
        assert (await stage.signin.session(session.id)).status is SessionStatus.AWAITING_SIGN_IN


async def test_a_session_whose_node_is_gone_ends_in_its_time_though_the_clock_went_back(tmp_path, postgres_url):
    waits = dict.fromkeys(("start_s", "nobody_came_s", "sign_in_s", "again_s", "wait_s"), 4)
    async with scene(tmp_path, database_url=postgres_url, **waits) as gone:
        gone.clock.ahead = HOUR
        session, _ = await gone.awaiting()
        (tmp_path / "other").mkdir()
        shutil.copy(tmp_path / "key", tmp_path / "other" / "key")
        async with scene(tmp_path / "other", database_url=postgres_url, **waits) as other:
            other.clock.ahead = HOUR
            await seen(other, session)
            await gone.reconciler.close()
            other.clock.ahead = timedelta(0)
            async with asyncio.timeout(20):
                await other.until(session.id, "expired")
