"""How long a run's machine is wanted: from its tool's start until nothing of the credential is only there."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from antechamber.errors import Code, MachineError, OperatorError
from antechamber.model import MachineState, RunReason, RunStatus
from antechamber.run_life import RunFact
from antechamber.store import run_topic

if TYPE_CHECKING:
    from antechamber.model import Run
    from antechamber.reconciler.live import LiveMachine
    from antechamber.reconciler.loop import Reconciler
    from antechamber.reconciler.run_errand import RunErrand


class RunTime:
    """The time of one run's machine, as far as this service has seen it."""

    def __init__(self, live: LiveMachine, errand: RunErrand, host: Reconciler, machine_id: str) -> None:
        """Watch the run of that machine."""
        self._live = live
        self._run_id = errand.run.id
        self._machine_id = machine_id
        self._runs = host.runs
        self._store = host.store
        self._settings = host.settings
        self._end_seen: float | None = None
        self._exit_seen: float | None = None

    async def up(self) -> None:
        """Return when the machine is to be stopped.

        A database that is away is waited for: what the machine has to tell can only be told to it.
        """
        with self._store.changes.watch(run_topic(self._run_id)) as changed:
            while True:
                try:
                    wait = await self._left()
                except OperatorError as error:
                    if error.code is not Code.STORE_UNAVAILABLE:
                        raise
                    wait = self._settings.sweep_s
                if wait is None:
                    return
                await changed.wait(wait)

    async def _left(self) -> float | None:
        """Do what the run's state asks for; return the seconds to the next look, None when its machine is to stop."""
        run = await self._runs.get(self._run_id)
        machine = await self._store.machines.get(self._machine_id)
        if machine is None or machine.state not in {MachineState.BOOTING, MachineState.READY}:
            return None
        if run.status is not RunStatus.ENDED:
            await self._end_what_is_for_nobody(run)
            return self._settings.sweep_s
        lease = await self._store.runs.lease(run.id)
        if lease is not None and lease.ended_at is None:
            if self._live.link.withhold_job():
                return None  # nothing of the credential has gone there
            self._end_seen = self._end_seen or time.monotonic()
            # a guest that does not read is stopped by the time that it has
            with contextlib.suppress(MachineError):
                await self._live.link.finish_run()
            return self._until(self._end_seen, self._settings.run_finish_s)
        if run.reason is not RunReason.EXITED or self._live.link.run_is_read:
            return None
        self._exit_seen = self._exit_seen or time.monotonic()
        return self._until(self._exit_seen, self._settings.run_kept_s)

    def _until(self, since: float, seconds: float) -> float | None:
        left = since + seconds - time.monotonic()
        return min(left, self._settings.sweep_s) if left > 0 else None

    async def _end_what_is_for_nobody(self, run: Run) -> None:
        credential = await self._store.credentials.get(run.credential_id)
        if credential is None or credential.deleted_at is not None:
            await self._runs.ended(run.id, RunFact.CREDENTIAL_GONE)
        elif self._live.link.unread_for > (self._settings.run_caller_s if run.held else self._settings.run_left_s):
            await self._runs.ended(run.id, RunFact.CALLER_GONE)
