"""Doors as unix sockets: the host makes and listens on every one, the guest only dials.

The folder that holds them is bound read-only into the machine, so that no path that the host opens was ever written by
a guest. Connections are taken only when somebody asks for the next: what is not yet asked for waits in the kernel, and
a guest that dials without end fills its own backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import weakref
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code, MachineError, OperatorError
from antechamber.machine import Door, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

_BACKLOG: Final = 128
_BREATH_S: Final = 0.1
_AHEAD: Final = 256 * 1024
"""Bytes that are read ahead of whoever reads; with asyncio's own 64 KiB a picture comes in four times the pieces."""
_PATH_LIMIT: Final = 100
"""Bytes; the kernel takes 107, and a path of just that length is a trap for whoever adds a character."""


class UnixDoors:
    """The listening ends of one machine's doors."""

    def __init__(self, folder: Path, doors: Iterable[Door], *, give: Callable[[Path], None] | None) -> None:
        """Make sockets in the folder, afresh: left ones are replaced. `give` lets the machine's uid use each."""
        self._listeners: dict[Door, socket.socket] = {}
        self._taken: set[Door] = set()
        self._closed = asyncio.Event()
        self._drained = False
        self._begun: set[Door] = set()
        self._words: set[asyncio.Event] = set()
        self._waiting: dict[Door, list[socket.socket]] = {}
        self._streams: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        try:
            for door in sorted(doors):
                self._listeners[door] = _listen(folder / f"{door}.sock", give)
        except OSError as error:
            self._close_listeners()
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=f"doors: {error}") from error
        except OperatorError:
            self._close_listeners()
            raise

    def accept(self, door: Door) -> AsyncIterator[Stream]:
        """Yield what the guest dials; ends after close, and after `drain` when what had been dialled is yielded."""
        if door in self._taken:
            message = f"the door {door} is being accepted from already"
            raise RuntimeError(message)
        if door not in self._listeners:
            message = f"this machine has no door {door}"
            raise RuntimeError(message)
        self._taken.add(door)
        return self._accepted(door)

    async def _accepted(self, door: Door) -> AsyncIterator[Stream]:
        listener = self._listeners[door]
        self._begun.add(door)
        try:
            while not self._closed.is_set():
                # accepted here and not by the loop, which loses a connection when the wait for it is cancelled
                try:
                    connected, _ = listener.accept()
                except BlockingIOError:
                    await self._until_dialled(listener)
                except OSError:  # out of descriptors, most likely: the next may go better
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_BREATH_S):
                            await self._closed.wait()
                else:
                    yield await self._stream(connected)
            while self._drained and (dialled := self._dialled_before(door)) is not None:
                yield await self._stream(dialled)
        finally:
            if self._drained:
                listener.close()

    async def _until_dialled(self, listener: socket.socket) -> None:
        """Wait until there is a connection to accept, or no more are asked for."""
        loop = asyncio.get_running_loop()
        word = asyncio.Event()
        loop.add_reader(listener, word.set)
        self._words.add(word)
        try:
            await word.wait()
        finally:
            self._words.discard(word)
            # a closed one is not the loop's any more: `close` has seen to that
            if listener.fileno() >= 0:
                loop.remove_reader(listener)

    def _dialled_before(self, door: Door) -> socket.socket | None:
        """Return the next connection of a machine that is gone."""
        waiting = self._waiting.get(door)
        if waiting:
            return waiting.pop(0)
        try:
            return self._listeners[door].accept()[0]
        except OSError:
            return None

    async def _stream(self, connected: socket.socket) -> Stream:
        try:
            connected.setblocking(False)  # noqa: FBT003 - the standard library's signature
            reader, writer = await asyncio.open_unix_connection(sock=connected, limit=_AHEAD)
        except BaseException:
            connected.close()
            raise
        self._streams.add(writer)
        return Stream(reader, writer)

    def drain(self) -> None:
        """Yield what a machine that is gone had dialled before, then end; streams stay open until they are read."""
        if self._closed.is_set():
            return
        self._drained = True
        self._close_asking()
        for door, listener in self._listeners.items():
            # who has begun closes its listener at its end; who was given an iterator may never begin
            if door in self._begun:
                continue
            if door in self._taken:
                self._waiting[door] = _queued(listener)
            listener.close()

    async def close(self) -> None:
        """Close every listener and every stream; the iterators end."""
        self._close_asking()
        self._close_listeners()
        for waiting in self._waiting.values():
            while waiting:
                waiting.pop().close()
        writers = list(self._streams)
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _close_asking(self) -> None:
        self._closed.set()
        for word in self._words:
            word.set()

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            if self._words and listener.fileno() >= 0:
                # the loop must have let go of it before its number can be another socket's
                asyncio.get_running_loop().remove_reader(listener)
            listener.close()


def _queued(listener: socket.socket) -> list[socket.socket]:
    connections = []
    with contextlib.suppress(OSError):
        while True:
            connections.append(listener.accept()[0])
    return connections


def _listen(path: Path, give: Callable[[Path], None] | None) -> socket.socket:
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="The run directory's path is too long for sockets.",
            next_step="Set ANTECHAMBER_RUN_DIR to a shorter path.",
            detail=str(path),
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        if give is not None:
            give(path)
        # only now: before listen() nobody can connect, whatever the umask made of the mode
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
