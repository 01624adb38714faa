"""A campaign: one installation, people who go on and on, and a service that is killed again and again.

Everything random comes from the seed. After the last kill one service lives until everybody is done, is stopped
cleanly, and then `tests.invariants` looks at what there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import tempfile
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from antechamber import assets
from antechamber.points import Point
from antechamber.store import file_url
from antechamber.tasks import Tasks, cancel_and_wait, spawn
from antechamber.testing.machine_host import HostedGuest, HostedMachines
from antechamber.testing.scripted_guest import SignInGuest
from tests import invariants
from tests.acceptance.crash.people import FATES, Ended, Person
from tests.acceptance.crash.service import READY_S, Ears, Life, Nursery, ended, signalled
from tests.integration.scene import PAGE_HOST

T = TypeVar("T")
OF_REAL_MACHINES = {
    Point.FOLDER_HALF_MADE,
    Point.FOLDER_MADE,
    Point.DOORS_OPEN,
    Point.KEEPER_STARTED,
    Point.FOLDER_HIDDEN,
}
OF_SHORT_TIMES = {Point.TIMING_OUT, Point.TIMED_OUT}
OFTEN = {Point.COMMITTING: 40, Point.COMMITTED: 40, Point.REPORT_RECEIVED: 8, Point.REPORT_TAKEN: 8}
"""Points that mean another boundary each time: up to which time they are chosen."""
ONCE = (Point.KEY_MADE,)
"""Passed only in an installation's first life."""
PATIENCE_S = 2.0
LONG_PATIENCE_S = 60.0
"""How long a point is waited for; then the service is killed where it is."""
INSTANT_S = 1.2
SETTLES_S = 60
SLACK = timedelta(seconds=0.05)

QUICK = {
    "sweep_s": 0.2,
    "grace_completed_s": 0.3,
    "grace_failed_s": 0.1,
    "egress_after_capture_s": 0.1,
    "last_look_s": 0.3,
    "stop_s": 5,
    "start_s": 600,
    "claim_s": 2,
    "nobody_came_s": 600,
    "sign_in_s": 600,
    "again_s": 600,
    "owner_starts_an_hour": 0,
    "starts_an_hour": 0,
}
SHORT = QUICK | {"nobody_came_s": 1.0, "sign_in_s": 1.5, "again_s": 0.7}


