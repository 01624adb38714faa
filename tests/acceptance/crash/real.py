"""A campaign with the vendors' own tools in namespace machines, and people who type in a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Collection, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from antechamber.control import Client
from antechamber.drivers.keepers import KeptFolder
from antechamber.points import Point
from antechamber.store import file_url
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing.practice import StandInClient
from antechamber.testing.rfb import RETURN, Screen
from tests.acceptance import processes
from tests.acceptance.crash.campaign import Campaign
from tests.acceptance.crash.person import AWAY, TERMINAL, Ended, Person
from tests.acceptance.crash.scripted import OF_REAL_MACHINES

OTHERS = (
    Point.BOOTING_WRITTEN,
    Point.MACHINE_STARTED,
    Point.DOORS_SERVED,
    Point.MACHINE_READY,
    Point.SESSION_READY,
    Point.TICKET_REDEEMED,
    Point.SCREEN_SEEN,
    Point.REPORT_RECEIVED,
    Point.SEALED,
    Point.CAPTURED,
    Point.REPORT_TAKEN,
    Point.ACKNOWLEDGED,
    Point.STOP_WRITTEN,
    Point.MACHINE_STOPPED,
    Point.END_WRITTEN,
)
"""What every sign-in passes; scripted machines are killed at all the others too."""
INSTANT_S = 8.0
LOOK_S = 0.05
F5 = 0xFFC2
SILENT_S = 3
"""When the vendor has shown nothing new for so long, what was typed was lost with the service: it is typed again."""
SETTINGS = {"grace_completed_s": 1, "grace_failed_s": 0.5, "owner_starts_an_hour": 0, "starts_an_hour": 0}
MACHINES_KILLED = ("guest", "keeper")


class Real(Campaign):
    """One installation with namespace machines: one person for each tool, so that its vendor's pages are theirs."""

    world = "practice"
    patience_s = 60.0

    def __init__(self, folder: Path, url: str, seed: int, providers: Sequence[str]) -> None:
        super().__init__(folder, url, seed, settings=SETTINGS, points=())
        self._run = folder / "run"
        self._data = folder / "data"
        self._providers = providers
        self.over: set[str] = set()
        """Sign-ins that the vendor has seen and that are nobody's any more."""

    def people(self) -> Sequence[Coroutine[Any, Any, None]]:
        return [self._be(provider) for provider in self._providers]

    async def _be(self, provider: str) -> None:
        fates = [*MACHINES_KILLED, "completes"]
        self.chance.shuffle(fates)
        # whatever it meets: one whose machine was killed, or whose link was lost, comes again and is signed in
        while fates or not self.done:
            fate = fates.pop() if fates else "completes"
            chance = random.Random(self.chance.random())  # noqa: S311 - to be repeated, not to be secret
            await RealPerson(self, f"{provider}-user", fate, chance, provider).live()
            if self.faults:
                return

    def kept(self) -> Collection[str]:
        return [path.name for path in self._run.iterdir()]

    async def standin(self) -> StandInClient:
        """Return the vendor, which outlives services."""
        await self.alive()
        found = await StandInClient.find(self._data / "stand-in")
        assert found is not None, "no practice vendor serves here"
        return found

    async def kill(self, machine_id: str, what: str) -> bool:
        """Kill a machine's first program or its keeper; False where there is none, now or yet."""
        for path in self._run.iterdir():
            with contextlib.suppress(OSError, ValueError, ProcessLookupError):
                if json.loads((path / "mark.json").read_bytes())["machine"] != machine_id:
                    continue
                keeper = await _keeper(KeptFolder(path))
                below = [one.pid for one in processes.below(keeper) if one.parent == keeper]
                if not below:
                    continue
                os.kill(keeper if what == "keeper" else below[0], signal.SIGKILL)
                self.report.kills[what] += 1
                return True
        return False

    def picture(self, session_id: str, png: bytes) -> None:
        """Keep a screen beside the log."""
        (self.folder / f"{session_id}.png").write_bytes(png)

    async def at_the_end(self) -> None:
        control = Client(self._data / "control.sock")
        for session_id, (status, _) in self.told.items():
            if status != "completed":
                continue
            person = self.acknowledged[session_id]
            verdict = await control.call("credentials.check", provider=person.provider, user_id=person.user)
            if not verdict["accepted"]:
                self.faults.append(f"{person.provider} does not accept what {session_id} captured: {verdict}")

    async def closed(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if (standin := await StandInClient.find(self._data / "stand-in")) is not None:
                await standin.stop()


async def _keeper(folder: KeptFolder) -> int:
    reader, writer = await asyncio.open_unix_connection(os.fspath(folder.control))
    try:
        writer.write(json.dumps({"op": "status", "secret": folder.secret.read_text()}).encode() + b"\n")
        return int(json.loads(await reader.readline())["keeper"])
    finally:
        writer.close()


class RealPerson(Person):
    """One person who types."""

    patience_s = 90.0

    def __init__(self, campaign: Real, user: str, fate: str, chance: random.Random, provider: str) -> None:
        super().__init__(campaign, user, fate, chance, provider)
        self._machines = campaign
        self._answers = {"email": f"{user}-DUMMY@example.com", "code": "123456", "consent": ""}
        self._sign_in = ""
        self._page = ""
        self._silences = 0
        self._screen_seen: Screen | None = None
        self._seen = 0

    async def _live(self) -> None:
        self._standin = await self._machines.standin()
        for beacon in await self._standin.beacons():
            self._seen = max(self._seen, beacon.n)
            if beacon.vendor == self.provider:
                self._machines.over.add(beacon.sign_in)
        try:
            await super()._live()
        except BaseException:
            # what they saw last says more than any word
            if self._screen_seen is not None and self._screen_seen.updates:
                self._machines.picture(self.session_id, self._screen_seen.png())
            raise
        finally:
            self._machines.over.add(self._sign_in)

    async def _ready(self) -> None:
        while (view := await self._view())["status"] != "awaiting_sign_in":
            if view["status"] in TERMINAL:
                raise Ended
            await asyncio.sleep(LOOK_S)

    # -- at the screen

    async def _sign_in_until(self, page: str | None) -> None:
        """Answer the vendor's pages until that one is shown, or the session has ended; look again where it is lost."""
        while True:
            screen = self._screen_seen = await self._screen()
            watching = spawn("screen", _watched(screen))
            try:
                while not watching.done():
                    if page == self._page:
                        return
                    await self._one_page(screen)
            except AWAY:
                pass
            finally:
                await cancel_and_wait(watching)
                with contextlib.suppress(*AWAY):
                    await screen.close()

    async def _one_page(self, screen: Screen) -> None:
        """Wait for the vendor's next page, or long enough, and do what it asks for.

        In the silence what was typed was lost with the service, or the browser shows an error, or the tool gave up: it
        is typed again, and the page loaded again, and the tool started again, as whoever sees that would do.
        """
        for _ in range(SILENT_S):
            new = await self._new_page()
            view = await self._view()
            if view["status"] in TERMINAL:
                raise Ended
            if new:
                self._page, self._silences = new, 0
                self._note(f"types on {new}")
                await self._type(screen)
                return
        self._silences += 1
        self._note(f"silence {self._silences} on {self._page}")
        if await self._gave_up():
            return
        if self._silences % 2:
            await self._type(screen)
        else:
            await screen.press(F5)
            await asyncio.sleep(LOOK_S)
            await screen.press(RETURN)  # yes, send it once more

    def _note(self, what: str) -> None:
        with (self._machines.folder / "people").open("a") as notes:
            notes.write(f"{datetime.now(UTC):%H:%M:%S.%f} {self.session_id} {self._sign_in} {what}\n")

    async def _gave_up(self) -> bool:
        page = await self.page(lambda browser: browser.session(self.session_id))
        if page["gave_up_at"] is None or page["terminal"]:
            return False
        self._may_end("cli_ended")
        self._machines.over.add(self._sign_in)
        # the vendor begins a sign-in of its own with the tool's next run
        self._sign_in = self._page = ""
        await self.page(lambda browser: browser.again(self.session_id, page["attempt"]))
        self._machines.report.again += 1
        return True

    async def _type(self, screen: Screen) -> None:
        if (text := self._answers.get(self._page)) is None:
            return
        if text:
            await screen.select_all()
            await screen.type(text)
        await screen.press(RETURN)

    async def _new_page(self) -> str:
        new = ""
        for beacon in await self._standin.beacons(after=self._seen, wait=1):
            self._seen = max(self._seen, beacon.n)
            if beacon.vendor != self.provider or beacon.sign_in in self._machines.over:
                continue
            self._note(f"is shown {beacon.page} of {beacon.sign_in}")
            self._sign_in = self._sign_in or beacon.sign_in
            if beacon.sign_in == self._sign_in:
                assert beacon.page != "error", "the vendor shows an error"
                new = beacon.page
        return new

    # -- the fates

    async def _completes(self) -> None:
        await self._open()
        await self._ready()
        self._may_end("completed")
        await self._sign_in_until(None)

    async def _guest(self) -> None:
        await self._killed("guest")

    async def _keeper(self) -> None:
        await self._killed("keeper")

    async def _killed(self, what: str) -> None:
        """Kill the machine in some phase of it."""
        phase = self._chance.choice(("booting", "ready", "email", "code"))
        await self._open()
        if phase != "booting":
            await self._ready()
        if phase in self._answers:
            await self._sign_in_until(phase)
        self._may_end("machine_ended", "machine_did_not_start")
        while not await self._machines.kill((await self._view())["machine"]["id"], what):
            if (await self._view())["status"] in TERMINAL:
                raise Ended
            await asyncio.sleep(LOOK_S)


async def _watched(screen: Screen) -> None:
    with contextlib.suppress(*AWAY):
        await screen.watch()


def plan(seed: int, kills: int) -> list[Any]:
    """Return what is done to so many services: each point that only a real machine has, then others and instants."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    found: list[Any] = [(str(point), 1) for point in sorted(OF_REAL_MACHINES)]
    others = list(OTHERS)
    while len(found) < kills:
        chance.shuffle(others)
        for point in others:
            found += [(str(point), 1), chance.uniform(0.5, INSTANT_S)]
    found = found[:kills]
    chance.shuffle(found)
    return found


async def campaign(url: str | None, seed: int, kills: int, providers: Sequence[str]) -> Real:
    """Run one and return it; its folder is removed when nothing was wrong. Without a URL on SQLite."""
    folder = Path(tempfile.mkdtemp(prefix="acr-", dir="/tmp"))  # short, because sockets' paths are
    folder.chmod(0o711)  # machines' uids pass through
    fight = Real(folder, url or file_url(folder / "data" / "antechamber.db"), seed, providers)
    machines = len(MACHINES_KILLED) * len(providers)
    await fight.run(plan(seed, kills - machines))
    if not fight.faults:
        shutil.rmtree(folder)
    return fight
