"""The vendors' real tools, each in a bubblewrap with a machine's own /etc, led to the stand-in by name.

A network namespace with nothing but a loopback is what a tier runs in; the names' one way out is `Network`, which also
writes down what was asked for. Only what a tool does beside the service is tried by this: a machine is no part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from antechamber.drivers.namespace import rootfs
from antechamber.errors import OperatorError, ProviderError
from antechamber.guest import dns
from antechamber.guest.doors import join
from antechamber.places import place
from antechamber.providers import CapturedFile, Providers, ProviderSpec
from antechamber.providers.install import node, verify
from antechamber.providers.job import CLI_AT, NODE_AT
from antechamber.settings import Settings
from antechamber.testing.practice import StandInClient
from antechamber.testing.standin.server import TLS
from tests.integration.standin_person import browser, consent_page, submit

WITHIN_S = 60
_OPENER = '#!/bin/sh\nprintf "%s" "$1" >/run/ours/opened.new && mv /run/ours/opened.new /run/ours/opened\n'


class Network:
    """The loopback's DNS and port 443: the stand-in's names lead to it, and no other name is there."""

    def __init__(self, standin: StandInClient) -> None:
        self._standin = standin
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked: list[str] = []
        """Every name that was looked up, in order."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Network]:
        """Listen; skips where the low ports cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            answering, _ = await loop.create_datagram_endpoint(
                functools.partial(_Names, self), local_addr=("127.0.0.1", 53)
            )
        except PermissionError:
            pytest.skip("ports 53 and 443 of the loopback need root, or a namespace with low ports")
        server = await asyncio.start_server(self._forward, "127.0.0.1", 443, limit=2**18)
        try:
            yield self
        finally:
            server.close()
            answering.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def knows(self, name: str) -> bool:
        return name in self._standin.names

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            outside = await asyncio.open_unix_connection(self._standin.folder / TLS, limit=2**18)
            try:
                await join((reader, writer), outside)
            finally:
                outside[1].transport.abort()
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class _Names(asyncio.DatagramProtocol):
    def __init__(self, network: Network) -> None:
        self._network = network

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data, addr) -> None:
        query = dns.parse(data)
        if query.name is not None and query.type == dns.TYPE_A:
            self._network.asked.append(query.name)
        if query.name is None or not self._network.knows(query.name):
            answer = dns.answer(query, dns.NXDOMAIN)
        else:
            answer = dns.answer(query, dns.NOERROR, "127.0.0.1" if query.type == dns.TYPE_A else None)
        self._transport.sendto(answer, addr)


@dataclass(frozen=True)
class Ended:
    """How a tool ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float


