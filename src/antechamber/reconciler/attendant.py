"""One machine's attendant: from the rows that ask for it to the last trace removed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from antechamber.errors import AntechamberError, CallerError, Code, MachineError, OperatorError
from antechamber.lifecycle import MachineFact, SessionFact, decide_machine
from antechamber.log import get_logger
from antechamber.machine import MachineEnd
from antechamber.model import GuestText, MachineKind, MachineState, RunStatus, SessionStatus
from antechamber.points import Point, point
from antechamber.reconciler.errands import AWAY, CheckErrand, SignInErrand
from antechamber.reconciler.live import LiveMachine
from antechamber.reconciler.run_errand import RunErrand
from antechamber.reconciler.run_time import RunTime
from antechamber.run_life import RunFact
from antechamber.store import run_topic
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from antechamber.machine import Handle, Machine
    from antechamber.model import AuthSession, MachineRow, Run
    from antechamber.reconciler.loop import Reconciler

_log = get_logger("attendant")
_DRAIN: Final = timedelta(seconds=1)
_NO_GRACE: Final = timedelta(0)
_NO_ANSWER: Final = "the driver did not answer in time"


class Attendant:
    """Does what one machine's row and its session ask for; safe to be cancelled and made anew at any await."""

    def __init__(self, row: MachineRow, host: Reconciler) -> None:
        """Attend the machine of that row."""
        self._row = row
        self._host = host
        self._store = host.store
        self._settings = host.settings
        self._now = host.now
        self.live: LiveMachine | None = None
        self.draining = False
        """Whether the machine has ended, and what it had reported is being stored."""
        self._end_seen: float | None = None

    async def attend(self) -> None:
        """Bring the machine to its end; returns when nothing of it is left."""
        if self._row.state is MachineState.REQUESTED:
            await self._start()
        else:
            await self._find()

    # -- to a running machine ----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if not await self._is_wanted():
            await self._apply(MachineFact.STOP_ASKED)
            return
        try:
            begun = await self._begin(self._now() + self._settings.duration("start") + self._settings.duration("stop"))
        except MachineError as error:
            if error.code is not Code.MACHINE_ENDED:
                raise
            # its session ended a moment ago, or another node has it
            _log.debug("a machine is not begun", machine=self._row.id, detail=error.detail)
            return
        if begun is None:
            await self._no_uid()
            return
        self._row = begun
        point(Point.BOOTING_WRITTEN)
        await self._launch(begun.handle or {})

    async def _is_wanted(self) -> bool:
        match self._row.kind:
            case MachineKind.SIGN_IN:
                session = await self._session()
                return session is not None and not session.status.terminal
            case MachineKind.RUN:
                run = await self._run_row()
                return run is not None and run.status is RunStatus.STARTING
            case MachineKind.CHECK:
                return self._errand_of_check() is not None

    async def _launch(self, handle: Handle) -> None:
        """Start what is written as booting; a second time it is found and not started again."""
        begun = self._row
        await self._say_booting()
        try:
            spec = await self._host.spec_of(begun)
            async with asyncio.timeout(self._settings.start_s):
                machine = await self._host.driver.start(spec, handle)
        except TimeoutError:
            _log.error("machine did not start", machine=begun.id, code=Code.MACHINE_DID_NOT_START, detail=_NO_ANSWER)
            await self._could_not_start(_NO_ANSWER)
            # whatever it has begun meanwhile is found by its handle
            await self._find()
            return
        except OperatorError as error:
            if error.code is Code.STORE_UNAVAILABLE:
                raise  # nothing was started yet, and that is no fault of the machine's: it is begun again
            await self._did_not_start(error, handle)
            return
        except AntechamberError as error:
            await self._did_not_start(error, handle)
            return
        point(Point.MACHINE_STARTED)
        await self._run(machine, handle, build=self._host.build)

    async def _did_not_start(self, error: AntechamberError, handle: Handle) -> None:
        _log.error("machine did not start", machine=self._row.id, code=error.code, detail=error.detail)
        await self._could_not_start(f"{error.code}: {error.detail}")
        point(Point.START_REFUSED)
        await self._ended(MachineEnd(self._now(), None, error.detail), handle)

    async def _say_booting(self) -> AuthSession | None:
        """Tell the session that its machine boots, where nobody has yet; return it as it is then."""
        session = await self._session()
        if session is not None and session.status is SessionStatus.PENDING:
            # counted from the machine's own beginning, also when this is said by a later service
            moved = await self._store.sessions.apply(
                session.id,
                SessionFact.MACHINE_BOOTING,
                at=self._now(),
                expires_at=self._row.state_at + self._settings.duration("start"),
            )
            point(Point.SESSION_STARTING)
            return moved.session
        return session

    async def _no_uid(self) -> None:
        """Let a sign-in or a run wait for one as for a machine; a check, which waits in no line, ends."""
        if self._row.kind is MachineKind.CHECK:
            await self._could_not_start("no host uid is free for another machine")
        else:
            await self._store.machines.release(self._row.id, self._host.node.id)

    async def _begin(self, deadline: datetime) -> MachineRow | None:
        uids = self._host.driver.host_uids()
        node = self._host.node.id
        taken = await self._store.machines.taken_uids(node, self._row.driver) if uids else set()
        free: list[int | None] = [uid for uid in uids if uid not in taken] if uids else [None]
        # another service on this host may be choosing at the same moment, and sees the same ones free: of another
        # installation the driver's reservation tells, of this one the row
        first = secrets.randbelow(len(free)) if free else 0
        for uid in free[first:] + free[:first]:
            if uid is not None and not self._host.driver.reserve(uid):
                continue
            begun = None
            try:
                begun = await self._store.machines.begin(
                    self._row.id,
                    incarnation=self._row.incarnation,
                    node=node,
                    handle=self._host.driver.plan(self._row.id, self._row.incarnation, host_uid=uid),
                    host_uid=uid,
                    expires_at=deadline,
                    at=self._now(),
                )
            finally:
                if begun is None and uid is not None:
                    self._host.driver.give_back(uid)
            if begun is not None:
                return begun
        return None

    async def _could_not_start(self, detail: str) -> None:
        if self._row.session_id is not None:
            await self._store.sessions.apply(
                self._row.session_id, SessionFact.START_FAILED, at=self._now(), detail=detail
            )
        if self._row.run_id is not None:
            await self._host.runs.ended(self._row.run_id, RunFact.DID_NOT_START, detail)
        if (check := self._errand_of_check()) is not None:
            check.ended(detail)

    async def _find(self) -> None:
        handle = self._row.handle or {}
        try:
            async with asyncio.timeout(self._settings.stop_s):
                found = await self._host.driver.attach(handle)
        except TimeoutError as error:
            # "cannot tell" is never "dead": it is asked again, and the session has its own deadline
            raise MachineError(Code.INTERNAL, detail=_NO_ANSWER) from error
        if isinstance(found, MachineEnd):
            if await self._never_began(found):
                _log.info("machine begun again", machine=self._row.id)
                await self._launch(handle)
                return
            await self._ended(found, handle)
            return
        _log.info("machine found again", machine=self._row.id, state=self._row.state)
        # an earlier service started it, perhaps one of another release
        await self._run(found, handle, build=None)

    async def _never_began(self, end: MachineEnd) -> bool:
        """Tell whether the service was killed between writing `booting` and doing it, and it is still wanted.

        Nobody has recorded an end then; of a machine that has run and left no record the driver refuses a second start.
        """
        if self._row.state is not MachineState.BOOTING or (end.at, end.exit_code) != (None, None):
            return False
        if self._row.kind is MachineKind.RUN:
            return await self._is_wanted()
        session = await self._session()
        return session is not None and session.status in {SessionStatus.PENDING, SessionStatus.STARTING}

    # -- while it runs -----------------------------------------------------------------------------------------------

    async def _run(self, machine: Machine, handle: Handle, *, build: str | None) -> None:
        try:
            await self._watch(machine, handle, build)
        finally:
            # of a machine that has ended only our own ends are left; where the service is stopping, or the database is
            # away, the machine goes on and is found again
            await machine.let_go()

    async def _watch(self, machine: Machine, handle: Handle, build: str | None) -> None:
        # said here and not at the start alone: the service may have been killed between the machine's move and this
        session = await self._say_booting()
        errand = await self._errand(session)
        if errand is None:
            await self._stop(machine, handle)
            return
        live = LiveMachine(self._row, machine, errand, build=build, egress=self._host.egress_of)
        if isinstance(errand, RunErrand):
            errand.asked_since = partial(live.egress.asked_since, errand.spec.renewal_hosts)
            live.link.on_run_read = partial(self._store.changes.tell, run_topic(errand.run.id))
        self.live = live
        live.open()
        self._host.live.tell_opened()
        point(Point.DOORS_SERVED)
        ended = spawn(f"end of {self._row.id}", machine.ended())
        due = spawn(f"due of {self._row.id}", self._until_due(live))
        ready = None
        if isinstance(errand, SignInErrand) and self._is_coming_up(session):
            ready = spawn(f"readiness of {self._row.id}", _become_ready(errand, live, self._settings.sweep_s))
        try:
            await asyncio.wait({ended, due}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                self.draining = True
                await live.drain(_DRAIN, late=self._settings.duration("late_report"))
                await self._ended(ended.result(), handle)
            else:
                due.result()
                await self._stop(machine, handle, live=live if isinstance(errand, RunErrand) else None)
        finally:
            await cancel_and_wait(ended, due, ready)
            # whoever is woken by the close must not find it again
            self.live = None
            await live.close()

    def _is_coming_up(self, session: AuthSession | None) -> bool:
        # the session too: the service may have been killed between the machine's move and the session's
        starting = session is not None and session.status is SessionStatus.STARTING
        return starting or self._row.state is MachineState.BOOTING

    async def _until_due(self, live: LiveMachine) -> None:
        """Return when the machine is to stop: its session has ended and the grace is over, or its own time is."""
        if isinstance(live.errand, CheckErrand):
            await asyncio.wait({live.errand.verdict}, timeout=self._settings.start_s)
            return
        if isinstance(live.errand, RunErrand):
            await RunTime(live, live.errand, self._host, self._row.id).up()
            return
        with self._store.changes.watch(f"session:{self._row.session_id}") as changed:
            hinted = False
            while True:
                try:
                    wait = await self._may_go_on(live)
                    hinted = False
                except OperatorError as error:
                    # a hint can have been the session's end: nothing may go on that only a live session's may
                    if error.code is not Code.STORE_UNAVAILABLE or (hinted and not live.link.in_hand):
                        raise
                    # else the screen goes on, and so does what has been reported and is in hand
                    wait = self._settings.sweep_s
                if wait is None:
                    return
                hinted = await changed.wait(wait) or hinted

    async def _may_go_on(self, live: LiveMachine) -> float | None:
        """Do what the session's state asks for; return the seconds to the next look, None when it is to stop."""
        session = await self._session()
        if session is None:
            return None
        wait = self._settings.sweep_s
        if session.status.terminal:
            completed = session.status is SessionStatus.COMPLETED
            point(Point.WINDING_DOWN)
            await live.wind_down(
                captured=completed,
                egress_for=self._settings.duration("egress_after_capture") if completed else _NO_GRACE,
            )
            point(Point.WOUND_DOWN)
            left = self._grace_left(session)
            if left <= 0:
                return None
            wait = min(wait, left)
        elif session.attempt > 1:
            await live.again(session.attempt)
            point(Point.AGAIN_TOLD)
        row = await self._store.machines.get(self._row.id)
        if row is None or row.state not in {MachineState.BOOTING, MachineState.READY}:
            return None
        return wait

    def _grace_left(self, session: AuthSession) -> float:
        """Return how many seconds the machine of an ended session still has.

        By the time at which the session ended, so that a restart does not begin it anew; and never longer than the
        grace since this service saw the end, or a clock that goes back an hour would keep the machine for an hour.
        """
        self._end_seen = self._end_seen or time.monotonic()
        if session.success_shown_at or session.rejected_at:
            return 0
        match session.status:
            case SessionStatus.COMPLETED:
                grace = self._settings.duration("grace_completed")
            case SessionStatus.FAILED:
                grace = self._settings.duration("grace_failed")
            case _:
                return 0
        by_the_clock = (session.ended_at or self._now()) + grace - self._now()
        return min(by_the_clock.total_seconds(), self._end_seen + grace.total_seconds() - time.monotonic())

    # -- to its end --------------------------------------------------------------------------------------------------

    async def _stop(self, machine: Machine, handle: Handle, *, live: LiveMachine | None = None) -> None:
        """Stop the machine; with `live` what it had sent is stored before its end is told."""
        await self._apply(MachineFact.STOP_ASKED, expires_at=self._now() + self._settings.duration("stop"))
        point(Point.STOP_WRITTEN)
        end = None
        while end is None:
            try:
                async with asyncio.timeout((self._settings.duration("stop") + _DRAIN).total_seconds()):
                    end = await machine.stop(within=self._settings.duration("stop"))
            except (MachineError, TimeoutError) as error:
                detail = error.detail if isinstance(error, MachineError) else _NO_ANSWER
                _log.warning("machine is slow to stop", machine=self._row.id, detail=detail)
                await self._apply(MachineFact.TIME_RAN_OUT, expires_at=self._now() + self._settings.duration("stop"))
                end = await self._ends_by_itself(machine)
        point(Point.MACHINE_STOPPED)
        if live is not None:
            self.draining = True
            await live.drain(_DRAIN, late=self._settings.duration("late_report"))
        await self._ended(end, handle)

    async def _ends_by_itself(self, machine: Machine) -> MachineEnd | None:
        """Return how the machine ended, or None when it goes on; waits a moment, so that it is not asked in a loop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.sweep_s):
                return await machine.ended()
        return None

    async def _keep_printed(self, handle: Handle) -> None:
        """Keep what a failed machine printed, before its end is told: then nobody would know of it after a kill."""
        session = await self._session()
        is_lost = decide_machine(self._row.state, MachineFact.ENDED).after is MachineState.LOST
        if self._host.logs is None or not (is_lost or (session and session.status is SessionStatus.FAILED)):
            return
        try:
            printed = await self._host.driver.printed(handle)
            if await asyncio.to_thread(self._host.logs.keep, self._row.id, printed):
                path = str(self._host.logs.path(self._row.id))
                _log.info("what a failed machine printed is kept", machine=self._row.id, path=path)
        except OSError as error:
            _log.warning("what a failed machine printed could not be kept", machine=self._row.id, detail=repr(error))

    async def _ended(self, end: MachineEnd, handle: Handle) -> None:
        await self._keep_printed(handle)
        row, _ = await self._store.machines.apply(
            self._row.id,
            MachineFact.ENDED,
            incarnation=self._row.incarnation,
            at=self._now(),
            exit_code=end.exit_code,
            detail=GuestText(end.detail),
        )
        if (check := self._errand_of_check()) is not None:
            check.ended("the machine ended before the check was done")
        point(Point.END_WRITTEN)
        await self._reap(handle)
        point(Point.REAPED)
        _log.info("machine ended", machine=row.id, state=row.state, exit_code=end.exit_code, detail=row.end_detail)

    async def _reap(self, handle: Handle) -> None:
        try:
            async with asyncio.timeout(self._settings.stop_s):
                await self._host.driver.reap(handle)
        except (TimeoutError, AntechamberError, OSError) as error:
            detail = _NO_ANSWER if isinstance(error, TimeoutError) else repr(error)
            _log.warning("a machine could not be reaped", machine=self._row.id, detail=detail)
            # its row tells of its end already, so that no attendant comes again
            self._host.remove_later(handle)

    async def _apply(self, fact: MachineFact, *, expires_at: datetime | None = None) -> None:
        self._row, _ = await self._store.machines.apply(
            self._row.id,
            fact,
            incarnation=self._row.incarnation,
            at=self._now(),
            expires_at=expires_at,
        )

    async def _session(self) -> AuthSession | None:
        return await self._store.sessions.get(self._row.session_id) if self._row.session_id else None

    async def _run_row(self) -> Run | None:
        return await self._store.runs.get(self._row.run_id) if self._row.run_id else None

    async def _errand(self, session: AuthSession | None) -> SignInErrand | CheckErrand | RunErrand | None:
        if self._row.state is MachineState.STOPPING:
            return None
        if self._row.kind is MachineKind.RUN:
            return await self._errand_of_run()
        if session is not None:
            try:
                spec = self._host.providers.get(session.provider)
            except CallerError:
                if session.status.terminal:
                    return None
                # its definition may have been moved away by mistake: until its deadline the session waits for it
                raise
            return SignInErrand(
                session.id,
                self._row,
                spec,
                store=self._store,
                signin=self._host.signin,
                settings=self._settings,
            )
        return self._errand_of_check()

    async def _errand_of_run(self) -> RunErrand | None:
        run = await self._run_row()
        if run is None:
            return None
        runs = self._host.runs
        try:
            spec = self._host.providers.get(run.provider)
            job = await runs.job(run)
            lease = await self._store.runs.lease(run.id)
        except OperatorError as error:
            if error.code in AWAY:
                raise
            await runs.ended(run.id, RunFact.DID_NOT_START, f"{error.code}: {error.detail}")
            return None
        except AntechamberError as error:
            await runs.ended(run.id, RunFact.DID_NOT_START, f"{error.code}: {error.detail}")
            return None
        return RunErrand(
            run,
            self._row,
            spec,
            job,
            store=self._store,
            runs=runs,
            settings=self._settings,
            renewing_since=None if lease is None else lease.renewing_at,
        )

    def _errand_of_check(self) -> CheckErrand | None:
        return self._host.checks.errand(self._row.id)


async def _become_ready(errand: SignInErrand, live: LiveMachine, pause_s: float) -> None:
    while True:
        if not await _waits(errand, live):
            return
        # not where the error is handled: there the end of the machine, which cancels this, would come in a group
        await asyncio.sleep(pause_s)


async def _waits(errand: SignInErrand, live: LiveMachine) -> bool:
    """Try once to become ready; tell whether it is to be tried again."""
    ended, lies, away = False, list[MachineError](), False
    try:
        await errand.become_ready(live)
    except* MachineError as group:
        told = [one for one in group.exceptions if isinstance(one, MachineError)]
        lies = [one for one in told if one.code is not Code.MACHINE_ENDED]
        ended = not lies
    except* OperatorError as group:
        _log.warning("a machine's readiness waits for the database", detail=str(group.exceptions[0]))
        away = True
    for lie in lies:
        await errand.on_broken(lie)
    # only a lie is the guest's own doing: a machine that has ended is told of by its end, which ends this too, and one
    # that lives may still bring its screen
    return ended or away
