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
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

_BACKLOG: Final = 128
_BREATH_S: Final = 0.1
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
        self._taking: set[asyncio.Task[tuple[socket.socket, object]]] = set()
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
        return self._accepted(self._listeners[door])

    async def _accepted(self, listener: socket.socket) -> AsyncIterator[Stream]:
        loop = asyncio.get_running_loop()
        closing = spawn("door closing", self._closed.wait())
        try:
            while not self._closed.is_set():
                taking = spawn("door", loop.sock_accept(listener))
                self._taking.add(taking)
                try:
                    await asyncio.wait({taking, closing}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await cancel_and_wait(taking)
                    self._taking.discard(taking)
                if taking.cancelled():
                    continue
                if taking.exception() is not None:  # out of descriptors, most likely: the next may go better
                    await asyncio.wait({closing}, timeout=_BREATH_S)
                    continue
                yield await self._stream(taking.result()[0])
            while self._drained:
                try:
                    connected, _ = listener.accept()
                except OSError:
                    break
                connected.setblocking(False)  # noqa: FBT003 - the standard library's signature
                yield await self._stream(connected)
        finally:
            await cancel_and_wait(closing)
            if self._drained:
                listener.close()

    async def _stream(self, connected: socket.socket) -> Stream:
        reader, writer = await asyncio.open_unix_connection(sock=connected)
        self._streams.add(writer)
        return Stream(reader, writer)

    def drain(self) -> None:
        """Yield what a machine that is gone had dialled before, then end; streams stay open until they are read."""
        self._drained = True
        self._closed.set()
        for door, listener in self._listeners.items():
            if door not in self._taken:
                listener.close()

    async def close(self) -> None:
        """Close every listener and every stream; the iterators end."""
        self._closed.set()
        # the loop must have let go of a listener before its number can be another socket's
        await cancel_and_wait(*self._taking)
        self._close_listeners()
        writers = list(self._streams)
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            listener.close()


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
