"""Reads a machine's screen as far as the service must: is it RFB, and was a page painted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code, MachineError
from antechamber.screen.rfb import BANNER_LENGTH, Painter, RfbError, is_banner
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from antechamber.machine import Stream

_PIECE: Final = 4096
"""Bytes that are followed before others have their turn; the worst take some milliseconds."""


async def read_banner(stream: Stream) -> bytes:
    """Return RFB's 12-byte banner; raises MachineError when the stream begins otherwise."""
    try:
        banner = await stream.reader.readexactly(BANNER_LENGTH)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise MachineError(Code.GUEST_PROTOCOL, detail="the screen said nothing") from error
    if not is_banner(banner):
        raise MachineError(Code.GUEST_PROTOCOL, detail="the screen does not speak RFB")
    return banner


async def wait_for_paint(stream: Stream, after: asyncio.Event) -> None:
    """Watch a fresh RFB stream; return once a page has been painted after the event was set.

    Painted means: the page's area shows more than one colour. A blank page, before the vendor's has come, has one.
    Raises MachineError (guest_protocol) when the stream is not RFB, (machine_ended) when it ends. Has no time limit of
    its own, but a limit to the bytes and the work of one watch (guest_protocol too).
    """
    painter = Painter()
    told = spawn("paint: event", after.wait())
    reading: asyncio.Task[bytes] | None = None
    try:
        while not (after.is_set() and painter.watch()):
            reading = reading or spawn("paint: read", _piece(stream))
            # looked at right before: the event may have been set while a picture was followed, and no other comes
            await asyncio.wait({reading} if after.is_set() else {reading, told}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                received, reading = reading.result(), None
                if not received:
                    raise MachineError(Code.MACHINE_ENDED, detail="the screen's stream ended")
                for at in range(0, len(received), _PIECE):
                    if painter.feed(received[at : at + _PIECE]):
                        return
                    stream.writer.write(painter.to_send())
                    await asyncio.sleep(0)
                await stream.writer.drain()
    except RfbError as error:
        raise MachineError(Code.GUEST_PROTOCOL, detail=f"RFB: {error}") from error
    except ConnectionError as error:
        raise MachineError(Code.MACHINE_ENDED, detail="the screen's stream broke") from error
    finally:
        await cancel_and_wait(told, reading)


async def _piece(stream: Stream) -> bytes:
    """Return the next bytes, none at the end; a machine that is killed ends its stream by an error."""
    try:
        return await stream.reader.read(256 * 1024)
    except ConnectionError:
        return b""
