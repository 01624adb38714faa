"""What is told of the store: each committed event once, by the service that wrote it, and how much is live."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from antechamber.errors import MachineError
from antechamber.lifecycle import Act, MachineFact, SessionFact
from antechamber.model import MachineState, SessionStatus
from antechamber.store import Store


@dataclass
class Listening:
    """Keeps what it is told."""

    recorded: list[Any] = field(default_factory=list)
    transactions: list[tuple[str, bool]] = field(default_factory=list)

    def committed(self, recorded):
        self.recorded.append(recorded)

    def transacted(self, kind, seconds, *, unavailable):
        assert seconds >= 0
        self.transactions.append((kind, unavailable))


@pytest.fixture
async def watched(prompt, store):
    """Return a second service on the same database, and who listens to it."""
    listening = Listening()
    other = await Store.open(prompt.url, world="demo", observer=listening)
    listening.transactions.clear()
    yield other, listening
    await other.close()


async def test_what_is_live_is_counted_and_what_has_ended_is_not(store, steps, noon):
    await steps.pending("ada", at=noon)
    await steps.pending("bob", at=noon + timedelta(seconds=5))
    await steps.awaiting("eve", "gemini")
    await steps.cancelled("dan")
    standing = await store.standing()

    assert standing.sessions == {
        ("codex", SessionStatus.PENDING): 2,
        ("gemini", SessionStatus.AWAITING_SIGN_IN): 1,
    }
    assert standing.machines == {MachineState.REQUESTED: (4, noon)}
    for session in await store.sessions.list():
        row = await steps.machine(session)
        await store.machines.apply(row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=noon)
    assert (await store.standing()).machines == {}


async def test_each_event_is_told_once_after_its_commit_to_the_service_that_wrote_it(watched, steps, noon):
    other, listening = watched
    session = await steps.awaiting()  # by the first service
    assert listening.recorded == []

    later = noon + timedelta(seconds=30)
    for _ in range(2):
        await other.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=later, expires_at=later)
    await other.sessions.apply(session.id, SessionFact.CANCELLED, at=later)
    row = await steps.machine(session)
    await other.machines.apply(row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=later)

    told = [(one.event.kind, one.act, one.since) for one in listening.recorded]
    assert told == [
        ("screen_seen", Act.NOTE, noon),
        ("cancelled", Act.MOVE, noon),
        ("stop_asked", Act.MOVE, noon),
    ]
    assert listening.recorded[1].session.status is SessionStatus.CANCELLED
    assert listening.recorded[2].machine.state is MachineState.GONE
    assert [kind for kind, unavailable in listening.transactions if unavailable] == []


async def test_what_is_rolled_back_is_never_told(watched, steps, noon):
    other, listening = watched
    session = await steps.pending()
    row = await steps.machine(session)
    with pytest.raises(MachineError):
        await other.machines.apply("mac_00000000000000000000", MachineFact.READY, incarnation=row.incarnation, at=noon)
    assert listening.recorded == []
    assert listening.transactions == [("write", False)]


async def test_an_observer_that_breaks_breaks_no_commit(prompt, store, steps, noon):
    class Broken(Listening):
        def committed(self, recorded):
            raise ZeroDivisionError

    other = await Store.open(prompt.url, world="demo", observer=Broken())
    try:
        session = await steps.pending()
        moved = await other.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)
    finally:
        await other.close()
    assert moved.session.status is SessionStatus.CANCELLED
    assert (await store.sessions.get(session.id)).status is SessionStatus.CANCELLED
