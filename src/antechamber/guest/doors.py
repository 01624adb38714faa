"""Dialling a door, and carrying bytes between two connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 64 * 1024
_LINGER_0 = struct.pack("ii", 1, 0)


async def dial(
    path: Path, *, within: float, patient: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a unix socket, trying again while its queue is full; raises OSError when it cannot be in time.

    A patient one also waits while nobody listens, as when the service is being started again.

    asyncio takes EAGAIN (a full queue) of a unix socket for "in progress" and then believes itself connected, so the
    connecting is done here.
    """
    async with asyncio.timeout(within):
        pause = 0.005
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(0)
                sock.connect(str(path))
                return await asyncio.open_unix_connection(sock=sock)
            except BlockingIOError:
                sock.close()
            except (ConnectionRefusedError, FileNotFoundError):
                sock.close()
                if not patient:
                    raise
            except BaseException:
                sock.close()
                raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.1)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a TCP connection with a reset, so that the client does not take the end for a whole answer."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_INET:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def join(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Carry bytes both ways until both sides have ended, each half for itself; an error resets both."""
    loop = asyncio.get_running_loop()
    ways = [
        loop.create_task(_pump(one[0], other[1]), name="join"),
        loop.create_task(_pump(other[0], one[1]), name="join"),
    ]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        broken = any(way.exception() is not None for way in done)
        for writer in (one[1], other[1]):
            if broken:
                reset(writer)
            else:
                writer.close()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        for way in ways:
            if not way.cancelled():
                way.exception()
        for writer in (one[1], other[1]):
            writer.transport.abort() if not writer.is_closing() else None
