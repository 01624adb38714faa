"""What a client says to an RFB server before the first picture (RFC 6143), alike for the painter and for the robot."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = b"RFB 003.008\n"
SECURITY_NONE: Final = 1
RAW: Final = 0
DESKTOP_SIZE: Final = -223


class Pixels(NamedTuple):
    """How a pixel of true colour is asked for, little endian; red, green and blue in this order."""

    bits: int
    depth: int
    most: tuple[int, int, int]
    """The greatest value of each colour."""
    shifts: tuple[int, int, int]


def asks_for(pixels: Pixels, encodings: Sequence[int]) -> bytes:
    """Return SetPixelFormat and SetEncodings (RFC 6143, 7.5.1 and 7.5.2)."""
    layout = struct.pack(">BBBBHHHBBB3x", pixels.bits, pixels.depth, 0, 1, *pixels.most, *pixels.shifts)
    return b"\0\0\0\0" + layout + struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings)
