"""The conversation with one guest.

Who the guest is comes from the door that the connection came through, never from a message. Every message is checked
for its form, size and rate; whatever is not of the protocol ends the conversation with a MachineError.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import PROTOCOL, Framer, ProtocolError, ReportKind, encode
from antechamber.link.reports import Report, checked, exactly
from antechamber.link.running import RunView
from antechamber.link.terminal import TerminalView
from antechamber.model import GuestText
from antechamber.points import Point, point

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import timedelta

    from antechamber.machine import Stream

HELLO_S: Final = 10.0
"""Seconds from the connection to the guest's hello."""
SEND_S: Final = 10.0
"""Seconds after which a guest that does not read is given up."""

AT_ONCE: Final = 8
"""Connections of one guest; it needs one, and another while the host has not seen the first one's end."""

BURST: Final = 200
RATE: Final = 20.0
"""Messages: so many at once, and so many a second after that."""
BURST_BYTES: Final = 16 * 2**20
RATE_BYTES: Final = 1 * 2**20
REMEMBERED: Final = 1024
"""Reports whose answer is repeated without asking again."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The report is taken; the guest forgets it."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The report is not accepted and must not be sent again."""

    code: Code


Reply: TypeAlias = Ack | Refuse


class GuestLink:
    """The conversation with one incarnation's guest, over as many connections as it takes."""

    def __init__(
        self,
        *,
        incarnation: str,
        build: str | None,
        job: Mapping[str, Any] | None,
        on_report: Callable[[Report], Awaitable[Reply]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `on_report` is called for one report after another and must have made it durable when it returns.

        `build` is that of the guest; None for one that may be of another release, which is spoken with as long as it
        speaks this PROTOCOL.
        A report that comes again after its answer was lost is answered from memory; after a restart of the service it
        reaches `on_report` again.
        """
        self._incarnation = incarnation
        self._build = build
        self._job = job
        self._job_is_out = False
        self._on_report = on_report
        self._messages = _Bucket(BURST, RATE, clock)
        self._bytes = _Bucket(BURST_BYTES, RATE_BYTES, clock)
        self._answered: OrderedDict[str, tuple[bytes, Reply]] = OrderedDict()
        self._stream: Stream | None = None
        self._welcomed = asyncio.Event()
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._gone = False
        self._in_hand = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._wanted: dict[str, dict[str, Any]] = {}
        """What the guest is told after each reconnect."""
        self._looks: list[asyncio.Future[Report]] = []
        self._view: TerminalView | None = None
        self._viewers = 0
        self._run: RunView | None = None
        self._unread_since: float | None = clock()
        self._clock = clock
        self.on_run_read: Callable[[], None] = lambda: None
        """Called when a run's reader has taken all of its output."""
        self.run_is_read = False
        """Whether one has."""

    @property
    def connected(self) -> bool:
        """Whether a guest that said who it is can be spoken to now."""
        return self._welcomed.is_set()

    @property
    def in_hand(self) -> bool:
        """Whether a report is being made durable now."""
        return self._in_hand > 0

    async def serve(self, stream: Stream) -> None:
        """Speak with the guest on one connection until it ends; a newer connection replaces an older one.

        Raises MachineError (guest_protocol, guest_version) when the guest says something that is not of the protocol,
        after closing the connection.
        """
        if self._serving >= AT_ONCE:
            stream.writer.transport.abort()
            raise MachineError(Code.GUEST_PROTOCOL, detail="too many connections at once")
        self._serving += 1
        self._idle.clear()
        try:
            await self._converse(stream)
        except ProtocolError as error:
            raise MachineError(Code.GUEST_PROTOCOL, detail=str(error)) from error
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            if self._stream is stream:
                self._stream = None
                self._welcomed.clear()
            stream.writer.transport.abort()
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until no connection is being served: what a guest sent before its end has been taken then.

        Nothing is sent to it from now on: a write to a socket whose other end is gone would cost what is still to be
        read from it.
        """
        self._gone = True
        await self._idle.wait()

    async def settled(self) -> None:
        """Wait until no report is in hand."""
        await self._settled.wait()

    async def capture_done(self) -> None:
        """Tell the guest to stop the CLI and wipe its home; a guest that is away is told when it comes back."""
        await self._want("capture_done")

    async def stop(self) -> None:
        """Tell the guest to end everything; a guest that is away is told when it comes back."""
        await self._want("stop")

    async def again(self, attempt: int) -> None:
        """Tell the guest to run the CLI for that time, unless it does; a guest that is away is told when it is back."""
        await self._want("again", attempt=attempt)

    async def watch_terminal(self) -> TerminalView:
        """Have one viewer follow what the CLI writes, an earlier one no more; a guest that is away is asked later."""
        view = self._view = TerminalView(self._next_number(), self._say)
        await view.begin()
        return view

    def _next_number(self) -> int:
        self._viewers += 1
        return self._viewers

    async def leave_terminal(self, view: TerminalView) -> None:
        """Have the guest send nothing more to that viewer."""
        if self._view is view:
            self._view = None
            await self._say({"type": "terminal_close", "viewer": view.viewer})

    async def read_run(self, at: int = 0) -> RunView:
        """Have one reader follow a run's CLI from there on, an earlier one no more; a guest that is away, later."""
        if self._run is not None:
            self._run.close(replaced=True)
        self._unread_since = None
        view = self._run = RunView(self._next_number, self._say, at=at, there=self._welcomed.wait, on_end=self._read)
        await view.begin()
        return view

    async def leave_run(self, view: RunView) -> None:
        """Have the guest send nothing more to that reader."""
        if self._run is view:
            self._run = None
            self._unread_since = self._clock()
            await self._say({"type": "run_close", "reader": view.reader})

    @property
    def unread_for(self) -> float:
        """Seconds for which nobody has read the run; 0 while somebody does."""
        return 0.0 if self._unread_since is None else self._clock() - self._unread_since

    def _read(self) -> None:
        self.run_is_read = True
        self.on_run_read()

    def close_run(self) -> None:
        """Have whoever reads the run know that nothing comes any more."""
        if self._run is not None:
            self._run.close()

    def withhold_job(self) -> bool:
        """Give the guest its job no more; tell whether it is certain that it never had it."""
        had_one, self._job = self._job is not None, None
        # an earlier service may have given it to a guest whose machine was found again
        return had_one and not self._job_is_out and self._build is not None

    async def finish_run(self) -> None:
        """Tell the guest to end a run's CLI; a guest that is away is told when it comes back."""
        await self._want("run_finish")

    async def look_again(self, within: timedelta) -> Report | None:
        """Ask for a whole credential file; return the report once it has been answered, None when none came in time.

        A file that came is taken by `on_report` like any other. Must not be awaited in `on_report`.
        """
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._looks.append(answer)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._welcomed.wait()
                await self._send({"type": "look_again"})
                return await answer
        except (TimeoutError, ConnectionError, MachineError):
            return None
        finally:
            if answer in self._looks:
                self._looks.remove(answer)

    async def _converse(self, stream: Stream) -> None:
        framer = Framer()
        try:
            async with asyncio.timeout(HELLO_S):
                messages = await self._receive(stream, framer, at_least=1)
        except TimeoutError as error:
            raise MachineError(Code.GUEST_PROTOCOL, detail="no hello in time") from error
        if not messages:
            return
        has_job = self._greet(messages[0])
        if self._stream is not None:
            self._stream.writer.transport.abort()
        self._stream = stream
        welcome: dict[str, Any] = {"type": "welcome"}
        if not has_job and self._job is not None:
            self._job_is_out = True
            welcome["job"] = dict(self._job)
        await self._send(welcome)
        self._welcomed.set()
        await self._catch_up()
        todo = messages[1:]
        while True:
            for message in todo:
                if message["type"] == "terminal":
                    self._show(message)
                elif message["type"] in {"run_output", "run_input_taken"}:
                    self._pass_on(message)
                else:
                    await self._take(message)
            todo = await self._receive(stream, framer, at_least=1)
            if not todo:
                return

    async def _catch_up(self) -> None:
        """Tell a guest that has come back what it missed."""
        for message in list(self._wanted.values()):
            await self._send(message)
        if self._view is not None:
            await self._view.begin()
        if self._run is not None:
            await self._run.begin()

    async def _receive(self, stream: Stream, framer: Framer, *, at_least: int) -> list[dict[str, Any]]:
        """Return the next messages, none at the end of the stream."""
        # a bad frame may be waiting behind the messages that were returned last
        messages = framer.feed(b"")
        while len(messages) < at_least:
            received = await stream.reader.read(64 * 1024)
            if not received:
                return []
            self._bytes.take(len(received))
            messages += framer.feed(received)
        self._messages.take(len(messages))
        return messages

    def _greet(self, hello: dict[str, Any]) -> bool:
        """Check who says hello; return whether it has its job already."""
        if hello["type"] != "hello":
            raise MachineError(Code.GUEST_PROTOCOL, detail="the first message is no hello")
        if hello.get("protocol") != PROTOCOL:
            raise MachineError(Code.GUEST_VERSION, detail=f"protocol {GuestText(str(hello.get('protocol'))[:40])}")
        if self._build is not None and hello.get("build") != self._build:
            raise MachineError(Code.GUEST_VERSION, detail=f"build {GuestText(str(hello.get('build'))[:80])}")
        exactly(hello, type=str, protocol=int, build=str, incarnation=str, has_job=bool)
        if hello["incarnation"] != self._incarnation:
            raise MachineError(Code.GUEST_PROTOCOL, detail="another incarnation")
        return bool(hello["has_job"])

    def _show(self, message: dict[str, Any]) -> None:
        # what was on its way to a viewer who has left is nobody's
        if self._view is not None and message.get("viewer") == self._view.viewer:
            self._view.put(message)

    def _pass_on(self, message: dict[str, Any]) -> None:
        # what was on its way to a reader who has left is nobody's
        if self._run is not None and message.get("reader", self._run.reader) == self._run.reader:
            size = self._run.put(message)
            if size is not None:
                # it was asked for, one at a time: as much may come as its reader takes
                self._messages.give(1)
                self._bytes.give(size)

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] != "report":
            raise MachineError(
                Code.GUEST_PROTOCOL, detail=f"a {GuestText(message['type'][:40])} where a report belongs"
            )
        report = checked(message)
        digest = hashlib.sha256(json.dumps(message, sort_keys=True).encode()).digest()
        known = self._answered.get(report.id)
        if known is None:
            point(Point.REPORT_RECEIVED)
            reply = await self._answer(report)
            point(Point.REPORT_TAKEN)
            self._answered[report.id] = (digest, reply)
            if len(self._answered) > REMEMBERED:
                self._answered.popitem(last=False)
        elif known[0] != digest:
            raise MachineError(Code.GUEST_PROTOCOL, detail="one id for two reports")
        else:
            reply = known[1]
        # what a guest has sent before its end is taken, though it hears of it no more
        with contextlib.suppress(ConnectionError):
            match reply:
                case Ack():
                    await self._send({"type": "ack", "id": report.id})
                case Refuse(code):
                    await self._send({"type": "refuse", "id": report.id, "code": str(code)})
        point(Point.ACKNOWLEDGED)
        if report.kind in {ReportKind.CREDENTIAL, ReportKind.NOTHING_YET}:
            for answer in self._looks:
                if not answer.done():
                    answer.set_result(report)

    async def _answer(self, report: Report) -> Reply:
        self._in_hand += 1
        self._settled.clear()
        try:
            return await self._on_report(report)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._settled.set()

    async def _want(self, word: str, **more: Any) -> None:
        message = {"type": word, **more}
        if self._wanted.get(word) == message:
            return
        self._wanted[word] = message
        if self.connected:
            with contextlib.suppress(ConnectionError):
                await self._send(message)

    async def _say(self, message: dict[str, Any]) -> None:
        """Send what is worth nothing to a guest that is away."""
        if self.connected:
            with contextlib.suppress(ConnectionError):
                await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        if self._stream is None or self._gone:
            raise ConnectionResetError
        writer = self._stream.writer
        try:
            writer.write(encode(message))
            async with asyncio.timeout(SEND_S):
                await writer.drain()
        except RuntimeError as error:
            # what uvloop says of a transport that is closed already
            raise ConnectionResetError from error
        except TimeoutError as error:
            raise MachineError(Code.GUEST_PROTOCOL, detail="the guest does not read") from error


class _Bucket:
    """Lets a burst through and then a rate; raises MachineError beyond that."""

    def __init__(self, burst: float, rate: float, clock: Callable[[], float]) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._clock = clock
        self._at = clock()

    def take(self, amount: float) -> None:
        at = self._clock()
        self._left = min(self._burst, self._left + (at - self._at) * self._rate) - amount
        self._at = at
        if self._left < 0:
            raise MachineError(Code.GUEST_PROTOCOL, detail="the guest speaks too much")

    def give(self, amount: float) -> None:
        """Take it back."""
        self._left = min(self._burst, self._left + amount)
