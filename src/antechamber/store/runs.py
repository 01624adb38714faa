"""Runs of a tool with a stored credential, and the leases by which one of them at a time has it.

A lease lives as long as a copy of the credential may: from the grant until the guest has wiped its home, or its machine
has ended. Whoever ends it grants the next one in the same transaction, so that there is always one live copy and no
moment in which somebody waits for nobody. Used inside write transactions: `lease_over`, `run_of_machine_ended`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update

from antechamber.credential_life import CredentialFact
from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act
from antechamber.model import (
    Actor,
    CredentialStatus,
    IdPrefix,
    Lease,
    MachineKind,
    MachineState,
    Owner,
    Run,
    RunStatus,
    new_id,
)
from antechamber.run_life import RunDecision, RunFact, decide_run
from antechamber.store.changes import MACHINES, RUNS, run_topic
from antechamber.store.credential_moves import apply_to_credential, locked_credential
from antechamber.store.database import to_its_end
from antechamber.store.limits import RunLimits, refuse_runs_beyond, take_turn
from antechamber.store.rows import lease_of, run_of
from antechamber.store.schema import leases, machines, run_keys, runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import MachineRow
    from antechamber.store.database import Database, Write
    from antechamber.store.sessions import Idempotency

NO_LIMITS = RunLimits()
_USABLE = frozenset({CredentialStatus.ACTIVE, CredentialStatus.EXPIRING})


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is created from."""

    owner: Owner
    provider: str
    credential_id: str
    arguments: tuple[str, ...]
    terminal: bool
    held: bool
    seconds: int
    node: str
    driver: str
    asked_by: Actor
    api_key: str | None
    wait: timedelta
    """How long it waits for its turn."""
    start: timedelta
    """How long its machine may take to begin the tool, once it is its turn."""
    given: bytes | None = None
    """All of the tool's input; None: its reader types it."""
    workspace: str | None = None
    """The name of the workspace that it works in."""


@dataclass(frozen=True, slots=True)
class RunMoved:
    """What a fact did: the run as it is now, and what the table said."""

    run: Run
    decision: RunDecision


