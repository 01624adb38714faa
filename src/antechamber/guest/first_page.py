"""The first page: Chromium's first window asks here where to go, and is answered when the CLI has said it.

Chromium starts beside the CLI, long before there is a page. An empty window and a second Chromium, which hands the page
to the first, cost a sign-in a renderer's 20 MB and a quarter of a second of processor time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

_HEAD_LIMIT = 16 * 1024
_HEAD_S = 5.0
_REDIRECT = (
    "HTTP/1.1 302 Found\r\nLocation: {}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FirstPage:
    """One window that waits for its address; asked for by anything else, or again, it is not there."""

    def __init__(self) -> None:
        """Prepare; `start` listens."""
        self._server: asyncio.Server | None = None
        self._path = f"/{secrets.token_urlsafe(24)}"
        self._url: asyncio.Future[str] | None = None
        self._asked = False
        self._shown = asyncio.Event()

    async def start(self) -> str:
        """Listen on loopback and return the address for Chromium's command line."""
        self._url = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._path}"

    async def show(self, url: str, within: float) -> bool:
        """Send the window to a page, byte for byte; False where none waits, nor has come within so many seconds."""
        # what is not ASCII could come out of the header as other bytes than went in
        if self._server is None or self._url is None or self._url.done() or not url.isascii():
            return False
        self._url.set_result(url)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._shown.wait()
        self.close()
        return self._shown.is_set()

    def close(self) -> None:
        """Be there no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._url is not None:
            self._url.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            if self._asked or self._url is None or not head.startswith(f"GET {self._path} HTTP/1.".encode()):
                writer.write(_NOT_HERE)
            else:
                self._asked = True
                writer.write(_REDIRECT.format(await self._url).encode())
                self._shown.set()
            await writer.drain()
            writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
