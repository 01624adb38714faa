"""A campaign: one installation, people who go on and on, and a service that is killed again and again.

Everything random comes from the seed. After the last kill one service lives until everybody is done, is stopped
cleanly, and then `tests.invariants` looks at what there is. What people do, and in what machines, says `scripted` or
`real`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from antechamber.control import Client
from antechamber.errors import OperatorError
from antechamber.points import Point
from antechamber.settings import Settings
from antechamber.tasks import Tasks
from tests import invariants
from tests.acceptance.crash.service import READY_S, Ears, Life, Nursery, ended, signalled
from tests.servers import free_port

if TYPE_CHECKING:
    from tests.acceptance.crash.person import Person

BIND_URL = "https://acme.example.test/bind"
LONG_PATIENCE_S = 60.0
"""For a point that was not passed so far."""
SETTLES_S = 60
SLACK = timedelta(seconds=0.05)


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
    again: int = 0
    """How often a tool that had given up was started again."""
    runs: Counter[str] = field(default_factory=Counter)
    """By the reason of their end."""
    renewals: int = 0
    """How many of what tools renewed was acknowledged."""
    burnt: int = 0
    """How often a machine died in the middle of a renewal."""
    folder: Path | None = None

    def __str__(self) -> str:
        at_points = sum(number for what, number in self.kills.items() if what.startswith("service at "))
        others = {what: number for what, number in self.kills.items() if not what.startswith("service at ")}
        ends = ", ".join(f"{number} {end}" for end, number in self.ends.most_common())
        runs = ", ".join(f"{number} {end}" for end, number in self.runs.most_common())
        return (
            f"seed {self.seed}: {self.kills.total()} kills (service {at_points}, {others}), {self.stops} clean stops; "
            f"{self.ends.total()} sessions: {ends}; {self.locked_out} spent links, {self.again} tools started again; "
            f"{self.runs.total()} runs: {runs}; {self.renewals} renewals, {self.burnt} cut short"
        )


class Campaign:
    """One installation under fire; `scripted` and `real` say in what machines."""

    world = "scripted"
    patience_s = 2.0
    """How long a point is waited for; then the service is killed where it is."""

    def __init__(self, folder: Path, url: str, seed: int, *, settings: dict[str, Any], points: Sequence[Point]) -> None:
        self.folder = folder
        self.url = url
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._points = points
        port = free_port()
        self._settings = Settings(**settings)
        self._given = {
            **settings,
            "world": "demo",
            "port": port,
            "data_dir": str(folder / "data"),
            "run_dir": str(folder / "run"),
            "database_url": url,
        }
        self.sign_in_base = f"http://localhost:{port}"
        self._base = f"http://127.0.0.1:{port}"
        self.transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=200))
        self.application = httpx.AsyncClient(base_url=self._base, timeout=20, transport=self.transport)
        self.report = Report(seed, folder=folder)
        self.faults = self.report.faults
        self._acme: str | None = None
        self._acme_asked = asyncio.Lock()
        self.acknowledged: dict[str, Person] = {}
        self.true_ends: dict[str, set[str]] = {}
        self.told: dict[str, tuple[str, str | None]] = {}
        """How sessions ended, as people were told."""
        self.captured: set[str] = set()
        self.refused: set[str] = set()
        self.erased: set[str] = set()
        """Labels of which everything is to be gone."""
        self.did_not_start: set[str] = set()
        """Machines whose start this campaign refused."""
        self.passed: Counter[str] = Counter()
        self._life: Life | None = None
        self._living = asyncio.Event()
        self.done = False

    # -- what a campaign of its own kind says

    def people(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Return what each person does until `done`."""
        raise NotImplementedError

    def kept(self) -> Collection[str]:
        """Return the machines that are there."""
        raise NotImplementedError

    async def opened(self) -> None:
        """Begin what lives as long as the campaign."""

    async def closed(self) -> None:
        """End it."""

    async def at_the_end(self) -> None:
        """Ask the last service what only a service can tell."""

    def before(self, kill: Any) -> None:
        """Prepare what the service about to start is to meet."""

    # -- what people ask for

    async def alive(self) -> Life:
        """Wait until a service is ready, and return it."""
        await self._living.wait()
        assert self._life is not None
        return self._life

    async def key_of_an_application(self) -> str:
        """Return the key of an application that binds, which the first who asks adds by the control socket."""
        async with self._acme_asked:
            while self._acme is None:
                life = await self.alive()
                client = Client(self.folder / "data" / "control.sock")
                try:
                    # a name of its own for each try: the answer to one before may have been lost
                    name = f"Acme {secrets.token_hex(4)}"
                    added = await client.call("applications.add", name=name, bind_url=BIND_URL)
                    scopes = ["sessions:write", "sessions:read"]
                    made = await client.call("api_keys.add", id=added["id"], name="key", scopes=scopes)
                    self._acme = made["secret"]
                except OperatorError:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await life.dead.wait()
            return self._acme

    def give_up(self) -> None:
        """Let nobody begin anything more: something is wrong already."""
        self.done = True

    # -- the course of it

    async def run(self, plan: Sequence[Any]) -> Report:
        """Go through the plan: `(point, number)` or seconds for an instant, or `stop`."""
        (self.folder / "run").mkdir()
        await self.opened()
        async with Ears(self.folder) as ears, Nursery(ears) as nursery, Tasks("people") as people:
            for number, person in enumerate(self.people()):
                people.spawn(f"person {number}", person)
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
        await self.closed()
        await self.application.aclose()
        await self._look()
        return self.report

    async def _begin(self, nursery: Nursery, dies_at: Any = None) -> Life:
        life = await nursery.start(
            world=self.world,
            log=self.folder / "log",
            settings=self._given,
            host=self.folder / "host.sock",
            dies_at=dies_at,
        )
        async with asyncio.timeout(READY_S):
            await asyncio.wait({life.ready})
        if not life.ready.cancelled():
            self.application.headers["Authorization"] = f"Bearer {life.ready.result()['token']}"
            self._life = life
            self._living.set()
        return life

    async def _one_life(self, nursery: Nursery, kill: Any, *, patience: float | None = None) -> None:
        at = kill if isinstance(kill, tuple) else None
        self.before(kill)
        life = await self._begin(nursery, at)
        if not life.dead.is_set():
            try:
                async with asyncio.timeout(kill if isinstance(kill, float) else patience or self.patience_s):
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
        if life.fault or (life.died_at is None and not life.stopped and kill == "stop"):
            self.faults.append(f"a service ended by itself: {life.fault}")

    async def _last_life(self, nursery: Nursery, people: Tasks) -> None:
        self.done = True
        self.before(None)
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
        await self.at_the_end()
        signalled(life, signal.SIGTERM)
        await ended(life)
        self.report.stops += 1
        if not life.stopped:
            self.faults.append(f"the last service did not stop cleanly: {life.fault}")

    async def _unsettled(self) -> bool:
        rows = await invariants.read(self.url)
        return any(row.ended_at is None for row in rows.machines.values()) or bool(self.kept())

    # -- the look at the end

    async def _look(self) -> None:
        rows = await invariants.read(self.url)
        self._times_that_ran_out(rows)
        for session_id in self.captured:
            self.true_ends[session_id] = {"completed"}
        self._what_is_erased(rows)
        for session_id in self.refused & self.captured:
            self.faults.append(f"{session_id} was acknowledged and refused")
        self.faults += await invariants.broken(
            self.url,
            key=self.folder / "data" / "key",
            run=self.folder / "run",
            data=self.folder / "data",
            true_ends=self.true_ends,
        )
        self.faults += [f"the machine {one} is still kept" for one in self.kept()]
        for session_id, told in self.told.items():
            row = rows.sessions.get(session_id)
            if row is not None and (row.status, row.reason) != told:
                self.faults.append(f"{session_id} was {told} first, and is {row.status} {row.reason} now")
        unknown = set(rows.sessions) - set(self.acknowledged)
        for session_id in unknown:
            # asked for by whoever heard no answer: the same key gave the same session, or another replaced it
            if rows.sessions[session_id].reason != "superseded":
                self.faults.append(f"{session_id} was asked for by nobody")
        for row in rows.sessions.values():
            self.report.ends[f"{row.status} {row.reason}" if row.reason else row.status] += 1
        self.report.runs.update(row.reason for row in rows.runs.values())
        self.faults += _crashes_in(self.folder / "log")

    def _what_is_erased(self, rows: invariants.Rows) -> None:
        """Demand nothing of sessions whose owner was erased, but that they are gone."""
        for session_id, person in self.acknowledged.items():
            if person.user in self.erased:
                self.true_ends.pop(session_id, None)
        left = [*rows.sessions.values(), *rows.credentials.values()]
        self.faults += [f"{row.id} is of somebody erased" for row in left if row.user_id in self.erased]
        self.report.ends["erased"] = len(self.erased)

    def _times_that_ran_out(self, rows: invariants.Rows) -> None:
        """Let a session have ended for lack of time where the rows' own times say so."""
        for row in rows.sessions.values():
            if row.id not in self.true_ends or row.ended_at is None:
                continue
            ends = self.true_ends[row.id]
            if row.machine_id in self.did_not_start:
                ends.add("machine_did_not_start")
            ready = [one.at for one in rows.told_of(row.id, machine=False) if one.kind == "machine_ready"]
            to_start = timedelta(seconds=self._settings.start_s) - SLACK
            if not ready and row.ended_at - row.created_at >= to_start:
                ends.add("machine_did_not_start")
            of_person = timedelta(seconds=self._settings.sign_in_s) - SLACK
            if row.screen_seen_at is not None and row.ended_at - row.screen_seen_at >= of_person:
                ends.add("sign_in_timed_out")
            came = timedelta(seconds=self._settings.nobody_came_s) - SLACK
            if row.screen_seen_at is None and ready and row.ended_at - ready[0] >= came:
                ends.add("nobody_came")


def _crashes_in(log: Path) -> list[str]:
    """Return the errors that no service should have logged, whatever was done to it."""
    bad = ("Traceback", '"level":"error"', '"level": "error"')
    known = ("machine did not start", "a campaign's", "fault of the campaign")
    lines = log.read_text(errors="replace").splitlines()
    return [line[:600] for line in lines if any(word in line for word in bad) and not any(one in line for one in known)]
