"""The state machine that Hypothesis drives: steps that several workers take, singly and at once, on one database.

After every step the whole database is looked at (`truth`). At the end of each run of steps time goes on past every
deadline and the workers do what their loops do: then nothing may be live, and no machine may be left.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import uvloop
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from antechamber.model import Owner
from antechamber.providers import Providers
from tests.contract.races.runs import ToldOfRuns
from tests.contract.races.truth import BrokenError, Rows, Truth
from tests.contract.races.workers import (
    ASKED,
    BIND_URL,
    BOUND,
    LONGEST,
    NOON,
    OWNERS,
    Place,
    Told,
    Worker,
    World,
    open_worker,
    outcome,
)
from tests.invariants import broken
from tests.opening import opened

T = TypeVar("T")
STEPS: Final = 40
"""Steps in one run, after which the database is emptied."""
WORKERS: Final = 3
NAMES: Final = tuple(asked.__name__ for asked in ASKED)
AT_ONCE: Final = (
    "connect",
    "replace",
    "open",
    "challenge",
    "bind",
    "come_back",
    "screen_seen",
    "again",
    "reject",
    "cancel",
    "delete",
    "capture",
)
AT_ONCE_TOO: Final = (
    "cli_ended",
    "sign_in_failed",
    "begin",
    "ready",
    "stop",
    "ended",
    "reattach",
    "time_out",
    "capture",
)
OF_RUNS: Final = (
    "run",
    "run",
    "run_begin",
    "run_works",
    "run_renewing",
    "run_renew",
    "run_exit",
    "run_cancel",
    "run_leave",
    "run_crash",
    "delete",
    "capture",
    "time_out",
)
FAR_OF_RUN: Final = ("run", "run_begin", "run_works", "run_renewing", "run_renew", "run_exit")
FAR: Final = (
    "connect",
    "begin",
    "ready",
    "open",
    "challenge",
    "bind",
    "come_back",
    "consent",
    "ticket",
    "screen_seen",
    "cli_ended",
    "again",
    "capture",
)
"""The way of a sign-in: so many steps of it bring it to a place that steps by chance would seldom reach."""
EVE_COMES: Final = (
    ("challenge", "bind_eve"),
    ("challenge", "bind", "come_back_elsewhere"),
    ("challenge", "open", "bind"),
    ("challenge", "bind", "connect", "open", "come_back"),
)
"""What somebody does who is not the owner, or has the owner's link: the last step beside others."""
HOUR: Final = timedelta(hours=1)

places = st.builds(
    Place, st.integers(0, WORKERS - 1), st.integers(0, len(OWNERS) - 1), st.sampled_from((0, 0, 0, 1, 2))
)
bursts = st.lists(st.tuples(st.sampled_from(AT_ONCE + AT_ONCE_TOO), places), min_size=2, max_size=5)
bursts_of_runs = st.lists(st.tuples(st.sampled_from(OF_RUNS), places), min_size=2, max_size=5)
paces = st.lists(st.integers(0, 12), min_size=1, max_size=6)
moments = st.sampled_from((-1, 0, 1)).map(lambda count: timedelta(microseconds=count))


