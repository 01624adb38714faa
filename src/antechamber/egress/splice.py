"""Joining two streams: bytes both ways, with half-close and back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from antechamber.egress.gate import Gate
    from antechamber.machine import Stream

_CHUNK: Final = 64 * 1024


async def _pump(read: Callable[[], Awaitable[bytes]], target: Stream, count: Callable[[int], bool]) -> bool:
    """Move bytes until the source ends, then end the target's input; False when the connection is of no more use."""
    try:
        while chunk := await read():
            if not count(len(chunk)):
                return False
            target.writer.write(chunk)
            await target.writer.drain()  # a reader that stops stops its sender, nothing is hoarded here
        if target.writer.can_write_eof():
            target.writer.write_eof()
    except (OSError, RuntimeError):  # RuntimeError: the transport was closed between two calls
        return False
    return True


async def splice(
    guest: Stream,
    remote: Stream,
    count_out: Callable[[int], bool],
    count_in: Callable[[int], bool],
    *,
    gate: Gate | None = None,
    may_pass: Callable[[bytes], Awaitable[bool]] | None = None,
) -> None:
    """Join the two until both have ended, one breaks, or a count says no; closes both.

    With a gate no byte passes either way before it is open; that the remote has ended passes at once. `may_pass` is
    asked before each piece of the guest's goes on; where it says no the connection breaks.
    """

    async def from_guest() -> bytes:
        chunk = await (guest.reader.read(_CHUNK) if gate is None else gate.read(guest.reader, _CHUNK))
        if chunk and may_pass is not None and not await may_pass(chunk):
            raise ConnectionAbortedError
        return chunk

    async def from_remote() -> bytes:
        chunk = await remote.reader.read(_CHUNK)
        if chunk and gate is not None:
            await gate.opened.wait()
        return chunk

    pumps = {
        spawn("egress:out", _pump(from_guest, remote, count_out)),
        spawn("egress:in", _pump(from_remote, guest, count_in)),
    }
    whole = False
    try:
        left = pumps
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            if not all(task.result() for task in done):
                break
        else:
            whole = True
    finally:
        if not whole:
            for stream in (guest, remote):
                stream.writer.transport.abort()
        await cancel_and_wait(*pumps)
        for stream in (guest, remote):
            stream.writer.close()
            with contextlib.suppress(OSError):
                await stream.writer.wait_closed()
