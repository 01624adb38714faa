"""The reconciler when the database is away for a while, or the service was killed between two moves."""

import asyncio
import contextlib
import sqlite3
from datetime import timedelta

import psycopg
import pytest

from antechamber.lifecycle import MachineFact
from antechamber.model import IdPrefix, SessionStatus, new_id
from antechamber.signin import now
from tests.integration.scene import ADA, WHOLE, SlowGuest, scene, told
from tests.opening import opened


@contextlib.asynccontextmanager
async def locked(site):
    """Keep everybody from writing, as a backup or a full disk might."""
    # not in this thread: on PostgreSQL it waits for transactions that are under way here
    held = await asyncio.to_thread(_lock, site)
    try:
        yield
    finally:
        await asyncio.to_thread(held.close)


def _lock(site):
    if site.url.startswith("sqlite"):
        held = sqlite3.connect(site.folder / "test.db", isolation_level=None, check_same_thread=False)
        held.execute("begin immediate")
    else:
        held = psycopg.connect(site.url)
        held.execute("lock table auth_sessions, events in exclusive mode")
    return held


@pytest.mark.timeout(90)
async def test_f003_f060_a_credential_is_kept_while_the_database_is_away_and_stored_when_it_is_back(site, capsys):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        async with locked(site):
            guest.write_file(WHOLE)
            sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
            await told(capsys, "a report waits")
            assert (await stage.signin.session(session.id)).status is SessionStatus.AWAITING_SIGN_IN
        assert await sending is None, "the report is taken, not refused"
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
        await stage.machine_ended(session.id)


async def test_a_service_killed_between_the_machines_readiness_and_the_sessions_says_it_at_the_next_start(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.make_guest = SlowGuest
        session = await stage.start()
        guest = await stage.guests.get()
        await stage.until(session.id, SessionStatus.STARTING)
        await stage.close()
        # what a kill at that instruction leaves
        await stage.open()
        row = await stage.signin.machine(session.id)
        await stage.store.machines.apply(row.id, MachineFact.READY, incarnation=row.incarnation, at=now())
        await stage.restart()
        guest.gate.set()
        await stage.until(session.id, SessionStatus.AWAITING_SIGN_IN)


async def test_a_file_from_while_the_service_was_down_is_captured_though_the_deadline_has_passed_meanwhile(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await stage.close()
        guest.write_file(WHOLE)
        stage.clock.ahead = timedelta(seconds=stage.settings.nobody_came_s + 1)
        await stage.open()
        await stage.until(session.id, SessionStatus.COMPLETED)
        await stage.machine_ended(session.id)


@pytest.mark.timeout(200)
async def test_a_service_that_is_started_again_at_the_moment_of_a_capture_stores_it_once(site):
    async with scene(site.folder, database_url=site.url) as stage:
        for version, turns in enumerate((0, 3, 12, 40, 120), start=1):
            session, guest = await stage.awaiting()
            sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
            for _ in range(turns):
                await asyncio.sleep(0)
            await stage.restart()
            await stage.until(session.id, SessionStatus.COMPLETED)
            (settled,) = await asyncio.gather(sending, return_exceptions=True)
            # stored before the restart, the machine may be ended before it dials again and hears so
            assert settled is None or isinstance(settled, asyncio.CancelledError)
            assert (await stage.store.credentials.current(ADA, "codex")).version == version
            await stage.machine_ended(session.id)


# what a service on the same database commits when its hint is lost
WITHOUT_A_HINT = (
    (
        "INSERT INTO auth_sessions (id, machine_id, application, user_id, provider, status, created_at, status_at,"
        " expires_at) VALUES (%(session)s, %(machine)s, 'default', 'ada', 'codex', 'pending', now(), now(),"
        " now() + interval '1 minute')"
    ),
    (
        "INSERT INTO machines (id, kind, session_id, state, driver, incarnation, created_at, state_at, expires_at)"
        " VALUES (%(machine)s, 'sign_in', %(session)s, 'requested', 'scripted', %(incarnation)s, now(), now(),"
        " now() + interval '1 minute')"
    ),
)


async def test_what_another_service_committed_is_found_by_the_sweep_when_its_hint_is_lost(tmp_path, postgres_url):
    async with scene(tmp_path, database_url=postgres_url) as stage:
        session_id = new_id(IdPrefix.SESSION)
        names = {
            "session": session_id,
            "machine": new_id(IdPrefix.MACHINE),
            "incarnation": new_id(IdPrefix.INCARNATION),
        }
        with psycopg.connect(postgres_url) as prompt:
            for statement in WITHOUT_A_HINT:
                prompt.execute(statement, names)
        await stage.until(session_id, SessionStatus.AWAITING_SIGN_IN)
