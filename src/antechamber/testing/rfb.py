"""A VNC client: RFB 3.8 (RFC 6143), security type None, raw pixels.

Raw is the cheap encoding here: over a local connection its bytes cost less than unpacking would in Python. A robot
needs no pointer: what it does with this, a person can do without a mouse.
"""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from typing import TYPE_CHECKING, Final, Protocol

from websockets.exceptions import ConnectionClosed

from antechamber.screen.words import DESKTOP_SIZE, RAW, SECURITY_NONE, VERSION, Pixels, asks_for

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

CONTROL: Final = 0xFFE3
SHIFT: Final = 0xFFE1
RETURN: Final = 0xFF0D
"""The keysym of Enter (X11's keysymdef.h)."""
TAB: Final = 0xFF09
ESCAPE: Final = 0xFF1B

_MAX_SIDE: Final = 16_384
_MAX_TEXT: Final = 1024 * 1024
_PIXEL: Final = 4
_PIXELS: Final = Pixels(32, 24, (255, 255, 255), (16, 8, 0))
"""In memory blue, green, red and a byte of nothing."""


class RfbError(Exception):
    """The other end sent something that is not RFB, or refused."""


class Wire(Protocol):
    """The byte stream that RFB runs over."""

    async def readexactly(self, count: int, /) -> bytes:
        """Return exactly so many bytes; raises EOFError at the end of the stream."""

    async def send(self, payload: bytes, /) -> None:
        """Send bytes."""

    async def close(self) -> None:
        """End the stream."""


class StreamWire:
    """A wire over an asyncio stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use that stream."""
        self._reader = reader
        self._writer = writer

    async def readexactly(self, count: int, /) -> bytes:
        """Return exactly so many bytes; raises EOFError."""
        try:
            return await self._reader.readexactly(count)
        except ConnectionError as error:
            raise EOFError(str(error)) from error

    async def send(self, payload: bytes, /) -> None:
        """Send bytes; raises EOFError."""
        self._writer.write(payload)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise EOFError(str(error)) from error

    async def close(self) -> None:
        """End the stream."""
        self._writer.close()


class WebSocketWire:
    """A wire over a WebSocket's binary messages, however they are cut."""

    def __init__(self, connection: ClientConnection) -> None:
        """Use that connection."""
        self._connection = connection
        self._received = bytearray()

    async def readexactly(self, count: int, /) -> bytes:
        """Return exactly so many bytes; raises EOFError when the WebSocket has ended, with its close code."""
        while len(self._received) < count:
            try:
                message = await self._connection.recv()
            except ConnectionClosed as error:
                text = f"the screen was closed ({error.rcvd.code} {error.rcvd.reason})" if error.rcvd else "no close"
                raise EOFError(text) from error
            if isinstance(message, str):
                text = "a text message came over the screen"
                raise RfbError(text)
            self._received += message
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def send(self, payload: bytes, /) -> None:
        """Send bytes as one message; raises EOFError when the WebSocket has ended."""
        try:
            await self._connection.send(payload)
        except ConnectionClosed as error:
            text = "the screen was closed"
            raise EOFError(text) from error

    async def close(self) -> None:
        """End the WebSocket."""
        await self._connection.close()


