"""Several nodes on one database: who may begin a machine, whose it is from then on, and what becomes of a node."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from antechamber.errors import CallerError, Code, MachineError, OperatorError
from antechamber.lifecycle import MachineFact
from antechamber.model import MachineState
from antechamber.store import Store
from antechamber.store.nodes import AWAY_AFTER

from .conftest import NODE, OTHER_NODE, Steps, later

TIME = "2030-01-01T00:00:00.000000Z"
PAST = AWAY_AFTER + timedelta(seconds=1)


@pytest.fixture
async def several(store, prompt):
    """Four stores on one database, as of four services."""
    stores = [store, *[await Store.open(prompt.url, world="demo") for _ in range(3)]]
    yield [Steps(one) for one in stores]
    for other in stores[1:]:
        await other.close()


async def requested(steps, count):
    return [await steps.machine(await steps.pending(f"user{n}", at=later(n))) for n in range(count)]


# -- claims --------------------------------------------------------------------------------------------------------


async def test_what_nobody_has_claimed_is_claimed_the_oldest_first(steps):
    rows = await requested(steps, 3)
    first = await steps.claim(limit=2, at=later(10))
    assert [row.id for row in first] == [row.id for row in rows[:2]]
    assert {(row.node, row.claimed_until, row.state) for row in first} == {(NODE, later(20), MachineState.REQUESTED)}
    assert [row.id for row in await steps.claim(OTHER_NODE, at=later(10))] == [rows[2].id]
    assert await steps.claim(OTHER_NODE, at=later(10)) == []


async def test_a_claim_that_is_over_can_be_taken_by_another_node_and_the_first_may_not_begin_then(steps, store):
    (row,) = await requested(steps, 1)
    await steps.claim(at=later(0))
    assert await steps.claim(OTHER_NODE, at=later(9.9)) == []
    (taken,) = await steps.claim(OTHER_NODE, at=later(10))
    assert (taken.id, taken.node, taken.claimed_until) == (row.id, OTHER_NODE, later(20))
    with pytest.raises(MachineError) as refused:
        await store.machines.begin(
            row.id, incarnation=row.incarnation, node=NODE, handle={}, host_uid=None, expires_at=later(60), at=later(11)
        )
    assert refused.value.code is Code.MACHINE_ENDED
    assert await store.machines.get(row.id) == taken


async def test_a_node_may_begin_late_what_nobody_else_has_taken(steps, store):
    (row,) = await requested(steps, 1)
    await steps.claim(at=later(0))
    begun = await store.machines.begin(
        row.id, incarnation=row.incarnation, node=NODE, handle={}, host_uid=None, expires_at=later(60), at=later(30)
    )
    assert (begun.state, begun.node, begun.claimed_until) == (MachineState.BOOTING, NODE, None)
    assert await steps.claim(OTHER_NODE, at=later(3600)) == []


async def test_what_has_not_been_claimed_does_not_begin(steps, store, noon):
    (row,) = await requested(steps, 1)
    with pytest.raises(MachineError):
        await store.machines.begin(
            row.id, incarnation=row.incarnation, node=NODE, handle={}, host_uid=None, expires_at=later(60), at=noon
        )


async def test_a_node_claims_only_for_its_own_driver(steps):
    await requested(steps, 1)
    assert await steps.claim(driver="another") == []
    assert len(await steps.claim()) == 1


async def test_a_check_is_its_nodes_from_the_first(steps, store):
    row = await steps.check_machine()
    assert (row.node, row.claimed_until) == (NODE, later(60))
    assert await steps.claim(OTHER_NODE, at=later(59)) == []
    # the service that knew what to check is gone: another may put the row away
    assert [one.id for one in await steps.claim(OTHER_NODE, at=later(60))] == [row.id]


async def test_many_nodes_that_claim_at_once_never_claim_one_machine_twice(several):
    rows = await requested(several[0], 24)
    nodes = [f"nod_{n:020}" for n in range(len(several))]

    async def keep_claiming(steps, node):
        mine = []
        while claimed := await steps.claim(node, limit=3, at=later(30)):
            mine += [row.id for row in claimed]
        return mine

    shares = await asyncio.gather(*(keep_claiming(steps, node) for steps, node in zip(several, nodes, strict=True)))
    claimed = [row_id for share in shares for row_id in share]
    assert len(claimed) == len(set(claimed))
    # who looked while others were claiming may have found nothing and gone: the next sweep gets the rest
    claimed += await keep_claiming(several[0], nodes[0])
    assert sorted(claimed) == sorted(row.id for row in rows)


async def test_what_another_is_claiming_now_is_passed_over_and_not_waited_for(steps, prompt):
    if prompt.kind == "sqlite":
        pytest.skip("a SQLite file has one writer at a time, and one service")
    rows = await requested(steps, 2)
    with prompt.transaction() as other:
        other.execute("SELECT id FROM machines WHERE id = %s FOR UPDATE", (rows[0].id,))
        # a wait would end with the lock's timeout, and an error
        assert [row.id for row in await steps.claim(at=later(10))] == [rows[1].id]
    assert [row.id for row in await steps.claim(at=later(10))] == [rows[0].id]


async def test_a_stop_of_a_claimed_machine_ends_its_claim(steps, store, noon):
    (row,) = await requested(steps, 1)
    await steps.claim()
    gone, _ = await store.machines.apply(row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=noon)
    assert (gone.state, gone.claimed_until) == (MachineState.GONE, None)


# -- whose a machine is --------------------------------------------------------------------------------------------


async def test_each_node_sees_its_own_machines_and_what_it_has_claimed(steps, store):
    mine, theirs, nobodys = await requested(steps, 3)
    await steps.claim(limit=1)
    await steps.claim(OTHER_NODE, limit=1)
    assert [row.id for row in await store.machines.not_ended(NODE)] == [mine.id]
    assert [row.id for row in await store.machines.not_ended(OTHER_NODE)] == [theirs.id]
    assert {row.id for row in await store.machines.not_ended()} == {mine.id, theirs.id, nobodys.id}


async def test_two_nodes_may_use_one_host_uid_as_they_are_on_two_hosts(steps, store):
    first = await steps.begin(await steps.check_machine(), host_uid=200_001)
    second = await steps.begin(await steps.check_machine(OTHER_NODE), host_uid=200_001, node=OTHER_NODE)
    assert {first.node, second.node} == {NODE, OTHER_NODE}
    assert await store.machines.taken_uids(NODE) == await store.machines.taken_uids(OTHER_NODE) == {200_001}


async def test_a_machine_that_has_begun_stays_on_its_node_whoever_asks(steps, prompt):
    row = await steps.begin(await steps.check_machine())
    for assignment in (f"node = '{OTHER_NODE}'", "node = NULL"):
        assert "a machine stays on its node" in prompt.refused_change("machines", assignment, row.id)
    refusal = prompt.refused_change("machines", f"claimed_until = '{TIME}'", row.id)
    assert "only a requested machine is claimed" in refusal


async def test_nothing_begins_without_a_node(steps, prompt):
    row = await steps.machine(await steps.pending())
    refusal = prompt.refused_change("machines", "state = 'booting'", row.id)
    assert "a machine is begun by a node" in refusal
    refusal = prompt.refused_change("machines", f"claimed_until = '{TIME}'", row.id)
    assert "only a requested machine is claimed" in refusal


# -- nodes ---------------------------------------------------------------------------------------------------------


async def test_a_node_joins_says_that_it_lives_and_is_found_by_its_session(steps, store, noon):
    joined = await store.nodes.join(NODE, name="one", url="http://one.example.test:8700", at=noon)
    assert await store.nodes.get(NODE) == joined
    assert await store.nodes.seen(NODE, at=later(5))
    assert (await store.nodes.get(NODE)).seen_at == later(5)
    session = await steps.pending()
    row = await steps.machine(session)
    await steps.claim()
    assert await store.nodes.of_session(session.id) is None
    await steps.begin(row)
    assert (await store.nodes.of_session(session.id)).name == "one"
    assert [(node.id, running) for node, running in await store.nodes.list()] == [(NODE, 1)]
    await steps.end_machine(row)
    assert await store.nodes.of_session(session.id) is None
    assert [running for _, running in await store.nodes.list()] == [0]


async def test_a_node_that_joins_again_is_the_same_one_with_what_is_new_about_it(store, noon):
    first = await store.nodes.join(NODE, name="one", url=None, at=noon)
    again = await store.nodes.join(NODE, name="one", url="http://one.example.test", at=later(1))
    assert (again.joined_at, again.url, again.seen_at) == (first.joined_at, "http://one.example.test", later(1))
    renamed = await store.nodes.join(NODE, name="uno", url=None, at=later(1) + PAST)
    assert (renamed.id, renamed.name) == (NODE, "uno")


async def test_a_copied_data_directory_is_refused_while_the_first_one_serves(store, noon):
    await store.nodes.join(NODE, name="one", url=None, at=noon)
    with pytest.raises(OperatorError) as refused:
        await store.nodes.join(NODE, name="copy", url=None, at=later(5))
    assert refused.value.code is Code.NODE_IN_USE
    assert (await store.nodes.get(NODE)).name == "one"


async def test_a_host_that_was_renamed_is_no_copy_once_nobody_was_heard_of_under_the_old_name(store, noon):
    first = await store.nodes.join(NODE, name="one", url=None, at=noon)
    again = await store.nodes.join(NODE, name="uno", url=None, at=later(13), silent_since=first.seen_at)
    assert (again.name, again.seen_at) == ("uno", later(13))
    with pytest.raises(OperatorError) as refused:
        await store.nodes.join(NODE, name="one", url=None, at=later(26), silent_since=first.seen_at)
    assert refused.value.code is Code.NODE_IN_USE


async def test_what_ran_before_there_were_nodes_is_the_first_ones(steps, store, prompt, noon):
    waiting = await steps.machine(await steps.pending())
    # as the upgrade leaves it
    old = "mac_00000000000000000000"
    prompt.run(
        "INSERT INTO machines (id, kind, state, driver, incarnation, created_at, state_at, expires_at)"
        " VALUES (?, 'check', 'booting', 'scripted', 'inc_x', ?, ?, ?)",
        old,
        *["2026-01-31T12:00:00.000000Z"] * 3,
    )
    await store.nodes.join(OTHER_NODE, name="one", url=None, at=noon)
    assert (await store.machines.get(old)).node == OTHER_NODE
    await store.nodes.join(NODE, name="two", url=None, at=noon)
    assert (await store.machines.get(old)).node == OTHER_NODE
    assert (await store.machines.get(waiting.id)).node is None


async def test_only_a_node_that_is_away_is_forgotten(steps, store, noon):
    await store.nodes.join(NODE, name="one", url=None, at=noon)
    row = await steps.begin(await steps.check_machine())
    for refuse in (store.nodes.forget, store.nodes.away):
        with pytest.raises(CallerError) as refused:
            await refuse(NODE, at=later(5))
        assert refused.value.code is Code.NODE_SERVES
        with pytest.raises(CallerError) as refused:
            await refuse(OTHER_NODE, at=noon)
        assert refused.value.code is Code.NODE_NOT_FOUND
    await store.nodes.forget(NODE, at=noon + PAST)
    assert await store.nodes.get(NODE) is None
    assert (await store.machines.get(row.id)).node == NODE
    assert not await store.nodes.seen(NODE, at=noon)
