"""Sign-in sessions: created, moved by facts, listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import ColumnElement, and_, insert, or_, select

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act, SessionFact
from antechamber.model import (
    AccessKind,
    AuthSession,
    Event,
    Fields,
    IdPrefix,
    MachineKind,
    MachineState,
    Owner,
    Reason,
    SessionStatus,
    new_id,
)
from antechamber.store.access import void_in
from antechamber.store.changes import MACHINES, SESSIONS, session_topic
from antechamber.store.database import to_its_end
from antechamber.store.erasures import under_way
from antechamber.store.events import record
from antechamber.store.limits import Limits, refuse_beyond, take_turn, with_its_own
from antechamber.store.moves import Given, Moved, apply_fact, change, locked
from antechamber.store.observer import Recorded
from antechamber.store.rows import event_of, session_of
from antechamber.store.schema import events, idempotency_keys, is_live, machines, sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.database import Database, Write

NO_LIMITS: Final = Limits()

CREATED: Final = "created"
"""The kind of a session's first event."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a session begins with; `provider` is the canonical id, `expires_at` the deadline of `pending`.

    `traceparent` is the caller's span that the session's trace hangs on, well-formed.
    """

    owner: Owner
    provider: str
    fields: Fields
    driver: str
    expires_at: datetime
    traceparent: str | None = None
    replace_account: bool = False
    """Whether it may put another account in the place of the stored credential's."""
    binds: bool = False
    """Whether its application says whose browser opened the link."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's Idempotency-Key and the hash of the body that it came with."""

    key: str
    body_hash: str
    caller: str


@dataclass(frozen=True, slots=True)
class Created:
    """The session that answers a request, and why it is that one."""

    session: AuthSession
    outcome: Literal["created", "live", "repeated"]
    """`live`: there was a live one of this owner and provider; `repeated`: the Idempotency-Key was used before."""
    superseded: AuthSession | None = None
    """The session that `replace` ended."""


