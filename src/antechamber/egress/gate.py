"""Holds a connection to port 443 until its client has named, in the clear, the server that was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from antechamber.egress.client_hello import HelloError, Opening

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

TLS_PORT: Final = 443


class Gate:
    """The client's side of one connection: `read` gives what may go to the server, `opened` is set from then on.

    A client that says nothing may do so for the time `silent`: browsers open connections ahead. From its first byte on
    its ClientHello is to be whole within the time `hello`, however slowly its bytes come. `on_judged` is told of the
    ClientHello, with why it is refused, or nothing where it is right; and again where a second one is refused.
    """

    def __init__(self, name: str, *, silent: timedelta, hello: timedelta, on_judged: Callable[[str], None]) -> None:
        """Wait for that canonical name, from now on."""
        self._opening = Opening(name)
        self._hello = hello.total_seconds()
        self._until = asyncio.get_running_loop().time() + silent.total_seconds()
        self._began = False
        self._on_judged = on_judged
        self.judged = False
        """Whether anything was told."""
        self.opened = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader, most: int) -> bytes:
        """Return the client's next bytes that may go on, none at its end; raises OSError where it is to be ended."""
        while True:
            chunk = await (reader.read(most) if self.opened.is_set() else self._in_time(reader, most))
            try:
                passed = self._opening.take(chunk) if chunk else self._opening.end()
            except HelloError as error:
                self._refuse(str(error))
                raise ConnectionAbortedError(str(error)) from error
            if self._opening.right and not self.opened.is_set():
                self._judge("")
                self.opened.set()
            if passed or not chunk:
                return passed

    async def _in_time(self, reader: asyncio.StreamReader, most: int) -> bytes:
        try:
            async with asyncio.timeout_at(self._until):
                chunk = await reader.read(most)
        except TimeoutError:
            self._refuse("no whole ClientHello in time")
            raise
        if chunk and not self._began:
            self._began = True
            self._until = asyncio.get_running_loop().time() + self._hello
        return chunk

    def _refuse(self, why: str) -> None:
        if self._began:  # one that has said nothing has done nothing wrong
            self._judge(why)

    def _judge(self, why: str) -> None:
        self.judged = True
        self._on_judged(why)
