"""A real machine with the real guest and the host's real ends; the world is a page server of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from antechamber import assets
from antechamber.drivers.namespace import NamespaceDriver
from antechamber.egress import Egress, Policy, Resolution, World
from antechamber.errors import MachineError
from antechamber.guest.protocol import EgressAnswer, ReportKind
from antechamber.link import Ack, GuestLink, Reply, Report
from antechamber.machine import Door, Machine, MachineSpec, Mount, Stream
from antechamber.model import IdPrefix, new_id
from antechamber.screen import Screens
from antechamber.settings import Settings
from antechamber.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIS = Path(__file__).parent / "clis"
SIGN_IN = "login.vendor-one.com"


def sign_in_job(scene: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "sign_in",
        "argv": ["/usr/bin/python3", "/opt/cli/fake_cli.py", scene],
        "drive": {"how": "plain"},
        "env": {"FAKE_HOME": "$HOME/.fake"},
        "clear_env": [],
        "screen": False,
        "browser": False,
        "seed": [],
        "files": {
            "credential": {
                "path": "~/.fake/auth.json",
                "required": ["tokens.access_token", "tokens.refresh_token"],
                "max_bytes": 65536,
                "written": "rename",
            },
            "account": {"path": "~/.fake.json", "required": ["account.email"], "max_bytes": 65536, "written": "rename"},
        },
        "companion_wait_ms": 500,
        "page_wait_s": 45,
    } | more


class Pages:
    """Serves every name over HTTP in the test's own process; what it answers is a function of the path."""

    def __init__(self) -> None:
        self.page = b"<h1>Sign in</h1>"
        self.others: dict[str, tuple[str, bytes]] = {}
        """By their paths, what is answered otherwise: a header line, and the body."""
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self._changed = asyncio.Condition()

    async def was_asked(self, path: str, *, times: int) -> None:
        """Wait until a page has been asked for so many times."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.asked.count(path) >= times)

    async def resolve(self, name: str) -> Resolution:
        if name == SIGN_IN:
            return Resolution(EgressAnswer.OK, (ip_address("93.184.215.14"),))
        return Resolution(EgressAnswer.NXDOMAIN)

    async def connect(self, address: str, port: int, name: str) -> Stream:
        here, there = await _pair()
        self._tasks.spawn("page", self._answer(there))
        return here

    async def _answer(self, stream: Stream) -> None:
        try:
            head = await stream.reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            async with self._changed:
                self.asked.append(path)
                self.heads.append(head)
                self._changed.notify_all()
            header, page = self.others.get(path, ("Content-Type: text/html", self.page))
            stream.writer.write(
                b"HTTP/1.1 200 OK\r\n%s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                % (header.encode(), len(page), page)
            )
            await stream.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            # cancelled too: a browser holds connections in reserve on which it never asks for anything
            stream.writer.close()

    async def __aenter__(self) -> Self:
        self._tasks = Tasks("pages")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()


async def _pair() -> tuple[Stream, Stream]:
    one, other = socket.socketpair()
    return Stream(*await asyncio.open_connection(sock=one)), Stream(*await asyncio.open_connection(sock=other))


class Bench:
    """The host's ends of one machine, and its guest's reports."""

    def __init__(self, machine: Machine, incarnation: str, job: dict[str, Any], pages: Pages, build: str) -> None:
        self.machine = machine
        self.link = GuestLink(incarnation=incarnation, build=build, job=job, on_report=self.take)
        self.egress = Egress(world=World("demo", pages, pages), policy=Policy())
        self.screens = Screens(machine.accept(Door.SCREEN))
        self.reports: list[Report] = []
        self.broken: MachineError | None = None
        self._changed = asyncio.Condition()

    async def next_of(self, *kinds: ReportKind, within: float = 30) -> Report:
        """Wait for the first report of one of these kinds."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: any(report.kind in kinds for report in self.reports))
        return next(report for report in self.reports if report.kind in kinds)

    async def broke(self) -> MachineError:
        """Wait until the guest was caught breaking the protocol."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.broken is not None)
        assert self.broken is not None
        return self.broken

    async def serve_link(self) -> None:
        async for stream in self.machine.accept(Door.LINK):
            try:
                await self.link.serve(stream)
            except MachineError as error:
                async with self._changed:
                    self.broken = error
                    self._changed.notify_all()

    async def serve_egress(self) -> None:
        async with Tasks("ways out") as tasks:
            async for stream in self.machine.accept(Door.EGRESS):
                serving = tasks.spawn("egress", self.egress.serve(stream))
                # also when it is cancelled before its first step
                serving.add_done_callback(lambda _, stream=stream: stream.writer.transport.abort())

    async def take(self, report: Report) -> Reply:
        async with self._changed:
            self.reports.append(report)
            self._changed.notify_all()
        return Ack()


@contextlib.asynccontextmanager
async def machine_with(job: dict[str, Any], pages: Pages, *, build: str | None = None) -> AsyncIterator[Bench]:
    """Start a machine with that job; end it and remove all of it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="ac-"))
    root.chmod(0o755)
    driver = NamespaceDriver(
        run_dir=root / "run",
        settings=Settings(),
        installation=new_id(IdPrefix.INSTALLATION),
        node=new_id(IdPrefix.NODE),
    )
    guest = assets.stage_guest(root / "shared")
    clis = assets.stage(CLIS, root / "shared", "clis")
    incarnation = new_id(IdPrefix.INCARNATION)
    uids = driver.host_uids()
    handle = driver.plan(
        new_id(IdPrefix.MACHINE), incarnation, host_uid=uids[os.getpid() % len(uids)] if uids else None
    )
    spec = MachineSpec(
        machine_id=handle["machine"],
        incarnation=incarnation,
        program=("/usr/bin/python3", "-I", "-S", "/opt/antechamber/guest"),
        mounts=(Mount(guest, "/opt/antechamber/guest"), Mount(clis, "/opt/cli")),
    )
    machine = await driver.start(spec, handle)
    tasks = Tasks("bench")
    try:
        async with pages:
            bench = Bench(machine, incarnation, job, pages, build or assets.guest_build_id())
            tasks.spawn("link", bench.serve_link())
            tasks.spawn("egress", bench.serve_egress())
            yield bench
            bench.egress.close()
            await bench.screens.close()
    finally:
        await machine.stop(within=timedelta(seconds=10))
        await tasks.close()
        await machine.let_go()
        await driver.reap(handle)
        shutil.rmtree(root, ignore_errors=True)
