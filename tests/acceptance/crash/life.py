"""One life of a service: the program that is killed, and armed so that it is killed where it hurts most.

`run` serves until it dies. What it passes, that it is ready and that it stopped cleanly it says on a socket of the
harness, which also hears of its death by the end of that connection. Nothing in `antechamber` can arm a point by
itself: this program does, before it serves.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from antechamber import app, demo, log, points, tasks
from antechamber.egress import Resolution, World
from antechamber.errors import OperatorError
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Stream
from antechamber.points import Point
from antechamber.providers.install import Installed
from antechamber.settings import Settings
from antechamber.testing.hosted import HostedDriver

UIDS = range(3_000_000, 3_000_200)
"""Claimed in the rows, and nothing runs as any of them."""


@dataclass(frozen=True)
class Order:
    """What a life is told before it begins."""

    words: str
    """The harness's socket for what the service says of itself."""
    log: str
    settings: dict[str, Any] = field(default_factory=dict)
    host: str = ""
    """The socket of the machines' host."""
    dies_at: tuple[str, int] | None = None
    """The point at which it kills itself, and at the how-manieth time."""
    world: str = "scripted"
    """`scripted` machines, or `practice`: the namespace machines of the demo with the vendors' own tools."""


class Words:
    """Says things to the harness, from any thread; each point once."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lock = threading.Lock()
        self._passed: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(order.words)
        self.say(born=os.getpid())

    def say(self, **words: Any) -> None:
        self._socket.sendall(json.dumps(words).encode() + b"\n")

    def reached(self, point: Point) -> None:
        """Say that a point was passed, and die there when it is this one's turn."""
        with self._lock:
            self._passed[point] += 1
            number = self._passed[point]
            if number == 1:
                self.say(passed=point)
            if self._order.dies_at == (point, number):
                self.say(died_at=point)
                os.kill(os.getpid(), signal.SIGKILL)


def armed(order: Order) -> Words:
    """Have every point tell the harness."""
    words = Words(order)
    points.arm(words.reached)
    return words


class _OneAddress:
    async def resolve(self, name: str) -> Resolution:
        return Resolution(EgressAnswer.OK, (ip_address("9.9.9.9"),))


class _Echo:
    """Connects to nothing: whatever is sent comes back."""

    def __init__(self) -> None:
        self._tasks = tasks.Tasks("echo")

    async def connect(self, address: object, port: int, name: str) -> Stream:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)

        async def echo() -> None:
            try:
                while received := await reader.read(65536):
                    writer.write(received)
            except OSError:
                pass
            finally:
                writer.close()

        self._tasks.spawn("connection", echo())
        return Stream(*await asyncio.open_connection(sock=ours))


async def tools_of_nobody(providers: Any, places: Any) -> app.Tools:
    """Say that every tool lies here: nothing of a scripted machine reads it."""
    nowhere = Installed(Path("/nonexistent"), "scripted", "0" * 64)
    return app.Tools({spec.id: nowhere for spec in providers.all()}, {spec.id: () for spec in providers.all()})


def run(order: Order) -> None:
    """Serve until told to stop, or killed."""
    words = armed(order)
    log.configure("INFO")
    settings = Settings(**order.settings)

    def drivers(_: Settings, places: Any, installation: str, node: str) -> list[HostedDriver]:
        return [HostedDriver(Path(order.host), places.run, installation=installation, node=node, uids=UIDS)]

    def ready(said: app.Ready) -> None:
        words.say(ready={"base": said.dashboard_url, "sign_in": said.sign_in_url, "token": said.token.reveal()})

    try:
        if order.world == "practice":
            tasks.run(demo.serve(settings, ready))
        else:
            world = World("demo", _OneAddress(), _Echo())
            tasks.run(app.run(settings, world, ready, drivers=drivers, look=tools_of_nobody))
    except OperatorError as error:
        words.say(fault=f"{error.code}: {error} {error.detail}")
    else:
        words.say(stopped=True)
