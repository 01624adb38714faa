"""A minimal RFB 3.8 client (RFC 6143) that only tells when a page was painted. Pure: bytes in, bytes out.

The server is a guest's and may be hostile: every length is limited, nothing that it sends is kept but one small
picture of 8 bits a pixel, and so is the work that it can cause, for it is done in the event loop of the whole service.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from antechamber.screen.words import DESKTOP_SIZE, RAW, SECURITY_NONE, VERSION, Pixels, asks_for

if TYPE_CHECKING:
    from collections.abc import Generator

BANNER_LENGTH: Final = 12
CHROME_HEIGHT: Final = 110
"""Rows at the top that belong to the browser's tabs and address bar, not to the page."""

_SIDE: Final = 8192
_AREA: Final = 2560 * 1600
_RECTANGLES: Final = 4096
"""In one update; a real server's has some hundreds."""
_RESIZES: Final = 8
"""In a whole watch; each allocates a picture. A machine's screen has one size from its start."""
BYTES: Final = 512 * 2**20
"""Of the server in a whole watch: some hundred full pictures."""
WORK: Final = 4_000_000
"""What a server may have done for it in a whole watch; one is a step of the conversation, about a microsecond."""
_PIXELS_A_STEP: Final = 1000
"""Pixels that are allocated or looked through in the time of one step."""
_NAME: Final = 64 * 1024
_CUT_TEXT: Final = 16 * 2**20
_PIECE: Final = 64 * 1024
_ENOUGH: Final = 400
"""Pixels of another colour than the rest: a cursor has fewer, a line of text more."""
_PIXELS: Final = Pixels(8, 8, (7, 7, 3), (0, 3, 6))
"""3 bits of red and green, 2 of blue."""
_UPDATE, _COLOUR_MAP, _BELL, _CUT = range(4)


class RfbError(Exception):
    """The stream is not RFB, or not within our limits."""


def is_banner(banner: bytes) -> bool:
    """Tell whether the bytes are a server's greeting of version 3.8 or later 3.x."""
    return len(banner) == BANNER_LENGTH and banner.startswith(b"RFB 003.") and banner.endswith(b"\n")


class Painter:
    """Follows a screen and says when its page area shows something, that is more than one colour, after `watch`."""

    def __init__(self, *, work: int = WORK, most: int = BYTES) -> None:
        """Begin before the server's banner, with so much work and so many bytes to spend on it."""
        self._work = work
        self._bytes = most
        self._resizes = _RESIZES
        self._is_new = False
        """Whether an update has touched the page since the last look."""
        self._buffer = bytearray()
        self._out = bytearray()
        self._watching = False
        self._painted = False
        self._width = 0
        self._height = 0
        self._picture = bytearray()
        self._steps = self._conversation()
        self._needed = next(self._steps)

    def watch(self) -> bool:
        """From now on look for paint; tell whether there is some already."""
        if not self._watching:
            self._watching = True
            self._painted = self._is_varied()
        return self._painted

    def feed(self, received: bytes) -> bool:
        """Take bytes of the server; tell whether a page has been painted since `watch`. Raises RfbError.

        Takes up to a microsecond or two a byte, and does not yield: feed in small pieces.
        """
        self._bytes -= len(received)
        if self._bytes < 0:
            raise RfbError("a screen without end")
        self._buffer += received
        at = 0
        while len(self._buffer) - at >= self._needed:
            self._spend(1)
            piece = bytes(self._buffer[at : at + self._needed])
            at += self._needed
            self._needed = self._steps.send(piece)
        del self._buffer[:at]
        # here and not at each update: a look costs a whole picture, an update four bytes
        if self._is_new and self._watching and not self._painted:
            self._is_new = False
            self._painted = self._is_varied()
        return self._painted

    def to_send(self) -> bytes:
        """Return what is to be sent to the server since the last call."""
        out, self._out = bytes(self._out), bytearray()
        return out

    # each yield asks for so many bytes and gets them

    def _conversation(self) -> Generator[int, bytes, None]:
        if not is_banner((yield BANNER_LENGTH)):
            raise RfbError("no banner")
        self._out += VERSION
        (count,) = yield 1
        if not count or SECURITY_NONE not in (yield count):
            raise RfbError("no free entry")
        self._out += bytes([SECURITY_NONE])
        if (yield 4) != b"\0\0\0\0":
            raise RfbError("entry refused")
        self._out += b"\x01"  # shared: whoever watches already stays
        head = yield 24
        self._resize(*struct.unpack_from(">HH", head))
        (length,) = struct.unpack_from(">I", head, 20)
        yield from self._skip(length, _NAME)
        self._out += asks_for(_PIXELS, (RAW, DESKTOP_SIZE))
        self._ask()
        while True:
            (kind,) = yield 1
            if kind == _UPDATE:
                yield from self._update()
                self._ask()
            elif kind == _CUT:
                (length,) = struct.unpack(">3xI", (yield 7))
                yield from self._skip(length, _CUT_TEXT)
            elif kind != _BELL:
                raise RfbError(f"message {kind}")

    def _skip(self, length: int, limit: int) -> Generator[int, bytes, None]:
        if length > limit:
            raise RfbError(f"{length} bytes of text")
        while length:
            length -= len((yield min(length, _PIECE)))

    def _update(self) -> Generator[int, bytes, None]:
        (count,) = struct.unpack(">xH", (yield 3))
        if count > _RECTANGLES:
            raise RfbError(f"an update of {count} rectangles")
        total = 0
        resized = touched = False
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", (yield 12))
            if encoding == DESKTOP_SIZE:
                if resized:
                    raise RfbError("two sizes in one update")
                resized = True
                self._resize(width, height)
                continue
            if encoding != RAW or x + width > self._width or y + height > self._height:
                raise RfbError("a rectangle that was not asked for")
            total += width * height
            if total > 4 * _AREA:
                raise RfbError("an update without end")
            for row in range(y, y + height if width else y):
                pixels = yield width
                start = row * self._width + x
                self._picture[start : start + width] = pixels
            touched = touched or (width > 0 and height > 0 and y + height > CHROME_HEIGHT)
        self._is_new = self._is_new or touched

    def _resize(self, width: int, height: int) -> None:
        if not (0 < width <= _SIDE and 0 < height <= _SIDE and width * height <= _AREA):
            raise RfbError(f"a screen of {width} by {height}")
        if (width, height) == (self._width, self._height):
            return
        if not self._resizes:
            raise RfbError("a screen that does not keep its size")
        self._resizes -= 1
        self._spend(width * height // _PIXELS_A_STEP)
        self._width, self._height = width, height
        self._picture = bytearray(width * height)

    def _ask(self) -> None:
        self._out += struct.pack(">BBHHHH", 3, 1, 0, 0, self._width, self._height)

    def _spend(self, work: int) -> None:
        self._work -= work
        if self._work < 0:
            raise RfbError("a screen that is too much work")

    def _is_varied(self) -> bool:
        self._spend(len(self._picture) // _PIXELS_A_STEP)
        page = self._picture[CHROME_HEIGHT * self._width :]
        return bool(page) and len(page) - page.count(page[0]) >= _ENOUGH
