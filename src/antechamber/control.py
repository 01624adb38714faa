"""The running service's control socket: how the command line on the same computer talks to it.

`DATA_DIR/control.sock`, mode 0600, and the kernel says who is at the other end: only this service's own account and
root are answered. Each line is one JSON object. A request is `{"op": WORD, "with": {...}}`; its answer is
`{"answer": ...}` or `{"error": {"kind", "code", "message", "next", "retryable"}}`. One connection may ask several
times, one after the other. A conversation (`CONVERSATIONS`) is asked for in the same way; its answer is followed by
objects of both sides, until one of them closes, or the service says `{"error": ...}`.

What the operations are is the composition root's matter; the words in use are listed in `OPERATIONS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from antechamber.errors import (
    AntechamberError,
    CallerError,
    Code,
    MachineError,
    OperatorError,
    ProviderError,
    VaultError,
)
from antechamber.log import get_logger
from antechamber.tasks import Tasks

if TYPE_CHECKING:
    from pathlib import Path

SOCKET_NAME: Final = "control.sock"
"""The socket's name in the data directory."""

MAX_REQUEST: Final = 64 * 1024
"""Bytes of one request line."""

MAX_ANSWER: Final = 16 * 2**20
"""Bytes of one answer line."""

OPERATIONS: Final = (
    "ping",
    "status",
    "dashboard.link",
    "providers.list",
    "providers.reveal",
    "providers.forbid",
    "sessions.list",
    "sessions.show",
    "sessions.logs",
    "audit.list",
    "audit.cuts",
    "audit.exported",
    "audit.prune",
    "applications.list",
    "applications.add",
    "applications.change",
    "api_keys.list",
    "api_keys.add",
    "api_keys.revoke",
    "keys.list",
    "keys.add",
    "keys.rotate",
    "keys.rewrap",
    "keys.retire",
    "credentials.list",
    "credentials.show",
    "credentials.say",
    "credentials.delete",
    "credentials.check",
    "credentials.reveal",
    "nodes.list",
    "nodes.forget",
    "owners.show",
    "owners.delete",
    "owners.erasure",
)
"""The operations that a service offers here; of them `credentials.reveal` alone answers with what is stored."""

CONVERSATIONS: Final = ("run",)
"""`run` begins a run of a tool and is its one reader: it ends with the connection."""

Operation: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Takes the request's `with` object and returns what JSON can hold (rows and times are turned into it)."""

Conversation: TypeAlias = Callable[[Mapping[str, Any], "Channel"], Awaitable[None]]
"""Takes the request's `with` object, and speaks with whoever asked until it returns."""

_KINDS: Final[dict[str, type[AntechamberError]]] = {
    kind.__name__: kind for kind in (CallerError, OperatorError, MachineError, ProviderError, VaultError)
}
_log = get_logger("control")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Name the socket through its folder's descriptor: its path may have 107 bytes, a data directory's has more."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return dict(value)
    # a Secret lands here too: whoever means to send one reveals it where it can be reviewed
    text = f"{type(value).__name__} is not for an answer"
    raise TypeError(text)


def plain(answer: object) -> Any:
    """Return an operation's answer as the client of a socket would get it."""
    return json.loads(json.dumps(answer, default=_plain))


def _line(message: Mapping[str, Any]) -> bytes:
    line = json.dumps(message, default=_plain, ensure_ascii=False, separators=(",", ":"))
    # half a surrogate pair, as an argument has that is no UTF-8, becomes the escape that JSON has for it
    return line.encode(errors="backslashreplace") + b"\n"


def _error(error: AntechamberError) -> dict[str, Any]:
    return {
        "error": {
            "kind": type(error).__name__,
            "code": str(error.code),
            "message": error.message,
            "next": error.next,
            "retryable": error.retryable,
        }
    }


