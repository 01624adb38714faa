"""The service under test, one life after another; machines, rows and people outlive each of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from antechamber.tasks import Tasks
from tests.acceptance.crash.life import Order

ROOT = Path(__file__).parents[3]
READY_S = 120
DIES_S = 60


class Life:
    """One started service, as the harness hears of it."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pid = 0
        self.ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.dead = asyncio.Event()
        self.died_at: str | None = None
        self.stopped = False
        self.fault = ""


class Ears:
    """Where services say what they pass, and by which their death is heard."""

    def __init__(self, folder: Path) -> None:
        self.path = os.fspath(folder / "words.sock")
        self._tasks = Tasks("words")
        self.lives: dict[int, Life] = {}
        self.births = asyncio.Lock()
        """Held while somebody is being started whose pid is not known yet."""
        self.passed: Counter[str] = Counter()
        """In how many lives each point was passed."""
        self.killed_at: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._hears, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        for life in list(self.lives.values()):
            signalled(life, signal.SIGKILL)
            await life.dead.wait()
        self._server.close()
        await self._server.wait_closed()
        await self._tasks.close()

    def _hears(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn("words", self._hear(reader, writer))

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = json.loads(await reader.readline())
        async with self.births:
            life = self.lives[first["born"]]
        while line := await reader.readline():
            for word, said in json.loads(line).items():
                match word:
                    case "passed":
                        self.passed[said] += 1
                    case "died_at":
                        life.died_at = said
                        self.killed_at[said] += 1
                    case "ready":
                        life.ready.set_result(said)
                    case "fault":
                        life.fault = said
                    case "stopped":
                        life.stopped = True
        writer.close()
        life.ready.cancel()
        life.dead.set()
        del self.lives[life.pid]


class Nursery:
    """The process that forks services with scripted machines."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.acceptance.crash.nursery"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("ANTECHAMBER_")},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.stdin.close()
        await self._process.wait()

    async def start(self, *, world: str, log: Path, settings: dict[str, Any], host: Path, dies_at: Any = None) -> Life:
        """Start a service; it may die before it is ready."""
        life = Life(Order(self._ears.path, os.fspath(log), settings, os.fspath(host), dies_at, world))
        async with self._ears.births:
            self._process.stdin.write(json.dumps(asdict(life.order)).encode() + b"\n")
            life.pid = int(await self._process.stdout.readline())
            self._ears.lives[life.pid] = life
        return life


async def ended(life: Life, seconds: float = DIES_S) -> None:
    """Wait for the end of a life."""
    async with asyncio.timeout(seconds):
        await life.dead.wait()


def signalled(life: Life, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(life.pid, number)
