"""The way between a person's page and what their tool writes: its terminal where it has one.

The page offers the WebSocket subprotocols `binary` and `ticket.TICKET`, as for the screen, with the same close codes; a
terminal on another node is passed on to that node as a screen is (`onward`).
Binary messages are bytes: down what the tool wrote, up what the person typed. A text message is a JSON object: down
`{"fresh": true, "writable": bool}` before a piece with which the page begins anew, up `{"columns": int, "rows": int}`.
The next piece is asked for when the page has taken the one before. Nothing of it is read, recorded or kept.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from antechamber.errors import AntechamberError
from antechamber.guest.protocol import TERMINAL_SIDES
from antechamber.log import get_logger
from antechamber.tasks import Tasks
from antechamber.web import onward, watching
from antechamber.web.closes import NOT_BINARY, NOT_READY, STALLED, Close
from antechamber.web.seats import STALL_S, Seats, Viewer

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from antechamber.link import TerminalView
    from antechamber.web.services import Services

_log = get_logger("terminal")


class Terminals:
    """The terminals of this service: one viewer for each session."""

    def __init__(self, services: Services) -> None:
        """Begin with none."""
        self._services = services
        self._seats = Seats(services.closing)

    async def serve(self, session_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket whose browser holds the session's cookie."""
        page = onward.Page(onward.Kind.TERMINAL, scope, receive, send, STALL_S)
        watched = watching.of_session(self._services, session_id, page.kind)
        await watching.serve(self._services, watched, page, lambda: self._watch(session_id, receive, send))

    async def _watch(self, session_id: str, receive: Receive, send: Send) -> Close | None:
        viewer = Viewer()
        live = self._services.live
        async with self._seats.taken(session_id, viewer):
            if viewer.told.is_set():
                return viewer.why
            try:
                view = await live.watch_terminal(session_id)
            except AntechamberError as error:
                _log.info("terminal not opened", session=session_id, code=str(error.code), detail=error.detail)
                return NOT_READY
            try:
                async with Tasks("terminal") as work:
                    down = work.spawn("to page", _to_page(view, send))
                    up = work.spawn("to machine", self._to_machine(session_id, view, receive))
                    ended = work.spawn("ended", live.input_ended(session_id).wait())
                    told = work.spawn("told", viewer.told.wait())
                    await asyncio.wait({down, up, ended, told}, return_when=asyncio.FIRST_COMPLETED)
                    if told.done():
                        return viewer.why
                    if ended.done():
                        return await watching.over(self._services, session_id)
                    return up.result() if up.done() else down.result()
            finally:
                await live.leave_terminal(session_id, view)

    async def _to_machine(self, session_id: str, view: TerminalView, receive: Receive) -> Close | None:
        while True:
            message: Message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            ended = self._services.live.input_ended(session_id).is_set()
            typed = message.get("bytes")
            if typed is not None:
                if not ended:
                    await view.type(typed)
                continue
            size = size_of(message.get("text"))
            if size is None:
                return NOT_BINARY
            if not ended:
                await view.resize(*size)


async def _to_page(view: TerminalView, send: Send) -> Close | None:
    while True:
        piece = await view.next()
        try:
            async with asyncio.timeout(STALL_S):
                if piece.fresh:
                    told = json.dumps({"fresh": True, "writable": piece.writable})
                    await send({"type": "websocket.send", "text": told})
                if piece.output:
                    await send({"type": "websocket.send", "bytes": piece.output})
        except TimeoutError:
            return STALLED
        except OSError:
            return None
        await view.taken()


def size_of(text: str | None) -> tuple[int, int] | None:
    """Return the columns and rows of a page's message, None when it is none."""
    try:
        told = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.keys() != {"columns", "rows"}:
        return None
    least, most = TERMINAL_SIDES
    sides = told["columns"], told["rows"]
    return sides if all(type(side) is int and least <= side <= most for side in sides) else None
