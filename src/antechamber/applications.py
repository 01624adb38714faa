"""Applications: who asks for sign-ins of its own users, by keys of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import AntechamberError, CallerError, Code
from antechamber.log import get_logger
from antechamber.model import ApiScope, Secret, is_printable, new_secret
from antechamber.web_address import bind_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from antechamber.model import ApiKey, Application
    from antechamber.store import Store

_log = get_logger("applications")

KEY_PREFIX: Final = "ante_"
"""What each key begins with, so that whoever finds one knows what it is."""
MOST_OF_A_NAME: Final = 64
MOST_AT_ONCE: Final = 1_000_000
"""The largest limit that can be set."""
_OF_ADMIN: Final = frozenset(ApiScope) - {ApiScope.CREDENTIALS_REVEAL}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made a moment ago: the only time that it is seen."""

    key: ApiKey
    secret: Secret


class Applications:
    """The applications of one store."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Use that store."""
        self._store = store.applications
        self._clock = clock

    async def add(self, name: str, *, bind_url: str | None, live: int = 0, starts_an_hour: int = 0) -> Application:
        """Add one; the last two are its limits, 0 for none of its own.

        Raises CallerError bad_request, application_exists.
        """
        limits = {"live": _limit(live), "starts_an_hour": _limit(starts_an_hour)}
        added = await self._store.add(_name(name), bind_url=_bind_url(bind_url), limits=limits, at=self._clock())
        _log.info("application added", application=added.id)
        return added

    async def list(self) -> Sequence[Application]:
        """Return all of them, by name."""
        return await self._store.list()

    async def get(self, application_id: str) -> Application:
        """Return one; raises CallerError application_not_found."""
        found = await self._store.get(application_id)
        if found is None:
            raise CallerError(Code.APPLICATION_NOT_FOUND)
        return found

    async def change(self, application_id: str, changes: Mapping[str, Any]) -> Application:
        """Give one another `name` or `bind_url`, or with `disabled` have its keys open nothing, or again what they did.

        `live` and `starts_an_hour` are its limits; 0 is none of its own. Sign-ins that are open go on, as their
        machines belong to their persons. Raises CallerError bad_request,
        application_not_found, application_exists.
        """
        values: dict[str, Any] = {}
        if "name" in changes:
            values["name"] = _name(changes["name"])
        if "bind_url" in changes:
            values["bind_url"] = _bind_url(changes["bind_url"])
        if "disabled" in changes:
            known = await self.get(application_id)
            values["disabled_at"] = (known.disabled_at or self._clock()) if changes["disabled"] else None
        values |= {name: _limit(changes[name]) for name in ("live", "starts_an_hour") if name in changes}
        if not values:
            raise CallerError(Code.BAD_REQUEST, message="There is nothing to change.")
        changed = await self._store.change(application_id, values)
        _log.info("application changed", application=application_id, what=" ".join(sorted(changes)))
        return changed

    async def add_key(
        self, application_id: str, *, name: str, scopes: Iterable[ApiScope], lasts: timedelta | None
    ) -> NewKey:
        """Make a key of an application, which opens nothing after `lasts`.

        Raises CallerError bad_request, application_not_found.
        """
        wanted = frozenset(scopes)
        if not wanted:
            raise CallerError(Code.BAD_REQUEST, message="A key needs a scope at least.")
        secret, at = Secret(KEY_PREFIX + new_secret().reveal()), self._clock()
        added = await self._store.add_key(
            application_id,
            secret,
            name=_name(name),
            scopes=wanted,
            at=at,
            expires_at=None if lasts is None else at + lasts,
        )
        _log.info("API key added", application=application_id, key=added.id)
        return NewKey(added, secret)

    async def keys(self, application_id: str | None = None) -> Sequence[ApiKey]:
        """Return the keys of one application or of all, also those that open nothing any more."""
        return await self._store.keys(application_id)

    async def revoke(self, key_id: str) -> ApiKey:
        """Have a key open nothing from now on; raises CallerError api_key_not_found."""
        revoked = await self._store.revoke(key_id, at=self._clock())
        _log.info("API key revoked", application=revoked.application, key=key_id)
        return revoked

    async def holder(self, secret: Secret) -> ApiKey | None:
        """Return the key that a secret is while it opens something, and remember that it was used."""
        at = self._clock()
        key = await self._store.holder(secret, at=at)
        if key is not None:
            try:
                await self._store.note_use(key, at=at)
            except AntechamberError as error:
                # what is asked for may need no writing, and says so itself where it does
                _log.warning("a key's use could not be noted", key=key.id, code=str(error.code))
        return key

    async def require(self, key: ApiKey) -> None:
        """Raise CallerError not_signed_in where a key that opened something before opens nothing any more."""
        if not await self._store.opens(key.id, at=self._clock()):
            raise CallerError(Code.NOT_SIGNED_IN, message="This API key opens nothing any more.")


def allows(key: ApiKey, scope: ApiScope) -> bool:
    """Tell whether a key has that scope, by itself or by `admin`."""
    return scope in key.scopes or (ApiScope.ADMIN in key.scopes and scope in _OF_ADMIN)


def _name(name: str) -> str:
    if not is_printable(name) or not 0 < len(name) <= MOST_OF_A_NAME:
        message = f"A name is 1 to {MOST_OF_A_NAME} printable characters, without blanks around it."
        raise CallerError(Code.BAD_REQUEST, message=message)
    return name


def _limit(number: int) -> int:
    if not 0 <= number <= MOST_AT_ONCE:
        raise CallerError(Code.BAD_REQUEST, message=f"A limit is a number from 0 (none) to {MOST_AT_ONCE}.")
    return number


def _bind_url(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        return bind_address(url)
    except ValueError as error:
        raise CallerError(Code.BAD_REQUEST, message=f"The bind_url {error}.") from error
