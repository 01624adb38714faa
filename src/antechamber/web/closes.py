"""Why a screen's WebSocket ends: see `relay` for what each code means."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from starlette.types import Send

GOODBYE_S: Final = 2.0
"""Seconds for a close frame to be sent to a page that may not be reading."""


class Close(NamedTuple):
    """Why a relay ends: a WebSocket close code and its word."""

    code: int
    word: str


NOT_BINARY: Final = Close(1003, "text")
STOPPING: Final = Close(1012, "service stopping")
TAKEN_OVER: Final = Close(4001, "taken over")
BAD_TICKET: Final = Close(4003, "ticket not valid")
NOT_READY: Final = Close(4004, "screen not ready")
STALLED: Final = Close(4008, "stalled")
ENDED: Final = Close(4010, "screen ended")
NODE_AWAY: Final = Close(4011, "node away")

BY_CODE: Final = {
    close.code: close for close in (NOT_BINARY, STOPPING, TAKEN_OVER, BAD_TICKET, NOT_READY, STALLED, ENDED, NODE_AWAY)
}


async def say(send: Send, why: Close) -> None:
    """Close an accepted WebSocket, as far as its page lets us."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await send({"type": "websocket.close", "code": why.code, "reason": why.word})