class Runs:
    """The runs of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def create(
        self, new: NewRun, *, at: datetime, idempotency: Idempotency | None = None, limits: RunLimits = NO_LIMITS
    ) -> Run:
        """Create a run, which begins at once where nobody has its credential, and else waits for its turn.

        The run of an Idempotency-Key that was used before is returned as it is now. CallerError CREDENTIAL_NOT_FOUND
        where the credential has been deleted, CREDENTIAL_NOT_USABLE where it is not thought to work,
        IDEMPOTENCY_MISMATCH where the key came with another body, OWNER_RUN_LIMIT and RUN_LIMIT where one more would be
        too many.
        """
        async with self._database.write() as write:
            if limits.any:
                await take_turn(write.connection)
            known = await _answered(write.connection, idempotency) if idempotency else None
            if known is not None:
                return known
            credential = await locked_credential(write.connection, new.credential_id)
            if credential is None or credential.deleted_at is not None:
                raise CallerError(Code.CREDENTIAL_NOT_FOUND)
            if credential.status not in _USABLE:
                raise CallerError(Code.CREDENTIAL_NOT_USABLE, detail=f"{credential.status}: {credential.status_reason}")
            await refuse_runs_beyond(write.connection, limits, new.owner, at)
            given = None if new.given is None else base64.b64encode(new.given).decode()
            values = {
                "id": new_id(IdPrefix.RUN),
                "application": new.owner.application,
                "user_id": new.owner.user_id,
                "provider": new.provider,
                "credential_id": new.credential_id,
                "status": RunStatus.WAITING,
                "terminal": new.terminal,
                "held": new.held,
                "seconds": new.seconds,
                "node": new.node,
                "asked_by": new.asked_by,
                "api_key": new.api_key,
                "request": {
                    "arguments": list(new.arguments),
                    "input": given,
                    "workspace": new.workspace,
                    "driver": new.driver,
                    "start_s": new.start.total_seconds(),
                },
                "created_at": at,
                "status_at": at,
                "expires_at": at + new.wait,
            }
            created = run_of((await write.connection.execute(insert(runs).values(values).returning(*runs.c))).one())
            if idempotency is not None:
                await _remember(write.connection, idempotency, created.id, at)
            write.tell(RUNS, run_topic(created.id))
            await grant_next(write, new.credential_id, at)
            return await _locked(write.connection, created.id)

    @to_its_end
    async def answered(self, idempotency: Idempotency) -> Run | None:
        """Return the run of an Idempotency-Key that was used before; raises CallerError IDEMPOTENCY_MISMATCH."""
        async with self._database.read() as connection:
            return await _answered(connection, idempotency)

    @to_its_end
    async def get(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(runs).where(runs.c.id == run_id))).one_or_none()
        return None if row is None else run_of(row)

    @to_its_end
    async def lease(self, run_id: str) -> Lease | None:
        """Return the lease of a run, one that has ended too; None before its turn."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(leases).where(leases.c.run_id == run_id))).one_or_none()
        return None if row is None else lease_of(row)

    @to_its_end
    async def position(self, run: Run) -> int | None:
        """Return a run's place in the line for its credential, the first is 1; None when it does not wait."""
        if run.status is not RunStatus.WAITING:
            return None
        before = and_(
            _waits_for(run.credential_id),
            or_(runs.c.created_at < run.created_at, and_(runs.c.created_at == run.created_at, runs.c.id < run.id)),
        )
        async with self._database.read() as connection:
            counted = await connection.execute(select(func.count()).select_from(runs).where(before))
            return int(counted.scalar_one()) + 1

    @to_its_end
    async def due(self, at: datetime) -> list[Run]:
        """Return the runs whose state's deadline has come."""
        wanted = select(runs).where(runs.c.expires_at <= at).order_by(runs.c.expires_at)
        async with self._database.read() as connection:
            return [run_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def deadlines(self) -> list[tuple[str, datetime]]:
        """Return the live runs with their states' deadlines."""
        wanted = select(runs.c.id, runs.c.expires_at).where(runs.c.expires_at.is_not(None))
        async with self._database.read() as connection:
            return [(row.id, row.expires_at) for row in await connection.execute(wanted)]

    @to_its_end
    async def of_node(self, node: str) -> list[str]:
        """Return the ids of the live runs that were asked of that node."""
        wanted = select(runs.c.id).where(runs.c.expires_at.is_not(None), runs.c.node == node)
        async with self._database.read() as connection:
            return [run_id for (run_id,) in await connection.execute(wanted.order_by(runs.c.created_at, runs.c.id))]

    @to_its_end
    async def apply(
        self, run_id: str, fact: RunFact, *, at: datetime, detail: str = "", expires_at: datetime | None = None
    ) -> RunMoved:
        """Let a fact do to a run what the table says; `expires_at` is the deadline of the state after it.

        Its lease goes on until its machine is done with it; a run that waits has none. CallerError RUN_NOT_FOUND.
        """
        async with self._database.write() as write:
            return await _apply(
                write,
                await _locked(write.connection, run_id),
                fact,
                at=at,
                detail=detail,
                values={} if expires_at is None else {"expires_at": expires_at},
            )

    @to_its_end
    async def time_out(self, run_id: str, *, at: datetime, deadline: datetime | None) -> RunMoved:
        """End a run whose state's deadline that was, unless it has moved on meanwhile. CallerError RUN_NOT_FOUND."""
        async with self._database.write() as write:
            run = await _locked(write.connection, run_id)
            if run.expires_at != deadline:
                return RunMoved(run, RunDecision(Act.NOTE, run.status, run.status, None, None))
            return await _apply(write, run, RunFact.TIME_RAN_OUT, at=at)

    @to_its_end
    async def exited(self, run_id: str, *, code: int, redacted: bool, is_clean: bool, at: datetime) -> RunMoved:
        """Take it that a run's tool has ended, that what it wrote is stored, and that its home is wiped.

        `is_clean`: it was not in the middle of a renewal. The lease is over, also where the run was ended otherwise
        before; whoever waits gets it. CallerError RUN_NOT_FOUND.
        """
        async with self._database.write() as write:
            run = await _locked(write.connection, run_id)
            moved = await _apply(write, run, RunFact.EXITED, at=at, values={"exit_code": code, "redacted": redacted})
            await lease_over(write, run.id, at=at, is_clean=is_clean)
            return moved

    @to_its_end
    async def renewing(self, run_id: str, *, at: datetime) -> bool:
        """Write down that a run may be renewing its credential from now on, before it can.

        False where its lease is over: it may renew it no more.
        """
        mine = leases.c.run_id == run_id, leases.c.ended_at.is_(None)
        async with self._database.write() as write:
            changed = await write.connection.execute(update(leases).where(*mine).values(renewing_at=at))
            return changed.rowcount == 1

    @to_its_end
    async def list(self, *, user_id: str | None = None, application: str | None = None, limit: int = 100) -> list[Run]:
        """Return runs, of one user or of all, of one application or of all, the newest first."""
        wanted = select(runs)
        if application is not None:
            wanted = wanted.where(runs.c.application == application)
        if user_id is not None:
            wanted = wanted.where(runs.c.user_id == user_id)
        async with self._database.read() as connection:
            found = await connection.execute(wanted.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit))
            return [run_of(row) for row in found]


