"""A stream's bytes as the transport brings them, without the three copies that `asyncio.StreamReader` makes of each.

For a picture those are most of the relay's work: `make bench`, scenario d, measures it beside websockify.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from antechamber.machine import Stream

PIECE: Final = 256 * 1024
"""Bytes taken at once: each message to a page costs as much as some ten thousand bytes."""


class Pieces(asyncio.BufferedProtocol):
    """What comes on a stream from now on, piece by piece; its reader is spent, its writer works as before."""

    def __init__(self, stream: Stream) -> None:
        """Take the stream's transport over."""
        self._transport = cast("asyncio.Transport", stream.writer.transport)
        # the writer waits on it: how full the transport is, and its end, must go on reaching it
        self._before = cast("asyncio.Protocol", self._transport.get_protocol())
        self._ahead: asyncio.StreamReader | None = stream.reader
        self._buffer = memoryview(bytearray(PIECE))
        self._came, self._given = 0, False
        self._ended = self._transport.is_closing()
        self._word = asyncio.Event()
        # an end that the reader was told before comes again when reading begins anew, and only then
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        stream.reader.feed_eof()

    async def read(self) -> memoryview | bytes:
        """Return what has come, waiting for something; nothing at the end. It is good until the next call.

        Errors: OSError when the connection had broken before the takeover; what breaks later is an end.
        """
        if self._ahead is not None:
            reader, self._ahead = self._ahead, None
            if ahead := await reader.read():
                return ahead
        if self._given:
            self._came, self._given = 0, False
        if not self._came and not self._ended:
            self._word.clear()
            self._transport.resume_reading()
            await self._word.wait()
        self._given = True
        return self._buffer[: self._came]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Give room; nothing in it is wanted any more when it is asked for."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take no more until it is asked for."""
        self._came = nbytes
        self._transport.pause_reading()
        self._word.set()

    def eof_received(self) -> bool:
        """Keep the other half open."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and tell the writer."""
        self._end()
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the writer."""
        self._before.pause_writing()

    def resume_writing(self) -> None:
        """Tell the writer."""
        self._before.resume_writing()

    def _end(self) -> None:
        self._ended = True
        self._word.set()
