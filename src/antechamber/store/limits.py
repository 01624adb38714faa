"""How many sessions and runs there may be, counted inside the transaction that creates one: none too many passes.

SQLite has one writer at a time. On PostgreSQL those who create them take turns by the lock of the installation's row,
before any row of a session or credential; where there is no limit nobody takes it. An application's own limits are in
its row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from antechamber.errors import CallerError, Code
from antechamber.model import DEFAULT_APPLICATION, RunStatus
from antechamber.store.schema import applications, installation, is_live, runs, sessions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import Owner

WINDOW: Final = timedelta(hours=1)
"""The time over which starts are counted; it moves along, and never begins anew at a full hour."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many sessions may be live at once, and how many may be started within an hour; 0: as many as one likes."""

    owner_live: int = 0
    owner_starts: int = 0
    live: int = 0
    """Of all owners together."""
    starts: int = 0
    application_live: int = 0
    """Of one application's owners together: see `with_its_own`."""
    application_starts: int = 0

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return any(
            (
                self.owner_live,
                self.owner_starts,
                self.live,
                self.starts,
                self.application_live,
                self.application_starts,
            )
        )


async def with_its_own(connection: AsyncConnection, limits: Limits, application: str) -> Limits:
    """Return the limits with those that an application has of its own; the operator's sign-ins have none."""
    if application == DEFAULT_APPLICATION:
        return limits
    wanted = select(applications.c.live, applications.c.starts_an_hour).where(applications.c.id == application)
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        return limits
    return replace(limits, application_live=row.live, application_starts=row.starts_an_hour)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many runs may be live at once, those that wait for their turn among them; 0: as many as one likes."""

    owner: int = 0
    all: int = 0
    """Of all owners together."""

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.owner or self.all)


async def take_turn(connection: AsyncConnection) -> None:
    """Let nobody else count and create until the commit; to be taken before any row of a session or credential is."""
    await connection.execute(select(installation.c.singleton).with_for_update())


async def refuse_beyond(connection: AsyncConnection, limits: Limits, owner: Owner, at: datetime) -> None:
    """Raise CallerError where one session more would be too many, with the time after which it would not be.

    Of starts that is the moment at which enough of them are an hour old. Nobody can know when a person is done: of live
    sessions it is the first moment at which so many have reached the deadline that they have now. Where several limits
    are reached, the one that lasts longest is told.
    """
    its = sessions.c.application == owner.application
    own = (its, sessions.c.user_id == owner.user_id)
    refused = [
        (until, code)
        for until, code in (
            (await _starts_until(connection, limits.owner_starts, at, *own), Code.OWNER_START_LIMIT),
            (await _live_until(connection, limits.owner_live, sessions, is_live(), *own), Code.OWNER_LIVE_LIMIT),
            (await _starts_until(connection, limits.application_starts, at, its), Code.APPLICATION_START_LIMIT),
            (
                await _live_until(connection, limits.application_live, sessions, is_live(), its),
                Code.APPLICATION_LIVE_LIMIT,
            ),
            (await _starts_until(connection, limits.starts, at), Code.START_LIMIT),
            (await _live_until(connection, limits.live, sessions, is_live()), Code.LIVE_LIMIT),
        )
        if until is not None
    ]
    if refused:
        until, code = max(refused, key=lambda one: one[0])
        # whoever lost a race for it read the clock before the start that won: it is at least that late by now
        newest = await connection.scalar(select(func.max(sessions.c.created_at)))
        raise CallerError(code, retry_after=max(until - max(at, newest or at), timedelta(0)))


async def refuse_runs_beyond(connection: AsyncConnection, limits: RunLimits, owner: Owner, at: datetime) -> None:
    """Raise CallerError where one run more would be too many, as `refuse_beyond` does for a session."""
    own = (runs.c.application == owner.application, runs.c.user_id == owner.user_id)
    is_live_run = runs.c.status != RunStatus.ENDED
    refused = [
        (until, code)
        for until, code in (
            (await _live_until(connection, limits.owner, runs, is_live_run, *own), Code.OWNER_RUN_LIMIT),
            (await _live_until(connection, limits.all, runs, is_live_run), Code.RUN_LIMIT),
        )
        if until is not None
    ]
    if refused:
        until, code = max(refused, key=lambda one: one[0])
        raise CallerError(code, retry_after=max(until - at, timedelta(0)))


async def _starts_until(
    connection: AsyncConnection, limit: int, at: datetime, *own: ColumnElement[bool]
) -> datetime | None:
    if not limit:
        return None
    # the last start that keeps the count at the limit: once it is an hour old, one is free
    wanted = select(sessions.c.created_at).where(sessions.c.created_at > at - WINDOW, *own)
    wanted = wanted.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).offset(limit - 1).limit(1)
    found: datetime | None = (await connection.execute(wanted)).scalar_one_or_none()
    return None if found is None else found + WINDOW


async def _live_until(
    connection: AsyncConnection, limit: int, table: Table, *which: ColumnElement[bool]
) -> datetime | None:
    if not limit:
        return None
    counted: Any = await connection.execute(select(func.count()).select_from(table).where(*which))
    too_many = counted.scalar_one() - limit
    if too_many < 0:
        return None
    wanted = select(table.c.expires_at).where(*which).order_by(table.c.expires_at)
    found: datetime = (await connection.execute(wanted.offset(too_many).limit(1))).scalar_one()
    return found
