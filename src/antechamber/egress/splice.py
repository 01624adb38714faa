"""Joining two streams: bytes both ways, with half-close and back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from antechamber.machine import Stream

_CHUNK: Final = 64 * 1024


async def _pump(source: Stream, target: Stream, count: Callable[[int], bool]) -> bool:
    """Move bytes until the source ends, then end the target's input; False when the connection is of no more use."""
    try:
        while chunk := await source.reader.read(_CHUNK):
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
    guest: Stream, remote: Stream, count_out: Callable[[int], bool], count_in: Callable[[int], bool]
) -> None:
    """Join the two until both have ended, one breaks, or a count says no; closes both."""
    pumps = {
        spawn("egress:out", _pump(guest, remote, count_out)),
        spawn("egress:in", _pump(remote, guest, count_in)),
    }
    whole = False
    try:
        left = pumps
        whole = True
        while left and whole:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            whole = all(task.result() for task in done)
    except BaseException:
        whole = False
        raise
    finally:
        if not whole:
            for stream in (guest, remote):
                stream.writer.transport.abort()
        await cancel_and_wait(*pumps)
        for stream in (guest, remote):
            stream.writer.close()
            with contextlib.suppress(OSError):
                await stream.writer.wait_closed()
