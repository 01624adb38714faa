"""Every state that passes ends in time and with a true reason, whoever says nothing: guest, driver, browser, person.

The database's silence is in `test_reconciler_store_away.py`, a node's in `test_two_services.py`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.guest.protocol import PROTOCOL, encode
from antechamber.machine import Door, MachineSpec
from antechamber.model import LIVE_STATUSES, MachineState, Reason, SessionStatus
from antechamber.providers import Providers
from antechamber.screen import spares
from antechamber.testing.scripted_guest import LinkEnd, SignInGuest
from tests.integration.scene import BUILD, PAGE_HOST, WHOLE, scene

LATE_S = 12
"""How far any deadline may be passed: what a sweep and the steps after it take on a computer with much to do."""


class Mute:
    """A machine whose program never dials."""

    async def __call__(self, guest):
        await asyncio.Event().wait()
        return 0


class SaysHello:
    """A machine whose program says hello and nothing more, and reads nothing."""

    async def __call__(self, guest):
        stream = await guest.dial(Door.LINK)
        hello = {"type": "hello", "protocol": PROTOCOL, "build": BUILD}
        stream.writer.write(encode({**hello, "incarnation": guest.spec.incarnation, "has_job": False}))
        await asyncio.Event().wait()
        return 0


class NeverPaints(SignInGuest):
    """A machine whose browser never paints: no screen ever comes."""

    async def _screens(self, guest, tasks):
        await asyncio.Event().wait()


class HearsNothing(SignInGuest):
    """A machine that reports until its page is open, and then does nothing that it is asked."""

    async def _obey(self, link: LinkEnd):
        await asyncio.Event().wait()


async def nobody(stage, session):
    """Have the person never come."""


async def agrees(stage, session):
    await stage.signin.consent(session.id)


async def looks(stage, session):
    await agrees(stage, session)
    await stage.signin.screen_seen(session.id)


async def sees_it_give_up(stage, session):
    await looks(stage, session)
    guest = stage.programs[-1]
    await guest.end_cli(1, "Login failed")
    assert (await stage.signin.session(session.id)).gave_up_at is not None


@dataclass(frozen=True)
class Silence:
    """Who says nothing, in which state of the session, and how that ends."""

    state: SessionStatus
    reason: Reason
    guest: Callable[[], object] = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST)
    person: Callable[..., Awaitable[None]] = nobody
    silent: str = ""
    seconds: str = "start_s"
    """The setting that ends it."""


P, S, A = SessionStatus.PENDING, SessionStatus.STARTING, SessionStatus.AWAITING_SIGN_IN
HEARD = {
    "no node takes it": Silence(P, Reason.NO_MACHINE_FREE, seconds="wait_s"),
    "the driver's start never returns": Silence(S, Reason.MACHINE_DID_NOT_START, silent="start"),
    "the guest never dials": Silence(S, Reason.MACHINE_DID_NOT_START, Mute),
    "the guest says hello and no more": Silence(S, Reason.MACHINE_DID_NOT_START, SaysHello),
    "the browser never paints": Silence(
        S, Reason.MACHINE_DID_NOT_START, lambda: NeverPaints(build=BUILD, page_host=PAGE_HOST)
    ),
    "the tool never asks for its page": Silence(S, Reason.MACHINE_DID_NOT_START, lambda: SignInGuest(build=BUILD)),
    "the person never comes": Silence(A, Reason.NOBODY_CAME, seconds="nobody_came_s"),
    "the person agrees and never looks": Silence(A, Reason.NOBODY_CAME, person=agrees, seconds="nobody_came_s"),
    "the person never finishes": Silence(A, Reason.SIGN_IN_TIMED_OUT, person=looks, seconds="sign_in_s"),
    "nobody presses again": Silence(A, Reason.CLI_ENDED, person=sees_it_give_up, seconds="again_s"),
    "the guest does not answer when asked once more": Silence(
        A, Reason.NOBODY_CAME, lambda: HearsNothing(build=BUILD, page_host=PAGE_HOST), seconds="nobody_came_s"
    ),
}


def test_each_state_that_passes_is_among_them():
    assert {silence.state for silence in HEARD.values()} == LIVE_STATUSES


@pytest.mark.parametrize("who", HEARD)
async def test_whoever_says_nothing_the_session_ends_in_time_with_a_true_reason_and_its_machine_too(site, who):
    silence = HEARD[who]
    ready = silence.state is A
    times = {"start_s": 20 if ready else 3, "wait_s": 60, "nobody_came_s": 60, "sign_in_s": 60, "again_s": 60}
    times |= {silence.seconds: 3, "stop_s": 1}
    if silence.person is not nobody:
        # the person comes first
        times["nobody_came_s"] = 3 if silence.seconds == "nobody_came_s" else 60
    if silence.state is P:
        times["machines"] = 1
    async with scene(site.folder, database_url=site.url, **times) as stage:
        stage.programs = []

        def made():
            stage.programs.append(silence.guest())
            return stage.programs[-1]

        if silence.state is P:
            await stage.awaiting(user_id="before")
        stage.make_guest = made
        stage.host.silent |= {silence.silent} - {""}
        session = await stage.start()
        if ready:
            await stage.until(session.id, A)
            await silence.person(stage, session)
        begun = time.monotonic()
        ended = await _ended(stage, session.id)
        assert (ended.reason, time.monotonic() - begun < 3 + LATE_S) == (silence.reason, True), ended
        events = await stage.signin.events(session.id)
        moves = [event for event in events if event.before != event.after and event.before]
        assert moves[-1].before == silence.state
        machine = await asyncio.wait_for(stage.machine_ended(session.id), LATE_S + 20)
        assert machine.state.ended
        stage.host.speak()


async def _ended(stage, session_id):
    with stage.store.changes.watch(f"session:{session_id}") as changed:
        while not (session := await stage.signin.session(session_id)).status.terminal:
            await changed.wait(0.5)
    return session


async def test_a_driver_that_never_answers_attach_ends_no_machine_and_keeps_no_session(site):
    times = {"nobody_came_s": 3, "stop_s": 1}
    async with scene(site.folder, database_url=site.url, **times) as stage:
        session, _ = await stage.awaiting()
        stage.host.silent.add("attach")
        await stage.restart()
        ended = await _ended(stage, session.id)
        assert ended.reason is Reason.NOBODY_CAME
        # nobody can tell what became of it: it is neither gone nor lost, and is asked for again and again
        assert (await stage.signin.machine(session.id)).state is MachineState.READY
        assert len(stage.host.running()) == 1
        stage.host.speak()
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE
        assert stage.host.running() == []


async def test_a_driver_whose_stop_never_returns_is_asked_again_until_the_machine_is_gone(site):
    async with scene(site.folder, database_url=site.url, stop_s=1) as stage:
        session, _ = await stage.awaiting()
        stage.host.silent.add("stop")
        await stage.signin.cancel(session.id, by_person=True)
        await _asked_again(stage, session.id)
        assert (await stage.signin.machine(session.id)).state is MachineState.STOPPING
        stage.host.speak()
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE
        assert (await stage.signin.session(session.id)).reason is Reason.CANCELLED_BY_PERSON


async def test_a_machine_that_ends_while_its_stop_hangs_is_seen_to_have_ended(site):
    async with scene(site.folder, database_url=site.url, stop_s=1) as stage:
        session, _ = await stage.awaiting()
        stage.host.silent.add("stop")
        await stage.signin.cancel(session.id, by_person=True)
        await _asked_again(stage, session.id)
        stage.host.kill((await stage.signin.machine(session.id)).incarnation, 9)
        machine = await stage.machine_ended(session.id)
        assert (machine.state, machine.exit_code) == (MachineState.GONE, 9)
        stage.host.speak()


async def _asked_again(stage, session_id):
    """Wait until a first try to stop the machine has run out of time: its deadline is moved on then."""
    first = None
    while True:
        row = await stage.signin.machine(session_id)
        if row.state is MachineState.STOPPING:
            first = first or row.expires_at
            if row.expires_at > first + timedelta(milliseconds=1):
                return
        with stage.store.changes.watch("machines") as changed:
            await changed.wait(0.2)


async def test_a_driver_that_never_reaps_keeps_nothing_of_the_rows(site):
    async with scene(site.folder, database_url=site.url, stop_s=1) as stage:
        session, _ = await stage.awaiting()
        stage.host.silent.add("reap")
        await stage.signin.cancel(session.id, by_person=True)
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE
        stage.host.speak()


async def test_what_a_machine_left_is_removed_later_when_it_cannot_be_at_its_end(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, _ = await stage.awaiting()
        stage.host.keeps = True
        await stage.signin.cancel(session.id, by_person=True)
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE
        assert len(stage.host.handles()) == 1
        stage.host.keeps = False
        async with asyncio.timeout(LATE_S):
            while stage.host.handles():
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("fault", ["keeps", "silent"])
async def test_what_a_service_cannot_remove_at_its_start_keeps_nobody_out_and_goes_later(site, fault):
    async with scene(site.folder, database_url=site.url, stop_s=0.5) as stage:
        session, _ = await stage.awaiting()
        if fault == "keeps":
            stage.host.keeps = True
        else:
            stage.host.silent.add("reap")
        await stage.signin.cancel(session.id, by_person=True)
        await stage.machine_ended(session.id)
        await stage.restart()
        await stage.awaiting(user_id="bob")
        assert len(stage.host.handles()) == 2
        stage.host.keeps = False
        stage.host.speak()
        async with asyncio.timeout(LATE_S):
            while len(stage.host.handles()) > 1:
                await asyncio.sleep(0.1)


async def test_a_database_that_cannot_be_asked_as_a_machine_starts_is_no_fault_of_the_machines(site, monkeypatch):
    async with scene(site.folder, database_url=site.url) as stage:
        real, asked = stage.reconciler.spec_of, []

        async def once_away(row):
            asked.append(row)
            if len(asked) == 1:
                raise OperatorError(Code.STORE_UNAVAILABLE)
            return await real(row)

        monkeypatch.setattr(stage.reconciler, "spec_of", once_away)
        session = await stage.start()
        await stage.until(session.id, SessionStatus.AWAITING_SIGN_IN)


async def test_a_machine_whose_provider_is_gone_ends_with_its_session(site):
    async with scene(site.folder, database_url=site.url, nobody_came_s=3) as stage:
        session, _ = await stage.awaiting()
        known = stage.providers
        stage.providers = Providers(tuple(spec for spec in known.all() if spec.id != "codex"))
        await stage.restart()
        ended = await _ended(stage, session.id)
        assert (ended.reason, ended.detail) == (Reason.NOBODY_CAME, "its provider codex is not defined any more")
        assert (await asyncio.wait_for(stage.machine_ended(session.id), LATE_S)).state is MachineState.GONE
        assert stage.host.running() == []


async def test_a_provider_that_was_missing_for_a_moment_costs_no_sign_in(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        known = stage.providers
        stage.providers = Providers(tuple(spec for spec in known.all() if spec.id != "codex"))
        await stage.restart()
        stage.providers = known
        await stage.restart()
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)


async def test_a_driver_that_never_answers_does_not_keep_the_service_from_starting(site):
    async with scene(site.folder, database_url=site.url, stop_s=0.5) as stage:
        handle = {"driver": "scripted", "machine": "mac_00000000000000000000", "incarnation": "inc_x", "uid": None}
        stage.host.begin(MachineSpec(machine_id=handle["machine"], incarnation="inc_x"), handle)
        stage.host.silent.add("attach")
        await asyncio.wait_for(stage.restart(), 20)
        stage.host.speak()
        await stage.awaiting()


class PaintsLate(SignInGuest):
    """A machine whose screen comes when it is let."""

    def __init__(self, **named):
        super().__init__(**named)
        self.let = asyncio.Event()

    async def _screens(self, guest, tasks):
        await self.let.wait()
        await super()._screens(guest, tasks)


async def test_a_screen_that_comes_later_than_a_connection_is_waited_for_still_makes_the_session_ready(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(spares, "_OPEN_S", 0.2)
    late = PaintsLate(build=BUILD, page_host=PAGE_HOST)
    async with scene(tmp_path) as stage:
        stage.make_guest = lambda: late
        session = await stage.start()
        await late.page_open.wait()
        await asyncio.sleep(1)
        assert (await stage.signin.session(session.id)).status is SessionStatus.STARTING
        late.let.set()
        await stage.until(session.id, SessionStatus.AWAITING_SIGN_IN)


async def test_a_machine_that_ends_while_its_screen_is_waited_for_is_no_failed_task(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(spares, "_OPEN_S", 0.1)
    late = PaintsLate(build=BUILD, page_host=PAGE_HOST)
    async with scene(tmp_path, sweep_s=5) as stage:
        stage.make_guest = lambda: late
        session = await stage.start()
        await late.page_open.wait()
        await asyncio.sleep(0.5)  # so that it pauses before it asks again
        late.crash(1)
        await stage.machine_ended(session.id)
        assert (await stage.signin.session(session.id)).reason is Reason.MACHINE_DID_NOT_START
    assert "task failed" not in "".join(capsys.readouterr())
