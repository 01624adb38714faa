"""Openings that somebody asks for by the credential's id: granted or denied, each on record before anything is opened.

How often one caller may try is counted in the audit itself, in the transaction that answers: of two that come at once
for the last place one is refused. Whoever opens for another purpose adds what that needs to `_needs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, func, insert, or_, select, update

from antechamber.errors import Code
from antechamber.model import AuditAction, Purpose, RevealAllowed
from antechamber.store.audit import Entry, append
from antechamber.store.credentials import grant
from antechamber.store.database import to_its_end
from antechamber.store.limits import WINDOW, take_turn
from antechamber.store.rows import credential_of
from antechamber.store.schema import audit, credentials, reveals_allowed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import Actor, Credential, Sealed
    from antechamber.store.credentials import Asked
    from antechamber.store.database import Database, Write

LIMITED: Final = {Purpose.REVEAL: Code.REVEAL_LIMIT}
"""The purposes whose tries are counted, and what one too many is refused with."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nothing is opened; it is on record."""

    code: Code
    retry_after: timedelta | None = None


class Openings:
    """What of one database's credentials is opened for whoever asks by an id."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def ask(
        self, credential_id: str, asked: Asked, *, at: datetime, an_hour: int
    ) -> tuple[Credential, Sealed] | Denied:
        """Grant the opening of a live credential and return it with what is sealed in it, or deny it.

        Either is committed before this returns. `an_hour` tries of one caller are answered within an hour, granted or
        not (0: any number); of those that are too many the first is on record.
        """
        async with self._database.write() as write:
            await take_turn(write.connection)
            if (until := await _too_many(write.connection, asked, at, an_hour)) is not None:
                too_many = LIMITED[asked.purpose]
                if not await _was_told(write.connection, asked, too_many, at):
                    await _deny(write, credential_id, asked, too_many, at)
                return Denied(too_many, max(until - at, timedelta(0)))
            wanted = select(credentials).where(credentials.c.id == credential_id).with_for_update()
            row = (await write.connection.execute(wanted)).one_or_none()
            code = await _why_not(write.connection, row, asked)
            if code is not None:
                await _deny(write, credential_id, asked, code, at)
                return Denied(code)
            return grant(write, row, asked, at)

    @to_its_end
    async def refused(self, credential_id: str, asked: Asked, code: Code, *, at: datetime, an_hour: int) -> None:
        """Put on record that a try was denied before it came here, unless it is one too many."""
        async with self._database.write() as write:
            await take_turn(write.connection)
            if await _too_many(write.connection, asked, at, an_hour) is None:
                await _deny(write, credential_id, asked, code, at)

    @to_its_end
    async def allow_reveal(self, provider: str, terms_read_on: date, *, by: Actor, at: datetime) -> RevealAllowed:
        """Let what is stored for a provider be given out in plain text; the same again changes nothing."""
        async with self._database.write() as write:
            await take_turn(write.connection)
            known = await _allowed(write.connection, provider)
            if known is not None and known.terms_read_on == terms_read_on:
                return known
            same = reveals_allowed.c.provider == provider
            if known is None:
                values = {"provider": provider, "terms_read_on": terms_read_on, "since": at}
                await write.connection.execute(insert(reveals_allowed).values(**values))
            else:
                await write.connection.execute(update(reveals_allowed).where(same).values(terms_read_on=terms_read_on))
            said = {"terms_read_on": terms_read_on.isoformat()}
            append(write, Entry(by, AuditAction.REVEAL_ALLOWED, None, provider=provider, fields=said), at=at)
            return RevealAllowed(provider, terms_read_on, known.since if known else at)

    @to_its_end
    async def forbid_reveal(self, provider: str, *, by: Actor, at: datetime) -> bool:
        """Give nothing out in plain text any more; False where nothing was allowed."""
        async with self._database.write() as write:
            await take_turn(write.connection)
            gone = await write.connection.execute(delete(reveals_allowed).where(reveals_allowed.c.provider == provider))
            if gone.rowcount:
                append(write, Entry(by, AuditAction.REVEAL_FORBIDDEN, None, provider=provider), at=at)
            return bool(gone.rowcount)

    @to_its_end
    async def reveals_allowed(self) -> Sequence[RevealAllowed]:
        """Return for which providers the operator has allowed it."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(reveals_allowed).order_by(reveals_allowed.c.provider))
            return [RevealAllowed(row.provider, row.terms_read_on, row.since) for row in rows]


async def _why_not(connection: AsyncConnection, row: Any, asked: Asked) -> Code | None:
    if row is None or row.deleted_at is not None or asked.application not in {None, row.application}:
        return Code.CREDENTIAL_NOT_FOUND
    return await _needs(connection, asked, row.provider)


async def _needs(connection: AsyncConnection, asked: Asked, provider: str) -> Code | None:
    """Return what keeps a live credential of the caller's own from being opened for that purpose."""
    if asked.purpose is Purpose.REVEAL:
        if await _allowed(connection, provider) is None:
            return Code.REVEAL_OFF
        if not asked.reason:
            return Code.REASON_MISSING
    return None


async def _deny(write: Write, credential_id: str, asked: Asked, code: Code, at: datetime) -> None:
    row = (await write.connection.execute(select(credentials).where(credentials.c.id == credential_id))).one_or_none()
    found = None if row is None else credential_of(row)
    entry = Entry(
        asked.actor,
        AuditAction.CREDENTIAL_OPENED,
        found.owner if found else None,
        asked.purpose,
        found.provider if found else None,
        credential_id=credential_id,
        version=found.version if found else None,
        refused=code,
        api_key=asked.api_key,
        reason=asked.reason,
    )
    append(write, entry, at=at)


async def _allowed(connection: AsyncConnection, provider: str) -> RevealAllowed | None:
    wanted = select(reveals_allowed).where(reveals_allowed.c.provider == provider)
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else RevealAllowed(row.provider, row.terms_read_on, row.since)


def _tries(asked: Asked, at: datetime) -> Any:
    """Say that a line is a try of the same caller's within the hour before."""
    return and_(
        audit.c.purpose == asked.purpose,
        audit.c.at > at - WINDOW,
        audit.c.actor == asked.actor,
        audit.c.api_key.is_(None) if asked.api_key is None else audit.c.api_key == asked.api_key,
    )


async def _too_many(connection: AsyncConnection, asked: Asked, at: datetime, an_hour: int) -> datetime | None:
    """Return when another try will be answered, where one more now would be too many."""
    if not an_hour or asked.purpose not in LIMITED:
        return None
    told = or_(audit.c.refused.is_(None), audit.c.refused != str(LIMITED[asked.purpose]))
    counted = await connection.execute(select(func.count()).select_from(audit).where(_tries(asked, at), told))
    too_many = counted.scalar_one() - an_hour
    if too_many < 0:
        return None
    wanted = select(audit.c.at).where(_tries(asked, at), told).order_by(audit.c.at).offset(too_many).limit(1)
    first: datetime = (await connection.execute(wanted)).scalar_one()
    return first + WINDOW


async def _was_told(connection: AsyncConnection, asked: Asked, code: Code, at: datetime) -> bool:
    told = select(audit.c.seq).where(_tries(asked, at), audit.c.refused == str(code)).limit(1)
    return (await connection.execute(told)).first() is not None
