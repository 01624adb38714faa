"""Scripted machines that outlive the service: they live in the process that has the host, as real ones do on theirs.

`HostedMachines` is host and keepers in one: it starts scripts, remembers how each ended, and answers on a socket.
`HostedDriver` is a service's side: another process or the same. A machine's doors are unix sockets in its folder that
the service makes and the script dials, as those of every other driver are. It passes the drivers' contract, less
isolation. The host's socket takes one JSON object a line; `claim` lasts as long as its connection, and is told the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from antechamber.drivers.doors import UnixDoors
from antechamber.errors import Code, MachineError
from antechamber.machine import Capabilities, Check, Door, Handle, Machine, MachineEnd, MachineSpec, Stream
from antechamber.tasks import Tasks, cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

_KILLED: Final = 137
_LINE: Final = 65_536
_PRINTED: Final = 65_536
"""Characters of what a script printed that are kept, the last."""
_HALF_MADE: Final = "."


@dataclass(slots=True)
class HostedGuest:
    """What a script has of its machine."""

    spec: MachineSpec
    doors: Path
    """The folder of the doors' sockets."""
    streams: list[asyncio.StreamWriter] = field(default_factory=list)
    """What the end of the machine closes."""
    printed: str = ""
    """The last of what it printed."""

    def print(self, text: str) -> None:
        """Print something, as a program in a machine does."""
        self.printed = (self.printed + text)[-_PRINTED:]

    async def dial(self, door: Door) -> Stream:
        """Connect to a door; raises OSError while no service holds the machine."""
        stream = Stream(*await asyncio.open_unix_connection(os.fspath(self.doors / f"{door}.sock")))
        self.streams.append(stream.writer)
        return stream


HostedScript: TypeAlias = Callable[[HostedGuest], Awaitable[int]]
"""A machine's program: its return value is the exit code; an exception ends the machine with code 1."""


@dataclass(slots=True)
class _Hosted:
    """One machine: its script, who claims it, and how it ended."""

    handle: Handle
    guest: HostedGuest
    task: asyncio.Task[None] | None = None
    end: dict[str, Any] | None = None
    killed: dict[str, Any] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    claims: set[asyncio.StreamWriter] = field(default_factory=set)
    unclaimed: asyncio.TimerHandle | None = None

    def kill(self, detail: str, *, code: int | None = _KILLED) -> None:
        """End it; without a code nobody has recorded how."""
        if self.killed is None and self.task is not None and not self.task.done():
            self.killed = {"at": _now(), "code": code, "detail": detail}
            self.task.cancel()


