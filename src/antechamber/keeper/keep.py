"""The keeper's loop: starts the machine, answers its control socket, records the machine's end.

Single-threaded on purpose: bubblewrap's `--die-with-parent` follows the thread that forked it. Files in the machine's
folder: `plan.json` (read), `secret` (read), `keeper.sock` (0600), `machine.log` (what the machine printed, cut off),
`machine.sock` (bound while anything of the machine runs; nobody answers on it), `exit.json` (written once, atomically:
`{"at", "code", "detail"}`).

The control socket takes one JSON object a line, each with `secret`, and answers one a line: `claim` (lasts as long as
the connection), `status`, `stop`. To every claiming connection `{"ended": {…}}` is sent at the machine's end.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time

from antechamber.keeper import kernel, launch, memory

TYPE_CHECKING = False  # typing itself would cost each machine 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LOG_LIMIT = 256 * 1024
"""Bytes of the machine's own output that are kept; the rest is read and dropped."""
END_ROOM = 16 * 1024
"""Bytes kept from the first for the record of the end: it must be written on a full disk too."""
_LINE_LIMIT = 4096
_CONNECTIONS = 16


def run(folder: str, descriptors: list[int]) -> None:
    """Keep the machine of that folder until it has ended; never returns before."""
    _, first_word, *_ = descriptors
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    with open(os.path.join(folder, "plan.json"), "rb") as file:  # noqa: PTH118, PTH123 - see __main__
        plan = json.load(file)
    with open(os.path.join(folder, "secret")) as file:  # noqa: PTH118, PTH123
        secret = file.read()
    Keeper(folder, plan, secret, first_word).run()
    # the locks go with the process, at the very last
    os._exit(0)


class _Connection:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.received = b""
        self.claims = False


