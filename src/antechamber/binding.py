"""Binding a session to the browser of its owner, by what their application says.

A link may have been sent on: whoever opens one of an application's is sent to the application, which knows who is
signed in there, says so, and sends the same browser back. See `store.bindings` for why three secrets are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from antechamber.errors import CallerError, Code
from antechamber.log import get_logger
from antechamber.model import AccessKind, Secret, new_cookie, new_secret
from antechamber.points import Point, point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from antechamber.store import Store

_log = get_logger("binding")

BINDING_LIFE: Final = timedelta(minutes=15)
"""How long a person may take to be signed in at the application, and to be sent back."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a browser is sent to be bound, and in whose name."""

    application: str
    """Its name."""
    url: Secret
    """The application's address with the session and the challenge."""


class Binding:
    """The bindings over one store."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, cookie_life: timedelta) -> None:
        """Use that store; `cookie_life` is how long a bound browser may look at its session."""
        self._store = store
        self._clock = clock
        self._cookie_life = cookie_life

    async def is_waiting(self, session_id: str, cookie: Secret) -> bool:
        """Tell whether the cookie is that of the browser that is to be bound."""
        return await self._store.access.holds(
            AccessKind.BINDING_COOKIE, cookie, session_id=session_id, at=self._clock()
        )

    async def way(self, session_id: str, cookies: Sequence[Secret]) -> Way:
        """Return where this browser is to go, with a fresh challenge.

        Raises CallerError session_not_found, not_signed_in (another browser), application_not_found where it takes no
        browsers any more.
        """
        session = await self._store.sessions.get(session_id)
        if session is None:
            raise CallerError(Code.SESSION_NOT_FOUND)
        waiting = [cookie for cookie in cookies if await self.is_waiting(session_id, cookie)]
        if not waiting:
            raise CallerError(Code.NOT_SIGNED_IN)
        application = await self._store.applications.get(session.owner.application)
        if application is None or application.bind_url is None or application.disabled_at is not None:
            raise CallerError(
                Code.APPLICATION_NOT_FOUND,
                message="The application that asked for this sign-in does not take anybody now.",
                next_step="Ask for a new link where you got this one.",
            )
        at, challenge = self._clock(), new_secret()
        until = at + BINDING_LIFE
        if not await self._store.bindings.challenge(
            waiting[0], challenge, session_id=session_id, at=at, expires_at=until
        ):
            # a newer link was opened a moment ago
            raise CallerError(Code.NOT_SIGNED_IN)
        point(Point.CHALLENGE_GIVEN)
        asked = {"session_id": session_id, "challenge": challenge.reveal()}
        return Way(application.name, Secret(_with(application.bind_url, asked)))

    async def bind(self, session_id: str, *, user_id: str, challenge: Secret) -> Secret:
        """Take the application's word for who sits at the browser; return what lets that browser in, once.

        Raises CallerError session_not_found, bind_other_person, challenge_not_valid.
        """
        at, way_back = self._clock(), new_secret()
        outcome = await self._store.bindings.bind(
            challenge, way_back, session_id=session_id, user_id=user_id, at=at, expires_at=at + BINDING_LIFE
        )
        if outcome == "bound":
            point(Point.BOUND)
            return way_back
        _log.warning("a browser was not bound", session=session_id, why=outcome)
        other = outcome == "other_person"
        raise CallerError(Code.BIND_OTHER_PERSON if other else Code.CHALLENGE_NOT_VALID)

    async def come_back(self, session_id: str, way_back: Secret, cookies: Sequence[Secret]) -> Secret:
        """Exchange the way back for the session's cookie, in the browser that was sent.

        Raises CallerError session_not_found, return_not_valid.
        """
        at, cookie = self._clock(), new_cookie()
        outcome = await self._store.bindings.come_back(
            way_back, list(cookies), cookie, session_id=session_id, at=at, cookie_expires_at=at + self._cookie_life
        )
        if outcome == "opened":
            point(Point.LET_IN)
            return cookie
        if outcome == "other_browser":
            _log.warning("another browser than the one that was sent came back", session=session_id)
        raise CallerError(Code.RETURN_NOT_VALID)


def _with(url: str, asked: dict[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(asked))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))