class Bench:
    """One database with its workers, for one run of steps after another."""

    def __init__(self, fresh: Callable[[], str]) -> None:
        """`fresh` gives the URL of a new database with our tables and nothing in them."""
        self._fresh = fresh
        self._loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._providers = Providers.load()
        self._folder = tempfile.TemporaryDirectory(prefix="antechamber-races-")
        self._opened = 0
        self.workers: list[Worker] = []
        self.steps: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.runs = 0
        self.sound = False
        """Whether the last run ended well, so that its database can be emptied and used again."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    def begin(self) -> World:
        """Give an empty database."""
        self.runs += 1
        if self.sound:
            self._empty()
        else:
            self.end()
            self.world = World()
            self.url = self._fresh()
            self._opened += 1
            self.folder = Path(self._folder.name) / str(self._opened)
            self.folder.mkdir()
            self.rows = Rows(self.url)
            self.truth = Truth(self.rows)
            self.truth.seen = self.seen
            self.workers = [self.run(self._open()) for _ in range(WORKERS)]
            self.application = self.run(self.workers[0].signin.applications.add("Acme", bind_url=BIND_URL)).id
        self.world.application = self.application
        self.sound = False
        return self.world

    async def _open(self, node: str | None = None) -> Worker:
        return await open_worker(self.url, self.folder, self.world, self._providers, node=node)

    def _empty(self) -> None:
        # what has ended may be deleted; whatever has not would be refused here
        for table in ("destinations", "access", "idempotency_keys", "events", "machines", "runs", "auth_sessions"):
            self.rows.run(f"DELETE FROM {table}")  # noqa: S608 - our tables
        for table in ("credential_versions", "provider_credentials", "nodes"):
            self.rows.run(f"DELETE FROM {table}")  # noqa: S608 - our tables
        self.truth.forget()
        fresh = World()
        for name, value in vars(fresh).items():
            setattr(self.world, name, value)
        for worker in self.workers:
            worker.skew, worker.pace = timedelta(0), []
            self.run(worker.join())

    def restart(self, number: int) -> None:
        """Stop a worker and start it again as the same node."""

        async def again() -> None:
            old = self.workers[number]
            await old.store.close()
            new = await self._open(old.node)
            new.skew = old.skew
            self.workers[number] = new

        self.run(again())

    def end(self) -> None:
        for worker in self.workers:
            self.run(worker.store.close())
        if self.workers:
            self.rows.close()
        self.workers = []

    def close(self) -> None:
        self.end()
        self._loop.close()
        self._folder.cleanup()

    def said(self) -> str:
        """What was reached, for whoever reads the run's output."""
        lines = [f"{self.steps.total()} steps in {self.runs} runs, {self.outcomes.total()} things asked"]
        for title, counts in (("steps", self.steps), ("states", self.seen), ("answers", self.outcomes)):
            lines.append(f"{title}:")
            lines += [f"  {count:8} {name}" for name, count in sorted(counts.items())]
        return "\n".join(lines)


