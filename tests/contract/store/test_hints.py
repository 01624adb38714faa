from __future__ import annotations

import pytest

from antechamber.errors import CallerError
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.store import MACHINES, SESSIONS, session_topic


async def test_a_move_wakes_those_who_watch_the_session_or_all_sessions(store, steps, noon):
    session, other = await steps.pending("ada"), await steps.pending("bob")
    with (
        store.changes.watch(session_topic(session.id)) as of_session,
        store.changes.watch(session_topic(other.id)) as of_other,
        store.changes.watch(SESSIONS, MACHINES) as of_all,
    ):
        await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)
        assert await of_session.wait(0.01)
        assert await of_all.wait(0.01)
        assert not await of_other.wait(0.01)


async def test_f015_what_is_hinted_is_committed_already(store, steps, noon):
    session = await steps.pending()
    with store.changes.watch(session_topic(session.id)) as changed:
        task = steps.store.sessions.apply(session.id, SessionFact.MACHINE_BOOTING, at=noon)
        await task
        assert await changed.wait(0.01)
        assert (await store.sessions.get(session.id)).status == "starting"


async def test_a_machines_move_wakes_its_sessions_watchers_too(store, steps, noon):
    session = await steps.pending()
    with (
        store.changes.watch(session_topic(session.id)) as of_session,
        store.changes.watch(MACHINES) as of_machines,
    ):
        await steps.begin(await steps.machine(session))
        assert await of_session.wait(0.01)
        assert await of_machines.wait(0.01)


async def test_a_new_session_and_a_new_check_wake_those_who_watch_machines(store, steps):
    for create in (steps.pending, steps.check_machine):
        with store.changes.watch(MACHINES) as changed:
            await create()
            assert await changed.wait(0.01)


async def test_nothing_is_hinted_when_nothing_was_written(store, steps, noon):
    session = await steps.awaiting()
    await store.sessions.apply(session.id, SessionFact.OPENED, at=noon)
    machine = await steps.machine(session)
    with store.changes.watch(SESSIONS, MACHINES, session_topic(session.id)) as changed:
        await store.sessions.apply(session.id, SessionFact.OPENED, at=noon)
        await store.machines.apply(machine.id, MachineFact.READY, incarnation="inc_other", at=noon)
        await steps.create()
        with pytest.raises(CallerError):
            await store.sessions.apply("ses_00000000000000000000", SessionFact.CANCELLED, at=noon)
        assert not await changed.wait(0.01)


async def test_whoever_stopped_watching_is_forgotten(store, steps):
    with store.changes.watch(SESSIONS):
        pass
    assert not store.changes._watchers
    await steps.pending()
