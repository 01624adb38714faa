"""What the reports of a run's machine mean: its tool has begun, has renewed its credential, has ended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from antechamber.egress import matches
from antechamber.errors import AntechamberError, MachineError, OperatorError
from antechamber.guest.protocol import ReportKind
from antechamber.lifecycle import MachineFact
from antechamber.link import Ack, Refuse
from antechamber.log import get_logger
from antechamber.reconciler.errands import files_of, taken
from antechamber.run_life import RunFact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from antechamber.link import Reply, Report
    from antechamber.model import MachineRow, Run
    from antechamber.providers import ProviderSpec
    from antechamber.runs import Runs
    from antechamber.settings import Settings
    from antechamber.store import Store

_log = get_logger("run")


class RunErrand:
    """One run in its machine."""

    def __init__(
        self,
        run: Run,
        row: MachineRow,
        spec: ProviderSpec,
        job: Mapping[str, Any] | None,
        *,
        store: Store,
        runs: Runs,
        settings: Settings,
        renewing_since: datetime | None = None,
    ) -> None:
        """Bind the errand to its run; the run comes from here, never from a message.

        `renewing_since`: then an earlier service has seen its tool begin a renewal, and nobody knows what came of that.
        """
        self.run = run
        self.spec = spec
        self.job = job
        self._row = row
        self._store = store
        self._runs = runs
        self._settings = settings
        self._renewing_since = renewing_since
        self.asked_since: Callable[[int], bool] = lambda _: False
        """Tells whether the tool may have asked, after that time, where it renews its credential."""

    async def may_connect(self, name: str) -> bool:
        """Tell whether a connection to that host may be made; one that can renew the credential is written down."""
        if not matches(name, self.spec.renewal_hosts):
            return True
        return await self._runs.renewing(self.run)

    def _is_renewing(self, written_ns: int) -> bool:
        """Tell whether the tool may be in a renewal of which a file that was written then is not the outcome."""
        # the connection of one that an earlier service saw begin was cut when that ended
        was_before = self._renewing_since is not None and written_ns < self._renewing_since.timestamp() * 1e9
        return was_before or self.asked_since(written_ns)

    async def on_report(self, report: Report) -> Reply:
        """Take one report; what must not be lost is in the database before this returns."""
        return await taken(report, self._take, self._ended, self._settings.sweep_s)

    async def on_broken(self, error: MachineError) -> None:
        """End the run: its machine cannot be trusted any more."""
        await self._ended(f"{error.code}: {error.detail}")

    async def _take(self, report: Report) -> Reply:
        match report.kind:
            case ReportKind.STARTED:
                await self._begun()
            case ReportKind.CREDENTIAL:
                return await self._write_back(report)
            case ReportKind.RUN_ENDED:
                await self._runs.exited(self.run.id, **report.body)
            case ReportKind.TROUBLE:
                await self._ended(f"{report.body['what']}: {report.body['detail']}")
            case _:
                _log.debug("report", run=self.run.id, kind=report.kind.value)
        return Ack()

    async def _begun(self) -> None:
        at = self._runs.clock()
        await self._store.machines.apply(self._row.id, MachineFact.READY, incarnation=self._row.incarnation, at=at)
        await self._runs.begun(self.run)

    async def _write_back(self, report: Report) -> Reply:
        files = files_of(report)
        is_renewing = partial(self._is_renewing, files["credential"].mtime_ns)
        try:
            await self._runs.write_back(self.run, report.id, files, is_renewing=is_renewing)
        except OperatorError:
            raise  # nothing that the guest did
        except AntechamberError as error:
            _log.warning("write-back refused", run=self.run.id, code=error.code, detail=error.detail)
            return Refuse(error.code)
        return Ack()

    async def _ended(self, detail: str) -> None:
        _log.warning("a run's machine is broken", run=self.run.id, detail=detail)
        await self._runs.ended(self.run.id, RunFact.MACHINE_BROKEN, detail)
