"""What a failure takes along and what it leaves alone, and how long a machine stays after each end."""

from __future__ import annotations

import asyncio
import struct
from datetime import timedelta

import pytest

from antechamber.model import MachineState, Reason, SessionStatus
from antechamber.signin import now
from tests.integration.scene import ADA, WHOLE, scene
from tests.opening import BY, opened


async def stays(stage, session_id):
    """See that a machine is still there after some of the reconciler's looks."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5 * stage.settings.sweep_s):
            await stage.machine_ended(session_id)
    assert (await stage.signin.machine(session_id)).state is MachineState.READY


async def picture_of(stream):
    """Ask a screen for its picture (RFC 6143), from the greeting on; return the first bytes of the update."""
    await stream.reader.readexactly(12)
    stream.writer.write(b"RFB 003.008\n")
    await stream.reader.readexactly(2)
    stream.writer.write(b"\x01")
    await stream.reader.readexactly(4)
    stream.writer.write(b"\x01")
    head = await stream.reader.readexactly(24)
    await stream.reader.readexactly(struct.unpack(">I", head[20:])[0])
    stream.writer.write(struct.pack(">BBHHHH", 3, 0, 0, 0, 320, 240))
    return await stream.reader.readexactly(4)


async def test_f005_after_success_machine_and_picture_stay_until_the_page_has_shown_it(site):
    async with scene(site.folder, database_url=site.url, grace_completed_s=60) as stage:
        session, guest = await stage.awaiting()
        stream = await stage.reconciler.live.open_screen(session.id)
        await guest.sign_in(WHOLE)
        await guest.captured.wait()
        await stays(stage, session.id)
        assert await picture_of(stream) == b"\x00\x00\x00\x01", "a screen that was open goes on"
        stream.writer.close()
        await stage.signin.success_shown(session.id)
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE


async def test_f005_a_machine_stays_for_the_grace_of_its_sessions_own_end(site):
    graces = {"grace_completed_s": 0.2, "grace_failed_s": 60}
    async with scene(site.folder, database_url=site.url, **graces) as stage:
        failed, failing = await stage.awaiting(user_id="bob")
        await failing.end_cli(1, "it gave up")
        await stage.until(failed.id, SessionStatus.FAILED)
        completed, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        assert (await stage.machine_ended(completed.id)).state is MachineState.GONE
        await stays(stage, failed.id)


async def test_f011_what_becomes_of_a_check_changes_nothing_of_the_completed_session(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(session.id)
        before = await stage.signin.session(session.id), await stage.signin.credentials()

        async def dies(_):
            return 1

        stage.make_guest = lambda: dies
        assert not (await stage.reconciler.checks.check(ADA, "codex", by=BY)).accepted
        stage.host.start_fault = "no room"
        assert not (await stage.reconciler.checks.check(ADA, "codex", by=BY)).accepted
        assert (await stage.signin.session(session.id), await stage.signin.credentials()) == before
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_f012_f013_a_start_that_fails_ends_its_own_session_with_a_reason_and_nothing_else(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stored, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(stored.id)
        other, neighbour = await stage.awaiting(user_id="bob")
        stage.host.start_fault = "no room"
        session = await stage.start()
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.MACHINE_DID_NOT_START
        assert "no room" in failed.detail
        await stage.machine_ended(session.id)
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex"), "what was stored before is still there"
        assert (await stage.signin.machine(other.id)).state is MachineState.READY
        assert await neighbour.sign_in(WHOLE) is None
        await stage.until(other.id, SessionStatus.COMPLETED)


async def test_f018_a_deadline_that_passed_while_the_service_was_away_is_kept_at_its_next_start(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, _ = await stage.awaiting()
        assert stage.host.running()
        await stage.close()
        stage.clock.ahead = session.expires_at - now() + timedelta(seconds=1)
        await stage.open()
        assert (await stage.until(session.id, SessionStatus.EXPIRED)).reason is Reason.NOBODY_CAME
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE
        assert not stage.host.running()
