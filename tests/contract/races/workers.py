"""Several services on one database, without their machines: what each does is asked of it, one transaction or more.

Each has a store, use cases and a clock of its own. Before every statement it lets the others go on for a few turns,
as many as its pace says: so a seed leads to one order of statements in this process, and on PostgreSQL, where the
transactions are truly at once, to orders that no plain run meets.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import event
from sqlalchemy.util import await_only

from antechamber.errors import CallerError, Code, MachineError, ProviderError
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import (
    AuthSession,
    GuestText,
    IdPrefix,
    MachineState,
    Owner,
    Reason,
    Secret,
    SessionStatus,
    new_cookie,
    new_id,
)
from antechamber.providers import CapturedFile, Providers
from antechamber.runs import Runs
from antechamber.settings import Settings
from antechamber.signin import SignIn, StartRequest
from antechamber.store import Kept, Store
from antechamber.vault import Vault
from tests.contract.races.runs import RunSteps, ToldOfRuns
from tests.opening import BY
from tests.providers.samples import CODEX, dummy

T = TypeVar("T")
NOON: Final = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
OWNERS: Final = ("ada", "grace", "lin")
BOUND: Final = "lin"
"""Of an application that says whose browser opened a link; the others are the operator's own."""
BIND_URL: Final = "https://acme.example.test/bind"
EVE: Final = "eve"
"""Another user of that application."""
SETTINGS: Final = Settings(world="demo")
LONGEST: Final = max(
    SETTINGS.duration(name) for name in ("start", "nobody_came", "sign_in", "again", "stop", "run", "run_wait")
) + SETTINGS.duration("stop")
UIDS: Final = 3
"""Host uids of a node: so few that they run out."""
REFUSALS: Final = frozenset(
    {
        Code.ALREADY_OPEN,
        Code.BIND_OTHER_PERSON,
        Code.CAPTURE_REFUSED,
        Code.CHALLENGE_NOT_VALID,
        Code.CLI_RUNS,
        Code.CONSENT_NEEDED,
        Code.CREDENTIAL_NOT_FOUND,
        Code.IDEMPOTENCY_MISMATCH,
        Code.LINK_NOT_VALID,
        Code.MACHINE_ENDED,
        Code.NODE_NOT_FOUND,
        Code.NODE_SERVES,
        Code.NOT_REJECTABLE,
        Code.NOT_SIGNED_IN,
        Code.RETURN_NOT_VALID,
        Code.SCREEN_NOT_READY,
        Code.SESSION_ENDED,
        Code.SESSION_NOT_FOUND,
        Code.CREDENTIAL_NOT_USABLE,
        Code.RUN_ENDED,
        Code.RUN_NOT_FOUND,
        Code.WRITE_BACK_REFUSED,
        Code.TICKET_NOT_VALID,
    }
)
"""What may be answered when somebody else was first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whom something is asked, and about whom: a worker, an owner, and how many of the owner's sessions ago."""

    worker: int
    owner: int
    ago: int


@dataclass
class Told:
    """What was answered: it must be in the database from then on."""

    completed: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    redeemed: Counter[Secret] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    """Of each machine, how often somebody was told that it may be started."""
    deleted: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    """Sessions of which the application has said that their owner sits at a browser."""
    let_in: set[str] = field(default_factory=set)
    """Of these, the ones to which a browser has come back."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a browser was sent to the application with, or is to come back with."""

    browser: Secret
    """The cookie of the browser that was sent."""
    secret: Secret


