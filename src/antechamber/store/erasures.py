"""Everything of one owner, removed: asked for in one transaction, done in small steps, and recorded without a name.

What is to be done is a row, so that whichever service comes to it goes on with it, also after a kill. From the moment
that it is there no credential of the owner opens, their live sessions have ended, and no new one begins. The rows go
when no machine of theirs runs any more; each step is one short transaction, and under the row's lock one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SessionFact
from antechamber.model import Actor, AuditAction, Erasure, IdPrefix, MachineRow, Operator, Owner, new_id
from antechamber.store.audit import Entry, append, columns_of, forget, is_known
from antechamber.store.changes import ERASURES, MACHINES, SESSIONS
from antechamber.store.credentials import bury
from antechamber.store.database import to_its_end
from antechamber.store.moves import Given, apply_fact
from antechamber.store.rows import erasure_of, machine_of, session_of
from antechamber.store.schema import credentials, erasures, events, has_not_ended, is_live, machines, runs, sessions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.database import Database, Write

BATCH: Final = 25
"""Sessions that one step removes at most, with all that is theirs."""

_DETAIL: Final = "everything of its owner is being removed"


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much there is of an owner."""

    live_sessions: int
    sessions: int
    """Live ones among them."""
    machines: int
    """Those that have not ended."""
    credentials: int
    tombstones: int
    is_known: bool
    """Whether the audit can be led back to them, though nothing else of theirs is left."""

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self.sessions or self.credentials or self.tombstones or self.is_known)


class Erasures:
    """The erasures of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def holdings(self, owner: Owner) -> Holdings:
        """Count what there is of an owner."""
        async with self._database.read() as connection:
            return await _holdings(connection, owner)

    @to_its_end
    async def begin(
        self,
        owner: Owner,
        *,
        by: Actor,
        at: datetime,
        api_key: str | None = None,
        operator: Operator | None = None,
    ) -> Erasure | None:
        """Ask that everything of an owner be removed; return the erasure that is under way already where there is one.

        Their live sessions are cancelled and their credentials deleted in the same transaction. None when there is
        nothing of that owner.
        """
        async with self._database.write() as write:
            known = await under_way(write.connection, owner)
            if known is not None:
                return known
            if not await _holdings(write.connection, owner):
                return None
            row = await write.connection.execute(
                insert(erasures)
                .values(
                    id=new_id(IdPrefix.ERASURE),
                    application=owner.application,
                    user_id=owner.user_id,
                    asked_by=by,
                    api_key=api_key,
                    asked_at=at,
                    **columns_of(operator),
                )
                .returning(*erasures.c)
            )
            begun = erasure_of(row.one())
            await _end_what_lives(write, owner, at, begun)
            write.tell(ERASURES)
        await self._database.scrub()
        return begun

    @to_its_end
    async def get(self, erasure_id: str) -> Erasure | None:
        """Return an erasure, finished or not, or None."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(erasures).where(erasures.c.id == erasure_id))).one_or_none()
        return None if row is None else erasure_of(row)

    @to_its_end
    async def of_owner(self, owner: Owner) -> Erasure | None:
        """Return the erasure of an owner that is under way, or None."""
        async with self._database.read() as connection:
            return await under_way(connection, owner)

    @to_its_end
    async def unfinished(self) -> list[Erasure]:
        """Return the erasures that are under way."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(erasures).where(erasures.c.finished_at.is_(None)))
            return [erasure_of(row) for row in rows]

    @to_its_end
    async def waits_for(self, erasure: Erasure) -> list[MachineRow]:
        """Return the machines that have to end before an erasure goes on; none when it has finished."""
        if erasure.user_id is None:
            return []
        wanted = select(machines).where(_of(Owner(erasure.user_id, erasure.application)), has_not_ended())
        async with self._database.read() as connection:
            return [machine_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def step(self, erasure_id: str, *, at: datetime) -> tuple[Erasure, bool]:
        """Remove one batch; return the erasure as it is then, and whether this step did anything.

        It does nothing while a machine of the owner's runs, and once all is done. CallerError ERASURE_NOT_FOUND.
        """
        async with self._database.write() as write:
            wanted = select(erasures).where(erasures.c.id == erasure_id).with_for_update()
            row = (await write.connection.execute(wanted)).one_or_none()
            if row is None:
                raise CallerError(Code.ERASURE_NOT_FOUND)
            before = erasure_of(row)
            if before.user_id is None:
                return before, False
            owner = Owner(before.user_id, before.application)
            # what was created in the moment in which the erasure was asked for
            buried = await _end_what_lives(write, owner, at, before)
            # a line about the owner is still to be written at this transaction's end, so that it cannot be the last one
            if buried or await _runs(write.connection, owner):
                return before, buried
            values = await _remove(write.connection, owner)
            if not values:
                values = await _finish(write.connection, owner, at)
                # the pseudonym leads nowhere from here on, and this line names nobody
                await forget(write.connection, owner)
                erased = Entry(
                    before.asked_by,
                    AuditAction.OWNER_ERASED,
                    None,
                    api_key=before.api_key,
                    operator=before.operator,
                )
                append(write, erased, at=at)
            changed = await write.connection.execute(
                update(erasures)
                .where(erasures.c.id == erasure_id)
                .values({name: erasures.c[name] + n if isinstance(n, int) else n for name, n in values.items()})
                .returning(*erasures.c)
            )
            after = erasure_of(changed.one())
            write.tell(ERASURES, SESSIONS, MACHINES)
        if after.finished_at is not None:
            await self._database.scrub()
        return after, True

    @to_its_end
    async def list(self, limit: int, application: str | None = None) -> list[Erasure]:
        """Return erasures, of one application or of all, those that were asked for last first."""
        wanted = select(erasures).order_by(erasures.c.asked_at.desc(), erasures.c.id).limit(limit)
        if application is not None:
            wanted = wanted.where(erasures.c.application == application)
        async with self._database.read() as connection:
            return [erasure_of(row) for row in await connection.execute(wanted)]


async def under_way(connection: AsyncConnection, owner: Owner) -> Erasure | None:
    """Return the unfinished erasure of an owner within the caller's transaction, or None."""
    wanted = select(erasures).where(_is(owner, erasures), erasures.c.finished_at.is_(None))
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else erasure_of(row)


