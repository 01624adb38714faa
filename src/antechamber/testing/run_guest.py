"""A guest that runs a tool as the real agent does, for the scripted driver; its course is directed while it runs."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

from antechamber.guest.output import Output
from antechamber.guest.protocol import WHOLE, EgressAnswer, ReportKind
from antechamber.tasks import Tasks
from antechamber.testing.scripted_guest import GuestEnd, LinkEnd, ask, client_hello, credential_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENDED = -15


class RunGuest:
    """A script of one run; make a new one for each machine.

    `began` is set when the tool runs; `write`, `renew` and `exit` are what it does; `crash` ends the machine.
    """

    def __init__(self, *, build: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Prepare."""
        self._build = build
        self.clock_ns = clock_ns
        self._tasks: Tasks | None = None
        self._heard = asyncio.Event()
        self._guest: GuestEnd | None = None
        self._crash = asyncio.Event()
        self.link: LinkEnd | None = None
        self.output: Output | None = None
        self.job: Mapping[str, Any] = {}
        self.began = asyncio.Event()
        self.asked_to_finish = asyncio.Event()
        self.input = bytearray()
        self.signals: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.ends_when_asked = True
        self.takes_input = True
        """Whether the tool reads what is typed to it."""

    async def __call__(self, guest: GuestEnd) -> int:
        """Be the machine's program."""
        self._guest = guest
        link = self.link = LinkEnd(guest, build=self._build)
        link.on_run = self._hear
        async with Tasks("run guest") as self._tasks:
            tasks = self._tasks
            tasks.spawn("link", link.run())
            tasks.spawn("course", self._course(link))
            await self._crash.wait()
            link.end()
        return 1

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until that holds of what the tool was told: its input, signals, sizes and readers."""
        while not holds():
            self._heard.clear()
            await self._heard.wait()

    def write(self, output: bytes, stream: int = 1) -> None:
        """Write on one of its streams."""
        self._out().wrote(stream, output)

    async def renew(self, files: Mapping[str, bytes]) -> str | None:
        """Report the files; return None when the host took them, else its code."""
        return await self._linked().report(ReportKind.CREDENTIAL, credential_body(files, self.clock_ns()))

    async def connect(self, name: str) -> EgressAnswer:
        """Connect to a host as the tool would, and hear what it answers."""
        assert self._guest is not None  # noqa: S101 - the machine runs
        answer, _ = await ask(self._guest, {"op": "connect", "name": name, "port": 443}, client_hello(name))
        return answer

    async def exit(self, code: int = 0, *, file: str = WHOLE, redacted: bool = False) -> str | None:
        """End the tool."""
        self._out().ended()
        body = {"code": code, "file": file, "redacted": redacted}
        return await self._linked().report(ReportKind.RUN_ENDED, body)

    def crash(self) -> None:
        """End the machine."""
        self._crash.set()

    async def _course(self, link: LinkEnd) -> None:
        self.job = await link.job
        if not self.job:  # its run had ended before it could get one
            return
        self.output = Output(link.say, held=bool(self.job["streams"]["held"]), on_room=lambda: None)
        await link.report(ReportKind.STARTED, {"cli_pid_started": True})
        self.began.set()

    def _hear(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"type": "run_finish"}:
                if not self.asked_to_finish.is_set() and self.ends_when_asked and self._tasks is not None:
                    self._tasks.spawn("asked to finish", self._finish())
                self.asked_to_finish.set()
            case {"type": "run_input", "input": encoded}:
                self.input += base64.b64decode(encoded)
                if self.takes_input:
                    self._linked().say({"type": "run_input_taken"})
            case {"type": "run_signal", "signal": name}:
                self.signals.append(str(name))
            case {"type": "run_size", "columns": columns, "rows": rows}:
                self.sizes.append((columns, rows))
            case _ if self.output is not None:
                self.output.take(dict(message))
            case _:
                pass
        self._heard.set()

    async def _finish(self) -> None:
        await self.began.wait()
        await self.exit(_ENDED)

    def _out(self) -> Output:
        assert self.output is not None  # noqa: S101 - the tool runs
        return self.output

    def _linked(self) -> LinkEnd:
        assert self.link is not None  # noqa: S101 - the machine runs
        return self.link
