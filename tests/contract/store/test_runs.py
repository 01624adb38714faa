"""Runs and the leases of credentials: the line, one live copy, what ends one and who is next."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.store.conftest import DAY, NODE, NOON, OTHER_NODE, Steps, later
from tests.contract.store.running import Running
from tests.opening import BY

from antechamber.credential_life import CredentialFact
from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act, MachineFact
from antechamber.model import Actor, MachineKind, MachineState, Owner, RunReason, RunStatus
from antechamber.run_life import RunFact
from antechamber.store import Store


@pytest.fixture
def running(steps):
    return Running(steps)


# -- the line


async def test_a_run_begins_with_its_lease_and_machine_where_nobody_has_the_credential(store, running):
    credential = await running.credential()
    run = await running.run(credential)
    lease = await running.lease(run)
    machine = await store.machines.get(run.machine_id)
    assert (run.status, run.expires_at, run.arguments) == (RunStatus.STARTING, later(30), ("exec", "DUMMY question"))
    assert (lease.credential_id, lease.version, lease.ended_at) == (credential.id, 1, None)
    assert (machine.kind, machine.state, machine.run_id) == (MachineKind.RUN, MachineState.REQUESTED, run.id)
    assert await store.runs.position(run) is None


async def test_the_others_wait_in_the_order_in_which_they_came(store, running):
    credential = await running.credential()
    first = await running.run(credential)
    others = [await running.run(credential, later(number)) for number in range(3)]
    assert [await store.runs.position(one) for one in others] == [1, 2, 3]
    assert all(one.status is RunStatus.WAITING and one.machine_id is None for one in others)
    assert await store.runs.lease(others[0].id) is None
    for ended, next_one in zip([first, *others], others, strict=False):
        await running.exited(ended)
        assert (await running.now(next_one)).status is RunStatus.STARTING
    assert await store.runs.position(others[2]) == 1  # as it was when it was read


async def test_one_that_leaves_the_line_lets_those_behind_it_move_up(store, running):
    credential = await running.credential()
    first, second, third = [await running.run(credential, later(number)) for number in range(3)]
    moved = await running.apply(second, RunFact.CANCELLED)
    assert (moved.run.reason, moved.run.arguments) == (RunReason.CANCELLED, ())
    assert await store.runs.position(third) == 1
    await running.exited(first)
    assert (await running.now(third)).status is RunStatus.STARTING


@pytest.mark.parametrize("of", ["machine", "exit", "withdrawal"])
async def test_whatever_ends_a_lease_grants_the_next_one_at_once(store, running, of):
    credential = await running.credential()
    first, second = [await running.run(credential, later(number)) for number in range(2)]
    if of == "withdrawal":
        await running.apply(first, RunFact.CANCELLED)
        assert (await running.now(second)).status is RunStatus.WAITING, "a copy may still be there"
        assert await store.machines.withdraw(NOON) == 1
    else:
        await running.begun(first)
        await (running.exited(first) if of == "exit" else running.machine_ended(first))
    assert (await running.lease(first)).ended_at == NOON
    after = await running.now(second)
    assert (after.status, (await running.lease(second)).ended_at) == (RunStatus.STARTING, None)


async def test_a_run_that_was_ended_keeps_its_lease_until_its_machine_is_done_with_it(store, running):
    credential = await running.credential()
    first, second = [await running.run(credential, later(number)) for number in range(2)]
    await running.begun(first)
    await running.apply(first, RunFact.TIME_RAN_OUT)
    assert (await running.lease(first)).ended_at is None
    assert (await running.write_back(first)).outcome == "stored"
    ended = await running.exited(first, code=-15)
    assert (ended.reason, ended.exit_code) == (RunReason.TIMED_OUT, None)
    assert (await running.lease(second)).version == 2


async def test_runs_with_different_credentials_do_not_wait_for_each_other(running):
    mine, hers = await running.credential(), await running.credential("grace")
    assert [(await running.run(one)).status for one in (mine, hers)] == [RunStatus.STARTING] * 2


async def test_a_deadline_that_was_moved_on_ends_nothing(store, running):
    credential = await running.credential()
    first, second = [await running.run(credential, later(number), wait=later(5) - NOON) for number in range(2)]
    (due,) = await store.runs.due(later(6))
    assert due.id == second.id
    await running.exited(first)
    moved = await store.runs.time_out(due.id, at=later(6), deadline=due.expires_at)
    assert (moved.decision.act, moved.run.status) == (Act.NOTE, RunStatus.STARTING)
    later_on = await running.now(second)
    moved = await store.runs.time_out(second.id, at=later(99), deadline=later_on.expires_at)
    assert moved.run.reason is RunReason.DID_NOT_START
    assert await store.runs.deadlines() == []


# -- what it may be begun with


async def test_nothing_is_run_with_what_is_deleted_or_not_thought_to_work(store, running):
    credential = await running.credential()
    await store.statuses.apply(credential.id, CredentialFact.VENDOR_REFUSED, at=NOON)
    with pytest.raises(CallerError) as refused:
        await running.run(credential)
    assert refused.value.code is Code.CREDENTIAL_NOT_USABLE
    await store.credentials.delete(credential.id, at=NOON, by=BY)
    with pytest.raises(CallerError) as refused:
        await running.run(credential)
    assert refused.value.code is Code.CREDENTIAL_NOT_FOUND


async def test_who_waits_for_a_credential_that_stops_working_ends_when_it_is_their_turn(store, running):
    credential = await running.credential()
    first, *others = [await running.run(credential, later(number)) for number in range(3)]
    await store.statuses.apply(credential.id, CredentialFact.SAID_REVOKED, at=NOON)
    await running.exited(first)
    assert [(await running.now(one)).reason for one in others] == [RunReason.CREDENTIAL_GONE] * 2


async def test_who_waits_for_a_deleted_credential_ends_with_it_and_its_holder_is_told(store, running):
    credential = await running.credential()
    first, *others = [await running.run(credential, later(number)) for number in range(3)]
    await running.begun(first)
    with store.changes.watch(f"run:{first.id}") as told:
        await store.credentials.delete(credential.id, at=NOON, by=BY)
        assert await told.wait(5)
    assert [(await running.now(one)).reason for one in others] == [RunReason.CREDENTIAL_GONE] * 2
    assert (await running.lease(first)).ended_at is None, "its copy may still be there"
    await running.exited(first)
    assert (await running.lease(first)).ended_at == NOON


# -- what may be burnt


@pytest.mark.parametrize("how", ["machine ended", "unclean"])
async def test_whoever_ends_in_a_renewal_leaves_a_credential_that_needs_a_sign_in(store, running, how):
    credential = await running.credential()
    first, second = [await running.run(credential, later(number)) for number in range(2)]
    await running.begun(first)
    await running.renewing(first)
    await (running.machine_ended(first) if how == "machine ended" else running.exited(first, is_clean=False))
    assert await running.status(credential) == ("needs_sign_in", "cut_short")
    assert (await running.now(second)).reason is RunReason.CREDENTIAL_GONE
    (event,) = [one for one in await store.statuses.events(credential.id) if one.kind == CredentialFact.CUT_SHORT]
    assert event.version == 1


@pytest.mark.parametrize("how", ["not renewing", "clean", "stored", "signed in again"])
async def test_whoever_ends_otherwise_leaves_it_as_it_was(running, how):
    credential = await running.credential()
    run = await running.begun(await running.run(credential))
    if how != "not renewing":
        await running.renewing(run)
    if how == "stored":
        await running.write_back(run)
    if how == "signed in again":
        await running.sign_in_again(credential.owner)
    await running.exited(run, is_clean=how == "clean")
    assert (await running.status(credential))[0] == "active"


async def test_a_lease_that_is_over_renews_nothing(running):
    run = await running.begun(await running.run(await running.credential()))
    await running.exited(run)
    assert not await running.steps.store.runs.renewing(run.id, at=NOON)
    assert (await running.lease(run)).renewing_at is None


# -- its machine


async def test_a_runs_machine_is_begun_by_the_node_that_was_asked_alone(running):
    run = await running.run(await running.credential())
    assert await running.steps.claim(OTHER_NODE) == []
    (mine,) = await running.steps.claim(NODE)
    assert mine.id == run.machine_id


async def test_a_machine_of_a_run_that_has_ended_is_claimed_by_nobody(running):
    run = await running.run(await running.credential())
    await running.apply(run, RunFact.CALLER_GONE)
    assert await running.steps.claim(NODE) == []


async def test_a_machine_that_never_began_is_withdrawn_by_any_node_when_its_time_is_up(store, running):
    run = await running.run(await running.credential())
    assert await store.machines.withdraw(later(29)) == 0
    assert await store.machines.withdraw(later(30)) == 1
    assert (await running.now(run)).reason is RunReason.MACHINE_ENDED


# -- what is kept


async def test_a_run_is_kept_for_its_time_and_as_long_as_its_machine_may_tell_of_it(store, running):
    credential = await running.credential()
    run = await running.begun(await running.run(credential))
    await running.exited(run)
    assert (await store.retention.prune(later(25 * 3600), DAY)).runs == 0
    await running.machine_ended(run, later(25 * 3600))
    assert (await store.retention.prune(later(23 * 3600), DAY)).runs == 0
    assert (await store.retention.prune(later(25 * 3600), DAY)).runs == 1
    assert await store.runs.lease(run.id) is None


async def test_a_machine_whose_run_is_not_there_any_more_can_end(store, running, prompt):
    run = await running.begun(await running.run(await running.credential()))
    await running.exited(run)
    prompt.run("DELETE FROM runs WHERE id = ?", run.id)
    row = await store.machines.get(run.machine_id)
    ended, _ = await store.machines.apply(row.id, MachineFact.ENDED, incarnation=row.incarnation, at=NOON)
    assert ended.state.ended


async def test_a_tombstone_is_kept_while_a_copy_of_it_may_be_somewhere(store, running, prompt):
    credential = await running.credential()
    run = await running.begun(await running.run(credential))
    await store.credentials.delete(credential.id, at=NOON, by=BY)
    await running.apply(run, RunFact.CREDENTIAL_GONE)
    prompt.run("DELETE FROM machines WHERE session_id IS NOT NULL")
    tomorrow = later(25 * 3600)
    await store.retention.prune(tomorrow, DAY)
    assert await store.credentials.get(credential.id) is not None
    await running.machine_ended(run, tomorrow)
    await store.retention.prune(tomorrow, DAY)
    assert await store.credentials.get(credential.id) is None


@pytest.mark.parametrize("at", ["waiting", "starting", "running", "ended"])
async def test_an_owner_with_runs_is_erased_once_their_machines_have_ended(store, running, prompt, at):
    credential = await running.credential()
    first = await running.run(credential)
    if at == "waiting":
        await running.run(credential, later(1))
    if at in {"running", "ended"}:
        await running.begun(first)
    if at == "ended":
        await running.exited(first)
    begun = await store.erasures.begin(Owner("ada"), by=Actor.OPERATOR_TOKEN, at=NOON)
    assert [row.run_id for row in await store.erasures.waits_for(begun)] == [first.id]
    _, did = await store.erasures.step(begun.id, at=NOON)
    assert not did
    await running.apply(first, RunFact.CREDENTIAL_GONE)
    await running.machine_ended(first)
    while did or begun.finished_at is None:
        begun, did = await store.erasures.step(begun.id, at=NOON)
    for table in ("runs", "leases", "machines", "provider_credentials", "credential_versions"):
        assert prompt.run(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608 - our tables


async def test_an_erasure_waits_for_the_run_of_a_credential_that_is_forgotten(store, running, prompt):
    credential = await running.credential()
    run = await running.begun(await running.run(credential))
    await store.credentials.delete(credential.id, at=NOON, by=BY)
    for table in ("auth_sessions", "credential_versions", "credential_events", "provider_credentials"):
        prompt.run(f"DELETE FROM {table}")  # noqa: S608 - our tables
    await running.steps.cancelled()
    begun = await store.erasures.begin(Owner("ada"), by=Actor.OPERATOR_TOKEN, at=NOON)
    assert run.machine_id in {row.id for row in await store.erasures.waits_for(begun)}


# -- what the database refuses by itself


async def test_a_credential_has_one_live_lease_also_at_a_prompt(running, prompt):
    credential = await running.credential()
    await running.run(credential)
    waiting = await running.run(credential, later(1))
    refusal = prompt.refusal(
        "INSERT INTO leases (id, credential_id, run_id, version, granted_at) VALUES ('lea_x', ?, ?, 1, ?)",
        credential.id,
        waiting.id,
        "2026-01-31T12:00:00.000000Z",
    )
    assert "UNIQUE constraint failed" in refusal


async def test_a_run_begins_with_its_own_live_lease_alone(running, prompt):
    credential = await running.credential()
    await running.run(credential)
    waiting = await running.run(credential, later(1))
    for status in ("starting", "running"):
        refusal = prompt.refused_change("runs", f"status = '{status}', machine_id = 'mac_x'", waiting.id)
        assert refusal == "a run begins with its lease"


async def test_an_ended_run_and_an_ended_lease_do_not_change(running, prompt):
    run = await running.run(await running.credential())
    lease = await running.lease(run)
    assert "a live run is not deleted" in prompt.refusal("DELETE FROM runs WHERE id = ?", run.id)
    assert "a live lease is not deleted" in prompt.refusal("DELETE FROM leases WHERE id = ?", lease.id)
    await running.exited(run)
    for assignment in ("reason = 'cancelled'", "exit_code = 1", "redacted = true", "detail = 'x'"):
        assert prompt.refused_change("runs", assignment, run.id) == "a run that has ended does not change"
    for assignment in ("ended_at = NULL", "version = 9", "renewing_at = granted_at"):
        assert prompt.refused_change("leases", assignment, lease.id) == "a lease that has ended does not change"


async def test_a_run_of_a_live_lease_is_not_deleted(running, prompt):
    run = await running.run(await running.credential())
    await running.apply(run, RunFact.CANCELLED)
    assert "a live lease is not deleted" in prompt.refusal("DELETE FROM runs WHERE id = ?", run.id)


@pytest.mark.parametrize(
    "column", ["id", "application", "user_id", "provider", "credential_id", "asked_by", "created_at"]
)
async def test_a_run_stays_whose_it_is(running, prompt, column):
    credential = await running.credential()
    await running.run(credential)
    waiting = await running.run(credential, later(1))
    value = {"created_at": "2030-01-01T00:00:00.000000Z", "asked_by": "dashboard"}.get(column, "mallory")
    assert prompt.refused_change("runs", f"{column} = '{value}'", waiting.id) == "a run stays whose it is"


@pytest.mark.parametrize("column", ["id", "credential_id", "run_id", "granted_at"])
async def test_a_lease_stays_whose_it_is(running, prompt, column):
    lease = await running.lease(await running.run(await running.credential()))
    value = "2030-01-01T00:00:00.000000Z" if column == "granted_at" else "mallory"
    assert prompt.refused_change("leases", f"{column} = '{value}'", lease.id) == "a lease stays whose it is"


async def test_a_machine_stays_its_runs(running, prompt):
    run = await running.run(await running.credential())
    assert "stays which it is" in prompt.refused_change("machines", "run_id = 'run_x'", run.machine_id)
    assert "ck_machines_run_has_its_run" in prompt.refusal(
        "INSERT INTO machines (id, kind, state, driver, incarnation, created_at, state_at, expires_at)"
        " SELECT 'mac_x', 'run', 'requested', driver, 'inc_x', created_at, state_at, expires_at FROM machines"
        " WHERE id = ?",
        run.machine_id,
    )


async def test_a_run_begins_as_waiting_also_at_a_prompt(running, prompt):
    run = await running.run(await running.credential())
    columns = (
        "application, user_id, provider, credential_id, status, terminal, held, seconds, node, asked_by, request,"
        " created_at, status_at, expires_at, machine_id"
    )
    refusal = prompt.refusal(
        f"INSERT INTO runs (id, {columns}) SELECT 'run_x', {columns} FROM runs WHERE id = ?",  # noqa: S608 - our words
        run.id,
    )
    assert refusal == "a run begins as waiting"


@pytest.mark.parametrize(
    ("assignment", "check"),
    [
        ("status = 'asleep', expires_at = NULL", "ck_runs_"),
        ("reason = 'bad luck'", "ck_runs_"),
        ("expires_at = NULL", "ck_runs_live_has_deadline"),
        ("request = NULL", "ck_runs_ended_forgets"),
        ("exit_code = 1", "ck_runs_code_of_the_tool"),
        ("machine_id = NULL", "ck_runs_begun_has_machine"),
        ("ended_at = status_at", "ck_runs_ended_has_"),
        ("reason = 'cancelled'", "ck_runs_ended_has_reason"),
    ],
)
async def test_checks_refuse_what_no_run_is(running, prompt, assignment, check):
    run = await running.run(await running.credential())
    assert check in prompt.refused_change("runs", assignment, run.id)


async def test_an_ended_lease_renews_nothing_also_at_a_prompt(running, prompt):
    run = await running.begun(await running.run(await running.credential()))
    await running.renewing(run)
    lease = await running.lease(run)
    assert "ck_leases_ended_renews_nothing" in prompt.refused_change("leases", "ended_at = granted_at", lease.id)


# -- several services at once


@pytest.mark.timeout(120)
async def test_several_services_at_once_hold_nobody_up_for_ever_and_grant_each_turn_once(running, prompt):
    """Deletion, erasure, sign-in, the end of machines and of runs take the same rows, from both sides."""
    other = await Store.open(prompt.url, world="demo")
    there = Running(Steps(other))
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    try:
        for turn in range(12):
            mine, hers = [await running.credential(f"{name}{turn}") for name in ("ada", "grace")]
            first, _, _ = [await running.run(mine, later(number)) for number in range(3)]
            second = await there.run(hers)
            answers = await asyncio.gather(
                running.machine_ended(first) if turn % 2 else running.exited(first),
                there.write_back(first),
                there.run(mine, later(9)),
                running.apply(second, RunFact.CANCELLED),
                other.machines.withdraw(later(turn % 3 * 60)),
                running.steps.store.machines.withdraw(later(60)),
                other.credentials.delete(hers.id, at=NOON, by=BY),
                running.steps.store.erasures.begin(Owner(f"ada{turn}"), by=Actor.OPERATOR_TOKEN, at=NOON)
                if turn % 3 == 0
                else other.statuses.apply(mine.id, CredentialFact.VENDOR_REFUSED, at=NOON),
                return_exceptions=True,
            )
            refused = [one for one in answers if isinstance(one, BaseException)]
            # who came after the deletion, or after the vendor's no
            assert all(isinstance(one, CallerError) for one in refused), refused
            assert len(refused) <= 1
            live = prompt.run("SELECT credential_id FROM leases WHERE ended_at IS NULL")
            assert len(live) == len(set(live))
            waiting = prompt.run("SELECT credential_id FROM runs WHERE status = 'waiting'")
            assert set(waiting) <= set(live), "nobody waits for nobody"
        if prompt.kind == "postgres":
            assert prompt.run(deadlocks) == [(0,)]
    finally:
        await other.close()
