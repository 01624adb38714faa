"""Two services on one database, each with machines of its own.

On SQLite only the rows tell either of what the other did, as where every hint is lost; on PostgreSQL hints do too.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.lifecycle import SessionFact
from antechamber.machine import MachineSpec
from antechamber.model import IdPrefix, MachineState, Reason, SessionStatus, new_id
from antechamber.nodes import Node, give_up
from antechamber.signin import now
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import BUILD, PAGE_HOST, WHOLE, scene


@contextlib.asynccontextmanager
async def two(folder, database, **settings):
    settings["database_url"] = database
    async with scene(folder, **settings) as one, scene(folder, **settings) as other:
        yield one, other


async def begun(session_id, one, other):
    """Return (the service that runs the session's machine, the other one, its guest) once it awaits its person."""
    await one.until(session_id, SessionStatus.AWAITING_SIGN_IN)
    row = await one.signin.machine(session_id)
    here, there = (one, other) if row.node == one.node_id else (other, one)
    return here, there, await here.guests.get()


async def test_a_machine_is_begun_by_one_of_them_alone(tmp_path, database):
    async with two(tmp_path, database) as (one, other):
        sessions = [await stage.start(user_id=f"user{n}") for n, stage in enumerate((one, other) * 4)]
        for session in sessions:
            await one.until(session.id, SessionStatus.AWAITING_SIGN_IN)
        started = [spec.machine_id for stage in (one, other) for spec in stage.host.started]
        assert sorted(started) == sorted(session.machine_id for session in sessions)
        for session in sessions:
            row = await one.signin.machine(session.id)
            here = one if row.node == one.node_id else other
            assert row.incarnation in here.host.running()


async def test_a_session_started_on_one_completes_and_is_seen_on_the_other(tmp_path, database):
    async with two(tmp_path, database) as (one, other):
        session = await one.start()
        here, there, guest = await begun(session.id, one, other)
        assert await guest.sign_in(WHOLE) is None
        done = await there.until(session.id, SessionStatus.COMPLETED)
        assert done.captured_version == 1
        assert (await here.machine_ended(session.id)).state is MachineState.GONE
        assert not there.host.started


async def test_a_cancel_on_one_ends_the_machine_on_the_other(tmp_path, database):
    async with two(tmp_path, database) as (one, other):
        session = await one.start()
        here, there, _ = await begun(session.id, one, other)
        await there.signin.cancel(session.id, by_person=True)
        assert (await here.machine_ended(session.id)).state is MachineState.GONE
        assert not here.host.running()


async def test_a_service_that_is_killed_before_it_began_is_stood_in_for(tmp_path, database):
    async with scene(tmp_path, database_url=database, claim_s=0.5) as one:
        other = await one.store.nodes.join(new_id(IdPrefix.NODE), name="killed", url=None, at=now())
        await one.close()
        await one.open_store()
        session = await one.start()
        # this is how far the other one came
        (claimed,) = await one.store.machines.claim(
            other.id, driver="scripted", at=now(), until=now() + timedelta(seconds=0.5)
        )
        await one.store.close()
        await one.open()
        await one.until(session.id, SessionStatus.AWAITING_SIGN_IN)
        row = await one.signin.machine(session.id)
        assert (claimed.node, row.node) == (other.id, one.node_id)


async def test_the_machine_of_a_stopped_service_is_let_be_and_found_again_by_it_alone(tmp_path, database):
    async with two(tmp_path, database) as (one, other):
        session = await one.start()
        here, there, guest = await begun(session.id, one, other)
        await here.close()
        # the other one looks again and again, and is started anew
        await there.restart()
        another = await there.start(user_id="bob")
        await there.until(another.id, SessionStatus.AWAITING_SIGN_IN)
        row = await there.signin.machine(session.id)
        assert (row.state, row.node) == (MachineState.READY, here.node_id)
        assert here.host.running() == [row.incarnation]
        await here.open()
        assert await guest.sign_in(WHOLE) is None
        await there.until(session.id, SessionStatus.COMPLETED)


async def test_a_session_of_a_node_that_is_away_ends_at_its_deadline_and_its_machine_is_not_called_dead(
    tmp_path, database
):
    async with two(tmp_path, database, nobody_came_s=1) as (one, other):
        session = await one.start()
        here, there, _ = await begun(session.id, one, other)
        await here.close()
        ended = await there.until(session.id, SessionStatus.EXPIRED)
        assert ended.reason is Reason.NOBODY_CAME
        assert "did not end it, and was last heard of at" in ended.detail
        assert (await there.signin.machine(session.id)).state is MachineState.READY
        await here.open()
        assert (await here.machine_ended(session.id)).state is MachineState.GONE


async def test_a_node_leaves_the_one_with_the_machine_the_first_turn_to_end_its_session(tmp_path, database):
    async with two(tmp_path, database, nobody_came_s=1, last_look_s=0.4) as (one, other):
        session = await one.start()
        here, _, guest = await begun(session.id, one, other)
        # only whoever asks the guest once more learns of this file
        guest.write_file(WHOLE)
        await one.until(session.id, SessionStatus.COMPLETED)
        assert (await here.machine_ended(session.id)).state is MachineState.GONE


async def test_what_one_reclaims_is_never_the_others(tmp_path, database):
    async with two(tmp_path, database) as (one, other):
        session = await one.start()
        here, there, _ = await begun(session.id, one, other)
        # the other one's host has a machine of the same name that its own rows do not ask for
        row = await here.signin.machine(session.id)
        driver = there.reconciler.driver
        handle = driver.plan(row.id, row.incarnation, host_uid=None)
        await (await driver.start(MachineSpec(row.id, row.incarnation), handle)).let_go()
        await there.restart()
        assert not there.host.running()
        assert here.host.running() == [row.incarnation]
        assert (await one.signin.session(session.id)).status is SessionStatus.AWAITING_SIGN_IN


async def test_a_node_that_was_given_up_and_comes_back_ends_its_machines_and_joins_anew(tmp_path, database):
    async with two(tmp_path, database) as (one, other):
        session = await one.start()
        here, there, _ = await begun(session.id, one, other)
        await here.close()
        await there.store.nodes.seen(here.node_id, at=now() - timedelta(hours=1))
        assert await give_up(there.store, here.node_id) == 1
        failed = await there.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.MACHINE_ENDED
        assert here.host.running()
        await here.open()
        assert not here.host.running()
        assert await there.store.nodes.get(here.node_id) is not None


async def test_a_node_that_was_given_up_while_it_serves_joins_again_with_its_next_word(tmp_path, database):
    async with scene(tmp_path, database_url=database) as stage:
        node = Node(stage.store, new_id(IdPrefix.NODE), name="other", url=None)
        await node.beat()
        joined = await stage.store.nodes.get(node.id)
        await stage.store.nodes.seen(node.id, at=now() - timedelta(hours=1))
        # said a moment ago: nothing is written
        await node.beat()
        assert (await stage.store.nodes.get(node.id)).seen_at < joined.seen_at
        await stage.store.nodes.forget(node.id, at=now())
        node._said_at = now() - timedelta(minutes=1)
        await node.beat()
        assert (await stage.store.nodes.get(node.id)).name == "other"


async def test_a_service_under_another_host_name_waits_until_it_is_sure_that_nobody_else_is_its_node(
    tmp_path, database
):
    beat = timedelta(seconds=0.5)
    async with scene(tmp_path, database_url=database) as stage:
        first = Node(stage.store, new_id(IdPrefix.NODE), name="one", url=None, beat=beat)
        await first.join()
        # the first is silent: its container was made anew
        renamed = Node(stage.store, first.id, name="uno", url=None, beat=beat)
        await renamed.join()
        assert (await stage.store.nodes.get(first.id)).name == "uno"
        copy = Node(stage.store, first.id, name="copy", url=None, beat=beat)
        joining = asyncio.get_running_loop().create_task(copy.join())
        while not joining.done():
            await renamed.beat()
            await asyncio.wait({joining}, timeout=0.05)
        with pytest.raises(OperatorError) as refused:
            joining.result()
        assert refused.value.code is Code.NODE_IN_USE
        assert (await stage.store.nodes.get(first.id)).name == "uno"


@pytest.mark.parametrize("fact", [SessionFact.NOBODY_CAME, SessionFact.CANCELLED])
async def test_a_session_that_ends_before_anybody_began_its_machine_leaves_none(tmp_path, database, fact):
    async with scene(tmp_path, database_url=database) as stage:
        await stage.reconciler.close()
        stage.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST)
        session = await stage.start()
        await stage.store.sessions.apply(session.id, fact, at=now())
        await stage.reconciler.start()
        async with asyncio.timeout(10):
            row = await stage.machine_ended(session.id)
        assert row.state is MachineState.GONE
        assert not stage.host.started
