"""The way between a person's page and the screen of their machine: raw RFB, both ways, with back-pressure.

The page offers the WebSocket subprotocols `binary` and `ticket.TICKET`, and `binary` is accepted. Nothing is parsed,
recorded or kept: a chunk is read from the machine only when the page has taken the one before, so a page that stops
reading stops the machine's sending. Close codes, besides WebSocket's own:

    1003  a text message came; the screen is binary
    1012  the service is stopping; connect again
    4001  another tab of this browser took the screen over
    4003  the ticket is used up or too old; ask for another
    4004  the screen is not ready (any more); while the session is live, connect again with another ticket
    4008  the page has not taken anything for a minute
    4010  the screen has ended
    4011  the node that runs the machine cannot be reached; connect again

A screen on another node is passed on to that node (`onward`), where all of this holds the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from antechamber.errors import AntechamberError
from antechamber.log import get_logger
from antechamber.tasks import Tasks
from antechamber.web import onward, seats, watching
from antechamber.web.closes import (
    ENDED,
    NOT_BINARY,
    NOT_READY,
    STALLED,
    Close,
)
from antechamber.web.pieces import Pieces
from antechamber.web.seats import Seats, Viewer

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from antechamber.machine import Stream
    from antechamber.web.services import Services

_log = get_logger("relay")

STALL_S: Final = seats.STALL_S
"""Seconds after which a page that takes nothing loses the screen."""


class Relays:
    """The relays of this service: one viewer for each session."""

    def __init__(self, services: Services) -> None:
        """Begin with none."""
        self._services = services
        self._seats = Seats(services.closing)

    async def serve(self, session_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket whose browser holds the session's cookie."""
        page = onward.Page(onward.Kind.SCREEN, scope, receive, send, STALL_S)
        watched = watching.of_session(self._services, session_id, page.kind)
        await watching.serve(self._services, watched, page, lambda: self._watch(session_id, receive, send))

    async def _watch(self, session_id: str, receive: Receive, send: Send) -> Close | None:
        """Relay until either side ends; return what to close with, or None when the page has gone."""
        viewer = Viewer()
        async with self._seats.taken(session_id, viewer):
            if viewer.told.is_set():
                return viewer.why
            if self._services.live.input_ended(session_id).is_set():
                return ENDED
            try:
                stream = await self._services.live.open_screen(session_id)
            except AntechamberError as error:
                _log.info("screen not opened", session=session_id, code=str(error.code), detail=error.detail)
                return NOT_READY
            try:
                with self._services.metrics.relay_open():
                    return await _Relay(self._services, session_id, stream, viewer).run(receive, send)
            finally:
                # nothing is worth flushing to a machine whose viewer is gone
                stream.writer.transport.abort()


class _Relay:
    """One relay under way."""

    def __init__(self, services: Services, session_id: str, stream: Stream, viewer: Viewer) -> None:
        self._services = services
        self._session_id = session_id
        self._stream = stream
        self._viewer = viewer

    async def run(self, receive: Receive, send: Send) -> Close | None:
        async with Tasks("relay") as work:
            down = work.spawn("to page", self._to_page(send))
            up = work.spawn("to machine", self._to_machine(receive))
            told = work.spawn("told", self._viewer.told.wait())
            await asyncio.wait({down, up, told}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                return self._viewer.why
            return up.result() if up.done() else down.result()

    async def _to_page(self, send: Send) -> Close | None:
        seen = False
        pieces = Pieces(self._stream)
        while True:
            try:
                received = await pieces.read()
            except OSError:
                return ENDED
            if not received:
                return ENDED
            try:
                async with asyncio.timeout(STALL_S):
                    await send({"type": "websocket.send", "bytes": received})
            except TimeoutError:
                return STALLED
            except OSError:
                return None
            self._services.metrics.relayed("to_page", len(received))
            if not seen:
                seen = True
                await self._seen()

    async def _seen(self) -> None:
        try:
            await self._services.screen_seen(self._session_id)
        except AntechamberError as error:
            _log.warning("screen_seen refused", session=self._session_id, code=str(error.code), detail=error.detail)

    async def _to_machine(self, receive: Receive) -> Close | None:
        ended = self._services.live.input_ended(self._session_id)
        while True:
            message: Message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            received = message.get("bytes")
            if received is None:
                return NOT_BINARY
            if ended.is_set():
                continue
            try:
                self._stream.writer.write(received)
                await self._stream.writer.drain()
            except OSError:
                return ENDED
            self._services.metrics.relayed("to_machine", len(received))
