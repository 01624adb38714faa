"""One running machine of the namespace driver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from antechamber.errors import Code, MachineError
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from antechamber.drivers.doors import UnixDoors
    from antechamber.drivers.keepers import Claim
    from antechamber.machine import Door, Handle, MachineEnd, Stream


class NamespaceMachine:
    """A machine that this service holds: its doors and a claim on its keeper."""

    def __init__(self, handle: Handle, doors: UnixDoors, claim: Claim) -> None:
        """Take both over."""
        self._handle = handle
        self._doors = doors
        self._claim = claim
        self._watching = spawn("machine end", self._watch())

    @property
    def handle(self) -> Handle:
        """The handle by which it was started or attached."""
        return self._handle

    def accept(self, door: Door) -> AsyncIterator[Stream]:
        """Yield the connections that the guest makes; ends when the machine is let go or gone."""
        return self._doors.accept(door)

    async def ended(self) -> MachineEnd:
        """Wait for the end; raises MachineError (shutting_down) when the machine is let go before."""
        return await self._claim.ended()

    async def stop(self, *, within: timedelta) -> MachineEnd:
        """End the machine and wait; idempotent. Raises MachineError when it is not gone in time."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._claim.stop()
                return await self._claim.ended()
        except TimeoutError as error:
            raise MachineError(Code.INTERNAL, detail="the machine is not gone in time") from error

    async def let_go(self) -> None:
        """Close this service's ends and leave the machine running."""
        await self._claim.release()
        await cancel_and_wait(self._watching)
        await self._doors.close()

    async def _watch(self) -> None:
        try:
            await self._claim.ended()
        except MachineError:
            return  # let go
        self._doors.drain()
