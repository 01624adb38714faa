"""Opening what is sealed: the one caller of the vault's `unseal`, and only for what the store has put on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.errors import CallerError, Code
from antechamber.keys import took_named_key
from antechamber.model import SealIdentity
from antechamber.vault import at_the_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from antechamber.model import Actor, Credential, Owner, Purpose, Sealed
    from antechamber.store import Asked, Denied, Store
    from antechamber.vault import Vault


class Opening:
    """Opens credentials of one store by one vault."""

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], datetime]) -> None:
        """Use them."""
        self._store = store
        self._vault = vault
        self._clock = clock

    async def for_machine(
        self, owner: Owner, provider: str, *, purpose: Purpose, by: Actor, api_key: str | None = None
    ) -> tuple[Credential, bytes]:
        """Open an owner's credential for a machine of their own, and say which version of which one it is.

        `api_key` is the id of the application's key by whose right it is, if it is by one. The audit's line of it is
        committed before: where that cannot be, nothing is opened. Raises CallerError credential_not_found,
        OperatorError store_unavailable or root_unavailable, VaultError.
        """
        held = await self._store.credentials.open(
            owner, provider, purpose=purpose, actor=by, at=self._clock(), api_key=api_key
        )
        if held is None:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        return held[0], await self._unsealed(*held)

    async def asked(self, credential_id: str, asked: Asked, *, an_hour: int) -> tuple[Credential, bytes] | Denied:
        """Open a credential for whoever asks for it by its id, or deny it; either is on record before.

        `an_hour` is how many tries of one caller are answered within an hour. Raises OperatorError store_unavailable or
        root_unavailable, VaultError.
        """
        held = await self._store.openings.ask(credential_id, asked, at=self._clock(), an_hour=an_hour)
        return (held[0], await self._unsealed(*held)) if isinstance(held, tuple) else held

    async def _unsealed(self, credential: Credential, sealed: Sealed) -> bytes:
        identity = SealIdentity.of(
            self._store.installation, credential.owner, credential.provider, credential.id, credential.version
        )
        if sealed.key_id not in self._vault.key_ids:
            # another service rotated the key, and the file may have it by now
            await took_named_key(self._store, self._vault)
        return await at_the_root(self._vault.unseal, sealed, identity)
