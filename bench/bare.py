"""The peer of a machine: the same bubblewrap, X server, window manager and Chromium, and nothing of Antechamber.

It is started by the namespace driver's own command line, from a shell script instead of the agent, and shares the
bench's network namespace, where a forwarder leads the vendor's names to the stand-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from antechamber.drivers.keepers import KeptFolder
from antechamber.drivers.namespace import bwrap, rootfs, seccomp
from antechamber.guest import screen
from antechamber.guest.browser import Browser
from antechamber.guest.layout import Layout
from antechamber.machine import MachineSpec, Mount, Stream
from antechamber.model import IdPrefix, new_id
from antechamber.screen import wait_for_paint
from antechamber.testing.practice import StandInClient
from antechamber.testing.standin.server import TLS
from bench.figures import say

PAGE_HOST = "auth.openai.com"
_FIRST_UID = 210_001
_PAINTED_S = 30.0
_LAYOUT = Layout(home=Path(rootfs.HOME), work=Path("/tmp/bare"))
_VNC = "/run/bare/vnc.sock"
_SCRIPT = """
umask 077
mkdir -p {profile}/profile/Default
printf %s {preferences} >{profile}/profile/Default/Preferences
printf %s {rules} >{work}/rc.xml
mkfifo {work}/up
export DISPLAY=:0 HOME={profile}
{x} 9>{work}/up &
read up <{work}/up
openbox --sm-disable --config-file {work}/rc.xml &
exec {chromium}
"""


def page() -> str:
    """Return the address of a sign-in page, as the Codex CLI asks for it."""
    return (
        f"https://{PAGE_HOST}/oauth/authorize?response_type=code&client_id=app_EMoamEEZ73f0CkXaXp7hrann"
        "&redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fauth%2Fcallback&scope=openid%20profile%20email%20offline_access"
        f"&code_challenge={secrets.token_urlsafe(32)}&code_challenge_method=S256&state={secrets.token_urlsafe(32)}"
    )


class Vendor:
    """Port 443 of the bench's own loopback, led to the stand-in."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / TLS
        self._tasks: set[asyncio.Task[None]] = set()
        self.carried = asyncio.Event()
        """Set when bytes have come from the vendor; whoever waits clears it first."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 443, limit=2**18)
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there_reader, there = await asyncio.open_unix_connection(self._socket, limit=2**18)
            ways = (self._pump(reader, there, tell=False), self._pump(there_reader, writer, tell=True))
            try:
                await asyncio.gather(*ways)
            finally:
                there.transport.abort()
        except OSError:
            return
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tell: bool) -> None:
        while chunk := await reader.read(2**16):
            if tell:
                self.carried.set()
            writer.write(chunk)
            await writer.drain()
        writer.close()


class Bare:
    """One bare sandbox."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._watched: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int:
        """The outermost bubblewrap."""
        return self._process.pid

    @classmethod
    async def start(cls, standin: StandInClient, number: int = 0) -> Bare:
        """Start one; the first frames may not be there yet."""
        uid = _FIRST_UID + number if os.geteuid() == 0 else None
        folder = await asyncio.to_thread(_prepare, standin.ca, uid)
        return cls(await _started(folder, uid), folder)

    async def painted(self, vendor: Vendor) -> None:
        """Wait until the page has been painted, as the service waits for it."""
        async with asyncio.timeout(_PAINTED_S):
            while True:
                with contextlib.suppress(OSError):
                    stream = await asyncio.open_unix_connection(self._folder / "vnc/vnc.sock", limit=2**20)
                    break
                await asyncio.sleep(0.005)
            self._watched = stream[1]
            await wait_for_paint(Stream(*stream), vendor.carried)

    async def end(self) -> None:
        """End it and remove what it left."""
        if self._watched is not None:
            self._watched.transport.abort()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder)


async def one(standin: StandInClient, vendor: Vendor) -> float:
    """Start a bare sandbox, wait for its page and end it; return the milliseconds to the painted page."""
    for last in (False, False, True):
        vendor.carried.clear()
        begun = time.monotonic()
        bare = await Bare.start(standin)
        try:
            await bare.painted(vendor)
            return (time.monotonic() - begun) * 1000
        except TimeoutError:
            if last:
                raise
            # the peer's trouble is no figure of ours
            say("a bare sandbox showed no page in time; once more")
        finally:
            await bare.end()
    raise AssertionError


async def ran(mounts: Sequence[Mount], *program: str) -> float:
    """Run a program in a bare sandbox; return the milliseconds to its end. Raises RuntimeError where it fails."""
    uid = _FIRST_UID if os.geteuid() == 0 else None
    begun = time.monotonic()
    folder = await asyncio.to_thread(_prepare, "", uid)
    try:
        process = await _started(folder, uid, mounts, program)
        if (code := await process.wait()) != 0:
            raise RuntimeError(f"{program[0]} in a bare sandbox ended with {code}")
        return (time.monotonic() - begun) * 1000
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)


async def _started(
    folder: Path, uid: int | None, mounts: Sequence[Mount] = (), program: Sequence[str] = ()
) -> asyncio.subprocess.Process:
    filtered = os.memfd_create("seccomp", 0)
    try:
        os.write(filtered, seccomp.program())
        os.lseek(filtered, 0, os.SEEK_SET)
        return await asyncio.create_subprocess_exec(
            *_command(folder, filtered, uid, mounts, program or ("/bin/sh", "-c", _script())),
            pass_fds=(filtered,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(filtered)


def _prepare(ca: str, uid: int | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ac-bare-", dir="/tmp"))
    folder.chmod(0o711)
    rootfs.write(folder / "etc", (ca,) if ca else ())
    with (folder / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {PAGE_HOST}\n")
    for name in ("doors", "vnc"):
        (folder / name).mkdir()
    if uid is not None:
        os.chown(folder / "vnc", uid, uid)
    return folder


def _command(
    folder: Path, filtered: int, uid: int | None, mounts: Sequence[Mount], program: Sequence[str]
) -> list[str]:
    spec = MachineSpec(new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION), mounts=tuple(mounts))
    options = bwrap.options(spec, KeptFolder(folder))
    for pair in ("--json-status-fd", "--sync-fd"):  # what only a keeper listens to
        at = options.index(pair)
        del options[at : at + 2]
    options[options.index("--seccomp") + 1] = str(filtered)
    at = options.index("--ro-bind", options.index("/run/doors") - 2)
    options[at:at] = ["--bind", str(folder / "vnc"), "/run/bare"]
    as_uid = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
    return [*as_uid, bwrap.PROGRAM, *options, "--", *program]


def _script() -> str:
    x = [_VNC if word == str(_LAYOUT.vnc) else word for word in screen._x_server(_LAYOUT, 9)]
    # its abstract socket would be the whole network namespace's, which bare sandboxes share
    x += ["-nolisten", "local"]
    return _SCRIPT.format(
        profile=_LAYOUT.profile,
        work=_LAYOUT.work,
        preferences=shlex.quote(json.dumps({"browser": {"custom_chrome_frame": False}})),
        rules=shlex.quote(screen._OPENBOX),
        x=shlex.join(x),
        chromium=shlex.join(Browser(_LAYOUT, {})._command(page())),
    )


async def several(standin: StandInClient, vendor: Vendor, count: int) -> Sequence[Bare]:
    """Start so many, one after another, each to its painted page; ends those that came up when one does not."""
    bares: list[Bare] = []
    try:
        for number in range(count):
            vendor.carried.clear()
            bares.append(await Bare.start(standin, number))
            await bares[-1].painted(vendor)
    except BaseException:
        for bare in bares:
            await bare.end()
        raise
    return bares
