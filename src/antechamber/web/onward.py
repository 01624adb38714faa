"""A screen or terminal whose machine runs on another node: its WebSocket is passed on to that node's service as it is.

The other service makes every check itself, as if the browser had come to it: host, origin, ticket and right go on as
they came. The right is a session's cookie, or for a run's terminal the dashboard's cookie or the bearer. A caller can
make this service connect only to an address that a service of this installation wrote into the database, only by the
one path of their own session or run, and only with a ticket that is good now; no redirect is followed, no proxy is
asked, and what was passed on once is not passed on again (`MARK`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Origin, Subprotocol

from antechamber.errors import CallerError, Code
from antechamber.log import get_logger
from antechamber.tasks import Tasks
from antechamber.web import closes
from antechamber.web.closes import Close
from antechamber.web.cookies import session_cookies
from antechamber.web.front import header

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from antechamber.model import NodeRow
    from antechamber.web.addresses import Site
    from antechamber.web.services import Services

_log = get_logger("onward")

MARK: Final = "antechamber-passed-on-by"
"""The header that marks a request which another node passed on; its value is that node's id."""

_DIAL_S: Final = 5.0
_PING_S: Final = 20.0
_PONG_S: Final = 60.0
_MESSAGE_BYTES: Final = 2**20

# the library logs whole handshakes, cookie and ticket with them
_SILENT: Final = logging.getLogger("antechamber.onward.wire")
_SILENT.disabled = True


class Kind(StrEnum):
    """What of a machine a WebSocket is for, as its path is called."""

    SCREEN = "screen"
    TERMINAL = "terminal"


class Page(NamedTuple):
    """A page's accepted WebSocket, as it came."""

    kind: Kind
    scope: Scope
    receive: Receive
    send: Send
    stall_s: float
    """Seconds after which a page that takes nothing loses it."""


class Place(NamedTuple):
    """Where a service serves a WebSocket, and what of the page's cookies it looks at there."""

    subject: str
    """The session or run, for the log."""
    site: Site
    path: str
    cookies: tuple[str, ...]
    """The names of the cookies that go along."""
    bearer: bool = False
    """Whether a bearer does too."""


class _Connect(connect):
    """A connection that follows nobody elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def elsewhere(services: Services, session_id: str) -> NodeRow | None:
    """Return the other node that a session's machine runs on; None where it runs here, or nowhere."""
    node = await services.signin.node(session_id)
    return node if node is not None and node.id != services.node else None


def require_reachable(node: NodeRow | None, scope: Scope) -> None:
    """Raise CallerError wrong_node where a request is for a node that it cannot be passed on to."""
    if node is None:
        return
    if node.url is None:
        raise CallerError(Code.WRONG_NODE, detail=f"{node.name} has no ANTECHAMBER_NODE_URL")
    if any(key == MARK.encode() for key, _ in scope["headers"]):
        raise CallerError(Code.WRONG_NODE, detail="it was passed on already")


def another_nodes_run() -> CallerError:
    """Return the error of a run whose machine is on another node, which only that node can speak with."""
    return CallerError(
        Code.WRONG_NODE,
        message="This run's machine is on another node of this service.",
        next_step="Ask the node that started the run.",
    )


def of_session(services: Services, session_id: str, kind: Kind) -> Place:
    """Return where a session's screen or terminal is served."""
    site = services.addresses.sign_in
    return Place(session_id, site, f"/api/auth/session/{session_id}/{kind}", session_cookies(site, session_id))


async def pass_on(services: Services, place: Place, page: Page, node: NodeRow) -> Close | None:
    """Pass on until either side ends; return what to close the page's side with, or None when the page has gone.

    Whoever calls has seen that the page's ticket is good now.
    """
    there = await _dial(services, place, node, page)
    if there is None:
        return closes.NODE_AWAY
    passage = _Passage(there, stall_s=page.stall_s, words=page.kind is Kind.TERMINAL)
    with services.closing.under_way(passage.stop):
        return await passage.run(page.receive, page.send)


