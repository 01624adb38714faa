"""The opener: the program that a CLI runs as its browser, and the socket on which it hands its URL over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from antechamber.guest.layout import Layout

URL_LIMIT = 16 * 1024
_PROGRAM = """\
#!/usr/bin/python3 -IS
import socket
import sys

if len(sys.argv) != 2 or not sys.argv[1].lower().startswith(("http://", "https://")):
    sys.exit(2)
try:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(5)
        agent.connect({socket!r})
        agent.sendall(sys.argv[1].encode("utf-8", "surrogateescape"))
except (OSError, ValueError):
    sys.exit(3)
"""


def host_of(url: str) -> str | None:
    """Return the host of an http or https URL in lower case, None when it is not one that a browser should get."""
    if not url.isprintable() or " " in url or len(url) > URL_LIMIT:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if parts.scheme.lower() not in {"http", "https"} or not host or not port_ok or "@" in parts.netloc:
        return None
    return host if host.isascii() and len(host) <= 253 else None


class Opener:
    """Takes URLs from the CLI, byte for byte; writes them nowhere, for they hold state and challenge."""

    def __init__(self, layout: Layout, opened: Callable[[str, str], None]) -> None:
        """Prepare; `opened` gets a URL and its host."""
        self._layout = layout
        self._opened = opened
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Write the programs and listen."""
        self._layout.commands.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("xdg-open", "open-page"):
            program = self._layout.commands / name
            program.write_text(_PROGRAM.format(socket=str(self._layout.opener)))
            program.chmod(0o700)
        self._server = await asyncio.start_unix_server(self._take, self._layout.opener, limit=URL_LIMIT * 4)
        self._layout.opener.chmod(0o600)

    @property
    def program(self) -> str:
        """What BROWSER is set to."""
        return str(self._layout.commands / "open-page")

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                raw = bytearray()
                while (piece := await reader.read(URL_LIMIT)) and len(raw) <= URL_LIMIT:
                    raw += piece
            url = raw.decode("utf-8")
            host = host_of(url)
            if host is not None:
                self._opened(url, host)
        except (OSError, UnicodeDecodeError):
            return
        finally:
            writer.transport.abort()
