"""The host's ends of one running machine's doors."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from antechamber.errors import CallerError, Code, MachineError
from antechamber.link import GuestLink
from antechamber.log import get_logger
from antechamber.machine import Door
from antechamber.model import MachineKind
from antechamber.screen import Screens
from antechamber.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import timedelta

    from antechamber.egress import Egress
    from antechamber.link import Reply, Report
    from antechamber.machine import Machine, Stream
    from antechamber.model import MachineRow
    from antechamber.providers import ProviderSpec

_log = get_logger("live")


_DOORS: Final = {
    MachineKind.SIGN_IN: frozenset(Door),
    MachineKind.RUN: frozenset({Door.LINK, Door.EGRESS}),
    MachineKind.CHECK: frozenset({Door.LINK}),
}


def doors_of(kind: MachineKind) -> frozenset[Door]:
    """Return the doors that a machine for that has."""
    return _DOORS[kind]


class Errand(Protocol):
    """What a machine is for, and what its reports mean."""

    spec: ProviderSpec

    @property
    def job(self) -> Mapping[str, Any] | None:
        """What the guest is asked to do; None where it has been told."""

    async def on_report(self, report: Report) -> Reply:
        """Take one report of the guest, durably, before it is acknowledged."""

    async def on_broken(self, error: MachineError) -> None:
        """Take it that the guest broke its protocol, and cannot be trusted any more."""


class LiveMachine:
    """The link, the screen and the way out of one machine, from start or attach until its end or the service's."""

    def __init__(
        self,
        row: MachineRow,
        machine: Machine,
        errand: Errand,
        *,
        build: str | None,
        egress: Callable[[MachineRow, Errand], Egress],
    ) -> None:
        """Make the ends; `open` begins to serve them."""
        self.row = row
        self.machine = machine
        self.errand = errand
        self.input_ended = asyncio.Event()
        """Set when the person's input ends: the relay passes on no more of it."""
        self.link = GuestLink(incarnation=row.incarnation, build=build, job=errand.job, on_report=errand.on_report)
        self.egress = egress(row, errand)
        self._doors = doors_of(row.kind)
        self.screens = Screens(machine.accept(Door.SCREEN)) if Door.SCREEN in self._doors else None
        self._tasks = Tasks(f"machine {row.id}")

    def open(self) -> None:
        """Serve the doors."""
        self._tasks.spawn("link", self._serve_link())
        if Door.EGRESS in self._doors:
            self._tasks.spawn("egress", self._serve_egress())

    async def open_screen(self) -> Stream:
        """Return a fresh RFB stream of this machine's screen; raises CallerError where it has none."""
        if self.screens is None:
            raise CallerError(Code.SCREEN_NOT_READY)
        return await self.screens.open()

    async def wind_down(self, *, captured: bool, egress_for: timedelta) -> None:
        """End the person's input, after a capture the CLI too, and the way out when its time is over."""
        if self.input_ended.is_set():
            return
        self.input_ended.set()
        self.egress.close(after=egress_for)
        if captured:
            with contextlib.suppress(MachineError, OSError):
                await self.link.capture_done()

    async def again(self, attempt: int) -> None:
        """Have the guest run the CLI for that time, however often this is called."""
        with contextlib.suppress(MachineError, OSError):
            await self.link.again(attempt)

    async def last_look(self, within: timedelta, *, late: timedelta) -> None:
        """Ask the guest for a whole file, before a bad end is written; what comes is taken as any report is.

        What is in hand already, because the database has not taken it yet, is waited for, `late` at most, and then the
        guest is asked again: the file may be behind it.
        """
        until = time.monotonic() + late.total_seconds()
        while await self.link.look_again(within) is None and await self._settled(until):
            pass

    async def drain(self, within: timedelta, *, late: timedelta) -> None:
        """After the machine's end: let what it has sent already be read and, within `late`, be made durable."""
        until = time.monotonic() + late.total_seconds()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within.total_seconds()):
                    await self.link.drained()
                    return
            if not await self._settled(until):
                return

    async def _settled(self, until: float) -> bool:
        """Wait for the report that is in hand; False when there is none, or when that time has come."""
        if not self.link.in_hand:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self.link.settled()
                return True
        return False

    async def close(self) -> None:
        """Close every end; the machine itself is the driver's matter."""
        self.input_ended.set()
        self.link.close_run()
        self.egress.close(after=None)
        await self._tasks.close()
        if self.screens is not None:
            await self.screens.close()

    def _serve(self, stream: Stream, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Serve one connection and see it closed, also when the task is cancelled before its first step."""
        self._tasks.spawn(name, work).add_done_callback(lambda _: stream.writer.transport.abort())

    async def _serve_link(self) -> None:
        async for stream in self.machine.accept(Door.LINK):
            self._serve(stream, "link connection", self._serve_one_link(stream))

    async def _serve_one_link(self, stream: Stream) -> None:
        try:
            await self.link.serve(stream)
        except MachineError as error:
            _log.warning("the guest broke its protocol", machine=self.row.id, code=error.code, detail=error.detail)
            await self.errand.on_broken(error)
        except (ConnectionError, asyncio.IncompleteReadError):
            _log.debug("the link was cut", machine=self.row.id)

    async def _serve_egress(self) -> None:
        async for stream in self.machine.accept(Door.EGRESS):
            self._serve(stream, "egress connection", self.egress.serve(stream))
