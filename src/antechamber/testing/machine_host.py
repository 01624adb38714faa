"""The host of scripted machines that outlive the service: it and their keepers in one process, as `hosted` asks it.

It starts scripts, remembers how each ended, and answers on a socket, one JSON object a line; a `claim` lasts as long as
its connection, and is told the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from antechamber.machine import Door, Handle, MachineSpec, Stream
from antechamber.tasks import Tasks, cancel_and_wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KILLED: Final = 137
_LINE: Final = 65_536
_PRINTED: Final = 65_536
"""Characters of what a script printed that are kept, the last."""


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
