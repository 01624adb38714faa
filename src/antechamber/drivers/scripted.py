"""Machines that are coroutines of this process: for tests of everything above the driver, and for trying things out.

The host outlives the driver as a real host outlives the service: a new `ScriptedDriver` on the same `ScriptedHost`
finds the machines that an earlier one let go. It passes the same contract as the real drivers, less isolation.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from antechamber.errors import Code, MachineError
from antechamber.machine import Capabilities, Check, Door, Handle, Machine, MachineEnd, MachineSpec, Stream
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

_BACKLOG: Final = 128
_KILLED: Final = 137


class ScriptedGuest:
    """What a script has of its machine: what a program in a real one has."""

    def __init__(self, machine: _Scripted) -> None:
        """Belong to that machine."""
        self._machine = machine

    @property
    def spec(self) -> MachineSpec:
        """What was asked for: program, environment, doors."""
        return self._machine.spec

    def print(self, text: str) -> None:
        """Print something, as a program in a machine does."""
        self._machine.printed += text

    async def dial(self, door: Door) -> Stream:
        """Connect to a door; raises ConnectionRefusedError while no service holds the machine."""
        return await self._machine.dial(door)


Script: TypeAlias = Callable[[ScriptedGuest], Awaitable[int]]
"""A machine's program: its return value is the exit code; an exception is the end of a machine with code 1."""


class ScriptedHost:
    """Where scripted machines live, with the faults that a host can have."""

    def __init__(self, script: Script, *, unclaimed_s: float = 900.0, uids: Sequence[int] = ()) -> None:
        """Every machine runs that script; one that nobody has claimed for `unclaimed_s` ends itself."""
        self.script = script
        self.unclaimed_s = unclaimed_s
        self.uids = uids
        self.start_fault: str | None = None
        """When set, machines do not start, and this is the detail."""
        self.unreachable = False
        """When set, it cannot be told what became of a machine."""
        self.stops = True
        """When cleared, machines take no notice of being stopped."""
        self.keeps = False
        """When set, what an ended machine left cannot be removed."""
        self.silent: set[str] = set()
        """What of `start`, `attach`, `stop` and `reap` never returns, as long as it is in here."""
        self.answers = asyncio.Event()
        """Set by `speak`."""
        self.started: list[MachineSpec] = []
        """Every spec that was started, in order."""
        self._machines: dict[str, _Scripted] = {}

    async def hear(self, what: str) -> None:
        """Wait as long as the host is silent about that."""
        while what in self.silent:
            await self.answers.wait()

    def speak(self) -> None:
        """Be silent about nothing any more."""
        self.silent.clear()
        self.answers.set()

    def find(self, incarnation: str) -> _Scripted | None:
        """Return the machine of that incarnation, running or not yet reaped."""
        return self._machines.get(incarnation)

    def running(self) -> Sequence[str]:
        """Return the incarnations of the machines that run."""
        return [incarnation for incarnation, machine in self._machines.items() if machine.end is None]

    def kill(self, incarnation: str, code: int = _KILLED) -> None:
        """End a machine without being asked, as a crash would."""
        self._machines[incarnation].kill(code, "killed")

    async def close(self) -> None:
        """End every machine and wait."""
        machines = list(self._machines.values())
        for machine in machines:
            machine.kill(_KILLED, "the host ended")
        for machine in machines:
            await machine.gone()
            machine.release()
            await machine.close_streams()

    def begin(self, spec: MachineSpec, handle: Handle) -> _Scripted:
        """Start the script in a machine of its own."""
        machine = self._machines[spec.incarnation] = _Scripted(self, spec, handle)
        self.started.append(spec)
        return machine

    def forget(self, incarnation: str) -> None:
        """Remove what is left of an ended machine."""
        self._machines.pop(incarnation, None)

    def handles(self) -> Sequence[Handle]:
        """Return the handles of all machines that are not reaped."""
        return [machine.handle for machine in self._machines.values()]


