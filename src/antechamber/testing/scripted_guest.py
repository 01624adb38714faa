"""A guest that behaves as the real agent does, for the scripted driver: link, screen and egress, without a machine.

`GuestLink`'s other end is `LinkEnd`; `SignInGuest` is a whole script whose course a test directs while it runs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import struct
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from antechamber.guest.protocol import GO, PROTOCOL, EgressAnswer, Framer, ReportKind, encode
from antechamber.machine import Door
from antechamber.model import IdPrefix, new_id
from antechamber.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from antechamber.machine import MachineSpec, Stream


class GuestEnd(Protocol):
    """What a script has of its machine, wherever that lives."""

    @property
    def spec(self) -> MachineSpec:
        """What was asked for."""

    async def dial(self, door: Door) -> Stream:
        """Connect to a door; raises OSError while no service holds the machine."""


_AGAIN_S: Final = 0.02
_WIDTH: Final = 320
_HEIGHT: Final = 240
_CHUNK: Final = 65_536


class LinkEnd:
    """The guest's end of the link: keeps each report until it is settled, and dials again when the host is away."""

    def __init__(self, guest: GuestEnd, *, build: str) -> None:
        """Prepare; `run` speaks."""
        self._guest = guest
        self._build = build
        self._kept: dict[str, dict[str, Any]] = {}
        self._settled: dict[str, asyncio.Future[str | None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self.job: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.orders: asyncio.Queue[str] = asyncio.Queue()
        """`again`, `capture_done`, `look_again` and `stop`, as they come."""
        self.attempt = 1
        """Which run of the tool the host asked for last."""
        self.on_run: Callable[[Mapping[str, Any]], None] = lambda _: None
        """Called with what the host says to a run."""

    @property
    def connected(self) -> bool:
        """Whether a host has said welcome and is there."""
        return self._writer is not None

    def end(self) -> None:
        """Cancel whoever waits for a report to be settled: nobody settles it any more."""
        for settled in self._settled.values():
            settled.cancel()

    async def report(self, kind: ReportKind, body: Mapping[str, Any]) -> str | None:
        """Send a report until the host settles it; return None when accepted, the code when refused."""
        report_id = new_id(IdPrefix.REPORT)
        self._kept[report_id] = {"type": "report", "id": report_id, "kind": kind.value, "body": dict(body)}
        settled: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._settled[report_id] = settled
        if self._writer is not None:
            self._writer.write(encode(self._kept[report_id]))
        return await settled

    def say(self, message: dict[str, Any]) -> None:
        """Send what is no report; where the host is away it is lost."""
        if self._writer is not None:
            self._writer.write(encode(message))

    async def run(self) -> None:
        """Speak, and dial again after each end, until cancelled."""
        while True:
            try:
                await self._speak(await self._guest.dial(Door.LINK))
            except OSError:
                pass  # the host is away, or was killed
            finally:
                self._writer = None
            await asyncio.sleep(_AGAIN_S)

    async def _speak(self, stream: Stream) -> None:
        spec = self._guest.spec
        stream.writer.write(
            encode(
                {
                    "type": "hello",
                    "protocol": PROTOCOL,
                    "build": self._build,
                    "incarnation": spec.incarnation,
                    "has_job": self.job.done(),
                }
            )
        )
        framer = Framer()
        try:
            while received := await stream.reader.read(_CHUNK):
                for message in framer.feed(received):
                    self._take(message, stream.writer)
        finally:
            stream.writer.close()

    def _take(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        match message["type"]:
            case "welcome":
                if not self.job.done():
                    self.job.set_result(message.get("job") or {})
                self._writer = writer
                for kept in self._kept.values():
                    writer.write(encode(kept))
            case "ack" | "refuse":
                if self._kept.pop(message["id"], None) is not None:
                    settled = self._settled.pop(message["id"])
                    if not settled.done():  # whoever reported it may not wait any more
                        settled.set_result(message.get("code"))
            case "again":
                self.attempt = int(message["attempt"])
                self.orders.put_nowait("again")
            case order if str(order).startswith("run_"):
                self.on_run(message)
            case order:
                self.orders.put_nowait(str(order))


class SignInGuest:
    """A script of one sign-in; make a new one for each machine, or give `ScriptedHost` a function that does.

    It reports all that the agent reports until the page is open, then waits: `sign_in` hands in credential files,
    `end_cli` ends the tool, `crash` the machine. `stop` from the host ends it with code 0.
    """

    def __init__(
        self,
        *,
        build: str,
        page_host: str = "",
        sandbox: bool = True,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare; without `page_host` nothing is asked of egress and no page is reported.

        `clock_ns` is the machine's clock, in nanoseconds, which its files have their times from.
        """
        self._build = build
        self._clock_ns = clock_ns
        self._page_host = page_host
        self._sandbox = sandbox
        self._crash = asyncio.Event()
        self._code = 0
        self._files: dict[str, Any] | None = None
        self.link: LinkEnd | None = None
        self.page_open = asyncio.Event()
        """Set when everything that readiness needs has been reported."""
        self.captured = asyncio.Event()
        """Set when the host said `capture_done`."""
        self.again = asyncio.Event()
        """Set when the host had the tool started again."""
        self.input = bytearray()
        """What reached the screen besides requests for frames: keys and pointer."""
        self._pictures: set[_Picture] = set()

    async def __call__(self, guest: GuestEnd) -> int:
        """Be the machine's program."""
        link = self.link = LinkEnd(guest, build=self._build)
        async with Tasks("sign-in guest") as tasks:
            tasks.spawn("link", link.run())
            orders = tasks.spawn("orders", self._obey(link))
            crash = tasks.spawn("crash", self._crash.wait())
            tasks.spawn("course", self._course(guest, link, tasks))
            try:
                await asyncio.wait({orders, crash}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                link.end()
            return self._code if crash.done() else 0

    async def sign_in(self, files: Mapping[str, bytes]) -> str | None:
        """Hand in the files (`credential` and companions); return None when the host took them, else its code."""
        self.write_file(files)
        return await self._linked().report(ReportKind.CREDENTIAL, self._files or {})

    def write_file(self, files: Mapping[str, bytes]) -> None:
        """Have the files lie there without reporting them, with the time of now: `look_again` finds them."""
        self._files = credential_body(files, self._clock_ns())

    async def end_cli(self, code: int, *lines: str, file: str = "none") -> str | None:
        """Report that the tool ended."""
        link = self._linked()
        body = {"attempt": link.attempt, "code": code, "lines": list(lines), "file": file}
        return await link.report(ReportKind.CLI_ENDED, body)

    def crash(self, code: int = 1) -> None:
        """End the machine with that code."""
        self._code = code
        self._crash.set()

    def _linked(self) -> LinkEnd:
        if self.link is None:
            message = "the machine has not started yet"
            raise RuntimeError(message)
        return self.link

    async def _course(self, guest: GuestEnd, link: LinkEnd, tasks: Tasks) -> None:
        job = await link.job
        await link.report(ReportKind.STARTED, {"cli_pid_started": True})
        if job.get("screen"):
            tasks.spawn("screen", self._screens(guest, tasks))
            await link.report(ReportKind.SCREEN_UP, {})
        if job.get("browser"):
            await link.report(ReportKind.BROWSER_SANDBOX, {"ok": self._sandbox, "renderers": 1, "detail": "scripted"})
        if self._page_host:
            await link.report(ReportKind.PAGE_ASKED, {"host": self._page_host})
            await self._load(guest)
        self.page_open.set()
        self._repaint()

    async def _load(self, guest: GuestEnd) -> None:
        """Have bytes come from the page's host; like a browser's, a load that was cut off is tried again."""
        request = {"op": "connect", "name": self._page_host, "port": 443}
        while True:
            # what is cut off before its answer is no JSON
            with contextlib.suppress(OSError, ValueError):
                answer, received = await ask(guest, request, client_hello(self._page_host))
                if answer is not EgressAnswer.OK or received:
                    return
            await asyncio.sleep(_AGAIN_S)

    async def _obey(self, link: LinkEnd) -> None:
        while (order := await link.orders.get()) != "stop":
            match order:
                case "capture_done":
                    self.captured.set()
                case "again":
                    self.again.set()
                case "look_again" if self._files is not None:
                    await link.report(ReportKind.CREDENTIAL, self._files)
                case "look_again":
                    await link.report(ReportKind.NOTHING_YET, {})

    async def _screens(self, guest: GuestEnd, tasks: Tasks) -> None:
        while True:
            try:
                stream = await guest.dial(Door.SCREEN)
                word = await stream.reader.read(1)
            except OSError:
                await asyncio.sleep(_AGAIN_S)
                continue
            if word == GO:
                tasks.spawn("picture", self._picture(stream))
            else:
                stream.writer.close()
                await asyncio.sleep(_AGAIN_S)

    async def _picture(self, stream: Stream) -> None:
        """Be a VNC server (RFC 6143) with one picture, which is new with the page and with each key and click."""
        reader, writer = stream.reader, stream.writer
        picture = _Picture(writer)
        try:
            await greet(reader, writer, _WIDTH, _HEIGHT)
            self._pictures.add(picture)
            while True:
                if came := await picture.take(reader):
                    self.input += came
                    self._repaint()
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the viewer has gone
        finally:
            self._pictures.discard(picture)
            writer.close()

    def _repaint(self) -> None:
        for picture in self._pictures:
            picture.change()


class _Picture:
    """What one viewer has of the screen; as with a real server, who has it all waits until something has changed."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._bytes_per_pixel = 4
        self._is_new = True
        self._wanted = False

    async def take(self, reader: asyncio.StreamReader) -> bytes:
        """Take one message of the viewer; return the input that came with it."""
        kind = (await reader.readexactly(1))[0]
        match kind:
            case 0:
                self._bytes_per_pixel = (await reader.readexactly(19))[3] // 8
            case 2:
                (count,) = struct.unpack(">xH", await reader.readexactly(3))
                await reader.readexactly(4 * count)
            case 3:
                incremental = (await reader.readexactly(9))[0]
                self._wanted = True
                self._is_new = self._is_new or not incremental
                self._show()
            case 4 | 5:
                return bytes((kind,)) + await reader.readexactly(7 if kind == 4 else 5)
            case 6:
                (length,) = struct.unpack(">3xI", await reader.readexactly(7))
                return bytes((kind,)) + await reader.readexactly(length)
            case _:
                raise ConnectionAbortedError(kind)
        return b""

    def change(self) -> None:
        """Be another picture."""
        self._is_new = True
        self._show()

    def _show(self) -> None:
        if not (self._is_new and self._wanted):
            return
        self._is_new = self._wanted = False
        self._writer.write(struct.pack(">BxHHHHHi", 0, 1, 0, 0, _WIDTH, _HEIGHT, 0))
        # stripes: a page of one colour is one that has not been painted
        row = bytes(_WIDTH * self._bytes_per_pixel), b"\xff" * (_WIDTH * self._bytes_per_pixel)
        self._writer.write(b"".join(row) * (_HEIGHT // 2))


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, width: int, height: int) -> None:
    """Go through the greeting of a VNC server that lets anybody in (RFC 6143, 7.1 to 7.3)."""
    writer.write(b"RFB 003.008\n")
    await reader.readexactly(12)
    writer.write(b"\x01\x01")
    await reader.readexactly(1)
    writer.write(bytes(4))
    await reader.readexactly(1)
    pixels = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
    writer.write(struct.pack(">HH", width, height) + pixels + struct.pack(">I", 8) + b"scripted")


def credential_body(files: Mapping[str, bytes], mtime_ns: int) -> dict[str, Any]:
    """Return the body of a report `credential`."""
    return {
        "files": {
            name: {"content": base64.b64encode(content).decode(), "mtime_ns": mtime_ns, "mode": 0o600, "new": True}
            for name, content in files.items()
        },
        "cli_version": "scripted",
    }


def client_hello(name: str, context: ssl.SSLContext | None = None) -> bytes:
    """Return the first bytes of a TLS client that asks for that server."""
    sent = ssl.MemoryBIO()
    client = (context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


async def ask(guest: GuestEnd, request: Mapping[str, Any], then: bytes = b"") -> tuple[EgressAnswer, bytes]:
    """Ask the egress door; after `ok` send the bytes and return the first that came back."""
    stream = await guest.dial(Door.EGRESS)
    try:
        stream.writer.write(json.dumps(dict(request)).encode() + b"\n")
        answer = EgressAnswer(json.loads(await stream.reader.readline())["answer"])
        if answer is not EgressAnswer.OK or not then:
            return answer, b""
        stream.writer.write(then)
        return answer, await stream.reader.read(_CHUNK)
    finally:
        stream.writer.close()
