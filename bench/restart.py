"""g: a killed service started again: a hundred scripted sessions held again, and a person's own screen back.

Each time runs from the start of the interpreter. `held` is the moment at which the last of the hundred machines' guests
speaks with the service again and the pages are served. The machines' folders lie in memory, as `/run` does on a host:
on a disk each of their three hundred sockets would wait for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from tests.acceptance.crash.life import Order
from tests.acceptance.crash.service import ROOT, Ears, Life, ended, signalled
from tests.acceptance.person import Person
from tests.acceptance.service import Service
from tests.integration.scene import PAGE_HOST

from antechamber import assets
from antechamber.store import file_url
from antechamber.testing.machine_host import HostedGuest, HostedMachines
from antechamber.testing.scripted_guest import SignInGuest
from bench.figures import Figure, Size, Target, say

LIVE = 100
HELD_S = 2.0
SCREEN_S = 3.0
EMPTY = "a start with nothing to find again"
_AT_ONCE = 10
_ENDS_S = 120.0
_LOOK_S = 0.005


async def run(size: Size) -> list[Figure]:
    """Measure both."""
    return [await _held(size), await _screen(size)]


class Scripted:
    """A service in a fresh process each time, and machines that outlive it."""

    def __init__(self, folder: Path, run: Path, ears: Ears) -> None:
        self._folder = folder
        self._ears = ears
        self._guests: list[SignInGuest] = []
        self.machines = HostedMachines(folder / "host.sock", self._script)
        with socket.socket() as trying:
            trying.bind(("127.0.0.1", 0))
            port = trying.getsockname()[1]
        self._settings = {
            "world": "demo",
            "port": port,
            "data_dir": str(folder / "data"),
            "run_dir": str(run),
            "shared_dir": str(folder / "shared"),
            "database_url": file_url(folder / "data" / "antechamber.db"),
        }

    async def _script(self, guest: HostedGuest) -> int:
        program = SignInGuest(build=assets.guest_build_id(), page_host=PAGE_HOST)
        self._guests.append(program)
        return await program(guest)

    async def start(self) -> Life:
        """Start a service and wait until it is ready."""
        order = Order(
            self._ears.path, os.fspath(self._folder / "log"), self._settings, os.fspath(self._folder / "host.sock")
        )
        life = Life(order)
        with (self._folder / "log").open("ab") as log:
            async with self._ears.births:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.acceptance.crash.alone", json.dumps(asdict(order))),
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                )
                life.pid = process.pid
                self._ears.lives[life.pid] = life
        await asyncio.wait_for(asyncio.shield(life.ready), _ENDS_S)
        self._process = process
        return life

    async def kill(self, life: Life) -> None:
        """Kill it, and see the guests lose it."""
        signalled(life, signal.SIGKILL)
        await ended(life)
        await self._process.wait()
        await self._until(lambda: not any(self._spoken_with()))

    async def held(self) -> None:
        """Wait until every guest is spoken with."""
        await self._until(lambda: all(self._spoken_with()))

    def _spoken_with(self) -> list[bool]:
        return [guest.link is not None and guest.link.connected for guest in self._guests]

    async def _until(self, look: Any) -> None:
        async with asyncio.timeout(_ENDS_S):
            while not look():
                await asyncio.sleep(_LOOK_S)

    async def fill(self, life: Life, count: int) -> None:
        """Have so many sessions that wait for their person."""
        told = life.ready.result()
        turns = asyncio.Semaphore(_AT_ONCE)
        headers = {"Authorization": f"Bearer {told['token']}"}
        async with httpx.AsyncClient(base_url=told["base"], headers=headers, timeout=60, trust_env=False) as client:

            async def one(number: int) -> None:
                async with turns:
                    body = {"user_id": f"user-{number}", "provider": "codex"}
                    session = (
                        (await client.post("/api/auth/session", json=body)).raise_for_status().json()["session_id"]
                    )
                    while True:
                        view = (await client.get(f"/api/auth/session/{session}?wait=5")).raise_for_status().json()
                        if view["status"] == "awaiting_sign_in":
                            return
                        if view["terminal"]:
                            raise RuntimeError(f"a session ended: {view['reason']}")

            async with asyncio.timeout(_ENDS_S), asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(one(number))


async def _held(size: Size) -> Figure:
    live = size.of(LIVE, 4)
    say(f"g: {live} scripted sessions")
    figure = Figure(
        "g",
        f"a killed service until it holds {live} live sessions again",
        "s",
        peer=EMPTY,
        targets=(Target("median", HELD_S),),
    )
    folder, run = (Path(tempfile.mkdtemp(prefix="acb-", dir=place)) for place in ("/tmp", "/dev/shm"))
    async with Ears(folder) as ears:
        scripted = Scripted(folder, run, ears)
        await scripted.machines.serve()
        await scripted.kill(await scripted.start())
        for _ in range(size.of(5, 1)):
            begun = time.monotonic()
            life = await scripted.start()
            figure.theirs.append(time.monotonic() - begun)
            await scripted.kill(life)
        life = await scripted.start()
        await scripted.fill(life, live)
        for _ in range(size.of(5, 1)):
            await scripted.kill(life)
            begun = time.monotonic()
            life = await scripted.start()
            await scripted.held()
            figure.ours.append(time.monotonic() - begun)
        await scripted.kill(life)
        await scripted.machines.close()
    shutil.rmtree(folder)
    shutil.rmtree(run)
    return figure


async def _screen(size: Size) -> Figure:
    say("g: a person's screen")
    figure = Figure(
        "g",
        "a killed service until its person sees the screen again, codex",
        "s",
        peer=EMPTY,
        targets=(Target("median", SCREEN_S),),
    )
    service = Service()
    try:
        await service.start()
        for _ in range(size.of(3, 1)):
            await service.end(signal.SIGKILL)
            begun = time.monotonic()
            await service.start()
            figure.theirs.append(time.monotonic() - begun)
        async with Person(service, "codex") as person:
            await person.to_the_code()
            for _ in range(size.of(5, 1)):
                await service.end(signal.SIGKILL)
                begun = time.monotonic()
                await service.start()
                await person.look()
                figure.ours.append(time.monotonic() - begun)
            await person.from_the_code()
            if (status := await person.ended()) != "completed":
                raise RuntimeError(f"the sign-in ended as {status}")
    finally:
        await service.remove()
    return figure
