"""How an application's session comes to its owner's browser: a link is no proof of who opened it.

The browser that opened the link gets a challenge. The application brings it, and says which of its users sits there. If
that is the owner, what the same browser comes back with lets it in: the two secrets and the cookie never meet in
anybody else's hands. Everything here is one transaction each, and each secret serves once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sqlalchemy import func, select

from antechamber.lifecycle import SessionFact
from antechamber.model import AccessKind
from antechamber.store.access import grant_in, hash_of, holds_in, open_in, use_in, void_in
from antechamber.store.database import to_its_end
from antechamber.store.moves import Given, apply_fact, locked
from antechamber.store.schema import access

if TYPE_CHECKING:
    from datetime import datetime

    from antechamber.model import AuthSession, Secret
    from antechamber.store.database import Database, Write

CHALLENGES: Final = 5
"""How many challenges of one browser serve at once: a tab each."""
AGAIN: Final = timedelta(minutes=1)

Bound: TypeAlias = Literal["bound", "other_person", "bad_challenge"]
Returned: TypeAlias = Literal["opened", "other_browser", "not_valid"]


class Bindings:
    """The bindings of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def challenge(
        self, cookie: Secret, challenge: Secret, *, session_id: str, at: datetime, expires_at: datetime
    ) -> bool:
        """Give the browser with that cookie a challenge; False where it is not that browser, or the session is open.

        One that was given before serves as well, once: a second tab must not end the way of the first. CallerError
        SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            held = await holds_in(write.connection, AccessKind.BINDING_COOKIE, cookie, session_id, at=at)
            if session.opened_at is not None or not held:
                return False
            if await _given(write, session_id) >= CHALLENGES:
                await void_in(write.connection, AccessKind.CHALLENGE, session_id)
            await grant_in(write, AccessKind.CHALLENGE, challenge, session_id, at=at, expires_at=expires_at)
            await _note(write, session, SessionFact.SENT_TO_BIND, at)
            return True

    @to_its_end
    async def bind(
        self, challenge: Secret, way_back: Secret, *, session_id: str, user_id: str, at: datetime, expires_at: datetime
    ) -> Bound:
        """Take it that this user of the application sits at the browser with that challenge.

        Where that is the owner, `way_back` lets the browser in. The challenge is used up in any case. CallerError
        SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            if not await use_in(write, AccessKind.CHALLENGE, challenge, session_id, at=at):
                await _note(write, session, SessionFact.BIND_BAD_CHALLENGE, at)
                return "bad_challenge"
            if user_id != session.owner.user_id:
                await _note(write, session, SessionFact.BIND_OTHER_PERSON, at)
                return "other_person"
            await void_in(write.connection, AccessKind.RETURN, session_id)
            await grant_in(write, AccessKind.RETURN, way_back, session_id, at=at, expires_at=expires_at)
            await _note(write, session, SessionFact.BOUND, at)
            return "bound"

    @to_its_end
    async def come_back(
        self,
        way_back: Secret,
        cookies: list[Secret],
        cookie: Secret,
        *,
        session_id: str,
        at: datetime,
        cookie_expires_at: datetime,
    ) -> Returned:
        """Exchange the way back, and the cookie of the browser that was sent, for the session's one cookie.

        Whoever brings the way back uses it up: another browser has it only where somebody sent its person there. The
        same browser may bring it again for `AGAIN`, should the answer not have come to it; what it got before is void
        then. CallerError SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            used = await use_in(write, AccessKind.RETURN, way_back, session_id, at=at)
            if not used and not await _used_just_now(write, way_back, session_id, at):
                return "not_valid"
            for one in cookies:
                if await holds_in(write.connection, AccessKind.BINDING_COOKIE, one, session_id, at=at):
                    break
            else:
                if not used:
                    return "not_valid"
                await _note(write, session, SessionFact.BIND_OTHER_BROWSER, at)
                await void_in(write.connection, AccessKind.RETURN, session_id)
                return "other_browser"
            await void_in(write.connection, AccessKind.CHALLENGE, session_id)
            await void_in(write.connection, AccessKind.LINK, session_id)
            await open_in(write, session, cookie, at=at, cookie_expires_at=cookie_expires_at)
            return "opened"


async def _note(write: Write, session: AuthSession, fact: SessionFact, at: datetime) -> None:
    await apply_fact(write, session, Given(fact=fact, at=at))


async def _given(write: Write, session_id: str) -> int:
    wanted = select(func.count()).select_from(access)
    wanted = wanted.where(access.c.session_id == session_id, access.c.kind == AccessKind.CHALLENGE)
    found: int = (await write.connection.execute(wanted)).scalar_one()
    return found


async def _used_just_now(write: Write, way_back: Secret, session_id: str, at: datetime) -> bool:
    wanted = select(access.c.kind).where(
        access.c.secret_hash == hash_of(way_back),
        access.c.kind == AccessKind.RETURN,
        access.c.session_id == session_id,
        access.c.used_at > at - AGAIN,
    )
    return (await write.connection.execute(wanted)).one_or_none() is not None
