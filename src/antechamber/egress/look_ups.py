"""One session's look-ups: how many at once, how long each, and what this service's own names lead to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from antechamber.guest.protocol import EgressAnswer
from antechamber.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import Collection

    from antechamber.egress.addresses import Address
    from antechamber.egress.limits import Limits
    from antechamber.egress.world import Resolver

_OWN_NAMES_KEPT: Final = 30.0
"""Seconds for which the addresses of this service's own public names are believed."""


class LookUps:
    """Asks a world's resolver, within the limits of one session."""

    def __init__(self, resolver: Resolver, limits: Limits, own_names: Collection[str]) -> None:
        """Know the service's own public names."""
        self._resolver = resolver
        self._within = limits.lookup.total_seconds()
        self._places = asyncio.Semaphore(limits.lookups)
        self._own_names = tuple(sorted(own_names))
        self._own: tuple[float, tuple[Address, ...]] | None = None

    async def resolve(self, name: str) -> tuple[EgressAnswer, tuple[Address, ...]]:
        """Look a name up; `servfail` where the resolver, or a place, is not there in time."""
        until = asyncio.get_running_loop().time() + self._within
        try:
            # one that has no place in time is not made: those that nobody waits for any more would pile up
            async with asyncio.timeout_at(until):
                await self._places.acquire()
        except TimeoutError:
            return EgressAnswer.SERVFAIL, ()
        look_up = spawn("egress:resolve", self._resolver.resolve(name))
        look_up.add_done_callback(lambda _: self._places.release())
        try:
            # a look-up that is too slow keeps its place: a thread that waits for a slow server cannot be taken back
            done, _ = await asyncio.wait({look_up}, timeout=until - asyncio.get_running_loop().time())
        except asyncio.CancelledError:
            look_up.cancel()
            raise
        if not done:
            return EgressAnswer.SERVFAIL, ()
        resolution = look_up.result()
        return resolution.answer, resolution.addresses

    async def own_addresses(self) -> tuple[Address, ...] | None:
        """Return what this service's public names resolve to; None when that cannot be told and never could."""
        if not self._own_names:
            return ()
        now = asyncio.get_running_loop().time()
        if self._own is not None and now - self._own[0] < _OWN_NAMES_KEPT:
            return self._own[1]
        found: list[Address] = []
        for name in self._own_names:
            answer, addresses = await self.resolve(name)
            if answer is EgressAnswer.SERVFAIL:
                return None if self._own is None else self._own[1]
            found += addresses
        self._own = (now, tuple(found))
        return self._own[1]
