"""Plain text of a stored credential, for whoever may have it: off until the operator allows it for a provider.

It is asked for by an application's key with the scope `credentials:reveal`, of what is its own, or on the server's own
command line; each time with a reason, which the owner reads. Nothing here is ever logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from antechamber.errors import CallerError, Code
from antechamber.log import get_logger
from antechamber.model import GuestText, Purpose
from antechamber.providers.capture import open_bundle
from antechamber.store import Asked, Denied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from antechamber.model import Actor, ApiKey, Credential, RevealAllowed
    from antechamber.opening import Opening
    from antechamber.providers import Providers
    from antechamber.store import Store

_log = get_logger("reveal")


@dataclass(frozen=True, slots=True)
class Revealed:
    """One version of a credential in plain text; it does not show what is in it when it is printed."""

    credential: Credential
    files: Mapping[str, Mapping[str, Any]]
    """By the definition's names: `path` in a home, `mode` in octal, `content`."""

    def __repr__(self) -> str:
        return f"Revealed({self.credential.id}, {len(self.files)} files)"


class Revealing:
    """Gives out what one store holds, where that is allowed."""

    def __init__(
        self, store: Store, opening: Opening, providers: Providers, clock: Callable[[], datetime], *, an_hour: int
    ) -> None:
        """Use them; one caller's tries are answered so often within an hour, 0: any number."""
        self._store = store.openings
        self._opening = opening
        self._providers = providers
        self._clock = clock
        self._an_hour = an_hour

    async def allow(self, provider: str, terms_read_on: date, *, by: Actor) -> RevealAllowed:
        """Allow it for a provider; the operator says on which day they read the vendor's terms.

        Raises CallerError unknown_provider, bad_request for a day that has not come.
        """
        spec = self._providers.get(provider)
        if terms_read_on > self._clock().astimezone(UTC).date():
            raise CallerError(
                Code.BAD_REQUEST,
                message="That day has not come yet.",
                next_step="Name the day on which you read the vendor's terms.",
            )
        allowed = await self._store.allow_reveal(spec.id, terms_read_on, by=by, at=self._clock())
        _log.warning("plain text may be given out", provider=spec.id, terms_read_on=terms_read_on.isoformat())
        return allowed

    async def forbid(self, provider: str, *, by: Actor) -> bool:
        """Forbid it again; False where it was not allowed. A provider that is not defined any more can be named too."""
        names = {name: spec.id for spec in self._providers.all() for name in (spec.id, *spec.aliases)}
        gone = await self._store.forbid_reveal(names.get(provider, provider), by=by, at=self._clock())
        if gone:
            _log.info("plain text is given out no more", provider=provider)
        return gone

    async def allowed(self) -> Mapping[str, RevealAllowed]:
        """Return for which providers it is allowed."""
        return {one.provider: one for one in await self._store.reveals_allowed()}

    async def reveal(self, credential_id: str, reason: str | None, *, by: Actor, key: ApiKey | None = None) -> Revealed:
        """Give out a live credential, of the key's own application or, without a key, anybody's.

        Raises CallerError credential_not_found, reveal_off, reason_missing, reveal_limit (each is on record, but for
        the last one only the first), OperatorError store_unavailable or root_unavailable, ProviderError, VaultError.
        """
        asked = _asked(by, key, reason)
        opened = await self._opening.asked(credential_id, asked, an_hour=self._an_hour)
        if isinstance(opened, Denied):
            raise CallerError(opened.code, retry_after=opened.retry_after)
        credential, bundle = opened
        _log.warning("a credential is revealed", credential=credential.id, key=asked.api_key, by=str(by))
        files = open_bundle(credential.provider, bundle)
        return Revealed(credential, {name: {**file, "mode": f"{file['mode']:04o}"} for name, file in files.items()})

    async def refused(self, credential_id: str, code: Code, *, by: Actor, key: ApiKey | None) -> None:
        """Put on record that somebody was refused before their request came here."""
        asked = _asked(by, key, None)
        await self._store.refused(credential_id, asked, code, at=self._clock(), an_hour=self._an_hour)


def _asked(by: Actor, key: ApiKey | None, reason: str | None) -> Asked:
    return Asked(
        Purpose.REVEAL,
        by,
        api_key=key.id if key else None,
        application=key.application if key else None,
        reason=GuestText(reason) if reason else None,
    )