@dataclass
class Report:
    """What a campaign did."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    """By what was killed: `service at POINT`, `service at an instant`, `guest`, `keeper`."""
    stops: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    """By status and reason of the sessions."""
    states: Counter[str] = field(default_factory=Counter)
    """In which states sessions were when their service was killed."""
    faults: list[str] = field(default_factory=list)
    locked_out: int = 0
    folder: Path | None = None

    def __str__(self) -> str:
        at_points = sum(number for what, number in self.kills.items() if what.startswith("service at "))
        others = {what: number for what, number in self.kills.items() if not what.startswith("service at ")}
        ends = ", ".join(f"{number} {end}" for end, number in self.ends.most_common())
        return (
            f"seed {self.seed}: {self.kills.total()} kills (service {at_points}, {others}), {self.stops} clean stops; "
            f"{self.ends.total()} sessions: {ends}; {self.locked_out} spent links"
        )


class Campaign:
    """One installation under fire."""

    def __init__(
        self,
        folder: Path,
        url: str,
        seed: int,
        *,
        settings: dict[str, Any] = QUICK,
        fates: dict[str, int] = FATES,
        people: int = 5,
        points: Sequence[Point] = (),
    ) -> None:
        self._folder = folder
        self.url = url
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._fates = fates
        self._people = people
        self._points = points
        port = _free_port()
        self._settings = settings
        self._given = {
            **settings,
            "world": "demo",
            "port": port,
            "data_dir": str(folder / "data"),
            "run_dir": str(folder / "run"),
            "shared_dir": str(folder / "shared"),
            "database_url": url,
        }
        self.sign_in_base = f"http://localhost:{port}"
        self._base = f"http://127.0.0.1:{port}"
        self.transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=200))
        self.application = httpx.AsyncClient(base_url=self._base, timeout=20, transport=self.transport)
        self.report = Report(seed, folder=folder)
        self.faults = self.report.faults
        self.acknowledged: dict[str, Person] = {}
        self.true_ends: dict[str, set[str]] = {}
        self.captured: set[str] = set()
        self.refused: set[str] = set()
        self.guests: dict[str, SignInGuest] = {}
        self._incarnation_of: dict[SignInGuest, str] = {}
        self._over: dict[SignInGuest, asyncio.Event] = {}
        self._did_not_start: set[str] = set()
        self._refusing = False
        self._life: Life | None = None
        self._living = asyncio.Event()
        self._done = False
        self._machines = HostedMachines(folder / "host.sock", self._script, unclaimed_s=600, fault=self._fault)

    # -- what people ask for

    @property
    def locked_out(self) -> int:
        return self.report.locked_out

    @locked_out.setter
    def locked_out(self, number: int) -> None:
        self.report.locked_out = number

    async def alive(self) -> Life:
        """Wait until a service is ready, and return it."""
        await self._living.wait()
        assert self._life is not None
        return self._life

    async def while_it_runs(self, guest: SignInGuest, work: Coroutine[Any, Any, T]) -> T:
        """Return what a guest's program is told, unless its machine ends before; raises Ended then."""
        working = spawn("guest's word", work)
        over = spawn("machine's end", self._over[guest].wait())
        try:
            await asyncio.wait({working, over}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise Ended
        finally:
            await cancel_and_wait(working, over)

    def give_up(self) -> None:
        """Let nobody begin anything more: something is wrong already."""
        self._done = True

    def kill(self, session_id: str, guest: SignInGuest, *, keeper: bool) -> None:
        """Kill a machine, or its keeper, where it still runs."""
        incarnation = self._incarnation_of[guest]
        if incarnation not in self._machines.running():
            return
        self.report.kills["keeper" if keeper else "guest"] += 1
        (self._machines.kill_keeper if keeper else self._machines.kill)(incarnation)

    # -- machines

    async def _script(self, guest: HostedGuest) -> int:
        program = SignInGuest(build=assets.guest_build_id(), page_host=PAGE_HOST)
        self._incarnation_of[program] = guest.spec.incarnation
        over = self._over[program] = asyncio.Event()
        self.guests[guest.spec.machine_id] = program
        try:
            return await program(guest)
        finally:
            over.set()

    def _fault(self, machine_id: str) -> str | None:
        if not self._refusing:
            return None
        self._did_not_start.add(machine_id)
        return "the host has no room (a fault of the campaign's)"

    # -- the course of it

    async def run(self, plan: Sequence[Any]) -> Report:
        """Go through the plan: `(point, number)` or seconds for an instant, or `stop`."""
        (self._folder / "run").mkdir()
        await self._machines.serve()
        async with Ears(self._folder) as ears, Nursery(ears) as nursery, Tasks("people") as people:
            for number in range(self._people):
                people.spawn(f"person {number}", self._be(f"user-{number}"))
            for kill in plan:
                if self.faults:
                    break
                await self._one_life(nursery, kill)
            for point in self._points:
                if not ears.passed[point] and not self.faults:
                    # on a slow computer some were not waited for long enough
                    await self._one_life(nursery, (str(point), 1), patience=LONG_PATIENCE_S)
            await self._last_life(nursery, people)
            self.report.kills.update({f"service at {point}": n for point, n in ears.killed_at.items()})
            self.passed = ears.passed
        await self._machines.close()
        await self.application.aclose()
        await self._look()
        return self.report

    async def _be(self, user: str) -> None:
        fates, weights = list(self._fates), list(self._fates.values())
        while not self._done:
            (fate,) = self._chance.choices(fates, weights)
            await Person(self, user, fate, random.Random(self._chance.random())).live()  # noqa: S311 - as above

    async def _begin(self, nursery: Nursery, dies_at: Any = None) -> Life:
        life = await nursery.start(
            log=self._folder / "log", settings=self._given, host=self._folder / "host.sock", dies_at=dies_at
        )
        async with asyncio.timeout(READY_S):
            await asyncio.wait({life.ready})
        if not life.ready.cancelled():
            self.application.headers["Authorization"] = f"Bearer {life.ready.result()['token']}"
            self._life = life
            self._living.set()
        return life

    async def _one_life(self, nursery: Nursery, kill: Any, *, patience: float = PATIENCE_S) -> None:
        at = kill if isinstance(kill, tuple) else None
        self._refusing = at is not None and at[0] == Point.START_REFUSED
        life = await self._begin(nursery, at)
        if not life.dead.is_set():
            try:
                async with asyncio.timeout(kill if isinstance(kill, float) else patience):
                    await life.dead.wait()
            except TimeoutError:
                signalled(life, signal.SIGTERM if kill == "stop" else signal.SIGKILL)
                await ended(life)
                if kill == "stop":
                    self.report.stops += 1
                    if not life.stopped:
                        self.faults.append("a service that was asked to stop did not end cleanly")
                else:
                    self.report.kills["service at an instant"] += 1
        self._living.clear()
        self._refusing = False
        if life.fault or (life.died_at is None and not life.stopped and kill == "stop"):
            self.faults.append(f"a service ended by itself: {life.fault}")

    async def _last_life(self, nursery: Nursery, people: Tasks) -> None:
        self._done = True
        life = await self._begin(nursery)
        if life.dead.is_set():
            self.faults.append(f"the last service did not start: {life.fault}")
            return
        await people.drained()
        try:
            async with asyncio.timeout(SETTLES_S):
                while await self._unsettled():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.faults.append("machines did not end")
        signalled(life, signal.SIGTERM)
        await ended(life)
        self.report.stops += 1
        if not life.stopped:
            self.faults.append(f"the last service did not stop cleanly: {life.fault}")

    async def _unsettled(self) -> bool:
        rows = await invariants.read(self.url)
        return any(row.ended_at is None for row in rows.machines.values()) or bool(self._machines.kept())

    # -- the look at the end

    async def _look(self) -> None:
        rows = await invariants.read(self.url)
        self._times_that_ran_out(rows)
        for session_id in self.captured:
            self.true_ends[session_id] = {"completed"}
        for session_id in self.refused & self.captured:
            self.faults.append(f"{session_id} was acknowledged and refused")
        self.faults += await invariants.broken(
            self.url,
            key=self._folder / "data" / "key",
            run=self._folder / "run",
            data=self._folder / "data",
            true_ends=self.true_ends,
        )
        self.faults += [f"the machine {one} is still kept" for one in self._machines.kept()]
        unknown = set(rows.sessions) - set(self.acknowledged)
        for session_id in unknown:
            # asked for by whoever heard no answer: the same key gave the same session, or another replaced it
            if rows.sessions[session_id].reason != "superseded":
                self.faults.append(f"{session_id} was asked for by nobody")
        for row in rows.sessions.values():
            self.report.ends[f"{row.status} {row.reason}" if row.reason else row.status] += 1
        self.faults += _crashes_in(self._folder / "log")

    def _times_that_ran_out(self, rows: invariants.Rows) -> None:
        """Let a session have ended for lack of time where the rows' own times say so."""
        for row in rows.sessions.values():
            if row.id not in self.true_ends or row.ended_at is None:
                continue
            ends = self.true_ends[row.id]
            if row.machine_id in self._did_not_start:
                ends.add("machine_did_not_start")
            ready = [one.at for one in rows.told_of(row.id, machine=False) if one.kind == "machine_ready"]
            to_start = timedelta(seconds=self._settings["start_s"]) - SLACK
            if not ready and row.ended_at - row.created_at >= to_start:
                ends.add("machine_did_not_start")
            of_person = timedelta(seconds=self._settings["sign_in_s"]) - SLACK
            if row.screen_seen_at is not None and row.ended_at - row.screen_seen_at >= of_person:
                ends.add("sign_in_timed_out")
            came = timedelta(seconds=self._settings["nobody_came_s"]) - SLACK
            if row.screen_seen_at is None and ready and row.ended_at - ready[0] >= came:
                ends.add("nobody_came")


def _crashes_in(log: Path) -> list[str]:
    """Return the errors that no service should have logged, whatever was done to it."""
    bad = ("Traceback", '"level":"error"', '"level": "error"')
    known = ("machine did not start", "a campaign's", "fault of the campaign")
    lines = log.read_text(errors="replace").splitlines()
    return [line[:600] for line in lines if any(word in line for word in bad) and not any(one in line for one in known)]


def _free_port() -> int:
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        port: int = trying.getsockname()[1]
        return port


def plan(seed: int, kills: int, *, points: Sequence[Point]) -> list[Any]:
    """Return what is done to so many services: each point in turn, chance in between, and now and then a clean stop."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    found: list[Any] = [(str(point), 1) for point in points if point in ONCE]
    rest = [point for point in points if point not in ONCE]
    while len(found) < kills:
        chance.shuffle(rest)
        for point in rest:
            if point in {Point.ORPHAN_FOUND, Point.ORPHAN_ENDED, Point.ORPHAN_REAPED}:
                # what is left of a machine whose end is written is nobody's any more
                found.append((str(Point.END_WRITTEN), 1))
            found.append((str(point), chance.randint(1, OFTEN.get(point, 2))))
            if chance.random() < 0.3:
                found.append(chance.uniform(0.01, INSTANT_S))
    found = found[:kills]
    for _ in range(kills // 20):
        found.insert(chance.randrange(len(found)), "stop")
    return found


async def campaign(
    url: str | None, seed: int, kills: int, *, short: bool = False, keep: bool = False, every_point: bool = True
) -> Campaign:
    """Run one and return it; its folder is removed when nothing was wrong. Without a URL on SQLite."""
    folder = Path(tempfile.mkdtemp(prefix="acc-", dir="/tmp"))  # short, because sockets' paths are
    url = url or file_url(folder / "data" / "antechamber.db")
    more: dict[str, Any] = {}
    points = [point for point in Point if point not in OF_REAL_MACHINES | OF_SHORT_TIMES]
    if short:
        from tests.acceptance.crash.people import IN_TIME

        more = {"settings": SHORT, "fates": IN_TIME, "people": 4}
        points = [*OF_SHORT_TIMES, Point.COMMITTED, Point.COMMITTING, Point.STOP_WRITTEN]
    fight = Campaign(folder, url, seed, points=points if every_point else (), **more)
    await fight.run(plan(seed, kills, points=points))
    if not fight.faults and not keep:
        shutil.rmtree(folder)
    with contextlib.suppress(AttributeError):
        fight.report.folder = folder
    return fight
