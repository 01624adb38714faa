"""What DriverContract's tests share: where a driver keeps its machines, and a bench that clears up after each test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from antechamber.errors import MachineError
from antechamber.machine import Door, Handle, MachineEnd, MachineSpec, Mount
from antechamber.model import IdPrefix, new_id
from antechamber.testing import probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.machine import Driver, Machine, Stream

PROBE: Final = "/opt/probe/probe.py"
WITHIN: Final = timedelta(seconds=20)


class DriverHost(Protocol):
    """Where a driver under test keeps its machines."""

    def driver(self, *, unclaimed_s: float = 900) -> Driver:
        """Make a driver as a service that has just started would."""

    def left(self, handle: Handle) -> Sequence[str]:
        """Return what is left on this host of that machine: processes, folders, locks; for the tests' messages."""

    def kill_keeper(self, handle: Handle) -> None:
        """Kill what watches over the machine, by signal 9; raises NotImplementedError where there is no such thing."""

    def readable(self, name: str) -> Path:
        """Return a new folder of that name which machines can be given to read."""


class Bench:
    """What the tests share: a driver, its machines, and the clearing up."""

    def __init__(self, host: DriverHost) -> None:
        """Begin with no machine."""
        self.host = host
        self.driver = host.driver()
        self.specs: list[MachineSpec] = []
        self._handles: list[Handle] = []
        self._machines: list[Machine] = []
        self._streams: list[Stream] = []
        self._probe: Path | None = None

    def planned(self, *words: str, **changes: Any) -> tuple[MachineSpec, Handle]:
        """Plan a machine that runs the probe."""
        if self._probe is None:
            self._probe = self.host.readable("probe")
            shutil.copy(Path(probe.__file__), self._probe / "probe.py")
            (self._probe / "probe.py").chmod(0o644)
        uids = [uid for uid in self.driver.host_uids() if uid not in {handle.get("uid") for handle in self._handles}]
        machine_id, incarnation = new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION)
        handle = self.driver.plan(machine_id, incarnation, host_uid=uids[0] if uids else None)
        spec = MachineSpec(
            machine_id=machine_id,
            incarnation=incarnation,
            program=("/usr/bin/python3", "-I", "-S", PROBE, *words),
            mounts=(Mount(self._probe, str(Path(PROBE).parent)),),
        )
        return replace(spec, **changes), handle

    async def start(self, *words: str, **changes: Any) -> Machine:
        """Start a machine that runs the probe."""
        spec, handle = self.planned(*words, **changes)
        self.specs.append(spec)
        self._handles.append(handle)
        machine = await self.driver.start(spec, handle)
        self._machines.append(machine)
        return machine

    async def keep(self, machine: Machine) -> None:
        """Clear this one up too."""
        self._machines.append(machine)

    async def said(self, machine: Machine, *, within: float = WITHIN.total_seconds()) -> bytes:
        """Return all that the machine's first link connection says."""
        async with asyncio.timeout(within):
            stream = await anext(machine.accept(Door.LINK))
            heard = await stream.reader.read()
        stream.writer.close()
        return heard

    async def up(self, machine: Machine) -> bytes:
        """Wait until the probe stays; return its own process id."""
        async with asyncio.timeout(WITHIN.total_seconds()):
            stream = await anext(machine.accept(Door.LINK))
            word, pid, *_ = (await stream.reader.readline()).split()
        if word != b"up":
            message = f"the probe said {word!r}"
            raise AssertionError(message)
        self._streams.append(stream)
        return pid

    async def facts(self) -> dict[str, Any]:
        """Return what shows in a machine."""
        self.must_isolate()
        hidden = self.host.readable("hidden") / "DUMMY"
        hidden.write_text("DUMMY")
        facts: dict[str, Any] = json.loads(await self.said(await self.start("facts", str(hidden))))
        return facts

    def must_isolate(self) -> None:
        """Skip the test for a driver that does not isolate."""
        if self.driver.capabilities.isolation == "none":
            pytest.skip("this driver does not isolate")

    async def ends(self, handle: Handle) -> MachineEnd:
        """Wait for the end of a machine that nobody holds, without claiming it."""
        async with asyncio.timeout(WITHIN.total_seconds()):
            while any("process" in left for left in self.host.left(handle)):  # noqa: ASYNC110 - nobody here is told
                await asyncio.sleep(0.02)
            end = await self.driver.attach(handle)
        if not isinstance(end, MachineEnd):
            message = "a machine without a process was attached"
            raise AssertionError(message)  # noqa: TRY004 - a failed test
        return end

    def size(self, handle: Handle) -> int:
        """Return the bytes of the machine's folder on the host."""
        folder = Path(handle["folder"])
        return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())

    async def clear(self) -> None:
        """Stop and reap what a test left."""
        for stream in self._streams:
            stream.writer.transport.abort()
        for machine in self._machines:
            with contextlib.suppress(MachineError):
                await machine.stop(within=WITHIN)
            await machine.let_go()
        for handle in self._handles:
            with contextlib.suppress(MachineError):
                found = await self.driver.attach(handle)
                if not isinstance(found, MachineEnd):
                    await found.stop(within=WITHIN)
                    await found.let_go()
                await self.driver.reap(handle)
