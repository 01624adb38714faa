"""What the tests of runs bring a store to: somebody signed in, runs of theirs at every place of their life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.contract.store.conftest import NODE, NOON, Steps, later

from antechamber.lifecycle import MachineFact
from antechamber.model import Actor, Claims, Credential, IdPrefix, Lease, Owner, Run, Sealed, new_id
from antechamber.run_life import RunFact
from antechamber.store import NewRun, NewVersion, WrittenBack
from antechamber.store.runs import RunMoved

ACCOUNT = "ada@example.test"


@dataclass
class Running:
    """Steps of runs."""

    steps: Steps

    async def credential(self, user: str = "ada", provider: str = "codex") -> Credential:
        """Have somebody sign in, and nothing be left of that but what was stored."""
        captured = await self.steps.completed(user, provider)
        await self.steps.end_machine(await self.steps.machine(captured.session))
        assert captured.credential is not None
        return captured.credential

    def new(self, credential: Credential, **more: Any) -> NewRun:
        given: dict[str, Any] = {
            "owner": credential.owner,
            "provider": credential.provider,
            "credential_id": credential.id,
            "arguments": ("exec", "DUMMY question"),
            "terminal": False,
            "held": True,
            "seconds": 60,
            "node": NODE,
            "driver": "scripted",
            "asked_by": Actor.COMMAND_LINE,
            "api_key": None,
            "wait": timedelta(seconds=600),
            "start": timedelta(seconds=30),
        }
        return NewRun(**(given | more))

    async def run(self, credential: Credential, at: datetime = NOON, **more: Any) -> Run:
        return await self.steps.store.runs.create(self.new(credential, **more), at=at)

    async def now(self, run: Run) -> Run:
        found = await self.steps.store.runs.get(run.id)
        assert found is not None
        return found

    async def lease(self, run: Run) -> Lease:
        found = await self.steps.store.runs.lease(run.id)
        assert found is not None
        return found

    async def begun(self, run: Run, at: datetime = NOON) -> Run:
        """Have its machine started and its tool run."""
        row = await self.steps.store.machines.get((await self.now(run)).machine_id or "")
        assert row is not None
        assert await self.steps.begin(row) is not None
        await self.steps.store.machines.apply(row.id, MachineFact.READY, incarnation=row.incarnation, at=at)
        return (await self.apply(run, RunFact.BEGUN, at, expires_at=at + timedelta(seconds=60))).run

    async def apply(self, run: Run, fact: RunFact, at: datetime = NOON, **more: Any) -> RunMoved:
        return await self.steps.store.runs.apply(run.id, fact, at=at, **more)

    async def exited(self, run: Run, *, code: int = 0, is_clean: bool = True, at: datetime = NOON) -> Run:
        moved = await self.steps.store.runs.exited(run.id, code=code, redacted=False, is_clean=is_clean, at=at)
        return moved.run

    async def renewing(self, run: Run, at: datetime = NOON) -> None:
        assert await self.steps.store.runs.renewing(run.id, at=at)

    async def machine_ended(self, run: Run, at: datetime = NOON) -> Run:
        row = await self.steps.store.machines.get((await self.now(run)).machine_id or "")
        assert row is not None
        await self.steps.end_machine(row, at)
        return await self.now(run)

    async def write_back(self, run: Run, version: int = 1, **more: Any) -> WrittenBack:
        """Store what its tool renewed, over that version."""
        given: dict[str, Any] = {
            "run_id": run.id,
            "expected_version": version,
            "sealed": Sealed(b"DUMMY renewed %d" % (version + 1), b"DUMMY wrapped key", "key_00000001", 1),
            "claims": Claims(ACCOUNT, "pro", later(7200)),
            "report_id": new_id(IdPrefix.REPORT),
            "at": NOON,
        }
        return await self.steps.store.write_backs.store(NewVersion(**(given | more)))

    async def status(self, credential: Credential) -> tuple[str, str]:
        found = await self.steps.store.credentials.get(credential.id)
        assert found is not None
        return str(found.status), str(found.status_reason)

    async def sign_in_again(self, owner: Owner, provider: str = "codex") -> Credential:
        return await self.credential(owner.user_id, provider)
