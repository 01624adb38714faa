"""The loop: one attendant for each machine that has not ended, every deadline kept, orphans reclaimed first."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, Final

from antechamber import workspaces
from antechamber.egress import BROWSER_BACKGROUND_HOSTS, Egress, Limits
from antechamber.errors import AntechamberError, Code, MachineError, OperatorError
from antechamber.log import about, get_logger, told
from antechamber.machine import MachineSpec, Mount
from antechamber.metrics import Metrics
from antechamber.model import SessionStatus
from antechamber.points import Point, point
from antechamber.reconciler import erasing, pruning
from antechamber.reconciler.attendant import Attendant
from antechamber.reconciler.checks import Checks
from antechamber.reconciler.deadlines import Deadlines
from antechamber.reconciler.live import doors_of
from antechamber.reconciler.reclaim import end, reclaim
from antechamber.reconciler.room import Room
from antechamber.reconciler.run_errand import RunErrand
from antechamber.reconciler.running import Live
from antechamber.tasks import Tasks, cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from antechamber.egress import Policy, Use, World
    from antechamber.host import Host
    from antechamber.machine import Driver, Handle
    from antechamber.machine_logs import MachineLogs
    from antechamber.model import AuthSession, MachineRow, Run
    from antechamber.nodes import Node
    from antechamber.providers import Providers, ProviderSpec
    from antechamber.reconciler.live import Errand
    from antechamber.runs import Runs
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.store import Store

_log = get_logger("reconciler")
_REMOVED_EACH_S: Final = 60.0
_WAITS: Final = ("wait", "start", "nobody_came", "sign_in", "again")
"""The settings of what a session waits for."""
_RUN_WAITS: Final = ("run_wait", "start", "run")
"""The same of a run."""


class Reconciler:
    """Makes the database true."""

    def __init__(
        self,
        *,
        store: Store,
        node: Node,
        signin: SignIn,
        runs: Runs,
        providers: Providers,
        driver: Driver,
        world: World,
        policy: Policy,
        settings: Settings,
        guest: Path,
        build: str,
        installed: dict[str, Sequence[Mount]],
        metrics: Metrics | None = None,
        logs: MachineLogs | None = None,
        host: Host | None = None,
    ) -> None:
        """Bind the parts.

        `node` is the service's own, which has joined; `installed` gives each installed provider's mounts, `guest` is
        the staged guest's folder; `logs` keeps what failed machines printed, and `host` says what memory and processors
        there are.
        """
        self.store = store
        self.node = node
        self.signin = signin
        self.runs = runs
        self.now = signin.clock
        self.providers = providers
        self.driver = driver
        self.settings = settings
        self.build = build
        self.metrics = metrics or Metrics()
        self.logs = logs
        self.live = Live()
        self.room = Room(settings, driver, host)
        self.metrics.places(self.room.most)
        self._world = world
        self._policy = policy
        self._guest = guest
        self._installed = installed
        self._tasks = Tasks("reconciler")
        self._records = Tasks("records")
        self._attending: dict[str, asyncio.Task[None]] = {}
        self.checks = Checks(
            store=store,
            node=node,
            signin=signin,
            providers=providers,
            driver=driver,
            settings=settings,
            attending=self._attending,
        )
        self._over: set[str] = set()
        """Machines whose attendant has gone since the present pass began: its rows are of before that."""
        self._timing_out: dict[str, asyncio.Task[None]] = {}
        self._deadlines = Deadlines(max(settings.duration(name) for name in _WAITS))
        self._run_deadlines = Deadlines(max(settings.duration(name) for name in _RUN_WAITS))
        self._deadlines_seen = -math.inf
        self._run_deadlines_seen = -math.inf
        self._due_since: dict[str, float] = {}
        """Since when, by the monotonic clock, a session has been seen to be due."""
        self._loop: asyncio.Task[None] | None = None
        self._well_since: float | None = None
        """Since when, by the monotonic clock, every pass has ended well."""

    # -- its life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Reclaim what nobody asks for any more, then begin."""
        await self.reclaim()
        self._loop = spawn("reconciler", self._run())
        self._tasks.spawn("pruning", pruning.go_on(self.store, self.settings, self.now, self.logs))
        self._tasks.spawn("erasing", erasing.go_on(self.signin.owners, self.store.changes, self.settings.sweep_s))

    async def close(self) -> None:
        """Stop attending; the machines go on and are found again."""
        await cancel_and_wait(self._loop)
        await self._drained()
        await self._tasks.close()
        # where the database is away, what egress counted is not worth a service that does not stop
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.stop_s):
                await self._records.drained()
        await self._records.close()

    async def _drained(self) -> None:
        """Let what ended machines have reported be stored: of it nothing would be left for the next service."""
        ending = [
            self._attending[machine_id]
            for machine_id, attendant in self.live.attendants.items()
            if attendant.draining and machine_id in self._attending
        ]
        if ending:
            await asyncio.wait(ending, timeout=self.settings.stop_s)

    async def reclaim(self) -> None:
        """Stop and remove machines of this node that no row asks for; what that leaves is tried again by and by."""
        stop_within = self.settings.duration("stop")
        for handle in await reclaim(self.store, self.node.id, [self.driver], stop_within=stop_within):
            self.remove_later(handle)

    async def end_machines(self) -> None:
        """Stop and remove every machine of this node, for one that will not be started again."""
        for handle in await self.driver.found():
            await end(self.driver, handle, stop_within=self.settings.duration("stop"))

    async def _run(self) -> None:
        with self.store.changes.watch("machines") as machines:
            while True:
                try:
                    await self._pass()
                    self._well_since = self._well_since or time.monotonic()
                except AntechamberError as error:
                    self._well_since = None
                    # the database may be away for a while: the next pass sees the same truth
                    _log.warning("a pass failed", code=error.code, detail=error.detail)
                except Exception as error:  # noqa: BLE001 - a fault of ours in one row must not end every deadline
                    self._well_since = None
                    _log.error("a pass failed by a fault of ours", **told(error))
                await machines.wait(self.settings.sweep_s)

    async def _pass(self) -> None:
        await self.node.beat()
        at = self.now()
        self._over.clear()
        await self.store.machines.withdraw(at)
        rows = await self.store.machines.not_ended(self.node.id)
        for row in rows + await self._take(rows, at):
            if row.id not in self._attending and row.id not in self._over:
                self._attending[row.id] = self._tasks.spawn(f"attend {row.id}", self._attend(row))
        for session in [*await self.store.sessions.due(self.now()), *await self._overdue()]:
            if session.id not in self._timing_out:
                self._timing_out[session.id] = self._tasks.spawn(f"time out {session.id}", self._time_out(session))
        for run in [*await self.store.runs.due(self.now()), *await self._runs_overdue()]:
            if run.id not in self._timing_out:
                self._timing_out[run.id] = self._tasks.spawn(f"time out {run.id}", self._time_out_run(run))
        await self.signin.life.sweep()

    async def _overdue(self) -> list[AuthSession]:
        """Return what is due by the time that has passed, once a sweep: by the clock it may be due much later."""
        at = time.monotonic()
        if at - self._deadlines_seen < self.settings.sweep_s:
            return []
        self._deadlines_seen = at
        passed = self._deadlines.passed(await self.store.sessions.deadlines(), self.now())
        self._due_since = {one: since for one, since in self._due_since.items() if one in passed}
        found = [await self.store.sessions.get(one) for one in passed if one not in self._timing_out]
        # one whose deadline was moved on since then is due no more: its person has just come
        return [session for session in found if session is not None and session.expires_at == passed[session.id]]

    async def _runs_overdue(self) -> list[Run]:
        """Return the runs that are due by the time that has passed, once a sweep, as `_overdue`."""
        at = time.monotonic()
        if at - self._run_deadlines_seen < self.settings.sweep_s:
            return []
        self._run_deadlines_seen = at
        passed = self._run_deadlines.passed(await self.store.runs.deadlines(), self.now())
        found = [await self.store.runs.get(one) for one in passed]
        return [run for run in found if run is not None and run.expires_at == passed[run.id]]

    async def _take(self, rows: Sequence[MachineRow], at: datetime) -> list[MachineRow]:
        """Claim as many of the requested machines as there is room for beside those, the first of the line first."""
        left = self.room.left(rows, at)
        taken = []
        if left.count:
            taken = await self.store.machines.claim(
                self.node.id,
                driver=self.driver.name,
                at=at,
                until=at + self.settings.duration("claim"),
                limit=left.count,
            )
        if taken:
            point(Point.CLAIMED)
        if len(taken) == left.count:
            self.room.tell(self.room.left([*rows, *taken], at), await self.store.line.length(self.driver.name, at))
        else:
            self.room.tell(left, 0)
        return taken

    async def _attend(self, row: MachineRow) -> None:
        attendant = Attendant(row, self)
        self.live.put(row, attendant)
        try:
            with self.metrics.attending(), about(machine=row.id, session=row.session_id, run=row.run_id):
                await attendant.attend()
        except AntechamberError as error:
            _log.warning("a machine could not be attended", machine=row.id, code=error.code, detail=error.detail)
        finally:
            self.live.drop(row)
            self._attending.pop(row.id, None)
            self._over.add(row.id)

    async def _time_out(self, session: AuthSession) -> None:
        with about(session=session.id, machine=session.machine_id):
            await self._time_out_now(session)

    async def _time_out_now(self, session: AuthSession) -> None:
        try:
            row = await self.store.machines.of_session(session.id)
            if self._is_anothers_turn(session, row):
                return
            if session.status is not SessionStatus.PENDING and row is not None and row.node == self.node.id:
                # a whole file that nobody has told us of yet is worth two seconds
                look = self.settings.duration("last_look")
                late = self.settings.duration("late_report")
                await self.live.last_look(
                    session.id, found=look + self.settings.duration("sweep"), within=look, late=late
                )
            point(Point.TIMING_OUT)
            await self.store.sessions.time_out(
                session.id, at=self.now(), detail=await self._why_here(session), deadline=session.expires_at
            )
            point(Point.TIMED_OUT)
        finally:
            self._timing_out.pop(session.id, None)

    async def _time_out_run(self, run: Run) -> None:
        try:
            with about(run=run.id, machine=run.machine_id):
                await self.runs.time_out(run)
        finally:
            self._timing_out.pop(run.id, None)

    def _is_anothers_turn(self, session: AuthSession, row: MachineRow | None) -> bool:
        """Tell whether another node is to end the session: the one with the machine, which can still ask its guest."""
        if row is None or row.node in {None, self.node.id} or session.expires_at is None:
            return False
        head_start = 2 * (self.settings.duration("last_look") + self.settings.duration("sweep"))
        at = time.monotonic()
        # where the database was away both see at once what came due meanwhile
        well_for = 0 if self._well_since is None else at - self._well_since
        # where the clock has gone back it comes there only much later
        due_for = at - self._due_since.setdefault(session.id, at)
        is_early = self.now() < session.expires_at + head_start and due_for < head_start.total_seconds()
        return well_for < head_start.total_seconds() or is_early

    async def _why_here(self, session: AuthSession) -> str:
        if (position := await self.store.line.position(session.id, self.now())) is not None:
            return f"it was number {position} in the line for a machine"
        if session.provider not in {spec.id for spec in self.providers.all()}:
            return f"its provider {session.provider} is not defined any more"
        node = await self.store.nodes.of_session(session.id)
        if node is None or node.id == self.node.id:
            return ""
        return f"its machine's node {node.name} did not end it, and was last heard of at {node.seen_at.isoformat()}"

    def remove_later(self, handle: Handle) -> None:
        """Try again and again to remove what a machine left, until the service stops; the next one goes on."""
        self._tasks.spawn(f"remove {handle['machine']}", self._remove(handle))

    async def _remove(self, handle: Handle) -> None:
        pause = self.settings.sweep_s
        while True:
            await asyncio.sleep(pause)
            if await end(self.driver, handle, stop_within=self.settings.duration("stop")):
                _log.info("what a machine left is removed", machine=handle["machine"])
                return
            pause = min(2 * pause, _REMOVED_EACH_S)

    # -- what attendants ask for -------------------------------------------------------------------------------------

    async def spec_of(self, row: MachineRow) -> MachineSpec:
        """Return what to start for that row."""
        provider = await self._provider_of(row)
        workspace = [] if row.run_id is None else await self._workspace(await self.runs.get(row.run_id))
        return MachineSpec(
            machine_id=row.id,
            incarnation=row.incarnation,
            mounts=(Mount(self._guest, "/opt/antechamber/guest"), *self._installed[provider.id], *workspace),
            trust_anchors=self._world.trust_anchors,
            doors=doors_of(row.kind),
        )

    async def _workspace(self, run: Run) -> list[Mount]:
        if run.workspace is None:
            return []
        # looked at again: it may have gone since the run was asked for
        folder = await asyncio.to_thread(self.runs.workspaces.folder, run.owner.application, run.workspace)
        return [Mount(folder, workspaces.AT)]

    async def _provider_of(self, row: MachineRow) -> ProviderSpec:
        if row.run_id is not None:
            return self.providers.get((await self.runs.get(row.run_id)).provider)
        if row.session_id is None:
            errand = self.checks.errand(row.id)
            if errand is None:
                raise MachineError(Code.MACHINE_ENDED, detail="nobody waits for this check")
            return errand.spec
        session = await self.signin.session(row.session_id)
        return self.providers.get(session.provider)

    def egress_of(self, row: MachineRow, errand: Errand) -> Egress:
        """Return the way out of that machine."""
        session_id = row.session_id
        run = errand if isinstance(errand, RunErrand) else None

        def on_use(use: Use) -> None:
            self.metrics.egress_moved(bytes_out=use.bytes_out, bytes_in=use.bytes_in)
            if session_id is not None:
                self._records.spawn("destination", self._record(session_id, use))

        return Egress(
            world=self._world,
            policy=self._policy,
            background_hosts=(*BROWSER_BACKGROUND_HOSTS, *errand.spec.background_hosts) if run is None else (),
            only=None if run is None else run.spec.run_hosts,
            may_connect=None if run is None else run.may_connect,
            limits=Limits.of(self.settings),
            on_use=on_use,
            on_verdict=self.metrics.egress_judged,
        )

    async def _record(self, session_id: str, use: Use) -> None:
        """Add to what the session's machine asked for, as soon as the database is there: readiness is seen by it."""
        while True:
            try:
                await self.store.destinations.record(
                    session_id,
                    use.name,
                    use.port,
                    use.verdict,
                    bytes_out=use.bytes_out,
                    bytes_in=use.bytes_in,
                    connections=use.connections,
                    at=self.now(),
                )
            except OperatorError as error:
                if error.code is not Code.STORE_UNAVAILABLE:
                    raise
            else:
                return
            await asyncio.sleep(self.settings.sweep_s)

    def described(self) -> dict[str, Any]:
        """Return what runs, for the operator's status."""
        return {
            "driver": self.driver.name,
            "node": self.node.name,
            "machines": len(self._attending),
            "most_machines": self.room.most,
        }