class Races(RuleBasedStateMachine):
    """One run of steps over the bench of its subclass."""

    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.bench.begin()
        self.stands = True

    # -- steps ---------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), place=places)
    def one(self, name: str, place: Place) -> None:
        self.step(f"one: {name}", [(name, place)])

    @rule(burst=bursts, pace=paces)
    def together(self, burst: list[tuple[str, Place]], pace: list[int]) -> None:
        self.step("together", burst, pace)

    @rule(place=places, burst=bursts, pace=paces, leaving=st.integers(0, 60))
    def a_caller_leaves(self, place: Place, burst: list[tuple[str, Place]], pace: list[int], leaving: int) -> None:
        self.step("a caller leaves", burst, pace, leaving=leaving)

    @rule(place=places, moment=moments, burst=bursts, pace=paces)
    def at_a_deadline(self, place: Place, moment: timedelta, burst: list[tuple[str, Place]], pace: list[int]) -> None:
        deadline = self.deadline(place)
        if deadline is not None:
            # to the worker's own clock; the others' may be an hour off
            self.world.at = deadline + moment - self.bench.workers[place.worker].skew
        self.step("at a deadline", [("time_out", place), ("capture", place), *burst], pace)

    @rule(place=places, far=st.integers(1, len(FAR)))
    def on_its_way(self, place: Place, far: int) -> None:
        for name in FAR[:far]:
            self.ask([(name, place)], [])
        self.step("on its way", [])

    @rule(worker=st.integers(0, WORKERS - 1), eve=st.sampled_from(EVE_COMES), burst=bursts, pace=paces)
    def somebody_else_comes(
        self, worker: int, eve: tuple[str, ...], burst: list[tuple[str, Place]], pace: list[int]
    ) -> None:
        """Bring a session that binds to where somebody else could get in, and have them try beside others."""
        place = Place(worker, OWNERS.index(BOUND), 0)
        for name in ("connect", "open", *eve[:-1]):
            self.ask([(name, place)], [])
        self.step("somebody else comes", [(eve[-1], place), ("consent", place), *burst], pace)

    @rule(burst=bursts_of_runs, pace=paces)
    def runs_together(self, burst: list[tuple[str, Place]], pace: list[int]) -> None:
        self.step("runs together", burst, pace)

    @rule(place=places, far=st.integers(1, len(FAR_OF_RUN)))
    def a_run_on_its_way(self, place: Place, far: int) -> None:
        """Have somebody sign in, if they have not, and their run come so far."""
        for name in FAR:
            self.ask([(name, place)], [])
        for name in FAR_OF_RUN[:far]:
            # who has the credential may be of any node, which alone begins its machine
            for worker in range(WORKERS) if name == "run_begin" else [place.worker]:
                self.ask([(name, Place(worker, place.owner, 0))], [])
        self.step("a run on its way", [])

    @rule(seconds=st.sampled_from((1, 9, 29, 61, 119, 599, 601, 4000)), place=places)
    def time_goes_on(self, seconds: int, place: Place) -> None:
        self.world.at += timedelta(seconds=seconds)
        self.step("time goes on", [(name, place) for name in ("time_out", "wind_down", "prune")])

    @rule(worker=st.integers(0, WORKERS - 1), hours=st.sampled_from((-1, 0, 0, 1)))
    def a_clock_jumps(self, worker: int, hours: int) -> None:
        self.bench.workers[worker].skew = hours * HOUR
        self.bench.workers[worker].clock()
        self.step("a clock jumps", [])

    @rule(worker=st.integers(0, WORKERS - 1), other=st.integers(0, WORKERS - 1), seconds=st.sampled_from((0, 31)))
    def a_node_is_given_up(self, worker: int, other: int, seconds: int) -> None:
        self.world.at += timedelta(seconds=seconds)
        node = self.bench.workers[other].node
        said = self.bench.run(outcome(self.bench.workers[worker].give_up(node)))
        self.bench.outcomes[f"give_up: {said}"] += 1
        self.step("a node is given up", [])

    @rule(worker=st.integers(0, WORKERS - 1), really=st.sampled_from((True, False, False, False)))
    def a_service_is_restarted(self, worker: int, really: bool) -> None:  # noqa: FBT001 - Hypothesis gives it by name
        if really:
            self.bench.restart(worker)
        self.step("a service is restarted", [("reattach", Place(worker, 0, 0)), ("beat", Place(worker, 0, 0))])

    # -- what they are made of -----------------------------------------------------------------------------------

    def step(
        self,
        name: str,
        asked: list[tuple[str, Place]],
        pace: list[int] | None = None,
        *,
        leaving: int | None = None,
    ) -> None:
        self.stands = False
        self.bench.steps[name] += 1
        self.ask(asked, pace or [], leaving=leaving)
        self.look()
        self.stands = True

    def ask(self, asked: list[tuple[str, Place]], pace: list[int], *, leaving: int | None = None) -> None:
        for number, worker in enumerate(self.bench.workers):
            worker.pace, worker.waited = pace[number:] + pace[:number], 0
        for (name, _), said in zip(asked, self.bench.run(_at_once(self.bench.workers, asked, leaving)), strict=True):
            self.bench.outcomes[f"{name}: {said}"] += 1

    def deadline(self, place: Place) -> datetime | None:
        session_id = self.world.session(place)
        for row in self.bench.rows.all()["auth_sessions"]:
            if row["id"] == session_id and row["expires_at"] is not None:
                return row["expires_at"]  # type: ignore[no-any-return]
        return None

    def look(self) -> None:
        tables = self.bench.truth.look(latest=self.world.latest, longest=LONGEST, pruned=self.world.pruned)
        wrong = list(_kept(self.world.told, tables, pruned=self.world.pruned))
        wrong += _kept_of_runs(self.world.told_of_runs, tables, pruned=self.world.pruned)
        if wrong:
            raise BrokenError("\n".join(wrong))

    def teardown(self) -> None:
        if not self.stands:
            return  # what was found wrong is told; the database is not used again
        self.bench.run(_to_quiet(self.bench.workers, self.world, self.bench.rows))
        self.look()
        tables = self.bench.rows.all()
        left = [row["id"] for row in tables["auth_sessions"] if row["ended_at"] is None]
        left += [row["id"] for row in tables["machines"] if row["ended_at"] is None]
        left += [row["id"] for name in ("runs", "leases") for row in tables[name] if row["ended_at"] is None]
        if left:
            raise BrokenError(f"these do not end: {left}")
        key = self.bench.folder / "key"
        faults = self.bench.run(broken(self.bench.url, key=key, settled=False, pruned=self.world.pruned))
        if faults:
            raise BrokenError("\n".join(faults))
        self.bench.run(_opens(self.bench.workers[0], self.world, tables))
        self.bench.sound = True


async def _at_once(workers: list[Worker], asked: list[tuple[str, Place]], leaving: int | None) -> list[str]:
    loop = asyncio.get_running_loop()
    work: list[asyncio.Task[str]] = []
    for name, place in asked:
        work.append(loop.create_task(_one_of_them(workers[place.worker], name, place)))
    if leaving is not None:
        for _ in range(leaving):
            await asyncio.sleep(0)
        work[0].cancel()
    answers = await asyncio.gather(*work, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, asyncio.CancelledError):
            raise answer
    return ["left" if isinstance(answer, BaseException) else answer for answer in answers]


