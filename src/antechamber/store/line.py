"""The line of those who wait for a machine: first come, first served, over all nodes, a line for each driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, ColumnElement, ScalarSelect, Select, and_, func, or_, select, true

from antechamber.model import LIVE_STATUSES, MachineState
from antechamber.store.database import to_its_end
from antechamber.store.schema import has_not_ended, machines, runs, sessions

if TYPE_CHECKING:
    from datetime import datetime

    from antechamber.store.database import Database


def requested() -> ColumnElement[bool]:
    """Return the condition that of a machine nothing has been started."""
    # the second is said besides, for the index that has those alone
    return and_(machines.c.state == MachineState.REQUESTED, has_not_ended())


def of_session() -> ScalarSelect[str]:
    """Return the status of a machine's session, NULL where it has none, looked up for each machine that is read.

    Neither a join nor an IN: FOR UPDATE is to lock the machine's row alone, and a database that may begin at the
    sessions reads all that ever ended, or all the machines that ever checked something.
    """
    return select(sessions.c.status).where(sessions.c.id == machines.c.session_id).correlate(machines).scalar_subquery()


def of_run(column: Column[str]) -> ScalarSelect[str]:
    """Return a column of a machine's run, NULL where it has none, looked up as `of_session` is."""
    return select(column).where(runs.c.id == machines.c.run_id).correlate(machines).scalar_subquery()


class Line:
    """Who waits for a machine in one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def position(self, session_id: str, at: datetime) -> int | None:
        """Return a session's place in its line, the first is 1; None when it waits for nothing.

        So it is once a node has claimed its machine, which is about to begin then, and once the session has ended.
        """
        mine = select(machines.c.created_at, machines.c.id, machines.c.driver).where(
            machines.c.session_id == session_id, _waits(at)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(mine)).one_or_none()
            if found is None:
                return None
            before = or_(
                machines.c.created_at < found.created_at,
                and_(machines.c.created_at == found.created_at, machines.c.id < found.id),
            )
            counted = await connection.execute(_count(before, found.driver, at))
            return counted.scalar_one() + 1

    @to_its_end
    async def length(self, driver: str, at: datetime) -> int:
        """Return how many wait for a machine of that driver."""
        async with self._database.read() as connection:
            return (await connection.execute(_count(true(), driver, at))).scalar_one()


def _waits(at: datetime) -> ColumnElement[bool]:
    return and_(
        requested(),
        or_(machines.c.node.is_(None), machines.c.claimed_until <= at),
        of_session().in_(LIVE_STATUSES),
    )


def _count(condition: ColumnElement[bool], driver: str, at: datetime) -> Select[int]:
    return select(func.count()).select_from(machines).where(condition, machines.c.driver == driver, _waits(at))
