"""What is kept for a while only, and is deleted when its time is over: in small steps, by any service.

Each step is one short transaction over at most `BATCH` rows, so that nobody waits long for the right to write. What is
to go is chosen without a lock and looked at again when it is deleted: two services that choose the same rows delete
them once. What a pruning that was cut off has left, the next one finds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Table, and_, delete, exists, or_, select, tuple_

from antechamber.store.database import to_its_end
from antechamber.store.schema import (
    access,
    credential_events,
    credentials,
    destinations,
    events,
    has_not_ended,
    idempotency_keys,
    leases,
    machines,
    run_keys,
    runs,
    sessions,
)

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from antechamber.store.database import Database

BATCH: Final = 200
"""Rows that one transaction deletes at most, and what hangs on them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long: Idempotency-Keys since their first use, destinations since their last, the rest since its end."""

    idempotency_keys: timedelta
    destinations: timedelta
    events: timedelta
    """Ended sessions, their machines and the events of both and of credentials, tombstones, ended runs, and machines
    that had a credential in them."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a pruning deleted, but for what went with an ended session's row."""

    idempotency_keys: int = 0
    destinations: int = 0
    access: int = 0
    events: int = 0
    machines: int = 0
    sessions: int = 0
    tombstones: int = 0
    runs: int = 0

    def __bool__(self) -> bool:
        """Tell whether there was anything."""
        return any(getattr(self, one.name) for one in fields(self))


class Retention:
    """Deletes what is past its time."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    async def prune(self, at: datetime, kept: Kept) -> Pruned:
        """Delete what is past its time at that moment, and return how much it was.

        A completed session stays as long as a live credential is of that sign-in, also where runs have renewed it; its
        events go all the same. Nothing of a session that is live, or whose machine has not ended, is touched.
        """
        old = at - kept.events
        is_over = and_(sessions.c.ended_at.is_not(None), sessions.c.ended_at <= old)
        has_machine = exists().where(machines.c.session_id == sessions.c.id, has_not_ended())
        of_over = exists().where(sessions.c.id == events.c.session_id, is_over, ~has_machine)
        machine_of_over = exists().where(sessions.c.id == machines.c.session_id, is_over)
        stands_for_a_credential = exists().where(
            credentials.c.id == sessions.c.captured_credential_id,
            credentials.c.session_id == sessions.c.id,
            credentials.c.deleted_at.is_(None),
        )
        # whoever comes to the machine's end tells its run of it
        run_has_machine = exists().where(machines.c.run_id == runs.c.id, has_not_ended())
        has_lease = exists().where(leases.c.run_id == runs.c.id, leases.c.ended_at.is_(None))
        is_held = exists().where(leases.c.credential_id == credentials.c.id, leases.c.ended_at.is_(None))
        is_pointed_at = exists().where(sessions.c.captured_credential_id == credentials.c.id)
        return Pruned(
            idempotency_keys=await self._delete(
                idempotency_keys, idempotency_keys.c.created_at <= at - kept.idempotency_keys
            )
            + await self._delete(run_keys, run_keys.c.created_at <= at - kept.idempotency_keys),
            destinations=await self._delete(destinations, destinations.c.last_at <= at - kept.destinations),
            access=await self._delete(access, access.c.expires_at <= at),
            # these before their session: else one transaction would delete all that every session of a batch had
            events=await self._delete(events, and_(events.c.at <= old, or_(events.c.session_id.is_(None), of_over)))
            + await self._delete(credential_events, credential_events.c.at <= old),
            machines=await self._delete(
                machines, and_(machines.c.ended_at <= old, or_(machines.c.session_id.is_(None), machine_of_over))
            ),
            sessions=await self._delete(
                sessions, and_(sessions.c.ended_at <= old, ~stands_for_a_credential, ~has_machine)
            ),
            tombstones=await self._delete(credentials, and_(credentials.c.deleted_at <= old, ~is_pointed_at, ~is_held)),
            runs=await self._delete(runs, and_(runs.c.ended_at <= old, ~has_lease, ~run_has_machine)),
        )

    async def _delete(self, table: Table, past: ColumnElement[bool]) -> int:
        deleted, chosen = 0, BATCH
        while chosen == BATCH:
            chosen, gone = await self._step(table, past)
            deleted += gone
        return deleted

    @to_its_end
    async def _step(self, table: Table, past: ColumnElement[bool]) -> tuple[int, int]:
        """Delete one batch; return how many rows were chosen for it, and how many were still there."""
        key: list[Any] = list(table.primary_key.columns)
        async with self._database.read() as connection:
            rows = (await connection.execute(select(*key).where(past).limit(BATCH))).all()
        if not rows:
            return 0, 0
        # no row value of one column: SQLite has none
        found = [tuple(row) for row in rows]
        chosen = tuple_(*key).in_(found) if len(key) > 1 else key[0].in_([one for (one,) in found])
        async with self._database.write() as write:
            gone = await write.connection.execute(delete(table).where(chosen, past))
            return len(rows), gone.rowcount