class World:
    """What the workers share besides the database: what time it is, and what has been said."""

    def __init__(self) -> None:
        self.at = NOON
        self.latest = NOON
        """The latest time that any clock has said."""
        self.sessions: dict[str, list[str]] = {owner: [] for owner in OWNERS}
        self.links: dict[str, list[Secret]] = {}
        self.tickets: dict[str, list[Secret]] = {}
        self.application = ""
        """The one that binds."""
        self.browsers: dict[str, list[Secret]] = {}
        """Of each session that binds, the cookies that browsers have got, in whatever way."""
        self.challenges: dict[str, list[Sent]] = {}
        self.ways_back: dict[str, list[Sent]] = {}
        self.told = Told()
        self.pruned = False
        self.marks = itertools.count(1)
        self.written: dict[str, set[str]] = {}
        """Of each session, the refresh tokens of the files that its machine sent."""
        self.runs: dict[str, list[str]] = {}
        self.renewed: dict[str, set[str]] = {}
        """Of each run, the same."""
        self.told_of_runs = ToldOfRuns()

    def owner(self, place: Place) -> Owner:
        word = OWNERS[place.owner]
        return Owner(word, self.application) if word == BOUND else Owner(word)

    def session(self, place: Place) -> str | None:
        known = self.sessions[OWNERS[place.owner]]
        return known[-1 - min(place.ago, len(known) - 1)] if known else None


