"""The service's side of the keeper: start one, claim its machine, ask it to stop, learn how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, ParamSpec, TypeAlias, TypeVar

import antechamber.keeper
from antechamber.drivers import locks
from antechamber.errors import Code, MachineError
from antechamber.machine import MachineEnd
from antechamber.model import GuestText
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    _Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

P = ParamSpec("P")
T = TypeVar("T")
_SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
_FIRST_WORD_S: Final = 30.0
_ANSWER_S: Final = 5.0
_LOOK_S: Final = 0.02
_LINE: Final = 16_384
_PRINTED: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """The folder of one kept machine, and the names in it."""

    path: Path

    @property
    def alive(self) -> Path:
        """The lock that the keeper holds."""
        return self.path / "alive"

    @property
    def plan(self) -> Path:
        """What the keeper starts."""
        return self.path / "plan.json"

    @property
    def secret(self) -> Path:
        """The incarnation's secret, without which the keeper does not answer."""
        return self.path / "secret"

    @property
    def control(self) -> Path:
        """The keeper's socket."""
        return self.path / "keeper.sock"

    @property
    def machine(self) -> Path:
        """The socket that is bound while anything of the machine runs."""
        return self.path / "machine.sock"

    @property
    def doors(self) -> Path:
        """The folder of the doors' sockets."""
        return self.path / "doors"

    def end(self) -> MachineEnd | None:
        """How the machine ended, when its keeper has recorded it; without time and code where that is no record.

        Raises MachineError where the record cannot be read now.
        """
        try:
            end = json.loads((self.path / "exit.json").read_bytes())
            return MachineEnd(datetime.fromtimestamp(end["at"], UTC), end["code"], GuestText(end["detail"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MachineError(Code.INTERNAL, detail=f"the record of a machine's end: {error}") from error
        except (ValueError, TypeError, KeyError):
            return MachineEnd(None, None, "its keeper's record of the end is damaged")

    def printed(self) -> dict[str, str]:
        """Return the last of what the keeper and the machine's programs printed, as it came."""
        found = {}
        for name in ("keeper", "machine"):
            with contextlib.suppress(OSError), self._opened(f"{name}.log") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _PRINTED))
                if last := log.read(_PRINTED).decode(errors="replace"):
                    found[name] = last
        return found

    def _opened(self, name: str) -> BinaryIO:
        # the folder is the machine's: what lies in it is not followed elsewhere
        return os.fdopen(os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")

    def started(self) -> bool:
        """Whether a keeper ever ran here."""
        return (self.path / "keeper.log").exists()

    def lives(self) -> bool:
        """Whether keeper or machine is alive."""
        # in this order: a machine outlives its killed keeper for a moment, and without a keeper none begins
        return locks.held(self.alive) or _bound(self.machine)

    async def nothing_left(self, seconds: float) -> bool:
        """Wait until neither keeper nor machine is alive; False when one still is after that time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.lives():
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True


def _bound(path: Path) -> bool:
    """Tell whether some process still has the socket that was bound there."""
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _python() -> str:
    return os.fspath(_SYSTEM_PYTHON if _SYSTEM_PYTHON.exists() else sys.executable)


async def start_keeper(folder: KeptFolder, alive: int, further_locks: Sequence[int] = ()) -> None:
    """Start the keeper of a folder whose plan is written; return when the machine's program is about to run.

    `alive` and the further locks are descriptors of held locks; the keeper holds them from now on, the caller closes
    its own. Raises MachineError with what the machine printed when it did not start.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        await to_its_end("keeper start", _spawn, folder, (alive, writing, *further_locks))
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    word = await _first_word(reading)
    if not word.get("started"):
        raise MachineError(Code.MACHINE_DID_NOT_START, detail=str(word.get("detail") or "its keeper ended at once"))


async def to_its_end(name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work in a thread and wait for it even when cancelled: it uses descriptors that are closed next."""
    working = spawn(name, asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise


def _spawn(folder: KeptFolder, descriptors: tuple[int, ...]) -> None:
    entry = Path(antechamber.keeper.__file__).with_name("__main__.py")
    log = os.open(folder.path / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # this process forks and ends at once; the keeper is its grandchild
        subprocess.run(
            [_python(), "-I", "-S", os.fspath(entry), os.fspath(folder.path), *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            # Ctrl-C at a terminal goes to the whole foreground group, and would end the launch in the middle
            start_new_session=True,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineError(Code.MACHINE_DID_NOT_START, detail=f"the keeper: {error}") from error
    finally:
        os.close(log)


async def _first_word(reading: int) -> dict[str, Any]:
    """Read the keeper's first line from a descriptor, and close it."""
    loop = asyncio.get_running_loop()
    os.set_blocking(reading, False)
    said, more = bytearray(), asyncio.Event()
    # not `connect_read_pipe`: cancelled, uvloop closes the descriptor and leaves its file object, which closes whatever
    # has that number by then
    loop.add_reader(reading, more.set)
    try:
        async with asyncio.timeout(_FIRST_WORD_S):
            while b"\n" not in said and len(said) < _LINE:
                await more.wait()
                more.clear()
                with contextlib.suppress(BlockingIOError):
                    received = os.read(reading, _LINE)
                    if not received:
                        break
                    said += received
    except TimeoutError as error:
        raise MachineError(Code.MACHINE_DID_NOT_START, detail="its keeper said nothing in time") from error
    finally:
        loop.remove_reader(reading)
        os.close(reading)
    return json.loads(said) if said else {}


class Claim:
    """This service's hold on a running machine: a connection to its keeper that lasts until `release`."""

    def __init__(self, folder: KeptFolder, connection: _Connection | None) -> None:
        """Wrap a connection that has claimed, or none for a machine that has ended already; use `claim`."""
        self._folder = folder
        self._connection = connection
        self._ended: asyncio.Future[MachineEnd] = asyncio.get_running_loop().create_future()
        self._watching = spawn("keeper", self._watch())

    async def ended(self) -> MachineEnd:
        """Wait for the machine's end; raises MachineError (shutting_down) when released before."""
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Ask the keeper to end the machine; `ended` tells when it has."""
        if self._ended.done():
            return
        with contextlib.suppress(OSError, MachineError, asyncio.TimeoutError):
            # a connection of its own: the claiming one may be in the middle of being told the end
            await _ask(self._folder, "stop")

    async def release(self) -> None:
        """Close the connection; the machine goes on until nobody has claimed it for its time."""
        await cancel_and_wait(self._watching)
        await self._close()
        if not self._ended.done():
            self._ended.set_exception(MachineError(Code.SHUTTING_DOWN, detail="the machine was let go"))
            self._ended.exception()  # nobody need have waited for it

    async def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection[1].close()
            with contextlib.suppress(OSError):
                await connection[1].wait_closed()

    async def _watch(self) -> None:
        while not self._ended.done():
            if self._connection is not None:
                # the word of the end is only a hint: what counts is the lock, and the record written before it
                with contextlib.suppress(OSError, ValueError):
                    await self._connection[0].readline()
                await self._close()
            await self._learn_end()

    async def _learn_end(self) -> None:
        if not await self._folder.nothing_left(_ANSWER_S):
            # it dropped us but lives: claim again, for "cannot tell" is not "dead"
            with contextlib.suppress(OSError, ValueError, MachineError):
                self._connection = await _connect(self._folder)
            return
        try:
            end = self._folder.end() or MachineEnd(datetime.now(UTC), None, "its keeper was killed")
        except MachineError as error:
            # nothing of it runs: that its record cannot be read keeps nobody waiting for its end
            end = MachineEnd(datetime.now(UTC), None, error.detail)
        if not self._ended.done():
            self._ended.set_result(end)


async def claim(folder: KeptFolder) -> Claim:
    """Claim a running machine; raises OSError when its keeper does not answer, MachineError when it refuses."""
    return Claim(folder, await _connect(folder))


async def claim_started(folder: KeptFolder) -> Claim:
    """Claim a machine that has just started and may have ended again already."""
    try:
        return await claim(folder)
    except (OSError, MachineError):
        if await folder.nothing_left(_ANSWER_S):
            return Claim(folder, None)
        raise


async def _connect(folder: KeptFolder) -> _Connection:
    reader, writer = await asyncio.open_unix_connection(os.fspath(folder.control), limit=_LINE)
    try:
        await _exchange(folder, reader, writer, "claim")
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _ask(folder: KeptFolder, op: str) -> Mapping[str, Any]:
    reader, writer = await asyncio.open_unix_connection(os.fspath(folder.control), limit=_LINE)
    try:
        return await _exchange(folder, reader, writer, op)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _exchange(
    folder: KeptFolder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, op: str
) -> Mapping[str, Any]:
    writer.write(json.dumps({"op": op, "secret": folder.secret.read_text()}).encode() + b"\n")
    async with asyncio.timeout(_ANSWER_S):
        line = await reader.readline()
    if not line:
        raise MachineError(Code.INTERNAL, detail="the machine's keeper refused this service")
    answer: Mapping[str, Any] = json.loads(line)
    return answer