async def _dial(services: Services, place: Place, node: NodeRow, page: Page) -> ClientConnection | None:
    """Connect to the node as the browser did to us; None, and a line in the log, when it does not take us."""
    scope = page.scope
    there = urlsplit(node.url or "")
    secure = there.scheme == "https"
    bearer = header(scope, b"authorization") if place.bearer else None
    along = [("Cookie", pair) for pair in _pairs(scope, place.cookies)]
    along += [] if bearer is None else [("Authorization", bearer)]
    try:
        return await _Connect(
            f"{'wss' if secure else 'ws'}://{place.site.host}{place.path}",
            host=there.hostname,
            port=there.port or (443 if secure else 80),
            ssl=ssl.create_default_context() if secure else None,
            server_hostname=there.hostname if secure else None,
            origin=Origin(header(scope, b"origin") or ""),
            subprotocols=[Subprotocol(offer) for offer in scope["subprotocols"]],
            additional_headers=[*along, (MARK, services.node)],
            user_agent_header=None,
            compression=None,
            proxy=None,
            logger=_SILENT,
            open_timeout=_DIAL_S,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            close_timeout=closes.GOODBYE_S,
            max_size=_MESSAGE_BYTES,
            max_queue=1,
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        _log.warning(
            "node not reached", subject=place.subject, node=node.name, detail=f"{type(error).__name__}: {error}"
        )
        return None


def _pairs(scope: Scope, names: tuple[str, ...]) -> list[str]:
    """Return the cookie of these names alone, as it came: the others are none of the other node's business here."""
    found = []
    for key, raw in scope["headers"]:
        if key == b"cookie":
            pairs = (pair.strip() for pair in raw.decode("latin-1").split(";"))
            found += [pair for pair in pairs if pair.partition("=")[0] in names]
    return found


class _Passage:
    """One WebSocket on its way through this service."""

    def __init__(self, there: ClientConnection, *, stall_s: float, words: bool) -> None:
        """Pass on between a page and that connection, text messages too where there are `words`."""
        self._there = there
        self._words = words
        self._stall_s = stall_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let it end because this service does."""
        self._stopping.set()

    async def run(self, receive: Receive, send: Send) -> Close | None:
        """Pass on until either side ends; return what to close the page's side with, or None when the page has gone."""
        try:
            async with Tasks("onward") as work:
                down = work.spawn("to page", self._to_page(send))
                up = work.spawn("to node", self._to_node(receive))
                stopping = work.spawn("stopping", self._stopping.wait())
                await asyncio.wait({down, up, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return closes.STOPPING
                return up.result() if up.done() else down.result()
        finally:
            # nothing is worth flushing to a node whose viewer is gone
            self._there.transport.abort()

    async def _to_page(self, send: Send) -> Close | None:
        while True:
            try:
                received = await self._there.recv()
            except ConnectionClosed as end:
                return _why(end)
            if isinstance(received, str) and not self._words:
                return closes.NODE_AWAY  # no service of ours sends text here
            sort = "text" if isinstance(received, str) else "bytes"
            try:
                async with asyncio.timeout(self._stall_s):
                    await send({"type": "websocket.send", sort: received})
            except TimeoutError:
                return closes.STALLED
            except OSError:
                return None

    async def _to_node(self, receive: Receive) -> Close | None:
        while True:
            message: Message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            received = message.get("bytes")
            if received is None and self._words:
                received = message.get("text")
            if received is None:
                return closes.NOT_BINARY
            try:
                await self._there.send(received)
            except ConnectionClosed as end:
                return _why(end)


def _why(end: ConnectionClosed) -> Close:
    """Return what the node closed with, where it is one of our own words; a connection that was cut is none."""
    return closes.BY_CODE.get(end.rcvd.code if end.rcvd else 0, closes.NODE_AWAY)