class _Scripted:
    """One scripted machine: the running script and the doors that it dials."""

    def __init__(self, host: ScriptedHost, spec: MachineSpec, handle: Handle) -> None:
        self.spec = spec
        self.handle = handle
        self.end: MachineEnd | None = None
        self.printed = ""
        self._host = host
        self._killed: tuple[int, str] | None = None
        self._streams: list[asyncio.StreamWriter] = []
        self._queues: dict[Door, asyncio.Queue[Stream | None]] | None = None
        self._unclaimed: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._task = spawn(f"scripted {spec.incarnation}", self._run())

    async def _run(self) -> None:
        code, detail = 1, ""
        try:
            code = await self._host.script(ScriptedGuest(self))
        except asyncio.CancelledError:
            if self._killed is None:
                raise
            code, detail = self._killed
        except Exception as error:  # noqa: BLE001 - a program that crashes ends its machine, never the host
            detail = repr(error)
        finally:
            self.release_timer()
            self.end = MachineEnd(datetime.now(UTC), code, detail)
            for writer in self._streams[1::2]:
                writer.close()
            for queue in (self._queues or {}).values():
                queue.put_nowait(None)
            self._over.set()

    async def dial(self, door: Door) -> Stream:
        queue = (self._queues or {}).get(door)
        if queue is None or queue.qsize() >= _BACKLOG:
            raise ConnectionRefusedError(door)
        outer, inner = socket.socketpair()
        host_end = None
        try:
            host_end = Stream(*await asyncio.open_unix_connection(sock=outer))
            guest_end = Stream(*await asyncio.open_unix_connection(sock=inner))
        except BaseException:
            if host_end is not None:
                host_end.writer.transport.abort()
            outer.close()
            inner.close()
            raise
        if (self._queues or {}).get(door) is not queue:
            # whoever held the machine has let it go meanwhile: nobody would ever take this, and the script would wait
            host_end.writer.transport.abort()
            guest_end.writer.transport.abort()
            raise ConnectionRefusedError(door)
        self._streams += [host_end.writer, guest_end.writer]
        queue.put_nowait(host_end)
        return guest_end

    def kill(self, code: int, detail: str) -> None:
        if self._killed is None and not self._task.done():
            self._killed = (code, detail)
            self._task.cancel()

    async def gone(self) -> MachineEnd:
        await self._over.wait()
        return self.end or MachineEnd(None, None)

    def claim(self) -> Mapping[Door, asyncio.Queue[Stream | None]]:
        """Take the doors over; an earlier holder's are closed."""
        self.release_timer()
        self._close_queues()
        self._queues = {door: asyncio.Queue() for door in self.spec.doors}
        if self.end is not None:
            self._close_queues()
        return self._queues

    def release(self) -> None:
        """Nobody holds the machine now."""
        self._close_queues()
        self._queues = None
        if self.end is None and self._unclaimed is None:
            loop = asyncio.get_running_loop()
            self._unclaimed = loop.call_later(self._host.unclaimed_s, self.kill, _KILLED, "no service claimed it")

    def release_timer(self) -> None:
        if self._unclaimed is not None:
            self._unclaimed.cancel()
            self._unclaimed = None

    def _close_queues(self) -> None:
        for queue in (self._queues or {}).values():
            queue.put_nowait(None)

    async def close_streams(self) -> None:
        """Close both ends of every stream, as the end of the service's process would."""
        writers, self._streams = self._streams, []
        for writer in writers:
            writer.close()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class ScriptedMachine:
    """A scripted machine that a service holds."""

    def __init__(self, host: ScriptedHost, scripted: _Scripted) -> None:
        """Claim it."""
        self._host = host
        self._scripted = scripted
        self._queues = scripted.claim()
        self._taken: set[Door] = set()
        self._let_go = asyncio.Event()

    @property
    def handle(self) -> Handle:
        """The handle by which it was started or attached."""
        return self._scripted.handle

    def accept(self, door: Door) -> AsyncIterator[Stream]:
        """Yield what the script dials; ends when the machine is let go or gone."""
        if door in self._taken:
            message = f"the door {door} is being accepted from already"
            raise RuntimeError(message)
        self._taken.add(door)
        return self._accepted(self._queues[door])

    async def _accepted(self, queue: asyncio.Queue[Stream | None]) -> AsyncIterator[Stream]:
        while (stream := await queue.get()) is not None:
            yield stream

    async def ended(self) -> MachineEnd:
        """Wait for the end; raises MachineError (shutting_down) when the machine is let go before."""
        gone = spawn("scripted end", self._scripted.gone())
        let_go = spawn("scripted let go", self._let_go.wait())
        try:
            await asyncio.wait({gone, let_go}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return gone.result()
        finally:
            await cancel_and_wait(gone, let_go)
        raise MachineError(Code.SHUTTING_DOWN, detail="the machine was let go")

    async def stop(self, *, within: timedelta) -> MachineEnd:
        """End the script and wait; raises MachineError when the host does not stop it in time."""
        await self._host.hear("stop")
        if self._host.stops:
            self._scripted.kill(_KILLED, "stopped")
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self._scripted.gone()
        except TimeoutError as error:
            raise MachineError(Code.INTERNAL, detail="the machine is not gone in time") from error

    async def let_go(self) -> None:
        """Close this service's ends and leave the script running."""
        if not self._let_go.is_set():
            self._let_go.set()
            self._scripted.release()
            await self._scripted.close_streams()


class ScriptedDriver:
    """Starts and finds scripted machines."""

    def __init__(self, host: ScriptedHost) -> None:
        """Drive the machines of that host."""
        self._host = host

    @property
    def name(self) -> str:
        """`scripted`."""
        return "scripted"

    @property
    def capabilities(self) -> Capabilities:
        """No isolation at all."""
        return Capabilities(isolation="none", own_uids=bool(self._host.uids), screen=False)

    async def check(self) -> Sequence[Check]:
        """Say whether the host would start a machine."""
        fault = self._host.start_fault
        return [Check("script", fault is None, fault or "a script is there", "clear the host's start_fault")]

    def host_uids(self) -> Sequence[int]:
        """Return the uids that the host was given."""
        return self._host.uids

    def reserve(self, host_uid: int) -> bool:  # noqa: ARG002 - nothing runs as it
        """Say yes: no machine of these runs under a uid."""
        return True

    def give_back(self, host_uid: int) -> None:
        """Do nothing."""

    def plan(self, machine_id: str, incarnation: str, *, host_uid: int | None) -> Handle:
        """Return the handle of that incarnation."""
        return {"driver": self.name, "machine": machine_id, "incarnation": incarnation, "uid": host_uid}

    async def start(self, spec: MachineSpec, handle: Handle) -> Machine:
        """Start the script; a second call for the same incarnation attaches."""
        await self._host.hear("start")
        if spec.incarnation != handle["incarnation"]:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail="the handle is another incarnation's")
        if (scripted := self._host.find(spec.incarnation)) is not None:
            if scripted.end is not None:
                raise MachineError(Code.MACHINE_ENDED, detail=scripted.end.detail)
            return ScriptedMachine(self._host, scripted)
        if self._host.start_fault is not None:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=self._host.start_fault)
        return ScriptedMachine(self._host, self._host.begin(spec, handle))

    async def attach(self, handle: Handle) -> Machine | MachineEnd:
        """Find a script again, or say how it ended."""
        await self._host.hear("attach")
        if self._host.unreachable:
            raise MachineError(Code.INTERNAL, detail="the host does not answer")
        scripted = self._host.find(handle["incarnation"])
        if scripted is None:
            return MachineEnd(None, None)
        return scripted.end or ScriptedMachine(self._host, scripted)

    async def printed(self, handle: Handle) -> Mapping[str, str]:
        """Return what the script printed."""
        scripted = self._host.find(handle["incarnation"])
        return {"machine": scripted.printed} if scripted is not None and scripted.printed else {}

    async def reap(self, handle: Handle) -> None:
        """Forget an ended script; raises MachineError while it runs."""
        await self._host.hear("reap")
        scripted = self._host.find(handle["incarnation"])
        if scripted is not None and scripted.end is None:
            raise MachineError(Code.INTERNAL, detail="a running machine is not reaped")
        if self._host.keeps:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if scripted is not None:
            await scripted.close_streams()
        self._host.forget(handle["incarnation"])

    async def found(self) -> Sequence[Handle]:
        """Return the handles of the machines that are not reaped."""
        return self._host.handles()