class Worker:
    """One service."""

    def __init__(
        self, store: Store, vault: Vault, world: World, providers: Providers, *, node: str | None = None
    ) -> None:
        self.store = store
        self.world = world
        self.node = node or new_id(IdPrefix.NODE)
        self.skew = timedelta(0)
        self.pace: list[int] = []
        self.waited = 0
        self.signin = SignIn(
            store=store,
            vault=vault,
            providers=providers,
            settings=SETTINGS,
            driver="scripted",
            require=lambda _: None,
            clock=self.clock,
        )
        self.settings = SETTINGS
        self.runs = Runs(
            store=store,
            vault=vault,
            signin=self.signin,
            providers=providers,
            settings=SETTINGS,
            driver="scripted",
            node=self.node,
        )
        self.of_runs = RunSteps(self, OWNERS)
        engine = store._database._engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._let_others_go_on)
        event.listen(engine, "commit", self._let_others_go_on)

    def clock(self) -> datetime:
        at = self.world.at + self.skew
        self.world.latest = max(self.world.latest, at)
        return at

    def _let_others_go_on(self, *_: object) -> None:
        if self.pace:
            turns = self.pace[self.waited % len(self.pace)]
            self.waited += 1
            await_only(_turns(turns))

    # -- people and callers ------------------------------------------------------------------------------------------

    async def connect(self, place: Place, *, replace: bool = False, key: str | None = None) -> str:
        owner = OWNERS[place.owner]
        of = self.world.owner(place)
        request = StartRequest(user_id=of.user_id, provider="codex", replace=replace, application=of.application)
        started = await self.signin.start(request, idempotency_key=key, caller="tests")
        session_id = started.session.id
        if session_id not in self.world.sessions[owner]:
            self.world.sessions[owner].append(session_id)
        if started.link is not None:
            self.world.links.setdefault(session_id, []).append(started.link)
        return "created" if started.created else f"answered with {started.session.status}"

    async def replace(self, place: Place) -> str:
        return await self.connect(place, replace=True)

    async def connect_with_a_key(self, place: Place) -> str:
        return await self.connect(place, key=f"key {place.owner} {place.ago}")

    async def open(self, place: Place) -> str:
        session_id = self._session_id(place)
        links = self.world.links.get(session_id, [])
        link = links[-1 - min(place.ago, len(links) - 1)] if links else Secret("DUMMY link")
        cookie = await self.signin.open(session_id, link)
        if OWNERS[place.owner] == BOUND:
            # with each fresh link another browser, and none of them sees anything yet
            self.world.browsers.setdefault(session_id, []).append(cookie)
            return "to be bound"
        self.world.told.opened[session_id] += 1
        return "opened"

    async def challenge(self, place: Place) -> str:
        """Be sent to the application: the browser that opened the link last, or one of before."""
        session_id = self._session_id(place)
        browser = self._browser(session_id, place.ago)
        way = await self.signin.binding.way(session_id, [browser])
        asked = parse_qs(urlsplit(way.url.reveal()).query)
        self.world.challenges.setdefault(session_id, []).append(Sent(browser, Secret(asked["challenge"][0])))
        return "given"

    async def bind(self, place: Place) -> str:
        return await self._bind(place, self.world.owner(place).user_id)

    async def bind_eve(self, place: Place) -> str:
        """Have the application say that somebody else sits at that browser."""
        said = await self._bind(place, EVE)
        raise AssertionError(said)

    async def _bind(self, place: Place, user_id: str) -> str:
        session_id = self._session_id(place)
        sent = _latest(self.world.challenges.get(session_id, []), place.ago) or Sent(Secret("DUMMY"), Secret("DUMMY"))
        way_back = await self.signin.binding.bind(session_id, user_id=user_id, challenge=sent.secret)
        self.world.told.bound.add(session_id)
        self.world.ways_back.setdefault(session_id, []).append(Sent(sent.browser, way_back))
        return "bound"

    async def come_back(self, place: Place) -> str:
        session_id = self._session_id(place)
        sent = _latest(self.world.ways_back.get(session_id, []), place.ago) or Sent(Secret("DUMMY"), Secret("DUMMY"))
        cookie = await self.signin.binding.come_back(session_id, sent.secret, [sent.browser])
        self.world.browsers[session_id].append(cookie)
        self.world.told.let_in.add(session_id)
        return "let in"

    async def come_back_elsewhere(self, place: Place) -> str:
        """Have another browser come with the way back: one that was sent for another person, or had an earlier link."""
        session_id = self._session_id(place)
        sent = _latest(self.world.ways_back.get(session_id, []), place.ago) or Sent(Secret("DUMMY"), Secret("DUMMY"))
        others = [one for cookies in self.world.browsers.values() for one in cookies if one != sent.browser]
        said = await self.signin.binding.come_back(session_id, sent.secret, [*others[-3:], new_cookie()])
        raise AssertionError(said)

    async def consent(self, place: Place) -> str:
        return (await self.signin.consent(await self._seen_by_a_browser(place))).status

    async def ticket(self, place: Place) -> str:
        session_id = await self._seen_by_a_browser(place)
        ticket = await self.signin.ticket(session_id)
        self.world.tickets.setdefault(session_id, []).append(ticket.secret)
        return "given"

    async def redeem(self, place: Place) -> str:
        session_id = self._session_id(place)
        given = self.world.tickets.get(session_id)
        ticket = given[-1] if given else Secret("DUMMY ticket")
        await self.signin.redeem_ticket(session_id, ticket)
        self.world.told.redeemed[ticket] += 1
        return "redeemed"

    async def screen_seen(self, place: Place) -> str:
        await self.signin.screen_seen(await self._seen_by_a_browser(place))
        return "said"

    async def again(self, place: Place) -> str:
        session = await self._session(place)
        return f"run {(await self.signin.again(session.id, session.attempt)).attempt}"

    async def success_shown(self, place: Place) -> str:
        return (await self.signin.success_shown(await self._seen_by_a_browser(place))).status

    async def reject(self, place: Place) -> str:
        return (await self.signin.reject(await self._seen_by_a_browser(place))).status

    async def cancel(self, place: Place) -> str:
        session_id = self._session_id(place)
        session = await self.signin.cancel(session_id, by_person=bool(place.ago))
        self.world.told.cancelled.add(session_id)
        return session.status

    async def delete(self, place: Place) -> str:
        of = self.world.owner(place)
        found = await self.signin.credentials(of.user_id, of.application)
        if not found:
            return "nothing"
        deleted = await self.signin.delete_credential(found[0].id, by=BY)
        self.world.told.deleted.add(deleted.id)
        return "deleted"

    # -- machines ----------------------------------------------------------------------------------------------------

    async def capture(self, place: Place) -> str:
        session = await self._session(place)
        number = next(self.world.marks)
        mark = dummy(f"refresh-{number}")
        document = {**CODEX, "tokens": {**CODEX["tokens"], "refresh_token": mark}}
        self.world.written.setdefault(session.id, set()).add(mark)
        # by no worker's clock: the machine's may have gone there and back meanwhile
        written_at = self.world.at + timedelta(hours=number % 5 - 2)
        file = CapturedFile(json.dumps(document).encode(), int(written_at.timestamp() * 1e9))
        await self.signin.capture(session.id, session.machine_id, new_id(IdPrefix.REPORT), {"credential": file})
        self.world.told.completed.add(session.id)
        return "stored"

    async def unusable(self, place: Place) -> str:
        session = await self._session(place)
        file = CapturedFile(b"{}", int(self.clock().timestamp() * 1e9))
        try:
            await self.signin.capture(session.id, session.machine_id, new_id(IdPrefix.REPORT), {"credential": file})
        except ProviderError as error:
            return str(error.code)
        return "repeated"

    async def cli_ended(self, place: Place) -> str:
        session = await self._session(place)
        after = await self.signin.cli_ended(
            session.id, session.attempt, [GuestText("no")], reason=Reason.CLI_ENDED, detail="exit code 1", code=1
        )
        return f"{after.status}, gave up: {after.gave_up_at is not None}"

    async def terminal_asks(self, place: Place) -> str:
        return await self._say(place, SessionFact.TERMINAL_ASKS, within="sign_in")

    async def sign_in_failed(self, place: Place) -> str:
        return await self._say(place, SessionFact.SIGN_IN_FAILED, reason=Reason.MACHINE_BROKEN)

    async def begin(self, place: Place) -> str:
        """Give up what nobody waits for, then claim and begin what is requested, as loop and attendant do."""
        at = self.clock()
        await self.store.machines.withdraw(at)
        claimed = await self.store.machines.claim(
            self.node, driver="scripted", at=at, until=at + SETTINGS.duration("claim"), limit=1 + place.ago
        )
        mine = [
            row
            for row in await self.store.machines.not_ended(self.node)
            if row.state is MachineState.REQUESTED and row.session_id is not None
        ]
        outcome = f"claimed {len(claimed)}"
        for row in mine[: 1 + place.ago]:
            session = await self.signin.session(row.session_id or "")
            if session.status.terminal or session.expires_at is None:
                await self._machine(row.id, MachineFact.STOP_ASKED)
                continue
            taken = await self.store.machines.taken_uids(self.node)
            uid = 200_001 + (len(taken) + place.ago) % UIDS
            begun = await self.store.machines.begin(
                row.id,
                incarnation=row.incarnation,
                node=self.node,
                handle={"machine": row.id},
                host_uid=uid,
                expires_at=session.expires_at + SETTINGS.duration("stop"),
                at=self.clock(),
            )
            if begun is None:
                outcome = "no uid"
                continue
            self.world.told.begun[row.id] += 1
            await self._apply(session.id, SessionFact.MACHINE_BOOTING, expires_at=session.expires_at)
            outcome = "begun"
        return outcome

    async def ready(self, place: Place) -> str:
        session = await self._session(place)
        machine = await self._machine(session.machine_id, MachineFact.READY)
        if machine is MachineState.READY:
            return (await self._apply(session.id, SessionFact.MACHINE_READY, within="nobody_came")).status
        return f"machine {machine}"

    async def stop(self, place: Place) -> str:
        return await self._machine((await self._session(place)).machine_id, MachineFact.STOP_ASKED)

    async def slow_to_stop(self, place: Place) -> str:
        return await self._machine((await self._session(place)).machine_id, MachineFact.TIME_RAN_OUT)

    async def ended(self, place: Place) -> str:
        session = await self._session(place)
        state = await self._machine(session.machine_id, MachineFact.ENDED)
        return f"{state}, {(await self._apply(session.id, SessionFact.MACHINE_ENDED)).status}"

    async def did_not_start(self, place: Place) -> str:
        return await self._say(place, SessionFact.START_FAILED)

    async def reattach(self, place: Place) -> str:
        """Say of each of this node's machines again what its row says, as a service does that was started anew."""
        again = 0
        for row in await self.store.machines.not_ended(self.node):
            if row.session_id is None or row.state is MachineState.REQUESTED:
                continue
            session = await self.signin.session(row.session_id)
            if session.status is SessionStatus.PENDING:
                await self._apply(session.id, SessionFact.MACHINE_BOOTING, expires_at=session.expires_at)
            if session.status is SessionStatus.STARTING and row.state is MachineState.READY:
                await self._apply(session.id, SessionFact.MACHINE_READY, within="nobody_came")
            if session.status.terminal:
                await self._machine(row.id, MachineFact.STOP_ASKED)
            again += 1
        return f"found {min(again, 3)}"

    # -- runs, see `RunSteps` -----------------------------------------------------------------------------------------

    async def run(self, place: Place) -> str:
        return await self.of_runs.start(place)

    async def run_begin(self, place: Place) -> str:
        return await self.of_runs.begin(place)

    async def run_works(self, place: Place) -> str:
        return await self.of_runs.works(place)

    async def run_renewing(self, place: Place) -> str:
        return await self.of_runs.renewing(place)

    async def run_renew(self, place: Place) -> str:
        return await self.of_runs.renew(place)

    async def run_exit(self, place: Place) -> str:
        return await self.of_runs.exit(place)

    async def run_cancel(self, place: Place) -> str:
        return await self.of_runs.cancel(place)

    async def run_leave(self, place: Place) -> str:
        return await self.of_runs.leave(place)

    async def run_crash(self, place: Place) -> str:
        return await self.of_runs.crash(place)

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def time_out(self, place: Place | None = None) -> str:
        ended = 0
        for session in await self.store.sessions.due(self.clock()):
            ended += (await self.store.sessions.time_out(session.id, at=self.clock())).status.terminal
        await self.of_runs.time_out()
        return "ended" if ended else "nothing was due"

    async def wind_down(self, place: Place | None = None) -> str:
        """End every machine whose session has ended, or that has no time left, as its attendant does."""
        ended = 0
        await self.of_runs.wind_down()
        for row in await self.store.machines.not_ended(self.node):
            if row.session_id is None:
                continue
            session = await self.signin.session(row.session_id)
            if not session.status.terminal:
                continue
            if await self._machine(row.id, MachineFact.STOP_ASKED) is MachineState.STOPPING:
                await self._machine(row.id, MachineFact.ENDED)
            await self._apply(session.id, SessionFact.MACHINE_ENDED)
            ended += 1
        return "ended" if ended else "nothing"

    async def beat(self, place: Place) -> str:
        if not await self.store.nodes.seen(self.node, at=self.clock()):
            await self.join()
            return "joined again"
        return "seen"

    async def join(self) -> None:
        await self.store.nodes.join(self.node, name=self.node, url=None, at=self.clock())

    async def prune(self, place: Place) -> str:
        return await self._pruned(SETTINGS.duration("events_kept"))

    async def retire(self, place: Place) -> str:
        """Prune as where what has ended is kept for minutes only, so that it goes while others still ask for it."""
        self.world.pruned = True
        return await self._pruned(timedelta(minutes=1 + place.ago))

    async def _pruned(self, events_kept: timedelta) -> str:
        kept = Kept(
            idempotency_keys=SETTINGS.duration("idempotency_kept"),
            destinations=SETTINGS.duration("destinations_kept"),
            events=events_kept,
        )
        pruned = await self.store.retention.prune(self.clock(), kept)
        return "sessions" if pruned.sessions else "some" if pruned else "nothing"

    async def give_up(self, node: str) -> str:
        """Give up another node, as `antechamber nodes forget` does."""
        await self.store.nodes.away(node, at=self.clock())
        for row in await self.store.machines.not_ended(node):
            if row.state is not MachineState.REQUESTED:
                await self._machine(row.id, MachineFact.ENDED)
                if row.session_id is not None:
                    await self._apply(row.session_id, SessionFact.MACHINE_ENDED)
        for run_id in await self.store.runs.of_node(node):
            await self.runs.caller_gone(run_id)
        await self.store.nodes.forget(node, at=self.clock())
        return "forgotten"

    # -- what they are made of ---------------------------------------------------------------------------------------

    def _session_id(self, place: Place) -> str:
        return self.world.session(place) or new_id(IdPrefix.SESSION)

    def _browser(self, session_id: str, ago: int) -> Secret:
        return _latest(self.world.browsers.get(session_id, []), ago) or Secret("DUMMY cookie")

    async def _seen_by_a_browser(self, place: Place) -> str:
        """Return the session's id; where it binds, for a browser that the wall lets pass, of all that had a cookie."""
        session_id = self._session_id(place)
        if OWNERS[place.owner] == BOUND:
            await self.signin.session(session_id)
            if not await self.signin.holds_cookie(session_id, self._browser(session_id, place.ago)):
                raise CallerError(Code.NOT_SIGNED_IN)
        return session_id

    async def _session(self, place: Place) -> AuthSession:
        return await self.signin.session(self._session_id(place))

    async def _say(self, place: Place, fact: SessionFact, **more: Any) -> str:
        return (await self._apply(self._session_id(place), fact, **more)).status

    async def _apply(
        self, session_id: str, fact: SessionFact, *, within: str | None = None, **more: Any
    ) -> AuthSession:
        at = self.clock()
        if within is not None:
            more["expires_at"] = at + SETTINGS.duration(within)
        return (await self.store.sessions.apply(session_id, fact, at=at, **more)).session

    async def _machine(self, machine_id: str, fact: MachineFact) -> MachineState:
        row = await self.store.machines.get(machine_id)
        if row is None:
            raise MachineError(Code.MACHINE_ENDED)
        at = self.clock()
        stopping = fact in {MachineFact.STOP_ASKED, MachineFact.TIME_RAN_OUT}
        after, _ = await self.store.machines.apply(
            machine_id,
            fact,
            incarnation=row.incarnation,
            at=at,
            expires_at=at + SETTINGS.duration("stop") if stopping else None,
            exit_code=1 if fact is MachineFact.ENDED else None,
        )
        return after.state


