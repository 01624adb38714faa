from __future__ import annotations

from datetime import timedelta

import pytest

from antechamber.errors import Code, MachineError
from antechamber.lifecycle import MACHINE_TABLE, Act, MachineFact
from antechamber.model import MachineKind, MachineState

from .conftest import NODE

OTHER = "inc_00000000000000000000"
CELLS = [(state, fact) for state, facts in MACHINE_TABLE.items() for fact in facts]
WAY = {
    MachineState.REQUESTED: [],
    MachineState.BOOTING: [MachineFact.BOOT_BEGAN],
    MachineState.READY: [MachineFact.BOOT_BEGAN, MachineFact.READY],
    MachineState.STOPPING: [MachineFact.BOOT_BEGAN, MachineFact.STOP_ASKED],
    MachineState.GONE: [MachineFact.ENDED],
    MachineState.LOST: [MachineFact.BOOT_BEGAN, MachineFact.ENDED],
}


@pytest.mark.parametrize(("state", "fact"), CELLS, ids=str)
async def test_f030_every_cell_of_the_table_is_what_the_database_takes(store, steps, noon, state, fact):
    row = await steps.check_machine()
    for step in WAY[state]:
        row, _ = await store.machines.apply(row.id, step, incarnation=row.incarnation, at=noon)
    assert row.state is state
    rule = MACHINE_TABLE[state][fact]
    after, decision = await store.machines.apply(row.id, fact, incarnation=row.incarnation, at=noon)
    assert (decision.act, after.state) == (rule.act, rule.to or state)
    assert await store.machines.get(row.id) == after
    assert after.state.ended == (after.ended_at is not None) == (after.expires_at is None)


async def test_f014_a_requested_machine_begins_with_its_handle_and_uid_stored(store, steps, noon):
    session = await steps.pending()
    begun = await steps.begin(await steps.machine(session), host_uid=200_001, handle={"dir": "/run/x", "n": [1]})
    assert (begun.state, begun.host_uid, begun.handle) == (MachineState.BOOTING, 200_001, {"dir": "/run/x", "n": [1]})
    assert await store.machines.get(begun.id) == begun == await store.machines.of_session(session.id)
    events = await store.sessions.events(session.id, machines=True)
    assert [(event.kind, event.machine_id) for event in events] == [("created", None), ("boot_began", begun.id)]
    assert [event.kind for event in await store.sessions.events(session.id)] == ["created"]


async def test_f074_a_taken_uid_is_told_and_is_free_once_its_machine_has_ended(store, steps):
    first = await steps.begin(await steps.check_machine(), host_uid=200_001)
    second = await steps.check_machine()
    assert await steps.begin(second, host_uid=200_001) is None
    assert (await store.machines.get(second.id)).state is MachineState.REQUESTED
    assert await store.machines.taken_uids(NODE, "scripted") == await store.machines.taken_uids(NODE) == {200_001}
    assert await store.machines.taken_uids(NODE, "another") == set()
    await steps.end_machine(first)
    assert await store.machines.taken_uids(NODE) == set()
    assert (await steps.begin(second, host_uid=200_001)).host_uid == 200_001


async def test_machines_without_a_uid_do_not_exclude_each_other(steps):
    assert [(await steps.begin(await steps.check_machine())).state for _ in range(2)] == [MachineState.BOOTING] * 2


async def test_what_was_asked_to_stop_or_began_already_does_not_begin(store, steps, noon):
    row = await steps.check_machine()
    await steps.begin(row, handle={"first": True})
    with pytest.raises(MachineError) as refused:
        await steps.begin(row, handle={"second": True})
    assert refused.value.code is Code.MACHINE_ENDED
    assert (await store.machines.get(row.id)).handle == {"first": True}
    stopped = await steps.check_machine()
    await store.machines.apply(stopped.id, MachineFact.STOP_ASKED, incarnation=stopped.incarnation, at=noon)
    with pytest.raises(MachineError):
        await steps.begin(stopped)


async def test_another_incarnation_neither_begins_nor_moves_a_machine(store, steps, noon):
    row = await steps.check_machine()
    with pytest.raises(MachineError):
        await store.machines.begin(
            row.id, incarnation=OTHER, node=NODE, handle={}, host_uid=None, expires_at=noon, at=noon
        )
    after, decision = await store.machines.apply(row.id, MachineFact.ENDED, incarnation=OTHER, at=noon)
    assert (after, decision.act) == (row, Act.REFUSE)
    assert await store.machines.get(row.id) == row


async def test_an_unknown_machine_is_an_error(store, noon):
    with pytest.raises(MachineError):
        await store.machines.apply("mac_00000000000000000000", MachineFact.ENDED, incarnation=OTHER, at=noon)
    assert await store.machines.get("mac_00000000000000000000") is None
    assert await store.machines.of_session("ses_00000000000000000000") is None


async def test_f077_an_end_keeps_its_exit_code_and_detail_and_a_second_one_changes_nothing(store, steps, noon):
    row = await steps.begin(await steps.check_machine())
    ended, _ = await store.machines.apply(
        row.id, MachineFact.ENDED, incarnation=row.incarnation, at=noon, exit_code=1, detail="killed"
    )
    assert (ended.state, ended.exit_code, ended.end_detail, ended.ended_at) == (MachineState.LOST, 1, "killed", noon)
    again, decision = await store.machines.apply(
        row.id, MachineFact.ENDED, incarnation=row.incarnation, at=noon + timedelta(seconds=1), exit_code=0
    )
    assert (again, decision.act) == (ended, Act.NOTE)


async def test_a_note_can_set_the_next_deadline_so_that_it_is_not_due_for_ever(store, steps, noon):
    row = await steps.begin(await steps.check_machine())
    stopping, _ = await store.machines.apply(
        row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=noon, expires_at=noon
    )
    assert await store.machines.due(noon) == [stopping]
    noted, decision = await store.machines.apply(
        row.id,
        MachineFact.TIME_RAN_OUT,
        incarnation=row.incarnation,
        at=noon,
        expires_at=noon + timedelta(seconds=10),
    )
    assert (noted.state, decision.act) == (MachineState.STOPPING, Act.NOTE)
    assert await store.machines.due(noon) == []


async def test_a_check_machine_belongs_to_no_session(store, steps, noon):
    row = await steps.check_machine()
    assert (row.kind, row.session_id, row.state) == (MachineKind.CHECK, None, MachineState.REQUESTED)
    assert row.expires_at == noon + timedelta(seconds=60)


async def test_the_lists_tell_what_runs_what_is_due_and_what_was(store, steps, noon):
    ended = await steps.end_machine(await steps.begin(await steps.check_machine()))
    running = [await steps.machine(await steps.pending(user)) for user in ("ada", "bob")]
    assert {row.id for row in await store.machines.not_ended()} == {row.id for row in running}
    assert await store.machines.due(noon) == []
    assert len(await store.machines.due(noon + timedelta(seconds=60))) == 2
    assert {row.id for row in await store.machines.list(10)} == {ended.id, *(row.id for row in running)}
    assert len(await store.machines.list(2)) == 2
