"""The record of what happened: one row for each move, and for each note and refusal once.

`seq` orders the events of one session as they were committed, so that whoever goes on after the last one that it saw
misses none: an event of a session is written under the lock of the session's row (`keep_order`). Between sessions it
does not: where several write at once, a lower number can be committed after a higher one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from antechamber.lifecycle import Act, SessionFact
from antechamber.model import Event, IdPrefix, Reason, new_id
from antechamber.store.rows import event_of
from antechamber.store.schema import events, sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


async def keep_order(connection: AsyncConnection, session_id: str) -> bool:
    """Let no other transaction write an event of that session until the commit; tell whether there is the session."""
    wanted = select(sessions.c.id).where(sessions.c.id == session_id).with_for_update()
    return (await connection.execute(wanted)).one_or_none() is not None


async def record(
    connection: AsyncConnection,
    kind: str,
    *,
    at: datetime,
    act: Act = Act.MOVE,
    session_id: str | None = None,
    machine_id: str | None = None,
    before: str | None = None,
    after: str | None = None,
    reason: Reason | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Event:
    """Write an event within the caller's transaction, which has locked the session's row, and return it."""
    values = {
        "id": new_id(IdPrefix.EVENT),
        "session_id": session_id,
        "machine_id": machine_id,
        "kind": kind,
        "act": act,
        "before": before,
        "after": after,
        "reason": reason,
        "at": at,
        "fields": dict(fields or {}),
    }
    row = (await connection.execute(insert(events).values(values).returning(*events.c))).one()
    return event_of(row)


async def recorded(connection: AsyncConnection, session_id: str, kind: str, *, refused_in: str | None) -> Event | None:
    """Return the session's first event of a kind: the refusal in that status, or what was accepted in any status."""
    wanted = select(events).where(
        events.c.session_id == session_id, events.c.kind == kind, events.c.machine_id.is_(None)
    )
    if refused_in is None:
        wanted = wanted.where(events.c.act != Act.REFUSE)
    else:
        wanted = wanted.where(events.c.act == Act.REFUSE, events.c.before == refused_in)
    row = (await connection.execute(wanted.order_by(events.c.seq).limit(1))).one_or_none()
    return None if row is None else event_of(row)


async def recorded_in_this_run(connection: AsyncConnection, session_id: str, kind: str) -> bool:
    """Tell whether an event of a kind was accepted since the tool was last started again."""
    kinds = (kind, SessionFact.STARTED_AGAIN)
    wanted = (
        select(events.c.kind, func.max(events.c.seq))
        .where(events.c.session_id == session_id, events.c.kind.in_(kinds), events.c.act != Act.REFUSE)
        .group_by(events.c.kind)
    )
    last: dict[str, int] = {row[0]: row[1] for row in await connection.execute(wanted)}
    return last.get(kind, 0) > last.get(SessionFact.STARTED_AGAIN, 0)