def _told(error: Exception) -> dict[str, Any]:
    """Return what is said of an error, which is logged where it is none of the caller's."""
    if not isinstance(error, AntechamberError):
        _log.error("control operation broke", exc_info=error)
        return _error(OperatorError(Code.INTERNAL))
    if not isinstance(error, CallerError):
        _log.warning("control operation failed", code=str(error.code), detail=error.detail)
    return _error(error)


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    end: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


class Channel:
    """One end of a conversation: objects, one a line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak on that connection."""
        self._reader = reader
        self._writer = writer

    async def send(self, **message: Any) -> None:
        """Send an object; waits while the other end does not read. Raises ConnectionError."""
        self._writer.write(_line(message))
        await self._writer.drain()

    async def receive(self) -> Mapping[str, Any] | None:
        """Return the other end's next object, None when it has gone; raises CallerError for what is none."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        except ValueError as error:
            raise CallerError(Code.BODY_TOO_LARGE) from error
        if not line.endswith(b"\n"):
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CallerError(Code.NOT_JSON) from error
        if not isinstance(message, dict):
            raise CallerError(Code.BAD_REQUEST, message="Each line is an object.")
        return message


class Server:
    """A listening control socket; `close` ends it and what it is doing."""

    def __init__(
        self, path: Path, operations: Mapping[str, Operation], conversations: Mapping[str, Conversation] | None = None
    ) -> None:
        """Prepare a server of those operations and conversations; `serve` starts it."""
        self._path = path
        self._conversations = conversations or {}
        self._operations = operations
        self._tasks = Tasks("control")
        self._listening: asyncio.Server | None = None
        self._inode: int | None = None

    async def start(self) -> None:
        """Listen; raises OperatorError (already_running) when another service answers at that path."""
        await self._clear_old()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # before bind(): Linux gives the file the descriptor's mode, so that it is never open to others
            os.fchmod(listening.fileno(), 0o600)
            with _short(self._path) as name:
                listening.bind(name)
            self._inode = self._path.lstat().st_ino
            self._listening = await asyncio.start_unix_server(self._accepted, sock=listening, limit=MAX_REQUEST)
        except BaseException:
            listening.close()
            raise

    async def close(self) -> None:
        """Stop listening, end the connections and remove the socket; idempotent."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await self._tasks.close()
        with contextlib.suppress(FileNotFoundError):
            if self._inode is not None and self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        self._inode = None

    async def _clear_old(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise OperatorError(Code.MISCONFIGURED, message=f"{self._path.name} in the data directory is no socket.")
        try:
            connection = await _connect(self._path)
        except OSError:
            self._path.unlink(missing_ok=True)
            return
        connection.close()
        raise OperatorError(Code.ALREADY_RUNNING)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn("connection", self._connection(reader, writer))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            uid = _peer_uid(writer)
            while True:
                try:
                    request = await reader.readline()
                except ValueError:
                    writer.write(_line(_error(CallerError(Code.BODY_TOO_LARGE))))
                    return
                if not request.endswith(b"\n"):
                    return
                # only after its request was read: closed before that, it would see a broken pipe instead of the reason
                if uid not in {0, os.geteuid()}:
                    _log.warning("control socket refused", uid=uid)
                    writer.write(_line(_error(CallerError(Code.NOT_ALLOWED))))
                    return
                if await self._converses(request, Channel(reader, writer)):
                    return
                writer.write(await self._answer(request))
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converses(self, request: bytes, channel: Channel) -> bool:
        """Hold the conversation that was asked for, if it is one."""
        try:
            word, arguments = _read_request(request)
        except CallerError:
            return False  # told as the answer
        if word not in self._conversations:
            return False
        try:
            await self._conversations[word](arguments, channel)
        except ConnectionError:
            pass  # whoever asked has gone
        except Exception as error:  # noqa: BLE001 - as for an operation
            with contextlib.suppress(ConnectionError):
                await channel.send(**_told(error))
        return True

    async def _answer(self, request: bytes) -> bytes:
        try:
            word, arguments = _read_request(request)
            return _line({"answer": await self._operation(word)(arguments)})
        except Exception as error:  # noqa: BLE001 - one broken operation must not end the service; it is logged whole
            return _line(_told(error))

    def _operation(self, word: str) -> Operation:
        try:
            return self._operations[word]
        except KeyError:
            raise CallerError(Code.NOT_FOUND, message="The service has no such operation.") from None


def _read_request(line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CallerError(Code.NOT_JSON) from error
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise CallerError(Code.BAD_REQUEST, message="A request is an object with `op`.")
    arguments = request.get("with", {})
    if not isinstance(arguments, dict):
        raise CallerError(Code.BAD_REQUEST, message="`with` is an object.")
    return request["op"], arguments


async def serve(
    path: Path, operations: Mapping[str, Operation], conversations: Mapping[str, Conversation] | None = None
) -> Server:
    """Listen at the path and answer these operations and conversations until `Server.close`.

    A socket that a killed service left behind is replaced. Raises OperatorError (already_running).
    """
    server = Server(path, operations, conversations)
    await server.start()
    return server


async def _connect(path: Path) -> socket.socket:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with _short(path) as name:
            await asyncio.get_running_loop().sock_connect(end, name)
    except BaseException:
        end.close()
        raise
    return end


class Client:
    """Asks the service that runs with one data directory."""

    def __init__(self, path: Path, *, within: timedelta = timedelta(seconds=120)) -> None:
        """Make a client of the socket at that path; `within` is the time for each answer."""
        self._path = path
        self._within = within

    async def running(self) -> bool:
        """Tell whether a service answers."""
        try:
            await self.call("ping")
        except OperatorError as error:
            if error.code is Code.SERVICE_NOT_RUNNING:
                return False
            raise
        return True

    async def call(self, operation: str, /, **arguments: Any) -> Any:
        """Ask for one operation and return its answer.

        Raises OperatorError (service_not_running) when nobody listens, and the error that the service answered with.
        """
        with self._translated(operation):
            async with asyncio.timeout(self._within.total_seconds()):
                line = await self._exchange(_line({"op": operation, "with": arguments}))
        return _read_answer(line)

    @contextlib.asynccontextmanager
    async def converse(self, conversation: str, /, **arguments: Any) -> AsyncIterator[Channel]:
        """Begin a conversation and give its channel; raises as `call` does. Its errors come as `{"error": ...}`."""
        with self._translated(conversation):
            reader, writer = await asyncio.open_unix_connection(sock=await _connect(self._path), limit=MAX_ANSWER)
        try:
            channel = Channel(reader, writer)
            with self._translated(conversation):
                await channel.send(op=conversation, **{"with": arguments})
            yield channel
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @contextlib.contextmanager
    def _translated(self, asked: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            message = "The service did not answer in time."
            raise OperatorError(Code.INTERNAL, message=message, detail=asked) from error
        except (FileNotFoundError, NotADirectoryError, ConnectionError) as error:
            message = f"No service runs with the data directory {self._path.parent}."
            raise OperatorError(Code.SERVICE_NOT_RUNNING, message=message, detail=str(error.strerror)) from error
        except PermissionError as error:
            message = f"The data directory {self._path.parent} belongs to another account."
            raise OperatorError(Code.WRONG_OWNER, message=message, detail=repr(error)) from error

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(sock=await _connect(self._path), limit=MAX_ANSWER)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _read_answer(line: bytes) -> Any:
    if not line.endswith(b"\n"):
        raise OperatorError(Code.SERVICE_NOT_RUNNING, message="The service stopped before it answered.")
    answer = json.loads(line)
    if "error" not in answer:
        return answer["answer"]
    raise error_of(answer["error"])


def error_of(error: Mapping[str, Any]) -> AntechamberError:
    """Return the error that a service told."""
    try:
        code = Code(error["code"])
    except ValueError:
        code = Code.INTERNAL  # a newer service's word; its sentences say the rest
    return _KINDS.get(error["kind"], OperatorError)(code, message=error["message"], next_step=error["next"])