class Screen:
    """A remote screen: its pixels as they come, and a keyboard.

    `watch` runs as a task for as long as the screen is of interest; everything else waits for what it sees.
    """

    def __init__(self, wire: Wire, width: int, height: int) -> None:
        """Begin with a black picture of that size; use `open`."""
        self._wire = wire
        self._news = asyncio.Condition()
        self._ended: BaseException | None = None
        self._resize(width, height)
        self.updates = 0
        """How many updates have come."""
        self.changes = 0
        """How many of them changed a pixel."""
        self.changed_at = 0.0
        """When a pixel last changed, by the monotonic clock."""
        self.copied = ""
        """What was copied there last."""
        self.copies = 0
        """How often something was."""

    @classmethod
    async def open(cls, wire: Wire) -> Screen:
        """Shake hands over the wire; raises RfbError, EOFError."""
        if not (await wire.readexactly(12)).startswith(b"RFB "):
            text = "no RFB banner"
            raise RfbError(text)
        await wire.send(VERSION)
        (count,) = await wire.readexactly(1)
        if count == 0:
            raise RfbError(await _reason(wire))
        if SECURITY_NONE not in await wire.readexactly(count):
            text = "the screen asks for a password"
            raise RfbError(text)
        await wire.send(bytes([SECURITY_NONE]))
        if await wire.readexactly(4) != bytes(4):
            raise RfbError(await _reason(wire))
        await wire.send(b"\x01")  # shared
        width, height, name = struct.unpack(">HH16xI", await wire.readexactly(24))
        if name > _MAX_TEXT:
            text = f"a screen's name of {name} bytes"
            raise RfbError(text)
        await wire.readexactly(name)
        screen = cls(wire, width, height)
        await wire.send(asks_for(_PIXELS, (RAW, DESKTOP_SIZE)))
        return screen

    async def watch(self) -> None:
        """Follow the screen until it ends; whoever waits for a change is told how it ended."""
        try:
            await self._ask(incremental=False)
            while True:
                await self._message()
        except EOFError as error:
            self._ended = error
        except BaseException as error:
            self._ended = error
            raise
        finally:
            async with self._news:
                self._news.notify_all()

    async def change(self, since: int) -> int:
        """Wait until there have been more than `since` changes and return their number; raises EOFError at its end."""
        async with self._news:
            await self._news.wait_for(lambda: self.changes > since or self._ended is not None)
        if self.changes <= since and self._ended is not None:
            raise EOFError(str(self._ended)) from self._ended
        return self.changes

    async def press(self, keysym: int) -> None:
        """Press a key and let it go."""
        await self._wire.send(struct.pack(">BBxxIBBxxI", 4, 1, keysym, 4, 0, keysym))

    async def type(self, text: str) -> None:
        """Type a text, one key after another."""
        for character in text:
            point = ord(character)
            await self.press(point if point < 0x100 else 0x01000000 | point)

    async def select_all(self) -> None:
        """Press Ctrl+A, so that what is typed next replaces what stands there."""
        await self.chord(CONTROL, ord("a"))

    async def chord(self, *keysyms: int) -> None:
        """Hold keys down together and let them go, the last one first."""
        for down, held in ((1, keysyms), (0, keysyms[::-1])):
            for keysym in held:
                await self._wire.send(struct.pack(">BBxxI", 4, down, keysym))

    async def click(self, x: int, y: int) -> None:
        """Click the left button there."""
        for buttons in (0, 1, 0):
            await self._wire.send(struct.pack(">BBHH", 5, buttons, x, y))

    async def copy_all(self) -> str:
        """Press Ctrl+A and Ctrl+C and return what was copied, as soon as the screen says it; raises EOFError."""
        since = self.copies
        await self.select_all()
        await self.chord(CONTROL, ord("c"))
        async with self._news:
            await self._news.wait_for(lambda: self.copies > since or self._ended is not None)
        if self.copies <= since and self._ended is not None:
            raise EOFError(str(self._ended)) from self._ended
        return self.copied

    async def close(self) -> None:
        """Leave the screen."""
        await self._wire.close()

    @property
    def painted(self) -> bool:
        """Whether the picture has more than one colour."""
        return bytes(self._pixels) != bytes(self._pixels[:_PIXEL]) * (self.width * self.height)

    def png(self) -> bytes:
        """Return the picture as a PNG."""
        colours = bytearray(self.width * self.height * 3)
        for plane in range(3):
            colours[plane::3] = self._pixels[2 - plane :: _PIXEL]
        stride = self.width * 3
        rows = b"".join(b"\0" + colours[row * stride : (row + 1) * stride] for row in range(self.height))
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )

    def _resize(self, width: int, height: int) -> None:
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            text = f"a screen of {width}x{height}"
            raise RfbError(text)
        self.width, self.height = width, height
        self._pixels = bytearray(width * height * _PIXEL)

    async def _ask(self, *, incremental: bool) -> None:
        await self._wire.send(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    async def _message(self) -> None:
        (kind,) = await self._wire.readexactly(1)
        match kind:
            case 0:
                await self._update()
            case 1:
                _, colours = struct.unpack(">xHH", await self._wire.readexactly(5))
                await self._wire.readexactly(colours * 6)
            case 2:
                pass  # a bell
            case 3:
                (length,) = struct.unpack(">3xI", await self._wire.readexactly(7))
                if length > _MAX_TEXT:
                    text = f"a clipboard of {length} bytes"
                    raise RfbError(text)
                copied = (await self._wire.readexactly(length)).decode("latin-1")
                async with self._news:
                    self.copied, self.copies = copied, self.copies + 1
                    self._news.notify_all()
            case _:
                text = f"a message of kind {kind}"
                raise RfbError(text)

    async def _update(self) -> None:
        (rectangles,) = struct.unpack(">xH", await self._wire.readexactly(3))
        changed = resized = False
        for _ in range(rectangles):
            x, y, width, height, encoding = struct.unpack(">HHHHi", await self._wire.readexactly(12))
            if encoding == DESKTOP_SIZE:
                self._resize(width, height)
                changed = resized = True
            elif encoding == RAW and x + width <= self.width and y + height <= self.height:
                changed |= self._draw(x, y, width, await self._wire.readexactly(width * height * _PIXEL))
            else:
                text = f"a rectangle {x},{y} {width}x{height} of encoding {encoding}"
                raise RfbError(text)
        async with self._news:
            self.updates += 1
            if changed:
                self.changes += 1
                self.changed_at = time.monotonic()
            self._news.notify_all()
        await self._ask(incremental=not resized)

    def _draw(self, x: int, y: int, width: int, pixels: bytes) -> bool:
        changed = False
        stride = width * _PIXEL
        for row in range(len(pixels) // stride if stride else 0):
            start = ((y + row) * self.width + x) * _PIXEL
            fresh = pixels[row * stride : (row + 1) * stride]
            if self._pixels[start : start + stride] != fresh:
                self._pixels[start : start + stride] = fresh
                changed = True
        return changed


async def _reason(wire: Wire) -> str:
    (length,) = struct.unpack(">I", await wire.readexactly(4))
    if length > _MAX_TEXT:
        return "refused"
    return f"refused: {(await wire.readexactly(length)).decode(errors='replace')}"
