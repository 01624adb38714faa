"""A minimal RFB 3.8 client (RFC 6143) that only tells when a page was painted. Pure: bytes in, bytes out.

The server is a guest's and may be hostile: every length is limited, and nothing that it sends is kept but one small
picture of 8 bits a pixel.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

BANNER_LENGTH: Final = 12
CHROME_HEIGHT: Final = 110
"""Rows at the top that belong to the browser's tabs and address bar, not to the page."""

_VERSION: Final = b"RFB 003.008\n"
_SIDE: Final = 8192
_AREA: Final = 4096 * 4096
_NAME: Final = 64 * 1024
_CUT_TEXT: Final = 16 * 2**20
_PIECE: Final = 64 * 1024
_ENOUGH: Final = 400
"""Pixels of another colour than the rest: a cursor has fewer, a line of text more."""
_SECURITY_NONE: Final = 1
_RAW: Final = 0
_DESKTOP_SIZE: Final = -223
_EXTENDED_DESKTOP_SIZE: Final = -308
# 8 bits a pixel, depth 8, little endian, true colour, 3 bits of red and green, 2 of blue
_FORMAT: Final = struct.pack(">BBBBHHHBBB3x", 8, 8, 0, 1, 7, 7, 3, 0, 3, 6)
_UPDATE, _COLOUR_MAP, _BELL, _CUT = range(4)


class RfbError(Exception):
    """The stream is not RFB, or not within our limits."""


def is_banner(banner: bytes) -> bool:
    """Tell whether the bytes are a server's greeting of version 3.8 or later 3.x."""
    return len(banner) == BANNER_LENGTH and banner.startswith(b"RFB 003.") and banner.endswith(b"\n")


class Painter:
    """Follows a screen and says when its page area shows something, that is more than one colour, after `watch`."""

    def __init__(self) -> None:
        """Begin before the server's banner."""
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
        """Take bytes of the server; tell whether a page has been painted since `watch`. Raises RfbError."""
        self._buffer += received
        at = 0
        while len(self._buffer) - at >= self._needed:
            piece = bytes(self._buffer[at : at + self._needed])
            at += self._needed
            self._needed = self._steps.send(piece)
        del self._buffer[:at]
        return self._painted

    def to_send(self) -> bytes:
        """Return what is to be sent to the server since the last call."""
        out, self._out = bytes(self._out), bytearray()
        return out

    # each yield asks for so many bytes and gets them

    def _conversation(self) -> Generator[int, bytes, None]:
        if not is_banner((yield BANNER_LENGTH)):
            raise RfbError("no banner")
        self._out += _VERSION
        (count,) = yield 1
        if not count or _SECURITY_NONE not in (yield count):
            raise RfbError("no free entry")
        self._out += bytes([_SECURITY_NONE])
        if (yield 4) != b"\0\0\0\0":
            raise RfbError("entry refused")
        self._out += b"\x01"  # shared: whoever watches already stays
        head = yield 24
        self._resize(*struct.unpack_from(">HH", head))
        (length,) = struct.unpack_from(">I", head, 20)
        yield from self._skip(length, _NAME)
        self._out += b"\0\0\0\0" + _FORMAT
        self._out += struct.pack(">BxH2i", 2, 2, _RAW, _DESKTOP_SIZE)
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
        total = 0
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", (yield 12))
            if encoding == _DESKTOP_SIZE:
                self._resize(width, height)
                continue
            if encoding != _RAW or x + width > self._width or y + height > self._height:
                raise RfbError("a rectangle that was not asked for")
            total += width * height
            if total > 4 * _AREA:
                raise RfbError("an update without end")
            for row in range(y, y + height if width else y):
                pixels = yield width
                start = row * self._width + x
                self._picture[start : start + width] = pixels
        if self._watching and not self._painted:
            self._painted = self._is_varied()

    def _resize(self, width: int, height: int) -> None:
        if not (0 < width <= _SIDE and 0 < height <= _SIDE and width * height <= _AREA):
            raise RfbError(f"a screen of {width} by {height}")
        self._width, self._height = width, height
        self._picture = bytearray(width * height)

    def _ask(self) -> None:
        self._out += struct.pack(">BBHHHH", 3, 1, 0, 0, self._width, self._height)

    def _is_varied(self) -> bool:
        page = self._picture[CHROME_HEIGHT * self._width :]
        return bool(page) and len(page) - page.count(page[0]) >= _ENOUGH