class Tool:
    """One provider's tool with a home that lasts over its runs."""

    def __init__(self, spec: ProviderSpec, mounts: Mapping[str, str], standin: StandInClient, root: Path) -> None:
        self.spec = spec
        self._standin = standin
        self._root = root
        self._mounts = mounts
        self.home, self.workspace, self._ours = root / "home", root / "work", root / "ours"
        for folder in (self.home, self.workspace, self._ours, self._ours / "bin"):
            folder.mkdir(parents=True)
        for name in ("opener", "xdg-open"):
            (self._ours / "bin" / name).write_text(_OPENER)
            (self._ours / "bin" / name).chmod(0o755)
        rootfs.write(root / "etc", (standin.ca,))

    # -- files

    @property
    def credential(self) -> Path:
        return self.home / self.spec.definition.credential.path.removeprefix("~/")

    def files(self) -> dict[str, CapturedFile]:
        """Return what a capture would have sent."""
        paths = {"credential": self.spec.definition.credential.path}
        paths |= {name: companion.path for name, companion in self.spec.definition.companions.items()}
        found = {name: self.home / path.removeprefix("~/") for name, path in paths.items()}
        return {name: CapturedFile(path.read_bytes()) for name, path in found.items() if path.exists()}

    def _whole(self) -> bool:
        try:
            self.spec.parse(self.files())
        except ProviderError:
            return False
        return True

    def fresh_home(self, bundle: bytes) -> None:
        """Begin again with nothing but what a stored credential brings with it."""
        shutil.rmtree(self.home)
        self.home.mkdir()
        self._put(self.spec.check_job(bundle)["seed"])

    def _put(self, seeds) -> None:
        for seed in seeds:
            path = self.home / seed["path"].removeprefix("~/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(seed["content"])
            path.chmod(seed["mode"])

    # -- runs

    def command(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """Return bubblewrap's command line for the tool."""
        mounts = {str(self._root / "etc"): "/etc", **self._mounts}
        mounts |= {f"/etc/{name}": f"/etc/{name}" for name in rootfs.FROM_HOST if Path("/etc", name).exists()}
        line = ["bwrap", "--unshare-user", "--unshare-pid", "--die-with-parent", "--clearenv", "--cap-drop", "ALL"]
        line += ["--uid", str(rootfs.INNER_ID), "--gid", str(rootfs.INNER_ID), "--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib64"):
            line += ["--symlink", f"usr/{name}", f"/{name}"]
        for source, target in mounts.items():
            line += ["--ro-bind", source, target]
        line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", str(self.home), rootfs.HOME]
        line += ["--bind", str(self._ours), "/run/ours", "--bind", str(self.workspace), "/work"]
        variables = {
            "HOME": rootfs.HOME,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PATH": "/run/ours/bin:/usr/bin:/bin",
            "SSL_CERT_FILE": "/etc/antechamber/bundle.pem",
            "NODE_EXTRA_CA_CERTS": "/etc/antechamber/ca.pem",
            **env,
        }
        for name, value in variables.items():
            line += ["--setenv", name, value.replace("$HOME", rootfs.HOME)]
        return [*line, "--chdir", "/work", "--", *argv]

    async def start(self, argv: Sequence[str], env: Mapping[str, str], **options) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        line = self.command(argv, env)
        return await asyncio.create_subprocess_exec(
            *line, stdin=options.get("stdin", asyncio.subprocess.DEVNULL), stdout=pipe, stderr=pipe, limit=2**20
        )

    def program(self) -> list[str]:
        program = f"{CLI_AT}/{self.spec.program}"
        return [f"{NODE_AT}/bin/node", program] if self.spec.needs_node else [program]

    async def run(self, *arguments: str, typed: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
        """Run the tool as a run does, to its end."""
        begun = time.monotonic()
        variables = {**self.spec.definition.run.env, **(env or {})}
        line = [*self.program(), *self.spec.definition.run.arguments, *arguments]
        tool = await self.start(line, variables, stdin=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(WITHIN_S):
                out, err = await tool.communicate(typed)
        except TimeoutError:
            tool.kill()
            out, err = await tool.communicate()
            raise AssertionError(f"no end within {WITHIN_S} s: {out.decode()[-2000:]} {err.decode()[-2000:]}") from None
        return Ended(tool.returncode, out.decode(), err.decode(), time.monotonic() - begun)

    # -- the sign-in

    async def sign_in(self, email: str = "robin@practice.dev") -> None:
        """Sign in by the tool's own way; the pages are gone through by a person without a browser."""
        job = self.spec.job()
        self._put(job["seed"])
        opened = self._ours / "opened"
        opened.unlink(missing_ok=True)
        env = {**job["env"], "BROWSER": "/run/ours/bin/opener", "DISPLAY": ":99"}
        tool = await self.start(
            [*self.program(), *self.spec.definition.sign_in.arguments], env, stdin=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                if job["drive"]["how"] == "acp":
                    await _acp(tool, job["drive"]["acp_method"])
                while not opened.exists():
                    assert tool.returncode is None, (await tool.communicate())[1].decode()
                    await asyncio.sleep(0.02)
                await self._person(opened.read_text(), email)
                if job["drive"]["how"] == "acp":
                    await tool.stdout.readline()
                else:
                    await tool.wait()
                while not self._whole():
                    await asyncio.sleep(0.02)
        finally:
            if tool.returncode is None:
                tool.send_signal(signal.SIGKILL)
            await tool.communicate()

    async def _person(self, url: str, email: str) -> None:
        async with browser(self._standin.folder, self._standin.ca) as person:
            answer = await submit(person, await consent_page(person, url, email), "authorize")
            async with httpx.AsyncClient(timeout=30) as callback:
                back = await callback.get(answer.headers["location"])
                while back.is_redirect and back.headers["location"].startswith(("http://localhost", "http://127", "/")):
                    back = await callback.get(back.next_request.url)


async def _acp(tool: asyncio.subprocess.Process, method: str) -> None:
    def send(number: int, name: str, **params) -> None:
        message = {"jsonrpc": "2.0", "id": number, "method": name, "params": params}
        tool.stdin.write(json.dumps(message).encode() + b"\n")

    send(0, "initialize", protocolVersion=1, clientCapabilities={})
    await tool.stdout.readline()
    send(1, "authenticate", methodId=method)


@functools.cache
def _installed(provider: str, shared: Path) -> dict[str, str]:
    """Return what is mounted where, hashed once a run of the tests."""
    spec = _definitions().get(provider)
    mounts = {str(verify(spec, shared).folder): CLI_AT}
    return {**mounts, str(node(shared)): NODE_AT} if spec.needs_node else mounts


@functools.cache
def _definitions() -> Providers:
    return Providers.load()


@contextlib.contextmanager
def tool(provider: str, standin: StandInClient):
    """A provider's tool with a home of its own; skips where it is not installed."""
    spec = _definitions().get(provider)
    shared = place(Settings()).shared
    try:
        mounts = _installed(provider, shared)
    except OperatorError as error:
        pytest.skip(f"{provider} is not installed here: {error.message}")
    with tempfile.TemporaryDirectory(prefix="tool-", dir="/tmp") as root:
        yield Tool(spec, mounts, standin, Path(root))
