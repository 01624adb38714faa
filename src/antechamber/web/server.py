"""Runs the app on sockets: uvicorn, started and stopped from the composition root's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from antechamber import tasks
from antechamber.errors import Code, OperatorError
from antechamber.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uvicorn._types import ASGISendEvent

    from antechamber.web.app import WebApp

_log = get_logger("web")

GRACE: Final = timedelta(seconds=5)
"""Time for streams, and after them for other requests, to end at a stop."""

MESSAGE_BYTES: Final = 2**20
"""Largest WebSocket message from a page: a clipboard, at most."""

_LOOPBACK: Final = "127.0.0.1"
_NO_HANDSHAKE: Final = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def listen(bind: str, port: int) -> list[socket.socket]:
    """Return listening sockets at that address; the port of the first is the service's.

    On 127.0.0.1 the same port of ::1 is taken too, where the host has it: `localhost` means both, and a stranger's
    program at the other one would be sent the links that people open. Raises OperatorError (misconfigured).
    """
    first = _bound(bind, port)
    sockets = [first]
    if bind == _LOOPBACK:
        try:
            sockets.append(_bound("::1", first.getsockname()[1]))
        except OperatorError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno == errno.EADDRINUSE:
                first.close()
                raise
    return sockets


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise _not_bound(address, port, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        bound.listen(512)
        bound.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    except OSError as error:
        bound.close()
        raise _not_bound(address, port, error) from error
    return bound


def _not_bound(address: str, port: int, error: OSError) -> OperatorError:
    return OperatorError(
        Code.MISCONFIGURED,
        message=f"Cannot listen on {address} port {port}: {error.strerror}.",
        next_step="Choose another port, or stop the program that uses this one.",
        detail=repr(error),
    )


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which takes an answer in HTTP for an end of the handshake too.

    uvicorn 0.54 counts only `websocket.accept` and `websocket.close`, and after a whole `websocket.http.response` logs
    an error for each refused connection; `websocket.close` would tell its page 403 whatever the reason. Of a request
    that its library cannot read, as one with a body, it hears nothing, and would leave it without an answer for ever.
    """

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(_NO_HANDSHAKE)
            self.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the composition root's matter."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class Server:
    """A running server."""

    def __init__(self, app: WebApp, server: _Uvicorn, task: asyncio.Task[None], port: int) -> None:
        """Hold what runs; `serve` makes it."""
        self._app = app
        self._server = server
        self.port = port
        """Where it listens."""
        self.task = task
        """Ends when the server does, however that comes."""

    async def stop(self, within: timedelta = GRACE) -> None:
        """End streams, long polls and relays first, then the other requests, then the server; idempotent."""
        if not await self._app.closing.end(within):
            _log.warning("streams did not end in time")
        self._server.should_exit = True
        await asyncio.wait({self.task})


async def serve(app: WebApp, sockets: Sequence[socket.socket]) -> Server:
    """Serve the app on listening sockets and return once it answers; the sockets are closed with the server."""
    config = uvicorn.Config(
        app,
        http="h11",  # it limits the size of a request's head, which httptools does not
        ws=_WebSocket,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(GRACE.total_seconds()),
    )
    port = int(sockets[0].getsockname()[1])
    server = _Uvicorn(config)
    task = tasks.spawn("web:server", server.serve(sockets=list(sockets)))
    up = tasks.spawn("web:up", server.up.wait())
    await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await tasks.cancel_and_wait(up)
        task.result()
    return Server(app, server, task, port)