def _is(owner: Owner, table: Table) -> ColumnElement[bool]:
    return and_(table.c.application == owner.application, table.c.user_id == owner.user_id)


def _of(owner: Owner) -> ColumnElement[bool]:
    """Say that a machine is one of their sign-ins', or checks or runs with what is theirs."""
    return or_(
        machines.c.session_id.in_(select(sessions.c.id).where(_is(owner, sessions))),
        machines.c.credential_id.in_(select(credentials.c.id).where(_is(owner, credentials))),
        # of a run whose credential is forgotten too
        machines.c.run_id.in_(select(runs.c.id).where(_is(owner, runs))),
    )


async def _holdings(connection: AsyncConnection, owner: Owner) -> Holdings:
    async def count(table: Table, *conditions: ColumnElement[bool]) -> int:
        wanted = select(func.count()).select_from(table).where(_is(owner, table), *conditions)
        return int((await connection.execute(wanted)).scalar_one())

    running = select(func.count()).select_from(machines).where(_of(owner), has_not_ended())
    return Holdings(
        live_sessions=await count(sessions, is_live()),
        sessions=await count(sessions),
        machines=int((await connection.execute(running)).scalar_one()),
        credentials=await count(credentials, credentials.c.deleted_at.is_(None)),
        tombstones=await count(credentials, credentials.c.deleted_at.is_not(None)),
        is_known=await is_known(connection, owner),
    )


async def _runs(connection: AsyncConnection, owner: Owner) -> bool:
    wanted = select(machines.c.id).where(_of(owner), has_not_ended()).limit(1)
    return (await connection.execute(wanted)).first() is not None


async def _end_what_lives(write: Write, owner: Owner, at: datetime, erasure: Erasure) -> bool:
    """Cancel their live sessions and delete their credentials; tell whether any was there to delete."""
    live = select(sessions).where(_is(owner, sessions), is_live()).order_by(sessions.c.id).with_for_update()
    for row in (await write.connection.execute(live)).all():
        await apply_fact(write, session_of(row), Given(fact=SessionFact.CANCELLED, at=at, detail=_DETAIL))
    sealed = select(credentials.c.id).where(_is(owner, credentials), credentials.c.deleted_at.is_(None))
    found = (await write.connection.execute(sealed.order_by(credentials.c.id))).all()
    for (credential_id,) in found:
        await bury(write, credential_id, at=at, by=erasure.asked_by, api_key=erasure.api_key, operator=erasure.operator)
    return bool(found)


async def _remove(connection: AsyncConnection, owner: Owner) -> dict[str, Any]:
    """Remove one batch of sessions with all that is theirs; return the counts, empty when there was none."""
    wanted = select(sessions.c.id).where(_is(owner, sessions)).order_by(sessions.c.id).limit(BATCH)
    ids = (await connection.execute(wanted)).scalars().all()
    if not ids:
        return {}
    # counted, and so not left to the cascade; rights, destinations and Idempotency-Keys go by it
    gone = await connection.execute(delete(events).where(events.c.session_id.in_(ids)))
    ended = await connection.execute(delete(machines).where(machines.c.session_id.in_(ids)))
    await connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    return {"sessions": len(ids), "machines": ended.rowcount, "events": gone.rowcount}


async def _finish(connection: AsyncConnection, owner: Owner, at: datetime) -> dict[str, Any]:
    """Remove what was stored, and what names it, and have the record name nobody."""
    ids = (await connection.execute(select(credentials.c.id).where(_is(owner, credentials)))).scalars().all()
    named = events.c.fields["credential_id"].as_string().in_(ids)
    gone = await connection.execute(delete(events).where(events.c.session_id.is_(None), named))
    used = or_(machines.c.credential_id.in_(ids), machines.c.run_id.in_(select(runs.c.id).where(_is(owner, runs))))
    theirs = select(machines.c.id).where(used)
    await connection.execute(delete(events).where(events.c.session_id.is_(None), events.c.machine_id.in_(theirs)))
    checked = await connection.execute(delete(machines).where(used))
    await connection.execute(delete(runs).where(_is(owner, runs)))
    await connection.execute(delete(credentials).where(credentials.c.id.in_(ids)))
    return {
        "credentials": len(ids),
        "machines": checked.rowcount,
        "events": gone.rowcount,
        "user_id": None,
        "finished_at": at,
    }