class Keeper:
    """One machine's keeper."""

    def __init__(self, folder: str, plan: dict[str, Any], secret: str, first_word: int) -> None:
        """Make one; nothing is started yet."""
        self._folder = folder
        self._plan = plan
        self._secret = secret
        self._first_word = first_word
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._pipes: dict[int, Callable[[], bool]] = {}
        self._pid = 0
        self._reaped_code: int | None = None
        self._status = b""
        self._log: int | None = None
        self._logged = 0
        self._tail = b""
        self._unclaimed_since = time.monotonic()
        self._stopping = ""
        self._began = False
        self._memory = memory.Watch(plan["memory_bytes"])

    def run(self) -> None:
        """Start the machine and stay until nothing of it is left."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop("the keeper was asked to end"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: os.read(wake_read, 512))
        listener = self._listen()
        try:
            _keep_room(self._end_path())
            self._start()
        except OSError as error:
            self._tail += f"antechamber: {error}\n".encode()
            self._kill()
        while not self._all_gone():
            for key, _ in self._selector.select(self._patience()):
                key.data()
            if self._unclaimed_for() >= self._plan["unclaimed_s"]:
                self._stop("no service claimed it")
            self._look_at_memory()
            if self._stopping:
                self._kill()
        self._finish(listener)

    # --- the machine

    def _start(self) -> None:
        output_read, output_write = os.pipe2(os.O_CLOEXEC)
        started_read, started_write = os.pipe2(os.O_CLOEXEC)
        status_read, status_write = os.pipe2(os.O_CLOEXEC)
        with open(self._plan["seccomp"], "rb") as file:  # noqa: PTH123
            seccomp = _in_memory("seccomp", file.read())
        options = _in_memory("options", b"".join(option.encode() + b"\0" for option in self._plan["options"]))
        alive = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        _bind(alive, os.path.join(self._folder, "machine.sock"))  # noqa: PTH118
        subordinate = self._plan["subordinate"]
        pipes = (os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)) if subordinate else None
        self._pid = launch.launch(
            self._plan,
            {
                launch.STARTED_FD: started_write,
                launch.STATUS_FD: status_write,
                launch.SECCOMP_FD: seccomp,
                launch.ALIVE_FD: alive.fileno(),
                launch.ARGS_FD: options,
            },
            output_write,
            (pipes[0][1], pipes[1][0]) if pipes else None,
        )
        for descriptor in (output_write, started_write, status_write, seccomp, options):
            os.close(descriptor)
        alive.close()
        self._watch(output_read, self._on_output)
        self._watch(started_read, self._on_started)
        self._watch(status_read, self._on_status)
        if pipes:
            (said, say), (hear, answer) = pipes
            os.close(say)
            os.close(hear)
            self._map_subordinate(subordinate, said, answer)

    def _map_subordinate(self, subordinate: dict[str, Any], said: int, answer: int) -> None:
        try:
            if os.read(said, 1) != b"u":
                return
            for program, key in (("newuidmap", "uids"), ("newgidmap", "gids")):
                first, count = subordinate[key]
                argv = [f"/usr/bin/{program}", str(self._pid), "0", str(first), str(count)]
                if (code := os.spawnv(os.P_WAIT, argv[0], argv)) != 0:  # noqa: S606 - a list, no shell
                    raise OSError(f"{program} ended with {code}")
            os.write(answer, b"m")
        finally:
            os.close(said)
            os.close(answer)

    def _watch(self, descriptor: int, receive: Callable[[bytes], None]) -> None:
        os.set_blocking(descriptor, False)

        def ready() -> bool:
            """Read once; true when there may be more."""
            try:
                received = os.read(descriptor, 65536)
            except BlockingIOError:
                return False
            if received:
                receive(received)
                return True
            self._selector.unregister(descriptor)
            del self._pipes[descriptor]
            os.close(descriptor)
            return False

        self._pipes[descriptor] = ready
        self._selector.register(descriptor, selectors.EVENT_READ, ready)

    def _on_output(self, received: bytes) -> None:
        self._tail = (self._tail + received)[-2000:]
        # a full disk costs the log and never the machine
        with contextlib.suppress(OSError):
            self._keep(received[: LOG_LIMIT - self._logged])

    def _keep(self, received: bytes) -> None:
        if received:
            if self._log is None:
                path = os.path.join(self._folder, "machine.log")  # noqa: PTH118
                self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._logged += os.write(self._log, received)

    def _on_started(self, _: bytes) -> None:
        self._began = True
        self._tail = b""
        self._say_first_word({"started": True, "keeper": os.getpid()})

    def _on_status(self, received: bytes) -> None:
        self._status = (self._status + received)[-65536:]

    def _say_first_word(self, word: dict[str, Any]) -> None:
        if self._first_word < 0:
            return
        # when the starter is gone, another service will attach, or the machine ends unclaimed
        with contextlib.suppress(OSError):
            os.write(self._first_word, json.dumps(word).encode() + b"\n")
        os.close(self._first_word)
        self._first_word = -1

    def _all_gone(self) -> bool:
        """Reap what has ended; true when no child is left, ours or inherited."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._pid:
                self._reaped_code = os.waitstatus_to_exitcode(status)
                self._kill_the_rest()

    def _kill_the_rest(self) -> None:
        """When bubblewrap's outer half was killed, its inner half is ours now and must not outlive it."""
        for pid in _children():
            _signal(pid)

    def _kill(self) -> None:
        if self._pid and self._reaped_code is None:
            _signal(self._pid)
        self._kill_the_rest()

    def _look_at_memory(self) -> None:
        if self._stopping:
            return
        # what cannot be looked at now is looked at again: no reason to end anybody
        with contextlib.suppress(OSError):
            if held := self._memory.too_much():
                self._stop(f"it held {held >> 20} MiB of memory, and may hold {self._plan['memory_bytes'] >> 20}")

    def _stop(self, why: str) -> None:
        self._stopping = self._stopping or why
        self._kill()

    # --- the control socket

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # before listen nobody can connect
        _bind(listener, os.path.join(self._folder, "keeper.sock"))  # noqa: PTH118
        listener.listen(8)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        return listener

    def _accept(self, listener: socket.socket) -> None:
        try:
            connected, _ = listener.accept()
        except OSError:
            return
        if len(self._connections) >= _CONNECTIONS:
            connected.close()
            return
        connected.setblocking(False)  # noqa: FBT003 - the standard library's signature
        connection = _Connection(connected)
        self._connections[connected.fileno()] = connection
        self._selector.register(connected, selectors.EVENT_READ, lambda: self._hear(connection))

    def _hear(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(_LINE_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        connection.received += received
        if not received or len(connection.received) > _LINE_LIMIT:
            self._drop(connection)
            return
        while b"\n" in connection.received:
            line, _, connection.received = connection.received.partition(b"\n")
            try:
                answer = self._answer(connection, json.loads(line))
            except (ValueError, TypeError, AttributeError):
                answer = None
            if answer is None:
                self._drop(connection)
                return
            self._send(connection, answer)

    def _answer(self, connection: _Connection, request: dict[str, Any]) -> dict[str, Any] | None:
        if not _same(request.get("secret"), self._secret):
            return None
        match request.get("op"):
            case "claim":
                connection.claims = True
            case "status":
                pass
            case "stop":
                self._stop("stopped")
            case _:
                return None
        return {
            "ok": True,
            "incarnation": self._plan["incarnation"],
            "keeper": os.getpid(),
            "machine": self._pid,
            "started": self._began,
            "stopping": bool(self._stopping),
        }

    def _send(self, connection: _Connection, message: dict[str, Any]) -> None:
        try:
            # a few hundred bytes into an empty buffer: whoever does not read them is dropped
            connection.socket.send(json.dumps(message).encode() + b"\n")
        except OSError:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is None:
            return
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if connection.claims and not self._claimed():
            self._unclaimed_since = time.monotonic()

    def _claimed(self) -> bool:
        return any(connection.claims for connection in self._connections.values())

    def _unclaimed_for(self) -> float:
        return -1.0 if self._claimed() or self._stopping else time.monotonic() - self._unclaimed_since

    def _patience(self) -> float:
        if self._stopping:
            return 1.0  # children that a kill has not reached yet are looked for again
        unclaimed = self._unclaimed_for()
        left = memory.LOOK_S if unclaimed < 0 else self._plan["unclaimed_s"] - unclaimed
        return max(0.0, min(memory.LOOK_S, left))

    # --- the end

    def _finish(self, listener: socket.socket) -> None:
        for read_on in list(self._pipes.values()):
            # not until its end: a guest can have sent its own end of it through a door where nobody has taken it yet
            while read_on():
                pass
        end = {"at": time.time(), "code": self._code(), "detail": self._detail(), "began": self._began}
        # where even the room for it could not be had, whoever listens is told all the same
        with contextlib.suppress(OSError):
            _write_whole(self._end_path(), json.dumps(end).encode())
        self._say_first_word({"started": False, "detail": end["detail"]})
        for connection in list(self._connections.values()):
            if connection.claims:
                self._send(connection, {"ended": end})
        listener.close()
        os.unlink(os.path.join(self._folder, "keeper.sock"))  # noqa: PTH108, PTH118

    def _end_path(self) -> str:
        return os.path.join(self._folder, "exit.json")  # noqa: PTH118

    def _code(self) -> int | None:
        for line in self._status.splitlines():
            try:
                code = json.loads(line).get("exit-code")
            except ValueError:
                continue
            if isinstance(code, int):
                return code
        if self._reaped_code is None:
            return None
        return 128 - self._reaped_code if self._reaped_code < 0 else self._reaped_code

    def _detail(self) -> str:
        if self._stopping:
            return self._stopping
        return "" if self._began else self._tail.decode(errors="replace").strip()


def _bind(unbound: socket.socket, path: str) -> None:
    unbound.bind(path)
    os.chmod(path, 0o600)  # noqa: PTH101 - see __main__


def _in_memory(name: str, content: bytes) -> int:
    """Return a descriptor to read that from: a file of no file system."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]


def _signal(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _same(given: object, secret: str) -> bool:
    """Compare without telling by time how much was right."""
    if not isinstance(given, str) or len(given) != len(secret):
        return False
    difference = 0
    for one, other in zip(given.encode(), secret.encode(), strict=False):
        difference |= one ^ other
    return difference == 0


def _partial(path: str) -> int:
    return os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _keep_room(path: str) -> None:
    descriptor = _partial(path)
    try:
        os.posix_fallocate(descriptor, 0, END_ROOM)
    finally:
        os.close(descriptor)


def _write_whole(path: str, content: bytes) -> None:
    descriptor = _partial(path)
    try:
        # over what is kept for it: emptied first, the room could be gone
        os.write(descriptor, content)
        os.truncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(path + ".part", path)  # noqa: PTH104
