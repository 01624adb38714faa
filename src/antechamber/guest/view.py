"""What the CLI writes, for a person who looks: the last of it is kept, and sent as far as somebody takes it."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any

from antechamber.guest.protocol import TERMINAL_INPUT, TERMINAL_PIECE, TERMINAL_SIDES

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 128 * 1024
"""Bytes of one run that are kept; a viewer who is slower begins anew with them, so that the CLI is never held up."""
_PAUSE_S = 0.1
"""Between two pieces: the link carries so many messages a second and no more."""


class View:
    """The CLI's output, and the way to its terminal where it has one."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Begin with nothing; `send` gives a message to the host, which may be away."""
        self._send = send
        self._kept = bytearray()
        self._written = 0
        self._sent = 0
        self._viewer: int | None = None
        self._fresh = False
        self._credit = False
        self._timer: asyncio.TimerHandle | None = None
        self._type: Callable[[bytes], None] | None = None
        self._resize: Callable[[int, int], None] | None = None
        self._size: tuple[int, int] | None = None

    # -- what the CLI does

    def began(
        self, type_: Callable[[bytes], None] | None = None, resize: Callable[[int, int], None] | None = None
    ) -> None:
        """Begin a run; without a terminal there is nothing to type into."""
        self._kept.clear()
        self._written = self._sent = 0
        self._fresh = True
        self._type, self._resize = type_, resize
        if self._size is not None and resize is not None:
            resize(*self._size)
        self._go_on()

    def wrote(self, piece: bytes) -> None:
        """Take what the CLI wrote."""
        self._kept += piece
        self._written += len(piece)
        del self._kept[:-KEPT]
        self._go_on()

    def ended(self) -> None:
        """End a run: what it wrote stays, and nothing can be typed any more."""
        had = self._type is not None
        self._type = self._resize = None
        if had:
            self._fresh, self._sent = True, 0
            self._go_on()

    # -- what the host says

    def take(self, message: dict[str, Any]) -> None:
        """Do what the host asks; what is not of the protocol is ignored."""
        match message["type"]:
            case "terminal_open":
                self._viewer = _number(message.get("viewer"), 1, 2**53)
                self._credit, self._fresh, self._sent = True, True, 0
                self._go_on()
            case "terminal_taken" if message.get("viewer") == self._viewer:
                self._credit = True
                self._go_on()
            case "terminal_size":
                sides = [_number(message.get(side), *TERMINAL_SIDES) for side in ("columns", "rows")]
                if sides[0] is not None and sides[1] is not None:
                    self._size = sides[0], sides[1]
                    if self._resize is not None:
                        self._resize(*self._size)
            case "terminal_input" if message.get("viewer") == self._viewer and self._type is not None:
                try:
                    typed = base64.b64decode(str(message.get("input")), validate=True)
                except (ValueError, binascii.Error):
                    return
                self._type(typed[:TERMINAL_INPUT])
            case "terminal_close" if message.get("viewer") == self._viewer:
                self.close()
            case _:
                pass

    def close(self) -> None:
        """Nobody looks any more."""
        self._viewer = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self) -> None:
        if self._viewer is None or not self._credit or self._timer is not None:
            return
        if self._fresh or self._sent < self._written:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._send_piece)

    def _send_piece(self) -> None:
        self._timer = None
        first = self._written - len(self._kept)
        if self._sent < first:
            # what this viewer has not taken is gone: the page begins anew with what is left
            self._fresh = self._fresh or self._sent > 0
            self._sent = first
        piece = bytes(self._kept[self._sent - first :][:TERMINAL_PIECE])
        self._credit = False
        self._send(
            {
                "type": "terminal",
                "viewer": self._viewer,
                "output": base64.b64encode(piece).decode(),
                "fresh": self._fresh,
                "writable": self._type is not None,
            }
        )
        self._fresh = False
        self._sent += len(piece)


def _number(value: Any, least: int, most: int) -> int | None:
    return value if type(value) is int and least <= value <= most else None
