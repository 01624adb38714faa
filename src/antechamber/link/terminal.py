"""One viewer of what a guest's CLI writes, and of its terminal where it has one. What comes is a claim, and bounded."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import TERMINAL_INPUT, TERMINAL_PIECE
from antechamber.link.reports import exactly

Say: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_WRONG: Final = "a piece of the terminal"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that the CLI wrote; with `fresh` the page begins anew with them."""

    output: bytes
    fresh: bool
    writable: bool

    def __repr__(self) -> str:
        return f"Piece({len(self.output)} bytes)"


class TerminalView:
    """What one viewer sees and types, from `GuestLink.watch_terminal` until `GuestLink.leave_terminal`."""

    def __init__(self, viewer: int, say: Say) -> None:
        """Belong to that viewer."""
        self.viewer = viewer
        self._say = say
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue(1)
        self._size: dict[str, Any] | None = None

    async def next(self) -> Piece:
        """Wait for the next piece; none comes before `taken` was said of the one before."""
        return await self._pieces.get()

    async def taken(self) -> None:
        """Say that the page has the piece."""
        await self._say({"type": "terminal_taken", "viewer": self.viewer})

    async def type(self, typed: bytes) -> None:
        """Type at the CLI's terminal; nothing happens where it has none."""
        for at in range(0, len(typed), TERMINAL_INPUT):
            piece = base64.b64encode(typed[at : at + TERMINAL_INPUT]).decode()
            await self._say({"type": "terminal_input", "viewer": self.viewer, "input": piece})

    async def resize(self, columns: int, rows: int) -> None:
        """Give the CLI's terminal that size."""
        self._size = {"type": "terminal_size", "columns": columns, "rows": rows}
        await self._say(self._size)

    async def begin(self) -> None:
        """Ask the guest for its output, now or again after it was away."""
        while not self._pieces.empty():
            self._pieces.get_nowait()
        if self._size is not None:
            await self._say(self._size)
        await self._say({"type": "terminal_open", "viewer": self.viewer})

    def put(self, message: dict[str, Any]) -> None:
        """Take a message of the guest; raises MachineError unless it is of the protocol and was waited for."""
        exactly(message, type=str, viewer=int, output=str, fresh=bool, writable=bool)
        try:
            output = base64.b64decode(message["output"], validate=True)
        except (ValueError, binascii.Error):
            raise MachineError(Code.GUEST_PROTOCOL, detail=_WRONG) from None
        if len(output) > TERMINAL_PIECE or self._pieces.full():
            raise MachineError(Code.GUEST_PROTOCOL, detail=_WRONG)
        self._pieces.put_nowait(Piece(output, message["fresh"], message["writable"]))