async def _answered(connection: AsyncConnection, idempotency: Idempotency) -> Run | None:
    wanted = (
        select(run_keys.c.body_hash.label("answered_body"), *runs.c)
        .join_from(run_keys, runs, runs.c.id == run_keys.c.run_id)
        .where(run_keys.c.caller == idempotency.caller, run_keys.c.key == idempotency.key)
    )
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        return None
    if row.answered_body != idempotency.body_hash:
        raise CallerError(Code.IDEMPOTENCY_MISMATCH)
    return run_of(row)


async def _remember(connection: AsyncConnection, idempotency: Idempotency, run_id: str, at: datetime) -> None:
    await connection.execute(
        insert(run_keys).values(
            caller=idempotency.caller,
            key=idempotency.key,
            body_hash=idempotency.body_hash,
            run_id=run_id,
            created_at=at,
        )
    )


def _waits_for(credential_id: str) -> ColumnElement[bool]:
    return and_(runs.c.status == RunStatus.WAITING, runs.c.credential_id == credential_id)


async def _locked(connection: AsyncConnection, run_id: str) -> Run:
    row = (await connection.execute(select(runs).where(runs.c.id == run_id).with_for_update())).one_or_none()
    if row is None:
        raise CallerError(Code.RUN_NOT_FOUND)
    return run_of(row)


async def _apply(
    write: Write, run: Run, fact: RunFact, *, at: datetime, detail: str = "", values: dict[str, Any] | None = None
) -> RunMoved:
    decision = decide_run(run.status, fact)
    if decision.act is not Act.MOVE:
        return RunMoved(run, decision)
    changes: dict[str, Any] = {**(values or {}), "status": decision.after, "status_at": at}
    if decision.after is RunStatus.ENDED:
        changes |= {
            "reason": decision.reason,
            "ended_at": at,
            "expires_at": None,
            "request": None,
            "detail": detail,
        }
    changed = await write.connection.execute(
        update(runs).where(runs.c.id == run.id, runs.c.status == run.status).values(changes).returning(*runs.c)
    )
    write.tell(RUNS, run_topic(run.id), MACHINES)
    return RunMoved(run_of(changed.one()), decision)


async def live_lease(connection: AsyncConnection, run_id: str) -> Lease | None:
    """Return a run's lease while it lives, and keep others from ending it until the commit."""
    wanted = select(leases).where(leases.c.run_id == run_id, leases.c.ended_at.is_(None)).with_for_update()
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else lease_of(row)


