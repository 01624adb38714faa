"""Checks of stored credentials: the vendor's own CLI says, offline and in a machine of its own, whether it takes one.

One at a time on a node: a check waits in no line for a machine, so it must not be what fills the host.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from antechamber.model import IdPrefix, Purpose, new_id
from antechamber.reconciler.errands import CheckErrand, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antechamber.machine import Driver
    from antechamber.model import Actor, Owner
    from antechamber.nodes import Node
    from antechamber.providers import Providers
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.store import Store

_ENDS_WITHIN: Final = timedelta(seconds=30)
"""How long a machine may take for its verdict, beside its start, and for its end after that."""


class Checks:
    """The checks of one node."""

    def __init__(
        self,
        *,
        store: Store,
        node: Node,
        signin: SignIn,
        providers: Providers,
        driver: Driver,
        settings: Settings,
        attending: Mapping[str, asyncio.Task[None]],
    ) -> None:
        """Bind the parts; `attending` has the task that attends each machine, by its id."""
        self._store = store
        self._node = node
        self._signin = signin
        self._providers = providers
        self._driver = driver
        self._settings = settings
        self._attending = attending
        self._errands: dict[str, CheckErrand] = {}
        self._turn = asyncio.Lock()

    def errand(self, machine_id: str) -> CheckErrand | None:
        """Return what that machine is for, or None when it is no check of this service's."""
        return self._errands.get(machine_id)

    async def check(self, owner: Owner, provider: str, *, by: Actor) -> Verdict:
        """Let the CLI say whether it takes the owner's credential, after those that were asked for before.

        Raises CallerError unknown_provider, credential_not_found, VaultError.
        """
        spec = self._providers.get(provider)
        async with self._turn:
            # not before its turn: it is in the clear from here on
            credential, bundle = await self._signin.open_credential(owner, spec.id, purpose=Purpose.CHECK, by=by)
            machine_id = new_id(IdPrefix.MACHINE)
            errand = self._errands[machine_id] = CheckErrand(spec, bundle)
            try:
                await self._create(machine_id, credential.id)
                verdict = await self._verdict(errand)
            finally:
                try:
                    attending = self._attending.get(machine_id)
                    if attending is not None:
                        await asyncio.wait({attending}, timeout=_ENDS_WITHIN.total_seconds())
                finally:
                    # it holds the credential, also where this was cancelled while it waited
                    self._errands.pop(machine_id, None)
        if verdict.answered:
            await self._signin.life.checked(credential, accepted=verdict.accepted)
        return verdict

    async def _create(self, machine_id: str, credential_id: str) -> None:
        at = self._signin.clock()
        await self._store.machines.create_check(
            node=self._node.id,
            driver=self._driver.name,
            at=at,
            expires_at=at + self._settings.duration("start"),
            machine_id=machine_id,
            credential_id=credential_id,
        )

    async def _verdict(self, errand: CheckErrand) -> Verdict:
        try:
            async with asyncio.timeout(_ENDS_WITHIN.total_seconds() + self._settings.start_s):
                return await asyncio.shield(errand.verdict)
        except TimeoutError:
            return Verdict(accepted=False, by=errand.spec.offline_check, detail="the check did not end in time")
