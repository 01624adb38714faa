"""The far end of a screen, as a machine's X server is: one picture, and it keeps what the page sent (RFC 6143)."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from dataclasses import dataclass, field

from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing.scripted_guest import greet

WIDTH, HEIGHT = 640, 400
_DESKTOP_SIZE = -308
_TEXT, _CAPS, _REQUEST, _NOTIFY, _PROVIDE = 1, 1 << 24, 1 << 25, 1 << 27, 1 << 28


@dataclass
class FarScreen:
    """One viewer's connection, served until it ends."""

    stream: object
    keys: list[tuple[int, bool]] = field(default_factory=list)
    """(X keysym, pressed) in order."""
    pasted: list[str] = field(default_factory=list)
    """Texts that the page put on the clipboard."""
    clipboard: bytes | None = None
    """What the machine's clipboard holds, as it goes over the wire; without one a request is not answered."""
    claimed: int | None = None
    """The size that is said to follow, where it is not the true one."""
    slow: bool = False
    """Whether the machine fetches what the page offers only when Ctrl+V was pressed, as X programs do."""
    _offered: bool = False
    requests: int = 0
    """How often the page asked for the clipboard."""
    size: tuple[int, int] = (WIDTH, HEIGHT)
    colour: bytes = b"\x40\x80\xc0\x00"
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the page has sent something."""
    frames: int = 0
    _task: object = None

    def begin(self):
        self._task = spawn("far screen", self._serve())
        return self

    async def end(self):
        """End the connection, as an ending machine does."""
        self.stream.writer.close()
        await cancel_and_wait(self._task)
        with contextlib.suppress(OSError):
            await self.stream.writer.wait_closed()

    async def until(self, holds):
        """Wait until what the page has sent makes it true."""
        async with asyncio.timeout(15):
            while not holds(self):
                self.seen.clear()
                await self.seen.wait()

    @property
    def typed(self):
        """What the pressed keys spell, with Enter as a line end."""
        pressed = [keysym for keysym, down in self.keys if down]
        return "".join(
            chr(keysym) if keysym < 0x100 else "\n" for keysym in pressed if keysym < 0x100 or keysym == 0xFF0D
        )

    async def _serve(self):
        reader, writer = self.stream.reader, self.stream.writer
        try:
            await greet(reader, writer, *self.size)
            writer.write(self._clipboard(struct.pack(">II", _CAPS | _TEXT | _REQUEST | _NOTIFY | _PROVIDE, 0)))
            while True:
                await self._message()
                self.seen.set()
        except (asyncio.IncompleteReadError, OSError):
            self.seen.set()

    def copies(self, text):
        """Have something copied in the machine: it is announced, as a real machine does."""
        self.clipboard = text.replace("\n", "\r\n").encode() + b"\0"
        self.stream.writer.write(self._clipboard(struct.pack(">I", _NOTIFY | _TEXT)))

    def provide(self):
        """Send the clipboard's text, asked for or not."""
        size = len(self.clipboard) if self.claimed is None else self.claimed
        zipped = zlib.compress(struct.pack(">I", size) + self.clipboard)
        self.stream.writer.write(self._clipboard(struct.pack(">I", _PROVIDE | _TEXT) + zipped))

    def send(self, raw):
        """Send bytes as they are."""
        self.stream.writer.write(raw)

    @staticmethod
    def _clipboard(body):
        return struct.pack(">B3xi", 3, -len(body)) + body

    async def _message(self):
        reader, writer = self.stream.reader, self.stream.writer
        match (await reader.readexactly(1))[0]:
            case 0:
                await reader.readexactly(19)
            case 2:
                (count,) = struct.unpack(">xH", await reader.readexactly(3))
                await reader.readexactly(4 * count)
            case 3:
                (incremental,) = struct.unpack(">B8x", await reader.readexactly(9))
                if not incremental or not self.frames:
                    self._paint()
            case 4:
                down, keysym = struct.unpack(">B2xI", await reader.readexactly(7))
                self.keys.append((keysym, bool(down)))
                if self._offered and keysym == 0x76 and not down:
                    self._offered = False
                    writer.write(self._clipboard(struct.pack(">I", _REQUEST | _TEXT)))
            case 5:
                await reader.readexactly(5)
            case 6:
                (length,) = struct.unpack(">3xi", await reader.readexactly(7))
                body = await reader.readexactly(abs(length))
                self._clipboard_message(body) if length < 0 else self.pasted.append(body.decode("latin-1"))
            case 251:
                width, height, screens = struct.unpack(">xHHBx", await reader.readexactly(7))
                await reader.readexactly(16 * screens)
                self.size = (width, height)
                writer.write(self._rectangles(1) + self._sized(reason=1))
            case other:
                raise AssertionError(f"message {other}")

    def _clipboard_message(self, body):
        (flags,) = struct.unpack(">I", body[:4])
        if flags & _NOTIFY and not flags & _CAPS and self.slow:
            self._offered = True
        elif flags & _NOTIFY and not flags & _CAPS:
            self.stream.writer.write(self._clipboard(struct.pack(">I", _REQUEST | _TEXT)))
        elif flags & _REQUEST and not flags & _CAPS:
            self.requests += 1
            if self.clipboard is not None:
                self.provide()
        elif flags & _PROVIDE and not flags & _CAPS:
            text = zlib.decompressobj().decompress(body[4:])
            self.pasted.append(text[4:].rstrip(b"\0").decode())

    @staticmethod
    def _rectangles(count):
        return struct.pack(">BxH", 0, count)

    def _sized(self, *, reason=0):
        screen = struct.pack(">B3xIHHHHI", 1, 1, 0, 0, *self.size, 0)
        return struct.pack(">HHHHi", reason, 0, *self.size, _DESKTOP_SIZE) + screen

    def _paint(self):
        self.frames += 1
        width, height = self.size
        picture = struct.pack(">HHHHi", 0, 0, width, height, 0) + self.colour * (width * height)
        self.stream.writer.write(self._rectangles(2) + self._sized() + picture)
