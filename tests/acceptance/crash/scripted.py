"""A campaign with scripted machines: they live in the harness, so that they outlive a service as real ones do."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from antechamber import assets, control
from antechamber.machine import Door
from antechamber.model import SealIdentity
from antechamber.points import Point
from antechamber.store import file_url
from antechamber.store.dialect import dialect_of
from antechamber.store.rows import credential_of, sealed_of
from antechamber.store.schema import credentials, machines, runs
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing.machine_host import HostedGuest, HostedMachines
from antechamber.testing.scripted_guest import SignInGuest
from antechamber.vault import Vault
from tests import invariants
from tests.acceptance.crash.campaign import Campaign
from tests.acceptance.crash.people import FATES, IN_TIME, Ended, ScriptedPerson
from tests.acceptance.crash.work import Worker, what_it_is
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
INSTANT_S = 1.2

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
    # a run's caller goes with the service that it spoke with
    "run_caller_s": 0.5,
    "run_kept_s": 0.2,
    "run_finish_s": 5,
    "run_wait_s": 600,
    "owner_starts_an_hour": 0,
    "starts_an_hour": 0,
}
SHORT = QUICK | {"nobody_came_s": 1.0, "sign_in_s": 1.5, "again_s": 0.7}


class Scripted(Campaign):
    """One installation with scripted machines."""

    def __init__(
        self,
        folder: Path,
        url: str,
        seed: int,
        *,
        settings: dict[str, Any] = QUICK,
        fates: dict[str, int] = FATES,
        number: int = 5,
        points: Sequence[Point] = (),
    ) -> None:
        super().__init__(folder, url, seed, settings=settings | {"shared_dir": str(folder / "shared")}, points=points)
        self._fates = fates
        self._number = number
        self.guests: dict[str, SignInGuest] = {}
        self.workers: dict[str, Worker] = {}
        self.control = control.Client(folder / "data" / control.SOCKET_NAME)
        self._dialect = dialect_of(url)
        self._engine = self._dialect.engine()
        self._incarnation_of: dict[SignInGuest | Worker, str] = {}
        self._over: dict[SignInGuest | Worker, asyncio.Event] = {}
        self._refusing = False
        self._machines = HostedMachines(folder / "host.sock", self._script, unclaimed_s=600, fault=self._fault)

    async def rows_of(self, run_id: str) -> tuple[Any, Any, Any]:
        """Return a run's row, its machine's, and its credential's; None for what is not there."""
        async with self._dialect.reading(self._engine) as connection:
            run = (await connection.execute(select(runs).where(runs.c.id == run_id))).one()
            machine = await connection.execute(select(machines).where(machines.c.id == run.machine_id))
            stored = await connection.execute(select(credentials).where(credentials.c.id == run.credential_id))
            return run, machine.one_or_none(), stored.one_or_none()

    async def stored_number(self, user: str) -> int | None:
        """Return of which renewal what is stored of somebody is, as the vault's key opens it; None without any."""
        rows = await invariants.read(self.url)
        vault = Vault.open(self.folder / "data" / "key", known_key_id=rows.key_id, has_rows=True)
        for row in rows.credentials.values():
            if row.user_id == user and row.deleted_at is None:
                owner = credential_of(row).owner
                identity = SealIdentity.of(rows.installation, owner, row.provider, row.id, row.version)
                files = json.loads(vault.unseal(sealed_of(row), identity))["files"]
                return what_it_is(files["credential"]["content"])[1]
        return None

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

    def kill(self, guest: SignInGuest | Worker, *, keeper: bool) -> None:
        """Kill a machine, or its keeper, where it still runs."""
        incarnation = self._incarnation_of[guest]
        if incarnation not in self._machines.running():
            return
        self.report.kills["keeper" if keeper else "guest"] += 1
        (self._machines.kill_keeper if keeper else self._machines.kill)(incarnation)

    # -- what a campaign asks

    def people(self) -> Sequence[Coroutine[Any, Any, None]]:
        return [self._be(f"user-{number}") for number in range(self._number)]

    async def _be(self, user: str) -> None:
        fates, weights = list(self._fates), list(self._fates.values())
        while not self.done:
            (fate,) = self.chance.choices(fates, weights)
            chance = random.Random(self.chance.random())  # noqa: S311 - to be repeated, not to be secret
            await ScriptedPerson(self, user, fate, chance).live()

    def kept(self) -> Collection[str]:
        return self._machines.kept()

    async def opened(self) -> None:
        await self._machines.serve()

    async def closed(self) -> None:
        await self._machines.close()
        await self._engine.dispose()

    def before(self, kill: Any) -> None:
        self._refusing = isinstance(kill, tuple) and kill[0] == Point.START_REFUSED

    # -- machines

    async def _script(self, guest: HostedGuest) -> int:
        program: SignInGuest | Worker
        if Door.SCREEN in guest.spec.doors:
            program = self.guests[guest.spec.machine_id] = SignInGuest(
                build=assets.guest_build_id(), page_host=PAGE_HOST
            )
        else:
            program = self.workers[guest.spec.machine_id] = Worker(
                self.report, self.chance.random(), build=assets.guest_build_id()
            )
        self._incarnation_of[program] = guest.spec.incarnation
        over = self._over[program] = asyncio.Event()
        try:
            return await program(guest)
        finally:
            over.set()

    def _fault(self, machine_id: str) -> str | None:
        if not self._refusing:
            return None
        self.did_not_start.add(machine_id)
        return "the host has no room (a fault of the campaign's)"


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
) -> Scripted:
    """Run one and return it; its folder is removed when nothing was wrong. Without a URL on SQLite."""
    folder = Path(tempfile.mkdtemp(prefix="acc-", dir="/tmp"))  # short, because sockets' paths are
    url = url or file_url(folder / "data" / "antechamber.db")
    more: dict[str, Any] = {}
    points = [point for point in Point if point not in OF_REAL_MACHINES | OF_SHORT_TIMES]
    if short:
        more = {"settings": SHORT, "fates": IN_TIME, "number": 4}
        points = [*OF_SHORT_TIMES, Point.COMMITTED, Point.COMMITTING, Point.STOP_WRITTEN]
    fight = Scripted(folder, url, seed, points=points if every_point else (), **more)
    await fight.run(plan(seed, kills, points=points))
    if not fight.faults and not keep:
        shutil.rmtree(folder)
    return fight
