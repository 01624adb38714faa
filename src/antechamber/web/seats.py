"""One viewer for each session: who comes later takes the seat, and who had it is told and waited for."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code
from antechamber.model import Secret
from antechamber.web.closes import STOPPING, TAKEN_OVER, Close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from antechamber.web.closing import Closing

STALL_S: Final = 60.0
"""Seconds after which a page that takes nothing loses its seat."""

BINARY: Final = "binary"
_TICKET: Final = "ticket."


@dataclass(eq=False)
class Viewer:
    """One connection of a page."""

    told: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    why: Close = STOPPING

    def tell(self, why: Close) -> None:
        """Say why the connection is to end; the first reason counts."""
        if not self.told.is_set():
            self.why = why
            self.told.set()


class Seats:
    """The seats of one kind."""

    def __init__(self, closing: Closing) -> None:
        """Begin with none taken."""
        self._closing = closing
        self._viewers: dict[str, Viewer] = {}

    @contextlib.asynccontextmanager
    async def taken(self, session_id: str, viewer: Viewer) -> AsyncIterator[None]:
        """Take the one seat; whoever has it is told and waited for."""
        before = self._viewers.get(session_id)
        self._viewers[session_id] = viewer
        try:
            with self._closing.under_way(lambda: viewer.tell(STOPPING)):
                if before is not None:
                    before.tell(TAKEN_OVER)
                    await before.gone.wait()
                yield
        finally:
            viewer.gone.set()
            if self._viewers.get(session_id) is viewer:
                del self._viewers[session_id]


def offered_ticket(subprotocols: list[str]) -> Secret:
    """Return the ticket among the subprotocols that a page offers; raises CallerError when it is not as it must be."""
    tickets = [offer.removeprefix(_TICKET) for offer in subprotocols if offer.startswith(_TICKET)]
    if BINARY not in subprotocols or len(tickets) != 1 or not tickets[0]:
        raise CallerError(
            Code.TICKET_NOT_VALID, message="The WebSocket must offer the subprotocols binary and ticket.TICKET."
        )
    return Secret(tickets[0])
