"""d: the relay's throughput and processor time beside websockify's, with the same client and the same far end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.far_end import KEY_BYTES, MARK, PIECE
from bench.figures import ROOT, Figure, Size, Target, say
from bench.processes import cpu_s

PEER = "websockify"
WEBSOCKIFY = Path(sys.prefix) / "peer/bin/websockify"
KEYS = 500
_ANSWER_S = 60.0
_STARTS_S = 20.0


@dataclass
class Relay:
    """A relay under test: where it listens, what its handshake takes, and whose processor time counts."""

    pid: int
    port: int
    path: str
    headers: dict[str, str]
    tickets: list[str]


def possible() -> str:
    """Return why this cannot be measured here, or nothing."""
    return "" if WEBSOCKIFY.exists() else "websockify is not there; `make .venv/.bench` installs it"


async def run(size: Size) -> list[Figure]:
    """Measure."""
    return await asyncio.to_thread(_run, size)


def _run(size: Size) -> list[Figure]:
    mib, turns, keys = size.of(384, 64), size.of(5), size.of(KEYS, 20)
    down = _throughput("to the page")
    up = _throughput("to the machine")
    down_cpu, up_cpu = _cost("to the page"), _cost("to the machine")
    echo = Figure("d", "a key there and back through the relay", "ms", peer=PEER)
    with tempfile.TemporaryDirectory(prefix="ac-relay-", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        far_end = folder / "far.sock"
        stack.enter_context(_far_end(far_end))
        ours, theirs = stack.enter_context(_ours(folder, far_end)), stack.enter_context(_theirs(far_end))
        for relay in (ours, theirs):  # the first time imports, connects and writes that the screen was seen
            _bulk(relay, "down", 8)
            _bulk(relay, "up", 8)
        for turn in range(turns):
            say(f"d: {mib} MiB each way, {turn + 1}")
            for relay, side in ((theirs, "theirs"), (ours, "ours")):
                for way, speed, cost in (("down", down, down_cpu), ("up", up, up_cpu)):
                    took, spent = _bulk(relay, way, mib)
                    getattr(speed, side).append(mib / took)
                    getattr(cost, side).append(spent * 1000 / mib)
                getattr(echo, side).extend(_echo(relay, keys // turns + 1))
    return [down, up, down_cpu, up_cpu, echo]


def _throughput(way: str) -> Figure:
    return Figure("d", f"relay throughput {way}", "MiB/s", peer=PEER, targets=(Target("ratio", 1, at_least=True),))


def _cost(way: str) -> Figure:
    return Figure("d", f"relay processor time {way}", "ms/MiB", peer=PEER, targets=(Target("ratio", 1),))


@contextlib.contextmanager
def _started(command: list[str], *, first_line: bool) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline() if first_line else b""
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextlib.contextmanager
def _far_end(path: Path) -> Iterator[None]:
    with _started([sys.executable, "-m", "bench.far_end", str(path)], first_line=True):
        yield


@contextlib.contextmanager
def _ours(folder: Path, far_end: Path) -> Iterator[Relay]:
    command = [sys.executable, "-m", "bench.relay_service", str(folder), str(far_end)]
    with _started(command, first_line=True) as (process, line):
        told: dict[str, Any] = json.loads(line)
        headers = {"Cookie": told["cookie"], "Origin": told["origin"]}
        yield Relay(process.pid, int(told["port"]), told["path"], headers, told["tickets"])


@contextlib.contextmanager
def _theirs(far_end: Path) -> Iterator[Relay]:
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        port = trying.getsockname()[1]
    command = [str(WEBSOCKIFY), f"--unix-target={far_end}", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _STARTS_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield Relay(process.pid, port, "/", {}, [])
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def _page(relay: Relay) -> Iterator[socket.socket]:
    """Give a WebSocket on a plain socket (RFC 6455): a library's client would be the bottleneck."""
    with socket.create_connection(("127.0.0.1", relay.port), _ANSWER_S) as page:
        page.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        offers = "binary" + (f", ticket.{relay.tickets.pop()}" if relay.tickets else "")
        lines = {
            "Host": f"localhost:{relay.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": offers,
            **relay.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        page.sendall(f"GET {relay.path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            received = page.recv(1)
            if not received:
                break
            answer += received
        if not answer.startswith(b"HTTP/1.1 101"):
            raise ConnectionRefusedError(answer.decode(errors="replace"))
        yield page


def _frame(payload: bytes) -> bytes:
    """Return a binary message as a browser sends it, masked."""
    length = len(payload)
    head = bytes((0x82,))
    if length < 126:
        head += bytes((0x80 | length,))
    elif length < 2**16:
        head += struct.pack(">BH", 0x80 | 126, length)
    else:
        head += struct.pack(">BQ", 0x80 | 127, length)
    mask = secrets.token_bytes(4)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def _bulk(relay: Relay, way: str, mib: int) -> tuple[float, float]:
    """Move so much one way; return its seconds and the relay's seconds of processor time."""
    frame = _frame(os.urandom(PIECE))
    with _page(relay) as page:
        page.sendall(_frame(f"{way} {mib}\n".encode()))
        before, begun = cpu_s(relay.pid), time.monotonic()
        if way == "up":
            for _ in range(mib * 2**20 // PIECE):
                page.sendall(frame)
        _until_mark(page)
        took = time.monotonic() - begun
        return took, cpu_s(relay.pid) - before


def _until_mark(page: socket.socket) -> None:
    """Read until the far end's mark: the last bytes that it sends."""
    piece = bytearray(2**18)
    last = b""
    while not last.endswith(MARK):
        count = page.recv_into(piece)
        if not count:
            raise EOFError
        last = (last + bytes(piece[max(0, count - len(MARK)) : count]))[-len(MARK) :]


def _echo(relay: Relay, count: int) -> list[float]:
    """Send so many keys, each when the one before has come back; return the milliseconds of each."""
    took = []
    frame = _frame(b"\x04\x01\0\0\0\0\0A")
    with _page(relay) as page:
        page.sendall(_frame(b"echo\n"))
        for _ in range(count):
            begun = time.monotonic()
            page.sendall(frame)
            left = KEY_BYTES + 2  # an unmasked frame of so few bytes has a head of two
            while left:
                received = page.recv(left)
                if not received:
                    raise EOFError
                left -= len(received)
            took.append((time.monotonic() - begun) * 1000)
    return took
