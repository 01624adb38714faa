"""Asks a CLI to sign in by the Agent Client Protocol: JSON-RPC 2.0, one message a line (agentclientprotocol.com)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_METHOD_NOT_FOUND = -32601


class RefusedError(Exception):
    """The CLI answered a request with an error; its text is the CLI's own."""


class Conversation:
    """The client's side of one conversation over a CLI's standard input and output."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: Callable[[str], None]
    ) -> None:
        """Begin; `other` gets what is not a message of the protocol, and the text of errors."""
        self._reader = reader
        self._writer = writer
        self._other = other
        self._last = 0

    async def sign_in(self, method: str) -> None:
        """Let the CLI do its own login; returns when it says that it is done.

        Raises RefusedError, and EOFError when the CLI hangs up before.
        """
        await self._request(
            "initialize",
            {
                "protocolVersion": 1,
                "clientCapabilities": {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False},
            },
        )
        await self._request("authenticate", {"methodId": method})

    async def rest(self) -> None:
        """Read on until the CLI hangs up, refusing what it asks: a full pipe would stop it."""
        while (message := await self._next()) is not None:
            self._refuse(message)

    async def _request(self, method: str, parameters: dict[str, Any]) -> None:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": parameters})
        # what it said before it hung up is still to be read
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        while (message := await self._next()) is not None:
            if "method" in message:
                self._refuse(message)
            elif message.get("id") == self._last:
                if "error" in message:
                    error = message["error"]
                    text = str(error.get("message") if isinstance(error, dict) else error)[:2000]
                    self._other(f"{method}: {text}\n")
                    raise RefusedError(method)
                return
        raise EOFError(method)

    def _refuse(self, message: dict[str, Any]) -> None:
        if "method" in message and "id" in message:
            self._send({"id": message["id"], "error": {"code": _METHOD_NOT_FOUND, "message": "not offered"}})

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _next(self) -> dict[str, Any] | None:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                continue  # longer than the reader's limit: nothing of the protocol is
            if not line:
                return None
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                return message
            self._other(line.decode(errors="replace"))
