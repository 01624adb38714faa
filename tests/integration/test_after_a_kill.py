"""What a service finds that was killed between writing something and doing it; each was found by the crash harness."""

from datetime import timedelta

import pytest

from antechamber.drivers.scripted import ScriptedDriver
from antechamber.guest.protocol import ReportKind
from antechamber.lifecycle import MachineFact
from antechamber.model import MachineState, Reason, SessionStatus
from antechamber.nodes import Node
from antechamber.signin import now
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import BUILD, WHOLE, Scene, scene


@pytest.fixture
async def stage(tmp_path):
    async with scene(tmp_path) as stage:
        yield stage


async def begun(stage: Scene):
    """Return a session and its machine that is written as booting: as when the service is killed right then."""
    await stage.close()
    await stage.open_store()
    session = await stage.start()
    await Node(stage.store, stage.node_id, name=stage.node_id, url=None).join()
    at = now()
    (row,) = await stage.store.machines.claim(stage.node_id, driver="scripted", at=at, until=at + timedelta(seconds=10))
    handle = ScriptedDriver(stage.host).plan(row.id, row.incarnation, host_uid=None)
    row = await stage.store.machines.begin(
        row.id,
        incarnation=row.incarnation,
        node=stage.node_id,
        handle=handle,
        host_uid=None,
        expires_at=at + timedelta(seconds=20),
        at=at,
    )
    await stage.store.close()
    return session, row


async def test_a_machine_that_was_written_as_booting_and_not_started_is_started(stage):
    session, row = await begun(stage)
    await stage.open()
    guest = await stage.guests.get()
    await stage.until(session.id, SessionStatus.AWAITING_SIGN_IN)
    assert [spec.incarnation for spec in stage.host.started] == [row.incarnation]
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, SessionStatus.COMPLETED)


async def test_a_machine_that_was_started_and_crashed_while_nobody_served_is_not_started_again(stage):
    session, guest = await stage.awaiting()
    machine = await stage.signin.machine(session.id)
    await stage.close()
    guest.crash(1)
    await stage.host.find(machine.incarnation).gone()
    await stage.open()
    failed = await stage.until(session.id, SessionStatus.FAILED)
    assert failed.reason is Reason.MACHINE_ENDED
    assert len(stage.host.started) == 1


async def test_a_machine_whose_session_was_cancelled_before_it_was_started_is_not_started(stage):
    session, _ = await begun(stage)
    await stage.open_store()
    await stage.signin.cancel(session.id, by_person=False)
    await stage.store.close()
    await stage.open()
    row = await stage.machine_ended(session.id)
    assert row.state is MachineState.LOST
    assert stage.host.started == []


class _LoadedBefore(SignInGuest):
    """Its page was loaded while another service served, and need not load again."""

    async def _load(self, guest):
        del guest


async def test_a_page_whose_bytes_were_counted_by_a_service_that_was_killed_makes_the_session_ready(stage):
    stage.make_guest = lambda: _LoadedBefore(build=BUILD, page_host="auth.openai.com")
    session = await stage.start()
    guest = await stage.guests.get()
    await guest.page_open.wait()
    assert ReportKind.PAGE_ASKED in await stage.kinds(session.id)
    assert (await stage.signin.session(session.id)).status is SessionStatus.STARTING
    await stage.restart()
    await stage.until(session.id, SessionStatus.AWAITING_SIGN_IN)


async def test_the_end_of_a_machine_and_what_its_session_is_told_are_one_transaction(stage):
    session, _ = await stage.awaiting()
    machine = await stage.signin.machine(session.id)
    with stage.store.changes.watch(f"session:{session.id}"):
        await stage.store.machines.apply(
            machine.id, MachineFact.ENDED, incarnation=machine.incarnation, at=now(), exit_code=None, detail="gone"
        )
        # nobody else has had a turn since
        failed = await stage.signin.session(session.id)
    assert (failed.status, failed.reason) == (SessionStatus.FAILED, Reason.MACHINE_ENDED)
    assert failed.detail == "machine lost, exit code None: gone"