def _latest(given: Sequence[T], ago: int) -> T | None:
    return given[-1 - min(ago, len(given) - 1)] if given else None


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def outcome(asked: Awaitable[str]) -> str:
    """Return what was answered, or the code of the refusal; anything else that is raised is a defect."""
    try:
        return str(await asked)
    except (CallerError, MachineError) as error:
        if error.code not in REFUSALS:
            raise
        return str(error.code)


async def open_worker(url: str, folder: Path, world: World, providers: Providers, *, node: str | None = None) -> Worker:
    store = await Store.open(url, world="demo")
    known = await store.key_id()
    vault = Vault.open(folder / "key", known_key_id=known, has_rows=await store.has_sealed_rows())
    await store.set_key_id(vault.key_id)
    worker = Worker(store, vault, world, providers, node=node)
    await worker.join()
    return worker


ASKED: Final[tuple[Callable[[Worker, Place], Awaitable[str]], ...]] = (
    Worker.connect,
    Worker.replace,
    Worker.connect_with_a_key,
    Worker.open,
    Worker.challenge,
    Worker.bind,
    Worker.bind_eve,
    Worker.come_back,
    Worker.come_back_elsewhere,
    Worker.consent,
    Worker.ticket,
    Worker.redeem,
    Worker.screen_seen,
    Worker.again,
    Worker.success_shown,
    Worker.reject,
    Worker.cancel,
    Worker.delete,
    Worker.capture,
    Worker.unusable,
    Worker.cli_ended,
    Worker.terminal_asks,
    Worker.sign_in_failed,
    Worker.begin,
    Worker.ready,
    Worker.stop,
    Worker.slow_to_stop,
    Worker.ended,
    Worker.did_not_start,
    Worker.run,
    Worker.run_begin,
    Worker.run_works,
    Worker.run_renewing,
    Worker.run_renew,
    Worker.run_exit,
    Worker.run_cancel,
    Worker.run_leave,
    Worker.run_crash,
    Worker.reattach,
    Worker.time_out,
    Worker.wind_down,
    Worker.beat,
    Worker.prune,
    Worker.retire,
)
"""Everything that can be asked of a worker about a place; `give_up` is about another worker."""