async def _one_of_them(worker: Worker, name: str, place: Place) -> str:
    # whoever leaves before it has begun has not asked at all
    answer: Coroutine[Any, Any, str] = getattr(worker, name)(place)
    return await outcome(answer)


def _kept(told: Told, tables: dict[str, list[dict[str, Any]]], *, pruned: bool) -> list[str]:
    """Say what was answered and is not so; what was pruned is not there to be asked."""
    status = {row["id"]: row["status"] for row in tables["auth_sessions"]}
    alive = {row["id"] for row in tables["provider_credentials"] if row["deleted_at"] is None}
    wrong = []
    for promised, ids in (("completed", told.completed), ("cancelled", told.cancelled)):
        found = {one: status.get(one, promised if pruned else "not there") for one in ids}
        wrong += [f"{one} was told to be {promised} and is {now}" for one, now in found.items() if now != promised]
    wrong += [f"{one} was deleted and is there" for one in told.deleted & alive]
    wrong += [f"a ticket was redeemed {n} times" for n in told.redeemed.values() if n > 1]
    wrong += [f"{one} was opened {n} times" for one, n in told.opened.items() if n > 1]
    # one that has ended is not opened any more, and shows its end to whoever was bound
    shut = {row["id"] for row in tables["auth_sessions"] if row["opened_at"] is None and row["ended_at"] is None}
    wrong += [f"{one} was told to be let in, and nobody is" for one in told.let_in & shut]
    wrong += [f"somebody was let in to {one}, and nobody bound it" for one in told.let_in - told.bound]
    wrong += [f"{one} was started {n} times" for one, n in told.begun.items() if n > 1]
    return wrong


def _kept_of_runs(told: ToldOfRuns, tables: dict[str, list[dict[str, Any]]], *, pruned: bool) -> list[str]:
    status = {row["id"]: row["reason"] for row in tables["runs"]}
    found = {one: status.get(one, "cancelled" if pruned else "not there") for one in told.cancelled}
    wrong = [f"{one} was told to be cancelled and is {now}" for one, now in found.items() if now != "cancelled"]
    return wrong + [f"{one} was started {n} times" for one, n in told.begun.items() if n > 1]


async def _to_quiet(workers: list[Worker], world: World, rows: Rows) -> None:
    """Let time go on past every deadline, and each worker do what its loop does."""
    deadlines = [row["expires_at"] for name in ("auth_sessions", "machines", "runs") for row in rows.all()[name]]
    claims = [row["claimed_until"] for row in rows.all()["machines"]]
    world.at = max([world.at, world.latest, NOON, *filter(None, deadlines), *filter(None, claims)]) + 2 * HOUR
    for worker in workers:
        worker.pace = []
        await worker.time_out()
    for _ in range(30):
        if not rows.run(
            "SELECT id FROM machines WHERE ended_at IS NULL UNION SELECT id FROM runs WHERE ended_at IS NULL"
        ):
            return
        # a run that waited has its turn when the one before it has gone, and its own time from then on
        world.at += HOUR
        for worker in workers:
            await worker.time_out()
        for number, worker in enumerate(workers):
            await outcome(worker.begin(Place(number, 0, 2)))
            await worker.wind_down()


async def _opens(worker: Worker, world: World, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Each credential that is there holds what the machine of its version's session sent, and nobody else's."""
    by = {(row["credential_id"], row["version"]): row for row in tables["credential_versions"]}
    for row in tables["provider_credentials"]:
        if row["deleted_at"] is None:
            bundle = (await opened(worker.signin, Owner(row["user_id"], row["application"]), row["provider"])).decode()
            version = by[row["id"], row["version"]]
            marks = world.renewed[version["run_id"]] if version["run_id"] else world.written[version["session_id"]]
            if not any(mark in bundle for mark in marks):
                raise BrokenError(f"credential {row['id']} holds another one's file")


def drive(bench: Bench, *, number: int, runs: int, shrink: bool = False) -> None:
    """Take so many runs of steps, chosen by the seed; raises what was found, with the steps that lead to it."""
    machine = seed(number)(type("Races", (Races,), {"bench": bench}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        ),
    )
