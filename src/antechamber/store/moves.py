"""What a fact writes into a session's row: the one place that changes a status. Used inside write transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act, SessionDecision, SessionFact, decide_session
from antechamber.model import AuthSession, Event, Reason
from antechamber.store.changes import MACHINES, SESSIONS, session_topic
from antechamber.store.events import record, recorded, recorded_in_this_run
from antechamber.store.observer import Recorded
from antechamber.store.rows import session_of
from antechamber.store.schema import sessions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.database import Write

_NOTED_AT: Final = {
    SessionFact.OPENED: "opened_at",
    SessionFact.CONSENTED: "consented_at",
    SessionFact.SCREEN_SEEN: "screen_seen_at",
    SessionFact.SUCCESS_SHOWN: "success_shown_at",
    SessionFact.REJECTED: "rejected_at",
}
"""The column that keeps when a fact was first noted."""

_NEW_DEADLINE: Final = {SessionFact.SCREEN_SEEN, SessionFact.TERMINAL_ASKS}
"""The facts that give the present state another deadline, the first time."""

_OF_EACH_RUN: Final = {SessionFact.PAGE_ASKED, SessionFact.TERMINAL_ASKS}
"""What each run of the tool may bring, and is noted once in each: its page shows by it that the run has come so far."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a fact did: the session as it is now, what the table said, and the event (an earlier one when repeated)."""

    session: AuthSession
    decision: SessionDecision
    event: Event


async def locked(connection: AsyncConnection, session_id: str) -> AuthSession:
    """Return a session and keep others from changing it until the commit; CallerError SESSION_NOT_FOUND."""
    wanted = select(sessions).where(sessions.c.id == session_id).with_for_update()
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        raise CallerError(Code.SESSION_NOT_FOUND)
    return session_of(row)


async def change(connection: AsyncConnection, session: AuthSession, values: Mapping[str, Any]) -> AuthSession:
    """Write values into a session whose status must still be what was read; return it as it is now."""
    statement = (
        update(sessions)
        .where(sessions.c.id == session.id, sessions.c.status == session.status)
        .values(**values)
        .returning(*sessions.c)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        message = f"session {session.id} changed under the lock of its transaction"
        raise RuntimeError(message)
    return session_of(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A fact, and what came with it: see `Sessions.apply`; `captured` is a credential's id and version."""

    fact: SessionFact
    at: datetime
    reason: Reason | None = None
    detail: str = ""
    expires_at: datetime | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    captured: tuple[str, int] | None = None


async def apply_fact(write: Write, session: AuthSession, given: Given) -> Moved:
    """Do what the table says of the fact, with its event."""
    decision = decide_session(session.status, given.fact, given.reason)
    if decision.act is Act.MOVE:
        return await _move(write, session, decision, given)
    if decision.act is Act.NOTE:
        return await _note(write, session, decision, given)
    return await refuse(write, session, decision, given)


async def _move(write: Write, session: AuthSession, decision: SessionDecision, given: Given) -> Moved:
    values: dict[str, Any] = {"status": decision.after, "status_at": given.at}
    if decision.after.terminal:
        values |= {"reason": decision.reason, "detail": given.detail, "ended_at": given.at, "expires_at": None}
    elif given.expires_at is not None:
        values["expires_at"] = given.expires_at
    if given.captured is not None:
        values["captured_credential_id"], values["captured_version"] = given.captured
    moved = await change(write.connection, session, values)
    return Moved(moved, decision, await _record(write, decision, moved, given, since=session.status_at))


async def _note(write: Write, session: AuthSession, decision: SessionDecision, given: Given) -> Moved:
    earlier = await recorded(write.connection, session.id, given.fact, refused_in=None)
    if earlier is not None:
        if given.fact not in _OF_EACH_RUN or await recorded_in_this_run(write.connection, session.id, given.fact):
            return Moved(session, decision, earlier)
        return Moved(session, decision, await _record(write, decision, session, given, since=session.status_at))
    values: dict[str, Any] = {}
    if (column := _NOTED_AT.get(given.fact)) is not None:
        values[column] = given.at
    # what comes after the end is noted, and an end has no deadline
    if given.fact in _NEW_DEADLINE and given.expires_at is not None and not session.status.terminal:
        values["expires_at"] = given.expires_at
    noted = await change(write.connection, session, values) if values else session
    return Moved(noted, decision, await _record(write, decision, noted, given, since=session.status_at))


async def refuse(write: Write, session: AuthSession, decision: SessionDecision, given: Given) -> Moved:
    """Record that the fact was refused, once in each status: whoever repeats it does not fill the database."""
    earlier = await recorded(write.connection, session.id, given.fact, refused_in=session.status)
    if earlier is not None:
        return Moved(session, decision, earlier)
    marked = replace(given, fields={**given.fields, "refused": True})
    return Moved(session, decision, await _record(write, decision, session, marked, since=session.status_at))


async def _record(
    write: Write, decision: SessionDecision, session: AuthSession, given: Given, *, since: datetime
) -> Event:
    write.tell(session_topic(session.id), SESSIONS, MACHINES)
    event = await record(
        write.connection,
        given.fact,
        at=given.at,
        act=decision.act,
        session_id=session.id,
        before=decision.before,
        after=decision.after,
        reason=decision.reason,
        fields=given.fields,
    )
    write.recorded.append(Recorded(event, decision.act, session=session, since=since))
    return event
