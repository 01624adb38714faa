"""The line of those who wait for a machine: first come, first served, whoever serves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from antechamber.lifecycle import SessionFact
from antechamber.model import MachineState, Reason, SessionStatus
from antechamber.store import Store

from .conftest import NODE, Steps, later

OTHER_NODE = "nod_11111111111111111111"


@pytest.fixture
async def waiting(steps):
    """Five sessions that wait, the first one first."""
    return [await steps.pending(f"user{number}", at=later(number)) for number in range(5)]


async def places(store, sessions, at):
    return [await store.line.position(session.id, at) for session in sessions]


async def cancel(store, session, at):
    await store.sessions.apply(session.id, SessionFact.CANCELLED, at=at, reason=Reason.CANCELLED_BY_PERSON)


async def test_each_has_its_place_by_when_it_came(store, waiting):
    assert await places(store, waiting, later(10)) == [1, 2, 3, 4, 5]
    assert await store.line.length("scripted", later(10)) == 5
    assert await store.line.position("ses_00000000000000000000", later(10)) is None


async def test_one_that_is_cancelled_leaves_the_line_at_once(store, waiting):
    await cancel(store, waiting[1], later(10))
    assert await places(store, waiting, later(10)) == [1, None, 2, 3, 4]


async def test_a_node_takes_as_many_as_it_has_room_for_and_the_first_ones(store, steps, waiting):
    taken = await steps.claim(at=later(10), limit=2)
    assert [row.session_id for row in taken] == [session.id for session in waiting[:2]]
    assert await places(store, waiting, later(10)) == [None, None, 1, 2, 3]
    # a claim that is over is nobody's, and those have their places again
    assert await places(store, waiting, later(21)) == [1, 2, 3, 4, 5]


async def test_a_claim_that_is_given_back_keeps_its_place(store, steps, waiting):
    first, _ = await steps.claim(at=later(10), limit=2)
    await store.machines.release(first.id, OTHER_NODE)
    assert await places(store, waiting, later(10)) == [None, None, 1, 2, 3]
    await store.machines.release(first.id, NODE)
    assert await places(store, waiting, later(10)) == [1, None, 2, 3, 4]
    begun = await steps.begin((await steps.claim(at=later(11), limit=1))[0])
    await store.machines.release(begun.id, NODE)
    assert (await store.machines.get(begun.id)).node == NODE


async def test_each_driver_has_a_line_of_its_own(store, steps, waiting, prompt):
    (other,) = await steps.claim(at=later(10), limit=1)
    await store.machines.release(other.id, NODE)
    assert await steps.claim(at=later(10), driver="another") == []
    assert await store.line.length("another", later(10)) == 0
    assert len(await steps.claim(at=later(10), limit=9)) == 5


async def test_of_two_nodes_that_take_at_once_neither_passes_its_room_and_the_first_come_first(
    store, steps, waiting, prompt
):
    second = await Store.open(prompt.url, world="demo")
    try:
        taken = await asyncio.gather(
            steps.claim(at=later(10), limit=2), Steps(second).claim(OTHER_NODE, at=later(10), limit=2)
        )
        ids = [row.session_id for rows in taken for row in rows]
        assert len(set(ids)) == len(ids) <= 4
        assert all(len(rows) <= 2 for rows in taken)
        # whatever was passed over in the race is what each of them takes next
        rest = await steps.claim(at=later(10), limit=4 - len(ids)) if len(ids) < 4 else []
        ids += [row.session_id for row in rest]
        assert set(ids) == {session.id for session in waiting[:4]}
    finally:
        await second.close()


async def test_the_machine_of_a_session_that_ended_in_the_line_is_gone_whatever_its_driver(store, steps, waiting):
    await cancel(store, waiting[0], later(10))
    assert [row.session_id for row in await steps.claim(at=later(10), limit=1)] == [waiting[1].id]
    assert await store.machines.withdraw(later(11)) == 1
    assert await store.machines.withdraw(later(11)) == 0
    machine = await steps.machine(waiting[0])
    assert (machine.state, machine.ended_at, machine.expires_at) == (MachineState.GONE, later(11), None)
    assert (await steps.machine(waiting[2])).state is MachineState.REQUESTED


async def test_a_check_whose_node_never_began_it_is_gone_when_its_time_is_up(store, steps):
    check = await steps.check_machine()
    assert await store.machines.withdraw(check.expires_at - timedelta(seconds=1)) == 0
    assert await store.machines.withdraw(check.expires_at) == 1
    assert (await store.machines.get(check.id)).state is MachineState.GONE


async def test_a_session_whose_time_in_the_line_ran_out_says_so_and_one_whose_machine_was_begun_does_not(store, steps):
    first, second = await steps.pending("ada"), await steps.pending("grace")
    await steps.begin(await steps.machine(first))
    ended = [await store.sessions.time_out(session.id, at=later(60)) for session in (first, second)]
    assert [(one.status, one.reason) for one in ended] == [
        (SessionStatus.FAILED, Reason.MACHINE_DID_NOT_START),
        (SessionStatus.FAILED, Reason.NO_MACHINE_FREE),
    ]
    assert [event.kind for event in await store.sessions.events(second.id)] == ["created", "time_ran_out"]
