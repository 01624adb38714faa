"""The vault's keys: which there are, another one to seal with, and the rewrapping of what earlier ones wrapped.

The database names the key that seals. So a rotation can end at any instant: a key that was only added seals nothing,
and after the database has named it everything still opens with the keys in the file, whatever wraps it. Doing it again
goes on where it ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antechamber.errors import CallerError, Code, OperatorError, VaultError
from antechamber.log import get_logger
from antechamber.model import SealIdentity
from antechamber.vault import at_the_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from antechamber.model import Actor
    from antechamber.store import Store
    from antechamber.vault import Vault

_log = get_logger("keys")


@dataclass(frozen=True, slots=True)
class KeyAbout:
    """One key of the roots."""

    id: str
    root: str
    """The word for the root that has it."""
    seals: bool
    """Whether it is the one that seals from now on."""
    credentials: int
    """How many live credentials need it."""


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What one step of a rotation did."""

    done: int
    after: str
    """Where the next step goes on; empty at the end."""


async def take_named_key(store: Store, vault: Vault) -> str:
    """Have the vault look at its roots again and seal with the key that the database names; return that one's id.

    Another service may have changed either. Raises OperatorError key_mismatch where the roots lack it, and as
    `Vault.reload` does.
    """
    named = await store.key_id() or vault.key_id
    await at_the_root(vault.reload, named)
    return named


async def took_named_key(store: Store, vault: Vault) -> bool:
    """Do the same; False where no root of this service has that key.

    A rotation by another service named it. What this one seals with its own key opens here, and is better stored than
    lost. Raises OperatorError store_unavailable or root_unavailable.
    """
    try:
        await take_named_key(store, vault)
    except OperatorError as error:
        if error.code in {Code.STORE_UNAVAILABLE, Code.ROOT_UNAVAILABLE}:
            raise
        _log.error("no root has the key that seals", code=error.code, detail=error.detail)
        return False
    return True


class Keys:
    """The keys of one vault and its database."""

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], datetime]) -> None:
        """Use them."""
        self._store = store
        self._vault = vault
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def list(self) -> list[KeyAbout]:
        """Return the keys of each root in turn, in the order in which they were added."""
        await take_named_key(self._store, self._vault)
        needed = await self._store.credentials.sealed_with()
        return [
            KeyAbout(one, self._vault.root_of(one), one == self._vault.key_id, needed.get(one, 0))
            for one in self._vault.key_ids
        ]

    def root_of(self, key_id: str) -> str:
        """Return the word for the root that has a key."""
        return self._vault.root_of(key_id)

    async def add(self) -> str:
        """Add a key that seals nothing yet to the last root, for other services to have it first; return its id.

        Raises CallerError keys_elsewhere where the service may not.
        """
        async with self._one_at_a_time:
            await take_named_key(self._store, self._vault)
            added = await at_the_root(self._vault.add_key)
        _log.info("a key is added", key=added)
        return added

    async def rotate(self) -> str:
        """Seal with another key from now on and return its id: the one that was added last, else a new one.

        Raises CallerError keys_not_shared where other services would lack a new one, and keys_elsewhere where there is
        no other and the service may not add one; OperatorError root_unavailable where the key does not seal now.
        """
        async with self._one_at_a_time:
            # the roots too: what was added may have been taken out again
            before = await take_named_key(self._store, self._vault)
            needed = await self._store.credentials.sealed_with()
            keys = self._vault.key_ids
            added = [one for one in keys[keys.index(before) + 1 :] if one not in needed]
            if not added and not self._vault.next_root.shared and len(await self._store.nodes.list()) > 1:
                raise CallerError(Code.KEYS_NOT_SHARED)
            after = added[-1] if added else await at_the_root(self._vault.add_key)
            # before it is named: a key that may not be used would keep every sign-in from being stored
            await at_the_root(self._vault.probe, after)
            if not await self._store.promote_key(before, after):
                raise CallerError(Code.KEYS_CHANGED)
            await at_the_root(self._vault.reload, after)
        _log.info("another key seals", key=after, before=before)
        return after

    async def rewrap(self, *, by: Actor, after: str = "", limit: int = 25) -> Rewrapped:
        """Wrap the data keys of the next credentials with the key that seals now.

        One whose data key does not open is logged and left; the others are done all the same.
        """
        key_id = await take_named_key(self._store, self._vault)
        ids = await self._store.credentials.not_sealed_with(key_id, after=after, limit=limit)
        done = 0
        for credential_id in ids:
            done += await self._rewrap(credential_id, by)
        if ids:
            await self._store.scrub()
        return Rewrapped(done, ids[-1] if ids else "")

    async def _rewrap(self, credential_id: str, by: Actor) -> bool:
        held = await self._store.credentials.open_data_key(credential_id, actor=by, at=self._clock())
        if held is None:
            return False  # deleted a moment ago
        credential, sealed = held
        identity = SealIdentity.of(
            self._store.installation, credential.owner, credential.provider, credential.id, credential.version
        )
        try:
            wrapped = await at_the_root(self._vault.rewrap, sealed, identity)
        except VaultError as error:
            _log.warning("a data key does not open", credential=credential.id, key=sealed.key_id, detail=error.detail)
            return False
        return await self._store.credentials.rewrap(credential, sealed, wrapped)

    async def retire(self, key_id: str) -> None:
        """Take a key out of its root; raises CallerError key_needed, key_unknown or keys_elsewhere."""
        async with self._one_at_a_time:
            named = await take_named_key(self._store, self._vault)
            if key_id not in self._vault.key_ids:
                raise CallerError(Code.KEY_UNKNOWN)
            if key_id == named or (await self._store.credentials.sealed_with()).get(key_id):
                raise CallerError(Code.KEY_NEEDED)
            await at_the_root(self._vault.remove_key, key_id)
        _log.info("a key is retired", key=key_id)
