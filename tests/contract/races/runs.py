"""Runs among what several services do at once: asked for, begun, renewed, ended, crashed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from antechamber.errors import CallerError, Code, MachineError
from antechamber.lifecycle import MachineFact
from antechamber.model import IdPrefix, MachineState, Owner, Run, RunStatus, new_id
from antechamber.providers import CapturedFile
from antechamber.run_life import RunFact
from antechamber.runs import RunRequest, Runs
from tests.opening import BY
from tests.providers.samples import CODEX, dummy

if TYPE_CHECKING:
    from tests.contract.races.workers import Place, Worker

MOST = 4
"""Runs of an owner that are spoken of."""


@dataclass
class ToldOfRuns:
    """What was answered of runs: it must be in the database from then on."""

    stored: dict[str, str] = field(default_factory=dict)
    """Of each credential, the mark of the renewal that was stored last."""
    cancelled: set[str] = field(default_factory=set)
    begun: Counter[str] = field(default_factory=Counter)


class RunSteps:
    """What one service does about the runs of a place's owner."""

    def __init__(self, worker: Worker, owners: tuple[str, ...]) -> None:
        self._worker = worker
        self._owners = owners
        self.runs: Runs = worker.runs

    async def start(self, place: Place) -> str:
        owner = self._owners[place.owner]
        made = await self.runs.start(
            RunRequest(
                owner=Owner(owner), provider="codex", arguments=("exec",), terminal=False, held=bool(place.ago), by=BY
            )
        )
        self._worker.world.runs.setdefault(owner, []).append(made.id)
        return str(made.status)

    async def begin(self, place: Place) -> str:
        """Claim and begin what is this node's, as loop and attendant do; the machine's job is opened for it."""
        run = await self._run(place)
        worker, at = self._worker, self._worker.clock()
        await worker.store.machines.withdraw(at)
        until = at + worker.settings.duration("claim")
        await worker.store.machines.claim(worker.node, driver="scripted", at=at, until=until, limit=20)
        row = await worker.store.machines.get(run.machine_id or "")
        if row is None or row.state is not MachineState.REQUESTED or row.node != worker.node:
            return "not mine"
        await worker.store.machines.begin(
            row.id,
            incarnation=row.incarnation,
            node=worker.node,
            handle={"machine": row.id},
            host_uid=None,
            expires_at=at + worker.settings.duration("start") + worker.settings.duration("stop"),
            at=at,
        )
        worker.world.told_of_runs.begun[row.id] += 1
        try:
            job = await self.runs.job(await self.runs.get(run.id))
        except (CallerError, MachineError) as error:
            await self.runs.ended(run.id, RunFact.DID_NOT_START, error.detail)
            return str(error.code)
        return "begun" if job else "too late"

    async def works(self, place: Place) -> str:
        run = await self._run(place)
        if (row := await self._worker.store.machines.get(run.machine_id or "")) is None:
            return "no machine"
        if row.state not in {MachineState.BOOTING, MachineState.READY}:
            return str(row.state)
        await self._worker._machine(row.id, MachineFact.READY)
        await self.runs.begun(run)
        return str((await self.runs.get(run.id)).status)

    async def renewing(self, place: Place) -> str:
        return str(await self.runs.renewing(await self._run(place)))

    async def renew(self, place: Place) -> str:
        run = await self._run(place)
        mark = dummy(f"renewal-{next(self._worker.world.marks)}")
        document = {**CODEX, "tokens": {**CODEX["tokens"], "refresh_token": mark}}
        file = CapturedFile(json.dumps(document).encode(), 0)
        self._worker.world.renewed.setdefault(run.id, set()).add(mark)
        again = place.ago == 1
        await self.runs.write_back(run, new_id(IdPrefix.REPORT), {"credential": file}, is_renewing=lambda: again)
        return "stored"

    async def exit(self, place: Place) -> str:
        run = await self._run(place)
        if run.status is RunStatus.WAITING:
            return "waits"
        await self.runs.exited(run.id, code=(0, 1, -9)[place.ago], file="whole", redacted=False)
        return "exited"

    async def cancel(self, place: Place) -> str:
        run = await self.runs.cancel((await self._run(place)).id)
        self._worker.world.told_of_runs.cancelled.add(run.id)
        return "cancelled"

    async def leave(self, place: Place) -> str:
        await self.runs.caller_gone((await self._run(place)).id)
        return "left"

    async def crash(self, place: Place) -> str:
        run = await self._run(place)
        row = await self._worker.store.machines.get(run.machine_id or "")
        if row is None or row.state is MachineState.REQUESTED:
            return "no machine"
        return str(await self._worker._machine(row.id, MachineFact.ENDED))

    async def time_out(self) -> str:
        due = await self._worker.store.runs.due(self._worker.clock())
        for run in due:
            await self.runs.time_out(run)
        return "ended" if due else "nothing was due"

    async def wind_down(self) -> None:
        """End each machine of this node whose run has ended, as its attendant does."""
        worker = self._worker
        for row in await worker.store.machines.not_ended(worker.node):
            if row.run_id is None or (await self.runs.get(row.run_id)).status is not RunStatus.ENDED:
                continue
            if await worker._machine(row.id, MachineFact.STOP_ASKED) is MachineState.STOPPING:
                await worker._machine(row.id, MachineFact.ENDED)

    async def _run(self, place: Place) -> Run:
        """Return one of the owner's runs: one that lives, the oldest first, where there is any."""
        known = [await self.runs.get(one) for one in self._worker.world.runs.get(self._owners[place.owner], [])[-MOST:]]
        if not known:
            raise CallerError(Code.RUN_NOT_FOUND)
        living = [run for run in known if run.status is not RunStatus.ENDED]
        return living[place.ago % len(living)] if living else known[-1]
