"""Machines: requested, begun with a handle and a host uid, moved by facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, insert, or_, select, true, update

from antechamber.errors import CallerError, Code, MachineError
from antechamber.lifecycle import Act, MachineDecision, MachineFact, SessionFact, decide_machine
from antechamber.model import LIVE_STATUSES, IdPrefix, MachineKind, MachineRow, MachineState, RunStatus, new_id
from antechamber.store.changes import MACHINES, run_topic, session_topic
from antechamber.store.credential_moves import locked_credential
from antechamber.store.database import to_its_end
from antechamber.store.events import keep_order, record
from antechamber.store.line import of_run, of_session, requested
from antechamber.store.moves import Given, apply_fact, locked
from antechamber.store.observer import Recorded
from antechamber.store.rows import machine_of
from antechamber.store.runs import run_of_machine_ended
from antechamber.store.schema import ENDED_STATES, has_not_ended, machines, runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.database import Database, Write


class Machines:
    """The machines of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def get(self, machine_id: str) -> MachineRow | None:
        """Return a machine, or None."""
        return await self._one(select(machines).where(machines.c.id == machine_id))

    @to_its_end
    async def of_session(self, session_id: str) -> MachineRow | None:
        """Return a session's machine, or None once it is forgotten."""
        return await self._one(select(machines).where(machines.c.session_id == session_id))

    @to_its_end
    async def create_check(
        self,
        *,
        node: str,
        driver: str,
        at: datetime,
        expires_at: datetime,
        machine_id: str | None = None,
        credential_id: str | None = None,
    ) -> MachineRow:
        """Create a requested machine that belongs to no session and checks a stored credential.

        It is claimed by its node from the first: only there is known what it checks. Whoever must know the id before
        anybody can see the row makes it and gives it. CallerError CREDENTIAL_NOT_FOUND when the credential that it is
        to check has been deleted: from then on nothing of it may be in any machine.
        """
        async with self._database.write() as write:
            if credential_id is not None:
                credential = await locked_credential(write.connection, credential_id)
                if credential is None or credential.deleted_at is not None:
                    raise CallerError(Code.CREDENTIAL_NOT_FOUND)
            row = await write.connection.execute(
                insert(machines)
                .values(
                    id=machine_id or new_id(IdPrefix.MACHINE),
                    kind=MachineKind.CHECK,
                    state=MachineState.REQUESTED,
                    driver=driver,
                    incarnation=new_id(IdPrefix.INCARNATION),
                    created_at=at,
                    state_at=at,
                    expires_at=expires_at,
                    node=node,
                    claimed_until=expires_at,
                    credential_id=credential_id,
                )
                .returning(*machines.c)
            )
            write.tell(MACHINES)
            return machine_of(row.one())

    @to_its_end
    async def claim(self, node: str, *, driver: str, at: datetime, until: datetime, limit: int = 8) -> list[MachineRow]:
        """Make requested machines of that driver the node's to start until that time, the oldest first; return them.

        Taken are those that nobody has claimed, or whose claim is over; not those of sessions that have ended: see
        `withdraw`. What another transaction is claiming now is passed over and not waited for.
        """
        free = and_(
            requested(),
            machines.c.driver == driver,
            or_(machines.c.session_id.is_(None), of_session().in_(LIVE_STATUSES)),
            # whoever reads a run is at the node that it was asked of
            or_(
                machines.c.run_id.is_(None),
                and_(of_run(runs.c.node) == node, of_run(runs.c.status) != RunStatus.ENDED),
            ),
            or_(machines.c.node.is_(None), machines.c.claimed_until <= at),
        )
        wanted = select(machines.c.id).where(free).order_by(machines.c.created_at, machines.c.id).limit(limit)
        async with self._database.read() as connection:
            # there is hardly ever anything, and looking takes no lock
            if (await connection.execute(wanted.limit(1))).one_or_none() is None:
                return []
        async with self._database.write() as write:
            taken = (await write.connection.execute(wanted.with_for_update(skip_locked=True))).scalars().all()
            if not taken:
                return []
            claimed = await write.connection.execute(
                update(machines)
                .where(machines.c.id.in_(taken), free)
                .values(node=node, claimed_until=until)
                .returning(*machines.c)
            )
            return sorted((machine_of(row) for row in claimed), key=lambda row: (row.created_at, row.id))

    @to_its_end
    async def release(self, machine_id: str, node: str) -> None:
        """Give a requested machine's claim back: the node cannot begin it now, and it keeps its place in the line.

        Nobody is told: whoever has room looks again by and by.
        """
        async with self._database.write() as write:
            await write.connection.execute(
                update(machines)
                .where(machines.c.id == machine_id, requested(), machines.c.node == node)
                .values(node=None, claimed_until=None)
            )

    @to_its_end
    async def withdraw(self, at: datetime) -> int:
        """End requested machines that nobody waits for any more, whatever their driver; return how many.

        Those of sessions and runs that have ended, and checks and runs whose time is up: of them nothing was started,
        and the node that had them may be no more.
        """
        unwanted = and_(
            requested(),
            or_(
                of_session().not_in(LIVE_STATUSES),
                of_run(runs.c.status) == RunStatus.ENDED,
                and_(machines.c.session_id.is_(None), machines.c.expires_at <= at),
            ),
        )
        wanted = select(machines).where(unwanted)
        async with self._database.read() as connection:
            if (await connection.execute(wanted.limit(1))).one_or_none() is None:
                return 0
        async with self._database.write() as write:
            rows = await write.connection.execute(wanted.with_for_update(skip_locked=True))
            # in the order in which an erasure takes the same locks: sessions, then credentials
            found = sorted(
                (machine_of(row) for row in rows), key=lambda row: (row.credential_id or "", row.session_id or "")
            )
            for row in found:
                await _move(write, row, MachineFact.STOP_ASKED, at, {"expires_at": None, "ended_at": at})
            return len(found)

    @to_its_end
    async def begin(
        self,
        machine_id: str,
        *,
        incarnation: str,
        node: str,
        handle: Mapping[str, Any],
        host_uid: int | None,
        expires_at: datetime,
        at: datetime,
    ) -> MachineRow | None:
        """Move a requested machine to `booting` and store its handle, before anything of it is started.

        Return None when another machine of the node that has not ended holds the host uid. MachineError MACHINE_ENDED
        when the machine is no longer `requested` (asked to stop meanwhile, begun already), is another incarnation, or
        when another node has claimed it meanwhile: nothing may be started then. A claim that is over and that nobody
        else has taken still holds.
        """
        async with self._database.write() as write:
            before = await _locked(write.connection, machine_id)
            if before is None or (before.incarnation, before.state, before.node) != (
                incarnation,
                MachineState.REQUESTED,
                node,
            ):
                found = "unknown" if before is None else f"{before.state}, {before.incarnation}, of {before.node}"
                raise MachineError(Code.MACHINE_ENDED, detail=f"{machine_id} cannot begin as {incarnation}: {found}")
            if host_uid is not None and await _holder(write.connection, node, host_uid) is not None:
                return None
            values = {"handle": dict(handle), "host_uid": host_uid, "expires_at": expires_at}
            return await _move(write, before, MachineFact.BOOT_BEGAN, at, values)

    @to_its_end
    async def apply(
        self,
        machine_id: str,
        fact: MachineFact,
        *,
        incarnation: str,
        at: datetime,
        expires_at: datetime | None = None,
        exit_code: int | None = None,
        detail: str = "",
    ) -> tuple[MachineRow, MachineDecision]:
        """Let a fact about one incarnation do to the machine what the table says.

        `expires_at` is the deadline of the state that the machine is in afterwards; without it the present one stays.
        About another incarnation the fact is refused and nothing is written. `exit_code` and `detail` are kept when the
        machine ends; of an ENDED that moves it its session is told in the same transaction: nobody attends the machine
        after that, and a session that was not told would wait for its deadline. MachineError MACHINE_ENDED when there
        is no such machine.
        """
        async with self._database.write() as write:
            before = await _locked(write.connection, machine_id)
            if before is None:
                raise MachineError(Code.MACHINE_ENDED, detail=f"{machine_id} is unknown")
            if before.incarnation != incarnation:
                return before, MachineDecision(Act.REFUSE, before.state, before.state, ())
            decision = decide_machine(before.state, fact)
            values: dict[str, Any] = {} if expires_at is None else {"expires_at": expires_at}
            if decision.act is Act.MOVE:
                if decision.after.ended:
                    values = {"expires_at": None, "ended_at": at, "exit_code": exit_code, "end_detail": detail}
                after = await _move(write, before, fact, at, values)
                if fact is MachineFact.ENDED and after.session_id is not None:
                    await _tell(write, after)
                return after, decision
            if decision.act is Act.NOTE and values and not before.state.ended:
                write.tell(MACHINES)
                return await _change(write.connection, before, values), decision
            return before, decision

    @to_its_end
    async def not_ended(self, node: str | None = None) -> list[MachineRow]:
        """Return the machines that have not ended, of one node or all, oldest first; what a node has claimed is its."""
        wanted = select(machines).where(has_not_ended(), _of(node))
        return await self._many(wanted.order_by(machines.c.created_at, machines.c.id))

    @to_its_end
    async def taken_uids(self, node: str, driver: str | None = None) -> set[int]:
        """Return the host uids of a node's machines that have not ended, of one driver or of all."""
        wanted = select(machines.c.host_uid).where(has_not_ended(), machines.c.host_uid.is_not(None), _of(node))
        if driver is not None:
            wanted = wanted.where(machines.c.driver == driver)
        async with self._database.read() as connection:
            return {uid for (uid,) in await connection.execute(wanted)}

    @to_its_end
    async def due(self, at: datetime) -> list[MachineRow]:
        """Return the machines whose state's deadline has come, the most overdue first."""
        wanted = select(machines).where(has_not_ended(), machines.c.expires_at <= at)
        return await self._many(wanted.order_by(machines.c.expires_at))

    async def _one(self, wanted: Select[Any]) -> MachineRow | None:
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else machine_of(row)

    async def _many(self, wanted: Select[Any]) -> list[MachineRow]:
        async with self._database.read() as connection:
            return [machine_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def ended(self, limit: int) -> list[MachineRow]:
        """Return machines that have ended, the newest first."""
        wanted = select(machines).where(machines.c.state.in_(ENDED_STATES))
        return await self._many(wanted.order_by(machines.c.created_at.desc(), machines.c.id.desc()).limit(limit))

    @to_its_end
    async def list(self, limit: int = 100) -> list[MachineRow]:
        """Return machines, newest first."""
        return await self._many(
            select(machines).order_by(machines.c.created_at.desc(), machines.c.id.desc()).limit(limit)
        )


async def _locked(connection: AsyncConnection, machine_id: str) -> MachineRow | None:
    wanted = select(machines).where(machines.c.id == machine_id).with_for_update()
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else machine_of(row)


def _of(node: str | None) -> ColumnElement[bool]:
    return machines.c.node == node if node is not None else true()


async def _holder(connection: AsyncConnection, node: str, host_uid: int) -> str | None:
    wanted = select(machines.c.id).where(machines.c.node == node, machines.c.host_uid == host_uid, has_not_ended())
    return (await connection.execute(wanted)).scalar_one_or_none()


async def _change(connection: AsyncConnection, before: MachineRow, values: Mapping[str, Any]) -> MachineRow:
    statement = (
        update(machines)
        .where(
            machines.c.id == before.id,
            machines.c.state == before.state,
            machines.c.incarnation == before.incarnation,
        )
        .values(**values)
        .returning(*machines.c)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        message = f"machine {before.id} changed under the lock of its transaction"
        raise RuntimeError(message)
    return machine_of(row)


async def _tell(write: Write, ended: MachineRow) -> None:
    """Give its session the fact, never a verdict: the session's own table decides, and an ended one only notes it."""
    given = Given(
        fact=SessionFact.MACHINE_ENDED,
        at=ended.ended_at or ended.state_at,
        detail=f"machine {ended.state}, exit code {ended.exit_code}: {ended.end_detail}",
        fields={"machine_state": str(ended.state), "exit_code": ended.exit_code},
    )
    await apply_fact(write, await locked(write.connection, ended.session_id or ""), given)


async def _move(
    write: Write, before: MachineRow, fact: MachineFact, at: datetime, values: Mapping[str, Any]
) -> MachineRow:
    after_state = decide_machine(before.state, fact).after
    if before.session_id is not None:
        await keep_order(write.connection, before.session_id)
    after = await _change(
        write.connection, before, {"state": after_state, "state_at": at, "claimed_until": None, **values}
    )
    event = await record(
        write.connection,
        fact,
        at=at,
        session_id=before.session_id,
        machine_id=before.id,
        before=before.state,
        after=after.state,
        fields={} if after.exit_code is None else {"exit_code": after.exit_code},
    )
    write.recorded.append(Recorded(event, Act.MOVE, machine=after, since=before.state_at))
    write.tell(MACHINES, *([session_topic(before.session_id)] if before.session_id else []))
    if after.run_id is not None:
        write.tell(run_topic(after.run_id))
    if after.state.ended:
        await run_of_machine_ended(write, after, at)
    return after
