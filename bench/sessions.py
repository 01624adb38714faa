"""e and f: whole sessions beside the same SQL alone, and the same moves among a thousand and a million old ones."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import DEFAULT_APPLICATION, Claims, Fields, IdPrefix, Owner, Sealed, new_id
from antechamber.store import NewSession, Store
from bench.databases import Database, databases
from bench.figures import Figure, Size, Target, say
from bench.scripted import installation
from bench.statements import recorded

AT_ONCE = 16
ALONE = "the same SQL alone"
FEW, MANY = 1_000, 1_000_000
MOVE_RATIO = 1.2
NODE = new_id(IdPrefix.NODE)


async def whole(size: Size) -> list[Figure]:
    """e: take sessions through all their states, one after another and many at once."""
    figures = []
    with databases() as found:
        for database in found:
            rate = Figure(
                "e", f"sessions through all states, {AT_ONCE} at once, {database.name}", "sessions/s", peer=ALONE
            )
            lone = Figure("e", f"one session through all states, {database.name}", "ms", peer=ALONE)
            for turn in range(size.of(3)):
                say(f"e: {database.name}, {turn + 1}")
                await _whole(database, size, rate, lone)
            figures += [rate, lone]
    return figures


async def _whole(database: Database, size: Size, rate: Figure, lone: Figure) -> None:
    count, single = size.of(100, 4), size.of(10, 2)
    with tempfile.TemporaryDirectory(prefix="ac-bench-", dir="/tmp") as folder:
        async with installation(Path(folder), await database.fresh()) as scene:
            with recorded(scene.store) as transactions:
                begun = time.monotonic()
                await _at_once(scene.whole, count)
                rate.ours.append(count / (time.monotonic() - begun))
                many = list(transactions)
                for number in range(single):
                    begun = time.monotonic()
                    await scene.whole(f"lone-{number}")
                    lone.ours.append((time.monotonic() - begun) * 1000)
                one_by_one = transactions[len(many) :]
    fresh = await database.fresh()
    rate.theirs.append(count / await asyncio.to_thread(database.play, fresh, many))
    lone.theirs.append(await asyncio.to_thread(database.play, fresh, one_by_one) * 1000 / single)


async def _at_once(work: Callable[[str], Awaitable[None]], count: int) -> None:
    left = iter(range(count))

    async def some() -> None:
        for number in left:
            await work(f"user-{number}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


async def old(size: Size) -> list[Figure]:
    """f: the same moves, listings and passes with few and with many old sessions."""
    many, figures = size.of(MANY, 2_000), []
    with databases() as found:
        for database in found:
            stores: list[Store] = []
            try:
                for count in (many, FEW):
                    say(f"f: {count:,} old sessions, {database.name}")
                    url = await database.fresh()
                    await asyncio.to_thread(database.fill, url, count)
                    stores.append(await Store.open(url, world="demo"))
                    await stores[-1].nodes.join(NODE, name="bench", url=None, at=datetime.now(UTC))
                figures += await _old(stores[0], stores[1], f"among {many:,} old sessions, {database.name}", size)
            finally:
                for store in stores:
                    await store.close()
    return figures


async def _old(many: Store, few: Store, among: str, size: Size) -> list[Figure]:
    say(f"f: moves and listings {among}")
    peer = f"with {FEW:,}"
    move = Figure("f", f"a state move {among}", "ms", peer=peer, targets=(Target("ratio", MOVE_RATIO),))
    start, capture, page, owner, live, sweep = (
        Figure("f", f"{what} {among}", "ms", peer=peer)
        for what in (
            "a new session",
            "a capture",
            "the listing's first page",
            "one owner's listing",
            "the listing of live sessions",
            "the reconciler's pass",
        )
    )
    for number in range(size.of(150, 3)):
        # in turns also within a turn: whoever comes second finds everything warmer
        sides = ((many, "ours"), (few, "theirs"))
        for store, side in sides if number % 2 else reversed(sides):
            took = await _moves(store, number)
            getattr(start, side).append(took["start"])
            getattr(move, side).extend(took[name] for name in took if name.startswith("move"))
            getattr(capture, side).append(took["capture"])
            getattr(page, side).append(await _timed(store.sessions.list(limit=100)))
            getattr(owner, side).append(
                await _timed(store.sessions.list(user_id="user-7", application=DEFAULT_APPLICATION, limit=100))
            )
            getattr(live, side).append(await _timed(store.sessions.list(live=True, limit=100)))
            getattr(sweep, side).append(await _timed(_sweep(store)))
    return [move, start, capture, page, owner, live, sweep]


async def _sweep(store: Store) -> None:
    at = datetime.now(UTC)
    await store.machines.claim(NODE, driver="scripted", at=at, until=at + timedelta(minutes=1))
    await store.machines.not_ended(NODE)
    await store.sessions.due(datetime.now(UTC))


async def _moves(store: Store, number: int) -> dict[str, float]:
    """Take a session through its states by the store alone; return the milliseconds of each step."""
    at = datetime.now(UTC)
    new = NewSession(Owner(f"bench-{number}"), "codex", Fields(), "scripted", at + timedelta(minutes=1))
    begun = time.monotonic()
    session = (await store.sessions.create(new, at=at)).session
    took = {"start": (time.monotonic() - begun) * 1000}
    machine = await store.machines.of_session(session.id)
    if machine is None:
        raise RuntimeError(f"session {session.id} has no machine")
    await store.machines.claim(NODE, driver="scripted", at=at, until=at + timedelta(minutes=1))
    took["move to booting"] = await _timed(
        store.machines.begin(
            machine.id,
            incarnation=machine.incarnation,
            node=NODE,
            handle={"driver": "scripted"},
            host_uid=None,
            expires_at=at + timedelta(minutes=1),
            at=at,
        )
    )
    for fact in (SessionFact.MACHINE_BOOTING, SessionFact.MACHINE_READY):
        took[f"move {fact}"] = await _timed(
            store.sessions.apply(session.id, fact, at=at, expires_at=at + timedelta(minutes=1))
        )
    took["capture"] = await _timed(
        store.credentials.capture(
            session.id,
            credential_id=new_id(IdPrefix.CREDENTIAL),
            expected_version=0,
            sealed=Sealed(bytes(900), bytes(160), "key_00000001", 1),
            claims=Claims("bench@example.test", "plus", None),
            report_id=new_id(IdPrefix.REPORT),
            at=at,
        )
    )
    for ending in (MachineFact.STOP_ASKED, MachineFact.ENDED):
        took[f"move {ending}"] = await _timed(
            store.machines.apply(machine.id, ending, incarnation=machine.incarnation, at=at)
        )
    return took


async def _timed(work: Awaitable[object]) -> float:
    begun = time.monotonic()
    await work
    return (time.monotonic() - begun) * 1000