class Sessions:
    """The sessions of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def create(
        self,
        new: NewSession,
        *,
        at: datetime,
        replace: bool = False,
        idempotency: Idempotency | None = None,
        links_void: bool = True,
        limits: Limits = NO_LIMITS,
    ) -> Created:
        """Create a pending session with its requested machine, or return the one that answers this request already.

        `replace` ends a live one of the same owner and provider in the same transaction. With `links_void` the links
        of an answer that is not new are void, unless one was opened. CallerError IDEMPOTENCY_MISMATCH: the same key
        came with another body; OWNER_BEING_ERASED; one of the `…_LIMIT`s, when a new one would be more than `limits`
        or its application's own allow: then nothing is written, and what `replace` would have ended goes on. An answer
        that is not new counts for nothing.
        """
        async with self._database.write() as write:
            limits = await with_its_own(write.connection, limits, new.owner.application)
            if limits.any:
                await take_turn(write.connection)
            if await under_way(write.connection, new.owner) is not None:
                raise CallerError(Code.OWNER_BEING_ERASED)
            known = await _answered(write.connection, idempotency) if idempotency else None
            if known is not None:
                return await _again(write, known, "repeated", links_void=links_void)
            live = await _live_of(write.connection, new.owner, new.provider)
            superseded = None
            if live is not None and (replace or (live.opened_at is None and live.binds is not new.binds)):
                # where its application has changed how links are opened, nobody could open one of before
                superseded = (await apply_fact(write, live, Given(fact=SessionFact.SUPERSEDED, at=at))).session
            elif live is not None:
                # once it has been opened the caller is refused, and a repetition must be refused again
                if idempotency is not None and live.opened_at is None:
                    await _remember(write.connection, idempotency, live.id, at)
                if live.opened_at is None and live.replace_account is not new.replace_account:
                    # nobody has seen it yet: what was asked for last counts
                    live = await change(write.connection, live, {"replace_account": new.replace_account})
                return await _again(write, live, "live", links_void=links_void)
            await refuse_beyond(write.connection, limits, new.owner, at)
            session = await _insert(write, new, at)
            if idempotency is not None:
                await _remember(write.connection, idempotency, session.id, at)
            return Created(session, "created", superseded)

    @to_its_end
    async def get(self, session_id: str) -> AuthSession | None:
        """Return a session, or None."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(sessions).where(sessions.c.id == session_id))).one_or_none()
        return None if row is None else session_of(row)

    @to_its_end
    async def apply(
        self,
        session_id: str,
        fact: SessionFact,
        *,
        at: datetime,
        reason: Reason | None = None,
        detail: str = "",
        expires_at: datetime | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Moved:
        """Let a fact do to the session what the table says; a refusal is in the decision, not an exception.

        `expires_at` is the deadline of the state that a move leads to, or with the first SCREEN_SEEN or TERMINAL_ASKS
        the new deadline of the present one. `detail` is kept when the session ends. A note or refusal that repeats
        itself writes nothing, and the earlier event is returned. CallerError SESSION_NOT_FOUND. Not for CAPTURED: see
        `Credentials.capture`.
        """
        if fact is SessionFact.CAPTURED:
            message = "a capture is applied together with its credential"
            raise ValueError(message)
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            given = Given(
                fact=fact, at=at, reason=reason, detail=detail, expires_at=expires_at, fields=dict(fields or {})
            )
            return await apply_fact(write, session, given)

    @to_its_end
    async def time_out(
        self, session_id: str, *, at: datetime, detail: str = "", deadline: datetime | None = None
    ) -> AuthSession:
        """End a live session whose deadline has come, as what it was waiting for says; return it as it is then.

        One whose deadline was moved on meanwhile is left alone: the person saw the screen, or had the CLI started
        again, a moment before. `deadline` is the one that has come though `at` is before it, because the clock has gone
        back. CallerError SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            if session.status.terminal or session.expires_at is None:
                return session
            if session.expires_at > at and session.expires_at != deadline:
                return session
            if session.gave_up_at is not None:
                given = Given(fact=SessionFact.SIGN_IN_FAILED, at=at, reason=Reason.CLI_ENDED, detail=session.detail)
            elif session.status is SessionStatus.PENDING:
                begun = await _has_begun(write.connection, session.machine_id)
                reason = Reason.MACHINE_DID_NOT_START if begun else None
                given = Given(fact=SessionFact.TIME_RAN_OUT, at=at, reason=reason, detail=detail)
            else:
                fact = SessionFact.TIME_RAN_OUT if session.screen_seen_at else SessionFact.NOBODY_CAME
                given = Given(fact=fact, at=at, detail=detail)
            return (await apply_fact(write, session, given)).session

    @to_its_end
    async def due(self, at: datetime) -> list[AuthSession]:
        """Return the live sessions whose deadline has come, the most overdue first."""
        wanted = select(sessions).where(is_live(), sessions.c.expires_at <= at)
        async with self._database.read() as connection:
            return [session_of(row) for row in await connection.execute(wanted.order_by(sessions.c.expires_at))]

    @to_its_end
    async def deadlines(self) -> list[tuple[str, datetime]]:
        """Return the ids of all live sessions with their deadlines."""
        wanted = select(sessions.c.id, sessions.c.expires_at).where(is_live(), sessions.c.expires_at.is_not(None))
        async with self._database.read() as connection:
            return [(row.id, row.expires_at) for row in await connection.execute(wanted)]

    @to_its_end
    async def events(self, session_id: str, *, after: int = 0, limit: int = 500, machines: bool = False) -> list[Event]:
        """Return a session's events with a `seq` above `after`, in order; with `machines` its machine's too."""
        wanted = select(events).where(events.c.session_id == session_id, events.c.seq > after)
        if not machines:
            wanted = wanted.where(events.c.machine_id.is_(None))
        async with self._database.read() as connection:
            return [event_of(row) for row in await connection.execute(wanted.order_by(events.c.seq).limit(limit))]

    @to_its_end
    async def list(
        self,
        *,
        application: str | None = None,
        user_id: str | None = None,
        provider: str | None = None,
        live: bool | None = None,
        status: SessionStatus | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[AuthSession]:
        """Return sessions, newest first; `before` is the id of a session whose elders are wanted."""
        conditions: list[ColumnElement[bool]] = []
        if application is not None:
            conditions.append(sessions.c.application == application)
        if user_id is not None:
            conditions.append(sessions.c.user_id == user_id)
        if provider is not None:
            conditions.append(sessions.c.provider == provider)
        if live is not None:
            conditions.append(is_live() if live else ~is_live())
        if status is not None:
            conditions.append(sessions.c.status == status)
        async with self._database.read() as connection:
            if before is not None:
                conditions.append(await _elder_than(connection, before))
            wanted = select(sessions).where(*conditions)
            wanted = wanted.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit)
            return [session_of(row) for row in await connection.execute(wanted)]


async def _has_begun(connection: AsyncConnection, machine_id: str) -> bool:
    wanted = select(machines.c.state).where(machines.c.id == machine_id)
    return (await connection.execute(wanted)).scalar_one_or_none() != MachineState.REQUESTED


async def _answered(connection: AsyncConnection, idempotency: Idempotency) -> AuthSession | None:
    wanted = (
        select(idempotency_keys.c.body_hash.label("answered_body"), *sessions.c)
        .join_from(idempotency_keys, sessions, sessions.c.id == idempotency_keys.c.session_id)
        .where(idempotency_keys.c.caller == idempotency.caller, idempotency_keys.c.key == idempotency.key)
    )
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        return None
    if row.answered_body != idempotency.body_hash:
        raise CallerError(Code.IDEMPOTENCY_MISMATCH)
    return session_of(row)


async def _again(
    write: Write, session: AuthSession, outcome: Literal["live", "repeated"], *, links_void: bool
) -> Created:
    if links_void and session.opened_at is None:
        await void_in(write.connection, AccessKind.LINK, session.id)
    return Created(session, outcome)


async def _live_of(connection: AsyncConnection, owner: Owner, provider: str) -> AuthSession | None:
    wanted = (
        select(sessions)
        .where(
            sessions.c.application == owner.application,
            sessions.c.user_id == owner.user_id,
            sessions.c.provider == provider,
            is_live(),
        )
        .with_for_update()
    )
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else session_of(row)


async def _remember(connection: AsyncConnection, idempotency: Idempotency, session_id: str, at: datetime) -> None:
    await connection.execute(
        insert(idempotency_keys).values(
            caller=idempotency.caller,
            key=idempotency.key,
            body_hash=idempotency.body_hash,
            session_id=session_id,
            created_at=at,
        )
    )


async def _insert(write: Write, new: NewSession, at: datetime) -> AuthSession:
    session_id, machine_id = new_id(IdPrefix.SESSION), new_id(IdPrefix.MACHINE)
    row = await write.connection.execute(
        insert(sessions)
        .values(
            id=session_id,
            application=new.owner.application,
            user_id=new.owner.user_id,
            provider=new.provider,
            status=SessionStatus.PENDING,
            display_name=new.fields.display_name,
            purpose=new.fields.purpose,
            return_url=new.fields.return_url,
            machine_id=machine_id,
            created_at=at,
            status_at=at,
            expires_at=new.expires_at,
            replace_account=new.replace_account,
            binds=new.binds,
        )
        .returning(*sessions.c)
    )
    session = session_of(row.one())
    await write.connection.execute(
        insert(machines).values(
            id=machine_id,
            kind=MachineKind.SIGN_IN,
            session_id=session_id,
            state=MachineState.REQUESTED,
            driver=new.driver,
            incarnation=new_id(IdPrefix.INCARNATION),
            created_at=at,
            state_at=at,
            expires_at=new.expires_at,
        )
    )
    event = await record(
        write.connection,
        CREATED,
        at=at,
        session_id=session_id,
        after=SessionStatus.PENDING,
        fields={"traceparent": new.traceparent} if new.traceparent else {},
    )
    write.recorded.append(Recorded(event, Act.MOVE, session=session))
    write.tell(session_topic(session_id), SESSIONS, MACHINES)
    return session


async def _elder_than(connection: AsyncConnection, session_id: str) -> ColumnElement[bool]:
    created_at = (
        await connection.execute(select(sessions.c.created_at).where(sessions.c.id == session_id))
    ).scalar_one_or_none()
    if created_at is None:
        raise CallerError(Code.SESSION_NOT_FOUND)
    return or_(
        sessions.c.created_at < created_at, and_(sessions.c.created_at == created_at, sessions.c.id < session_id)
    )
