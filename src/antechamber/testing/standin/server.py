"""The process: one lock, three unix sockets, and an end when nobody has asked for anything for long."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing.standin.certificates import Authority
from antechamber.testing.standin.control import control
from antechamber.testing.standin.front import Front
from antechamber.testing.standin.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

TLS, PLAIN, CONTROL, LOCK = "tls.sock", "plain.sock", "control.sock", "lock"
_GRACE_S: Final = 2
_LOOK_S: Final = 5.0


class AlreadyServedError(Exception):
    """Another stand-in serves this folder."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the process, which has three servers."""
        yield


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # left by one that was killed: whoever holds the lock owns the folder
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(path))
    path.chmod(0o600)
    listener.listen(512)
    listener.settimeout(0)  # asyncio wants it non-blocking
    return listener


def _server(application: Any, authority: Authority | None) -> _Server:
    extra: dict[str, Any] = {}
    if authority is not None:
        extra["ssl_context_factory"] = lambda _config, _default: authority.context()
    return _Server(
        uvicorn.Config(
            application,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=75,
            **extra,
        )
    )


async def serve(folder: Path, *, idle_s: float, ready: Callable[[], None]) -> None:
    """Serve in that folder until stopped, by a signal, by its control socket or after so many idle seconds (0: never).

    Raises AlreadyServedError when another process serves there. `ready` is called when all three sockets listen.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyServedError(str(folder)) from error
        await _serve(folder, idle_s, ready)
    finally:
        os.close(lock)


async def _serve(folder: Path, idle_s: float, ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    setting = Setting()
    front = Front(setting)
    authority = Authority(front.serves)
    listeners = {
        folder / TLS: _server(front, authority),
        folder / PLAIN: _server(front, None),
        folder / CONTROL: _server(_touching(control(setting, authority, front, stop.set), setting), None),
    }
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [
        spawn(f"standin:{path.name}", server.serve(sockets=[_listening(path)])) for path, server in listeners.items()
    ]
    _watch(folder / CONTROL, setting, idle_s, stop)
    try:
        ready()
        ended = spawn("standin:stop", stop.wait())
        await asyncio.wait({ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        await cancel_and_wait(ended)
    finally:
        for path, server in listeners.items():
            path.unlink(missing_ok=True)
            server.should_exit = True
        await asyncio.gather(*tasks)


def _watch(control_socket: Path, setting: Setting, idle_s: float, stop: asyncio.Event) -> None:
    """Stop when nobody has asked for anything for so long, or when the folder was removed: nobody can ask any more."""
    idle = idle_s > 0 and time.monotonic() - setting.journal.touched >= idle_s
    if idle or not control_socket.exists():
        stop.set()
    else:
        again = min(_LOOK_S, idle_s or _LOOK_S)
        asyncio.get_running_loop().call_later(again, _watch, control_socket, setting, idle_s, stop)


def _touching(application: Any, setting: Setting) -> Any:
    async def touching(scope: Any, receive: Any, send: Any) -> None:
        setting.journal.touch()
        await application(scope, receive, send)
        setting.journal.touch()

    return touching
