"""What happened at the stand-in: pages shown, requests to paths that it does not know, requests that it refused."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

_KEPT: Final = 5000


@dataclass(frozen=True, slots=True)
class Beacon:
    """A page that a browser has painted."""

    n: int
    page: str
    """`email`, `code`, `consent`, `done`, `device` or `error`."""
    host: str
    path: str
    vendor: str
    sign_in: str
    """The stand-in's own id of the sign-in, empty on pages that belong to none."""
    webdriver: bool
    """`navigator.webdriver` as the page saw it: true in an automated browser."""
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A request that was not served as a vendor would serve an honest client."""

    host: str
    method: str
    path: str
    why: str


class Journal:
    """Grows while the stand-in runs; the newest entries are kept."""

    def __init__(self) -> None:
        """Begin empty."""
        self._beacons: list[Beacon] = []
        self._count = 0
        self._more = asyncio.Event()
        self.odd: list[Odd] = []
        self.touched = time.monotonic()
        """When anybody last asked anything."""

    def touch(self) -> None:
        """Note that somebody is there."""
        self.touched = time.monotonic()

    def shown(self, *, page: str, host: str, path: str, vendor: str, sign_in: str, webdriver: bool) -> None:
        """Note a page that was painted."""
        self._count += 1
        beacon = Beacon(self._count, page, host, path, vendor, sign_in, webdriver, time.time())
        self._beacons = [*self._beacons[-_KEPT:], beacon]
        self._more.set()
        self._more = asyncio.Event()

    async def after(self, n: int, seconds: float) -> list[dict[str, Any]]:
        """Return the pages after the n-th, waiting for one at most so long."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                while self._count <= n:
                    await self._more.wait()
        except TimeoutError:
            return []
        return [asdict(beacon) for beacon in self._beacons if beacon.n > n]

    def note(self, host: str, method: str, path: str, why: str) -> None:
        """Note an odd request; the query is never kept, it can hold a code."""
        self.odd = [*self.odd[-_KEPT:], Odd(host, method, path, why)]
