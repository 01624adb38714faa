"""Stored credentials between sign-ins: their statuses, moved by time, by checks and by what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.credential_life import CredentialFact
from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act
from antechamber.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from typing import Literal

    from antechamber.model import Credential, CredentialEvent
    from antechamber.store import CredentialMoved, Store

    Said = Literal[CredentialFact.VENDOR_REFUSED, CredentialFact.SAID_REVOKED]

_log = get_logger("credentials")


class CredentialLife:
    """The statuses and stories of one store's credentials."""

    def __init__(self, store: Store, *, near: timedelta, clock: Callable[[], datetime]) -> None:
        """Use that store; a credential expires for so long before its end."""
        self._store = store
        self._near = near
        self._clock = clock

    async def sweep(self) -> int:
        """Move on what time moves, and return how many that were; any service may, and doing it twice changes nothing.

        Raises OperatorError store_unavailable.
        """
        moved = 0
        for credential_id in await self._store.statuses.due(self._clock(), self._near):
            made = await self._store.statuses.move_by_time(credential_id, self._clock(), self._near)
            if made is not None and made.decision.act is Act.MOVE:
                moved += 1
                self._say(made)
        return moved

    async def checked(self, credential: Credential, *, accepted: bool) -> None:
        """Take what the tool itself answered about that version in an offline check."""
        fact = CredentialFact.CHECK_ACCEPTED if accepted else CredentialFact.CHECK_REFUSED
        made = await self._store.statuses.apply(credential.id, fact, at=self._clock(), version=credential.version)
        if made is not None and made.decision.act is Act.MOVE:
            self._say(made)

    async def say(self, credential_id: str, said: Said) -> Credential:
        """Take somebody's word about a credential, and return it as it is then; raises credential_not_found."""
        made = await self._store.statuses.apply(credential_id, said, at=self._clock())
        if made is None or made.decision.act is Act.REFUSE:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        if made.decision.act is Act.MOVE:
            self._say(made)
        return made.credential

    async def story(self, credential_id: str) -> tuple[Credential, list[CredentialEvent]]:
        """Return a credential, or its tombstone, and what happened to it, oldest first; raises credential_not_found."""
        credential = await self._store.credentials.get(credential_id)
        if credential is None:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        return credential, await self._store.statuses.events(credential_id)

    def _say(self, made: CredentialMoved) -> None:
        _log.info(
            "credential status changed",
            credential=made.credential.id,
            status=made.credential.status,
            reason=made.credential.status_reason,
        )
