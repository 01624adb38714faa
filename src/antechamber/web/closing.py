"""The end of the service: what waits or streams is told first, so that nothing holds the shutdown up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta


class Closing:
    """Knows what is under way that would not end by itself: event streams, long polls, relays."""

    def __init__(self) -> None:
        """Begin open, with nothing under way."""
        self.closed = False
        self._under_way: dict[object, Callable[[], None]] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()

    @property
    def count(self) -> int:
        """How much is under way."""
        return len(self._under_way)

    @contextlib.contextmanager
    def under_way(self, tell: Callable[[], None]) -> Iterator[None]:
        """Count something in; `tell` is called when the service closes, at once when it has."""
        key = object()
        self._under_way[key] = tell
        self._none_left.clear()
        if self.closed:
            tell()
        try:
            yield
        finally:
            del self._under_way[key]
            if not self._under_way:
                self._none_left.set()

    async def end(self, within: timedelta) -> bool:
        """Tell everything to end and wait for it, at most so long; say whether all has ended."""
        self.closed = True
        for tell in list(self._under_way.values()):
            tell()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await self._none_left.wait()
            return True
        return False
