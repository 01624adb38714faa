"""Before a bad end is written the guest is asked once more, and what it has told already is waited for."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.guest.protocol import ReportKind
from antechamber.model import Reason, SessionStatus
from antechamber.signin import now
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import ADA, BUILD, PAGE_HOST, WHOLE, scene, told
from tests.integration.test_reconciler_store_away import locked
from tests.opening import opened


async def past_its_deadline(stage, session):
    """Have the session's deadline pass, and the reconciler look at once."""
    stage.clock.ahead = session.expires_at - now() + timedelta(seconds=1)
    await stage.start(user_id="whose beginning is a hint")


@pytest.mark.timeout(90)
async def test_a_file_that_came_in_time_is_stored_though_its_deadline_passes_before_the_database_takes_it(site, capsys):
    # what waits is tried again by the sweep: long after the deadline has been seen to pass
    async with scene(site.folder, database_url=site.url, sweep_s=4) as stage:
        session, guest = await stage.awaiting()
        async with locked(site):
            sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
            await told(capsys, "a report waits")
        await past_its_deadline(stage, session)
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert await sending is None
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


@pytest.mark.timeout(90)
async def test_a_file_that_came_behind_a_report_that_waits_is_stored_after_the_deadline_too(site, capsys):
    async with scene(site.folder, database_url=site.url, sweep_s=4) as stage:
        session, guest = await stage.awaiting()
        async with locked(site):
            asked = asyncio.get_running_loop().create_task(
                guest.link.report(ReportKind.PAGE_ASKED, {"host": PAGE_HOST})
            )
            await told(capsys, "a report waits")
            sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
        await past_its_deadline(stage, session)
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert (await asked, await sending) == (None, None)


@pytest.mark.timeout(90)
async def test_a_session_does_not_wait_for_ever_for_what_the_database_never_takes(site, monkeypatch):
    async with scene(site.folder, database_url=site.url, late_report_s=1) as stage:
        session, guest = await stage.awaiting()

        async def never(*_, **__):
            await asyncio.Event().wait()

        with monkeypatch.context() as patched:
            patched.setattr(stage.signin, "capture", never)
            sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
            await past_its_deadline(stage, session)
            assert (await stage.until(session.id, SessionStatus.EXPIRED)).reason is Reason.NOBODY_CAME
        sending.cancel()


@pytest.mark.timeout(90)
async def test_a_machine_that_ends_while_its_report_waits_for_the_database_does_not_cost_the_sign_in(site, capsys):
    async with scene(site.folder, database_url=site.url, sweep_s=4) as stage:
        session, guest = await stage.awaiting()
        async with locked(site):
            sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
            await told(capsys, "a report waits")
            guest.crash(1)
            # longer than a transaction waits for its turn
            await asyncio.sleep(7)
        await stage.start(user_id="whose beginning is a hint")
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
        await stage.machine_ended(session.id)
        sending.cancel()


async def test_a_machine_that_ends_before_a_slow_database_has_taken_all_it_said_does_not_cost_the_sign_in(
    site, monkeypatch
):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        taken = stage.store.sessions.apply

        async def slowly(*given, **named):
            await asyncio.sleep(1.5)
            return await taken(*given, **named)

        monkeypatch.setattr(stage.store.sessions, "apply", slowly)
        loop = asyncio.get_running_loop()
        sending = [
            *(loop.create_task(guest.link.report(ReportKind.PAGE_ASKED, {"host": PAGE_HOST})) for _ in range(2)),
            loop.create_task(guest.sign_in(WHOLE)),
        ]
        await asyncio.sleep(0.1)
        guest.crash(1)
        await stage.until(session.id, SessionStatus.COMPLETED)
        for one in sending:
            one.cancel()


async def test_a_machine_that_cannot_be_found_at_once_after_a_restart_is_waited_for_before_its_session_ends(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await stage.close()
        guest.write_file(WHOLE)
        stage.clock.ahead = session.expires_at - now() + timedelta(seconds=1)
        stage.host.unreachable = True
        await stage.open()
        await asyncio.sleep(0.3)
        stage.host.unreachable = False
        await stage.until(session.id, SessionStatus.COMPLETED)


async def test_a_file_of_a_tool_that_asked_before_its_page_is_found_though_the_deadline_passed_with_the_service_away(
    site,
):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.make_guest = lambda: SignInGuest(build=BUILD, clock_ns=stage.clock.ns)
        session = await stage.start()
        guest = await stage.guests.get()
        await guest.page_open.wait()
        assert await guest.link.report(ReportKind.TERMINAL_ASKS, {}) is None
        session = await stage.signin.session(session.id)
        assert session.status is SessionStatus.STARTING
        await stage.close()
        guest.write_file(WHOLE)
        # past the deadline of the machine's start as well
        stage.clock.ahead = session.expires_at - now() + timedelta(seconds=1)
        await stage.open()
        await stage.until(session.id, SessionStatus.COMPLETED)


async def test_a_service_that_stops_lets_what_an_ended_machine_said_be_stored_first(site, monkeypatch):
    async with scene(site.folder, database_url=site.url, stop_s=20) as stage:
        session, guest = await stage.awaiting()
        taken = stage.store.sessions.apply

        async def slowly(*given, **named):
            await asyncio.sleep(1.5)
            return await taken(*given, **named)

        monkeypatch.setattr(stage.store.sessions, "apply", slowly)
        loop = asyncio.get_running_loop()
        asked = loop.create_task(guest.link.report(ReportKind.PAGE_ASKED, {"host": PAGE_HOST}))
        sending = loop.create_task(guest.sign_in(WHOLE))
        await asyncio.sleep(0.1)
        guest.crash(1)
        await asyncio.sleep(0.3)
        await stage.restart()
        await stage.until(session.id, SessionStatus.COMPLETED)
        for one in (asked, sending):
            one.cancel()


@pytest.mark.parametrize("how", ["captured", "cancelled"])
async def test_what_a_session_may_ends_with_it_though_the_database_goes_away_with_its_end(site, monkeypatch, how):
    async with scene(site.folder, database_url=site.url, grace_completed_s=1, egress_after_capture_s=0) as stage:
        session, guest = await stage.awaiting()
        live = stage.reconciler.live.attendants[session.machine_id].live
        database = stage.store._database
        write, read, over = database.write, database.read, asyncio.Event()

        @contextlib.asynccontextmanager
        async def last_write():
            if over.is_set():
                raise OperatorError(Code.STORE_UNAVAILABLE)
            async with write() as given:
                yield given
            over.set()

        @contextlib.asynccontextmanager
        async def no_read():
            if over.is_set():
                raise OperatorError(Code.STORE_UNAVAILABLE)
            async with read() as given:
                yield given

        with monkeypatch.context() as patched:
            patched.setattr(database, "write", last_write)
            patched.setattr(database, "read", no_read)
            ending = guest.sign_in(WHOLE) if how == "captured" else stage.signin.cancel(session.id, by_person=True)
            task = asyncio.get_running_loop().create_task(ending)
            await over.wait()
            async with asyncio.timeout(5):
                await live.input_ended.wait()
                while not live.egress._closed:
                    await asyncio.sleep(0.05)
        await stage.machine_ended(session.id)
        assert (await stage.signin.session(session.id)).status.terminal
        task.cancel()
