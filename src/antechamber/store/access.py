"""Rights that a secret gives: links, tickets and cookies. Only the SHA-256 of a secret is stored.

The secrets are 256 random bits, so a plain hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from antechamber.lifecycle import SessionFact
from antechamber.model import AccessKind
from antechamber.store.database import to_its_end
from antechamber.store.moves import Given, apply_fact, locked
from antechamber.store.schema import access

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import AuthSession, Secret
    from antechamber.store.database import Database, Write


class Access:
    """The rights of one database; a `session_id` of None means the dashboard's, never any session's."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def grant(
        self,
        kind: AccessKind,
        secret: Secret,
        *,
        session_id: str | None,
        at: datetime,
        expires_at: datetime,
        void_others: bool = False,
    ) -> None:
        """Let a secret give that right until it expires; `void_others` ends the earlier ones of kind and session."""
        async with self._database.write() as write:
            if void_others:
                await void_in(write.connection, kind, session_id)
            await grant_in(write, kind, secret, session_id, at=at, expires_at=expires_at)

    @to_its_end
    async def grant_link(self, secret: Secret, *, session_id: str, at: datetime, expires_at: datetime) -> bool:
        """Give a live session's one link; False, and no link, once one has been opened or the session has ended.

        Earlier links of the session are void. CallerError SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            if session.opened_at is not None or session.status.terminal:
                return False
            await void_in(write.connection, AccessKind.LINK, session_id)
            await grant_in(write, AccessKind.LINK, secret, session_id, at=at, expires_at=expires_at)
            return True

    @to_its_end
    async def open_link(
        self, code: Secret, cookie: Secret, *, session_id: str, at: datetime, cookie_expires_at: datetime
    ) -> bool:
        """Exchange a link's code for the session's one cookie and note that it was opened, all or nothing.

        In one transaction, so that no other link can be given or opened between. Of a session that binds the browser
        gets a cookie of another kind, and nothing is opened: see `Bindings`. False when the link is used, void or too
        old, or when one has been opened before. CallerError SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            if session.opened_at is not None:
                return False
            if not await use_in(write, AccessKind.LINK, code, session_id, at=at):
                return False
            if session.binds:
                # whoever opened an earlier link and was not bound is out
                await void_binding(write.connection, session_id)
                await grant_in(
                    write, AccessKind.BINDING_COOKIE, cookie, session_id, at=at, expires_at=cookie_expires_at
                )
                return True
            await open_in(write, session, cookie, at=at, cookie_expires_at=cookie_expires_at)
            return True

    @to_its_end
    async def redeem(self, kind: AccessKind, secret: Secret, *, session_id: str | None, at: datetime) -> bool:
        """Use a right up; tell whether it was there, of that kind and session, unused and not expired."""
        async with self._database.write() as write:
            return await use_in(write, kind, secret, session_id, at=at)

    @to_its_end
    async def holds(self, kind: AccessKind, secret: Secret, *, session_id: str | None, at: datetime) -> bool:
        """Tell whether a right is there without using it up."""
        async with self._database.read() as connection:
            return await holds_in(connection, kind, secret, session_id, at=at)

    @to_its_end
    async def void(self, kind: AccessKind, session_id: str | None) -> None:
        """End every right of that kind and session."""
        async with self._database.write() as write:
            await void_in(write.connection, kind, session_id)


async def grant_in(
    write: Write, kind: AccessKind, secret: Secret, session_id: str | None, *, at: datetime, expires_at: datetime
) -> None:
    """Let a secret give that right within the caller's transaction."""
    await write.connection.execute(
        insert(access).values(
            secret_hash=hash_of(secret), kind=kind, session_id=session_id, granted_at=at, expires_at=expires_at
        )
    )


async def holds_in(
    connection: AsyncConnection, kind: AccessKind, secret: Secret, session_id: str | None, *, at: datetime
) -> bool:
    """Tell whether a right is there, within the caller's transaction."""
    wanted = select(access.c.kind).where(_valid(kind, secret, session_id, at))
    return (await connection.execute(wanted)).one_or_none() is not None


async def use_in(write: Write, kind: AccessKind, secret: Secret, session_id: str | None, *, at: datetime) -> bool:
    """Use a right up within the caller's transaction; tell whether it was there."""
    used = await write.connection.execute(update(access).where(_valid(kind, secret, session_id, at)).values(used_at=at))
    return used.rowcount == 1


async def open_in(
    write: Write, session: AuthSession, cookie: Secret, *, at: datetime, cookie_expires_at: datetime
) -> None:
    """Let that cookie alone look at a session, and note that it was opened, within the caller's transaction."""
    await void_in(write.connection, AccessKind.SESSION_COOKIE, session.id)
    await grant_in(write, AccessKind.SESSION_COOKIE, cookie, session.id, at=at, expires_at=cookie_expires_at)
    # a session that has ended refuses the fact and shows its end all the same
    await apply_fact(write, session, Given(fact=SessionFact.OPENED, at=at))


async def void_in(connection: AsyncConnection, kind: AccessKind, session_id: str | None) -> None:
    """End every right of that kind and session within the caller's transaction."""
    await connection.execute(
        delete(access).where(access.c.kind == kind, access.c.session_id.is_not_distinct_from(session_id))
    )


async def void_binding(connection: AsyncConnection, session_id: str) -> None:
    """End every right of a browser that was not bound yet, within the caller's transaction."""
    for kind in (AccessKind.BINDING_COOKIE, AccessKind.CHALLENGE, AccessKind.RETURN):
        await void_in(connection, kind, session_id)


def _valid(kind: AccessKind, secret: Secret, session_id: str | None, at: datetime) -> ColumnElement[bool]:
    """Return the condition that a right is that one, unused and not expired."""
    return and_(
        access.c.secret_hash == hash_of(secret),
        access.c.kind == kind,
        access.c.session_id.is_not_distinct_from(session_id),
        access.c.used_at.is_(None),
        access.c.expires_at > at,
    )


def hash_of(secret: Secret) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.reveal().encode()).hexdigest()
