"""What one machine can do to another, and to the service, by taking more than its share or by speaking too much.

Each bomb goes off in a machine of its own, whose doors this process serves as the service serves a machine's. Meanwhile
another machine asks for a name through its own door, again and again: it has to be answered in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import PROTOCOL
from antechamber.isolation import ways_out
from antechamber.link import Ack, GuestLink
from antechamber.machine import Door
from antechamber.screen import Screens, wait_for_paint
from antechamber.tasks import Tasks, cancel_and_wait, spawn

if TYPE_CHECKING:
    from antechamber.egress import Egress
    from antechamber.isolation.catalogue import Attempt
    from antechamber.link import Reply, Report
    from antechamber.machine import Machine, MachineEnd, Stream

ANSWERED_WITHIN: Final = timedelta(seconds=3)
"""A person does not take it for a service that is away; a browser waits much longer for a name."""
GROWN_BYTES: Final = 64 * 2**20
"""More of this process's memory than before: what a machine may have held for it at once is far below."""
BUILD: Final = "isolation"
MEMORY_BYTES: Final = 192 * 2**20
"""For the machines here: nobody's host shall run out of memory for being looked at."""
_LASTS: Final = timedelta(seconds=60)
_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Felt:
    """What came of one bomb."""

    detail: str
    """How its machine ended, where somebody ended it."""
    slowest: timedelta
    """Until the other machine was answered."""
    grown: int
    """Bytes that this process has more than before."""
    reports: int
    """Reports that were taken from it."""
    broke: bool
    """Whether the service ended its machine, as one that breaks the protocol."""

    def refused(self, attempt: Attempt) -> bool:
        """Tell whether nobody else was the worse for it, and it had what must become of it."""
        well = self.slowest <= ANSWERED_WITHIN and self.grown <= GROWN_BYTES
        took = self.reports > 0 and attempt.must_not_report
        return well and not took and (self.broke or not attempt.breaks)

    def saw(self) -> str:
        """Say it."""
        ended = f"; the machine was ended: {self.detail}" if self.detail else ""
        others = f"another machine was answered within {self.slowest.total_seconds() * 1000:.0f} ms"
        return f"{others}, the service took {max(0, self.grown) >> 20} MiB more{ended}"


class Neighbour:
    """Another machine, which wants to be served meanwhile."""

    def __init__(self, machine: Machine, link: Stream, way_out: Egress) -> None:
        """Serve its way out from now on; `link` is where it takes requests."""
        self._link = link
        self.incarnation = str(machine.handle["incarnation"])
        self._way_out = way_out
        self._tasks = Tasks("neighbour")
        self._tasks.spawn("egress", ways_out.serve(machine, way_out))

    @classmethod
    async def of(cls, machine: Machine, way_out: Egress) -> Neighbour:
        """Wait until it is up."""
        link = await anext(machine.accept(Door.LINK))
        await link.reader.readline()
        return cls(machine, link, way_out)

    async def close(self) -> None:
        """Serve it no more."""
        self._way_out.close()
        await self._tasks.close()
        self._link.writer.transport.abort()

    async def asks(self) -> timedelta:
        """Have it ask for a name; return the time until it was answered. Raises MachineError for a wrong answer."""
        began = time.monotonic()
        request = {"ask": {"op": "resolve", "name": ways_out.PUBLIC_NAME}}
        self._link.writer.write(json.dumps(request).encode() + b"\n")
        if (said := await self._link.reader.readline()) != b"ok\n":
            raise MachineError(Code.MACHINE_ENDED, detail=f"the machine beside was told {said[:100]!r}")
        return timedelta(seconds=time.monotonic() - began)


class Ends:
    """The host's ends of the machine that does it, as the service has them."""

    def __init__(self, machine: Machine, way_out: Egress, beside: Neighbour) -> None:
        """Serve its doors from now on, beside that other machine."""
        self._machine = machine
        self.reports = 0
        """Those that were taken."""
        self.broken = ""
        """By what it broke the protocol."""
        self._link = GuestLink(incarnation=self.incarnation(machine, beside), build=BUILD, job={}, on_report=self._take)
        self._way_out = way_out
        self._screens = Screens(machine.accept(Door.SCREEN))
        self._tasks = Tasks("bomb")
        self._tasks.spawn("link", self._serve_link())
        self._tasks.spawn("egress", ways_out.serve(machine, way_out))
        self._tasks.spawn("screen", self._look())

    def incarnation(self, machine: Machine, beside: Neighbour) -> str:
        """Return whose reports are taken."""
        del beside
        return str(machine.handle["incarnation"])

    async def follow(self, screen: Stream) -> None:
        """Follow its screen until something is shown."""
        await wait_for_paint(screen, asyncio.Event())

    async def close(self) -> None:
        """Serve it no more."""
        self._way_out.close()
        await self._tasks.close()
        await self._screens.close()

    async def _take(self, report: Report) -> Reply:
        del report
        self.reports += 1
        return Ack()

    async def _serve_link(self) -> None:
        async with Tasks("link") as tasks:
            async for stream in self._machine.accept(Door.LINK):
                serving = tasks.spawn("link", self._serve(stream))
                serving.add_done_callback(partial(ways_out.hang_up, stream))

    async def _serve(self, stream: Stream) -> None:
        try:
            await self._link.serve(stream)
        except MachineError as error:
            await self.broke(error)

    async def broke(self, error: MachineError) -> None:
        """End the machine, as the service does with a guest that breaks the protocol."""
        self.broken = self.broken or error.detail
        with contextlib.suppress(MachineError):
            await self._machine.stop(within=timedelta(seconds=10))

    async def _look(self) -> None:
        """Look at the screen again and again, as the service does before a person sees it."""
        while True:
            try:
                stream = await self._screens.open()
            except MachineError:
                return
            with contextlib.suppress(MachineError, OSError, EOFError):
                await self.follow(stream)
            stream.writer.transport.abort()


async def felt(machine: Machine, ends: Ends, neighbour: Neighbour) -> Felt:
    """Serve the machine until it ends, or for a minute, and ask the other one meanwhile."""
    before, most, slowest = _resident(), 0, timedelta()
    ended = spawn("bomb's end", machine.ended())
    deadline = time.monotonic() + _LASTS.total_seconds()
    try:
        while not ended.done() and time.monotonic() < deadline:
            try:
                async with asyncio.timeout(_LASTS.total_seconds()):
                    slowest = max(slowest, await neighbour.asks())
            except TimeoutError:
                slowest = _LASTS
            most = max(most, _resident())
            await asyncio.sleep(_EVERY_S)
        end: MachineEnd | None = ended.result() if ended.done() else None
    finally:
        await cancel_and_wait(ended)
        await ends.close()
    detail = ends.broken or (end.detail if end else "it went on")
    return Felt(detail, slowest, most - before, ends.reports, broke=bool(ends.broken))


def told(neighbour: Neighbour) -> dict[str, Any]:
    """Return what the program in the machine is told."""
    return {
        "name": ways_out.PUBLIC_NAME,
        "protocol": str(PROTOCOL),
        "build": BUILD,
        "neighbour": neighbour.incarnation,
    }


def _resident() -> int:
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) * 1024
