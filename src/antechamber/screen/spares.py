"""Fresh RFB streams of one machine, out of the spare connections that its guest keeps at the door."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import GO
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from antechamber.machine import Stream

SPARES: Final = 4
"""Connections that wait for their use; a guest that dials more is hung up on."""
_OPEN_S: Final = 20.0


class Screens:
    """Hands out RFB streams of one machine."""

    def __init__(self, streams: AsyncIterator[Stream]) -> None:
        """Begin to take the guest's spare connections."""
        self._spares: deque[Stream] = deque()
        self._arrived = asyncio.Condition()
        self._ended = False
        self._taking = spawn("screens", self._take(streams))

    async def open(self) -> Stream:
        """Return a fresh connection, on which RFB begins with the server's banner.

        Raises MachineError (machine_ended) when the guest has none within 20 s or will have none any more.
        """
        try:
            async with asyncio.timeout(_OPEN_S):
                while True:
                    async with self._arrived:
                        await self._arrived.wait_for(lambda: self._spares or self._ended)
                        if not self._spares:
                            raise MachineError(Code.MACHINE_ENDED, detail="the screen's door is closed")
                        spare = self._spares.popleft()
                    if spare.reader.at_eof():
                        spare.writer.transport.abort()
                        continue
                    with contextlib.suppress(ConnectionError):
                        spare.writer.write(GO)
                        await spare.writer.drain()
                        return spare
        except TimeoutError as error:
            raise MachineError(Code.MACHINE_ENDED, detail="no screen connection in time") from error

    async def close(self) -> None:
        """Take no more and hang up the spares; streams that were handed out live on."""
        await cancel_and_wait(self._taking)
        while self._spares:
            self._spares.popleft().writer.transport.abort()

    async def _take(self, streams: AsyncIterator[Stream]) -> None:
        try:
            async for stream in streams:
                async with self._arrived:
                    self._spares.append(stream)
                    while len(self._spares) > SPARES:
                        # the newest are the likeliest to live: an older one may be from before a break
                        self._spares.popleft().writer.transport.abort()
                    self._arrived.notify()
        finally:
            self._ended = True
            with contextlib.suppress(asyncio.CancelledError):
                async with self._arrived:
                    self._arrived.notify_all()