class HostedMachines:
    """The host: `serve` answers on the socket until it is closed, and then every machine ends."""

    def __init__(
        self,
        socket: Path,
        script: HostedScript,
        *,
        unclaimed_s: float = 900.0,
        fault: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Every machine runs that script; one that nobody has claimed for `unclaimed_s` ends itself.

        `fault` says why the machine of that id cannot be started, where it cannot.
        """
        self._socket = socket
        self._script = script
        self._fault = fault
        self._machines: dict[str, _Hosted] = {}
        self._tasks = Tasks("hosted machines")
        self._server: asyncio.Server | None = None
        self.unclaimed_s = unclaimed_s

    async def serve(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_unix_server(self._asked, os.fspath(self._socket), limit=_LINE)

    def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn("question", self._answer(reader, writer)).add_done_callback(lambda _: writer.close())

    async def close(self) -> None:
        """End every machine, and answer no more."""
        for machine in self._machines.values():
            machine.kill("the host ended")
        for machine in self._machines.values():
            self._hold(machine)
            await machine.over.wait()
        await self._tasks.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._socket.unlink(missing_ok=True)

    def running(self) -> Sequence[str]:
        """Return the incarnations of the machines that run."""
        return [incarnation for incarnation, machine in self._machines.items() if machine.end is None]

    def kept(self) -> Sequence[str]:
        """Return the incarnations of all that was not reaped."""
        return list(self._machines)

    def kill(self, incarnation: str) -> None:
        """End a machine as a crash of its first program would."""
        self._machines[incarnation].kill("killed")

    def kill_keeper(self, incarnation: str) -> None:
        """End a machine without anybody's having recorded its end."""
        self._machines[incarnation].kill("its keeper was killed", code=None)

    # -- one machine -------------------------------------------------------------------------------------------------

    async def _run(self, machine: _Hosted) -> None:
        end: dict[str, Any] = {"at": None, "code": 1, "detail": ""}
        try:
            end["code"] = await self._script(machine.guest)
        except asyncio.CancelledError:
            if machine.killed is None:
                raise
        except Exception as error:  # noqa: BLE001 - a program that crashes ends its machine, never the host
            end["detail"] = repr(error)
        finally:
            machine.end = machine.killed or {**end, "at": _now()}
            for writer in machine.guest.streams:
                writer.close()
            machine.over.set()

    def _hold(self, machine: _Hosted) -> None:
        if machine.unclaimed is not None:
            machine.unclaimed.cancel()
            machine.unclaimed = None

    def _let_go(self, machine: _Hosted) -> None:
        if not machine.claims and machine.end is None and machine.unclaimed is None:
            machine.unclaimed = asyncio.get_running_loop().call_later(
                self.unclaimed_s, machine.kill, "no service claimed it"
            )

    # -- the socket --------------------------------------------------------------------------------------------------

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            asked = json.loads(await reader.readline())
            match asked["op"]:
                case "start":
                    told = self._start(asked)
                case "stop":
                    told = self._stop(asked["incarnation"])
                case "reap":
                    told = self._reap(asked["incarnation"])
                case "printed":
                    told = self._printed(asked["incarnation"])
                case "found":
                    told = {"handles": [dict(machine.handle) for machine in self._machines.values()]}
                case "claim":
                    await self._claim(asked["incarnation"], reader, writer)
                    return
                case _:
                    told = {"fault": "unknown"}
            writer.write(json.dumps(told).encode() + b"\n")
        writer.close()

    def _start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        handle = asked["handle"]
        incarnation = handle["incarnation"]
        if incarnation in self._machines:
            return {"end": self._machines[incarnation].end}
        if (fault := self._fault(handle["machine"])) is not None:
            return {"fault": fault}
        spec = MachineSpec(
            machine_id=handle["machine"],
            incarnation=incarnation,
            program=tuple(asked["program"]),
            doors=frozenset(Door(door) for door in asked["doors"]),
        )
        guest = HostedGuest(spec, Path(handle["folder"]) / "doors")
        machine = self._machines[incarnation] = _Hosted(handle, guest)
        machine.task = self._tasks.spawn(incarnation, self._run(machine))
        # its starter may be killed before it claims
        self._let_go(machine)
        return {"end": None}

    def _stop(self, incarnation: str) -> dict[str, Any]:
        if (machine := self._machines.get(incarnation)) is not None:
            machine.kill("stopped")
        return {}

    def _printed(self, incarnation: str) -> dict[str, Any]:
        machine = self._machines.get(incarnation)
        return {"printed": {"machine": machine.guest.printed} if machine and machine.guest.printed else {}}

    def _reap(self, incarnation: str) -> dict[str, Any]:
        machine = self._machines.get(incarnation)
        if machine is not None and machine.end is None:
            return {"fault": "a running machine is not reaped"}
        self._machines.pop(incarnation, None)
        return {}

    async def _claim(self, incarnation: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine = self._machines.get(incarnation)
        if machine is None or machine.end is not None:
            writer.write(json.dumps({"known": machine is not None, "end": machine and machine.end}).encode() + b"\n")
            writer.close()
            return
        self._hold(machine)
        machine.claims.add(writer)
        writer.write(json.dumps({"known": True, "end": None}).encode() + b"\n")
        over = self._tasks.spawn("end", machine.over.wait())
        # who claims says nothing more: what can be read is the end of the claim
        left = self._tasks.spawn("claim", _silence(reader))
        try:
            await asyncio.wait({over, left}, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                writer.write(json.dumps({"end": machine.end}).encode() + b"\n")
        finally:
            machine.claims.discard(writer)
            await cancel_and_wait(over, left)
            writer.close()
            self._let_go(machine)


async def _silence(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):  # a killed service's
        await reader.read(1)


def _now() -> str:
    return datetime.now(UTC).isoformat()


# -- the service's side ----------------------------------------------------------------------------------------------


class HostedMachine:
    """A hosted machine that a service holds."""

    def __init__(
        self,
        driver: HostedDriver,
        handle: Handle,
        doors: UnixDoors,
        claim: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Take doors and claim over."""
        self._driver = driver
        self._handle = handle
        self._doors = doors
        self._reader, self._writer = claim
        self._ended: asyncio.Future[MachineEnd] = asyncio.get_running_loop().create_future()
        self._watching = spawn("hosted machine", self._watch())
        self._draining = spawn("hosted machine's end", self._drain())

    @property
    def handle(self) -> Handle:
        """The handle by which it was started or attached."""
        return self._handle

    def accept(self, door: Door) -> AsyncIterator[Stream]:
        """Yield what the script dials; ends when the machine is let go or gone."""
        return self._doors.accept(door)

    async def ended(self) -> MachineEnd:
        """Wait for the end; raises MachineError (shutting_down) when the machine is let go before."""
        return await asyncio.shield(self._ended)

    async def stop(self, *, within: timedelta) -> MachineEnd:
        """End the script and wait; raises MachineError when it is not gone in time."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._driver.ask("stop", incarnation=self._handle["incarnation"])
                return await self.ended()
        except TimeoutError as error:
            raise MachineError(Code.INTERNAL, detail="the machine is not gone in time") from error

    async def let_go(self) -> None:
        """Close this service's ends and leave the script running."""
        await cancel_and_wait(self._watching, self._draining)
        self._writer.close()
        await self._doors.close()
        if not self._ended.done():
            self._ended.set_exception(MachineError(Code.SHUTTING_DOWN, detail="the machine was let go"))
            self._ended.exception()  # nobody need have waited for it

    async def _watch(self) -> None:
        line = await self._reader.readline()
        if not line:
            # nobody can tell any more what becomes of it, and that is not its end
            self._ended.set_exception(MachineError(Code.INTERNAL, detail="the host does not answer"))
            self._ended.exception()
            return
        self._ended.set_result(_end_of(json.loads(line)["end"]))

    async def _drain(self) -> None:
        with contextlib.suppress(MachineError):
            await self.ended()
            self._doors.drain()


class HostedDriver:
    """Starts and finds machines of the host that answers on a socket."""

    def __init__(self, socket: Path, run_dir: Path, *, installation: str, node: str, uids: Sequence[int] = ()) -> None:
        """Name the host's socket, and where machines' folders lie."""
        self._socket = socket
        self._run_dir = run_dir
        self._own = {"installation": installation, "node": node}
        self._uids = uids

    @property
    def name(self) -> str:
        """`hosted`."""
        return "hosted"

    @property
    def capabilities(self) -> Capabilities:
        """No isolation at all."""
        return Capabilities(isolation="none", own_uids=bool(self._uids), screen=True)

    async def check(self) -> Sequence[Check]:
        """Say whether the host answers."""
        try:
            await self.ask("found")
        except MachineError as error:
            return [Check("host", ok=False, message=error.detail, remedy="start the host")]
        return [Check("host", ok=True, message="the host answers")]

    def host_uids(self) -> Sequence[int]:
        """Return the uids that it was given; they are only claimed, nothing runs as them."""
        return self._uids

    def plan(self, machine_id: str, incarnation: str, *, host_uid: int | None) -> Handle:
        """Return the handle of that incarnation."""
        folder = os.fspath(self._run_dir / incarnation)
        return {
            "driver": self.name,
            "machine": machine_id,
            "incarnation": incarnation,
            **self._own,
            "folder": folder,
            "uid": host_uid,
        }

    async def start(self, spec: MachineSpec, handle: Handle) -> Machine:
        """Start the script; a second call for the same incarnation attaches."""
        if spec.incarnation != handle["incarnation"]:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail="the handle is another incarnation's")
        folder = Path(handle["folder"])
        await asyncio.to_thread(_make, folder, handle, sorted(spec.doors))
        program, doors = list(spec.program), sorted(spec.doors)
        try:
            started = await self.ask("start", handle=dict(handle), program=program, doors=doors)
        except MachineError as error:
            await asyncio.to_thread(_remove, folder)
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=error.detail) from error
        if started["end"] is not None:
            raise MachineError(Code.MACHINE_ENDED, detail=started["end"]["detail"])
        found = await self.attach(handle, just_started=True)
        if isinstance(found, MachineEnd):
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=found.detail)
        return found

    async def attach(self, handle: Handle, *, just_started: bool = False) -> Machine | MachineEnd:
        """Find a script again, or say how it ended."""
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps({"op": "claim", "incarnation": handle["incarnation"]}).encode() + b"\n")
            told = json.loads(await reader.readline())
            if not just_started and (told["end"] is not None or not told["known"]):
                writer.close()
                return _end_of(told["end"])
            if told["end"] is not None:
                # it was quick: its end is told by a machine as any other's
                reader = asyncio.StreamReader()
                reader.feed_data(json.dumps(told).encode() + b"\n")
            folder = Path(handle["folder"])
            wanted = json.loads(await asyncio.to_thread((folder / "doors.json").read_text))
            doors = UnixDoors(folder / "doors", [Door(door) for door in wanted], give=None)
        except (OSError, ValueError) as error:
            writer.close()
            raise MachineError(Code.INTERNAL, detail=f"the host: {error}") from error
        except BaseException:
            writer.close()
            raise
        return HostedMachine(self, handle, doors, (reader, writer))

    async def printed(self, handle: Handle) -> Mapping[str, str]:
        """Return the last of what the script printed, as it came; the host has it, and no keeper prints anything."""
        printed: dict[str, str] = (await self.ask("printed", incarnation=handle["incarnation"]))["printed"]
        return printed

    async def reap(self, handle: Handle) -> None:
        """Remove what an ended machine left; raises MachineError while it runs."""
        await self.ask("reap", incarnation=handle["incarnation"])
        await asyncio.to_thread(_remove, Path(handle["folder"]))

    async def found(self) -> Sequence[Handle]:
        """Return the handles of this node's machines, by their folders; what was left half-made is cleared away."""
        return await asyncio.to_thread(self._found)

    def _found(self) -> Sequence[Handle]:
        handles: list[Handle] = []
        for path in sorted(self._run_dir.iterdir()):
            if path.name.startswith(_HALF_MADE):
                shutil.rmtree(path)
                continue
            mark = json.loads((path / "mark.json").read_text())
            if {name: mark[name] for name in self._own} == self._own:
                handles.append(mark)
        return handles

    async def ask(self, op: str, **asked: Any) -> dict[str, Any]:
        """Ask the host something and return its answer; raises MachineError where it refuses or is not there."""
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps({"op": op, **asked}).encode() + b"\n")
            told: dict[str, Any] = json.loads(await reader.readline())
        except (OSError, ValueError) as error:
            raise MachineError(Code.INTERNAL, detail=f"the host: {error}") from error
        finally:
            writer.close()
        if "fault" in told:
            raise MachineError(Code.INTERNAL, detail=told["fault"])
        return told

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(os.fspath(self._socket), limit=2**20)
        except OSError as error:
            raise MachineError(Code.INTERNAL, detail=f"the host does not answer: {error}") from error


def _end_of(end: Mapping[str, Any] | None) -> MachineEnd:
    if end is None:
        return MachineEnd(None, None)
    return MachineEnd(datetime.fromisoformat(end["at"]), end["code"], end["detail"])


def _make(folder: Path, handle: Handle, doors: Sequence[Door]) -> None:
    """Make a machine's folder, whole or not at all, unless it is there."""
    if folder.exists():
        return
    making = folder.with_name(_HALF_MADE + folder.name)
    shutil.rmtree(making, ignore_errors=True)
    (making / "doors").mkdir(parents=True)
    (making / "mark.json").write_text(json.dumps(dict(handle)))
    (making / "doors.json").write_text(json.dumps(doors))
    making.rename(folder)


def _remove(folder: Path) -> None:
    # the mark last: by it what a kill leaves here is found again
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "doors")
    shutil.rmtree(folder, ignore_errors=True)