async def lease_over(write: Write, run_id: str, *, at: datetime, is_clean: bool) -> None:
    """End a run's lease, if it lives, and grant the next one; whoever calls has locked the run, where it is there yet.

    Where the holder's end was not clean and it may have been renewing the credential, the credential is taken for used
    up: the vendor may not take it any more, and may end all of its sign-in when it is tried.
    """
    lease = await live_lease(write.connection, run_id)
    if lease is None:
        return
    await write.connection.execute(update(leases).where(leases.c.id == lease.id).values(ended_at=at, renewing_at=None))
    credential = await locked_credential(write.connection, lease.credential_id)
    is_present = credential is not None and credential.version == lease.version
    if credential is not None and is_present and not is_clean and lease.renewing_at is not None:
        await apply_to_credential(write, credential, CredentialFact.CUT_SHORT, at=at)
    await grant_next(write, lease.credential_id, at)


async def grant_next(write: Write, credential_id: str, at: datetime) -> None:
    """Give a credential's lease to whoever waits first, where nobody has it; whoever calls has locked the credential.

    Runs whose credential is gone or not thought to work any more end instead.
    """
    taken = select(leases.c.id).where(leases.c.credential_id == credential_id, leases.c.ended_at.is_(None))
    if (await write.connection.execute(taken)).one_or_none() is not None:
        return
    for row in await _waiting(write, credential_id):
        credential = await locked_credential(write.connection, credential_id)
        if credential is None or credential.status not in _USABLE:
            await _apply(write, run_of(row), RunFact.CREDENTIAL_GONE, at=at)
            continue
        await _grant(write, row, credential.version, at)
        return


async def _waiting(write: Write, credential_id: str) -> Sequence[Any]:
    """Return the runs that wait for a credential, in their order, locked."""
    wanted = select(runs).where(_waits_for(credential_id)).order_by(runs.c.created_at, runs.c.id).with_for_update()
    return (await write.connection.execute(wanted)).all()


async def end_runs_of(write: Write, credential_id: str, at: datetime) -> None:
    """End the runs that wait for a credential that has just been deleted, and tell whoever has it.

    Whoever calls has locked the credential.
    """
    held = select(leases.c.run_id).where(leases.c.credential_id == credential_id, leases.c.ended_at.is_(None))
    for (run_id,) in (await write.connection.execute(held)).all():
        write.tell(run_topic(run_id))
    # not once the lease is over: that may be long, where the node that has it is away
    for row in await _waiting(write, credential_id):
        await _apply(write, run_of(row), RunFact.CREDENTIAL_GONE, at=at)


async def _grant(write: Write, row: Any, version: int, at: datetime) -> None:
    run = run_of(row)
    machine_id = new_id(IdPrefix.MACHINE)
    deadline = at + timedelta(seconds=row.request["start_s"])
    await write.connection.execute(
        insert(leases).values(
            id=new_id(IdPrefix.LEASE), credential_id=run.credential_id, run_id=run.id, version=version, granted_at=at
        )
    )
    await write.connection.execute(
        insert(machines).values(
            id=machine_id,
            kind=MachineKind.RUN,
            state=MachineState.REQUESTED,
            driver=row.request["driver"],
            incarnation=new_id(IdPrefix.INCARNATION),
            created_at=at,
            state_at=at,
            expires_at=deadline,
            credential_id=run.credential_id,
            run_id=run.id,
        )
    )
    await _apply(write, run, RunFact.GRANTED, at=at, values={"expires_at": deadline, "machine_id": machine_id})


async def run_of_machine_ended(write: Write, machine: MachineRow, at: datetime) -> None:
    """Tell a run that its machine has ended: its lease is over with it."""
    if machine.run_id is None:
        return
    wanted = select(runs).where(runs.c.id == machine.run_id).with_for_update()
    row = (await write.connection.execute(wanted)).one_or_none()
    if row is None:
        return
    detail = f"machine {machine.state}, exit code {machine.exit_code}: {machine.end_detail}"
    await _apply(write, run_of(row), RunFact.MACHINE_ENDED, at=at, detail=detail)
    await lease_over(write, machine.run_id, at=at, is_clean=False)
