"""What is past its time is deleted in small steps, and nothing that is still needed (design.md, section 3)."""

# ruff: noqa: S608 - the words in these statements are the tests' own

import asyncio
from datetime import timedelta

import pytest
from tests.contract.store.conftest import DAY, NOON, later
from tests.opening import BY

from antechamber.lifecycle import SessionFact
from antechamber.model import Reason, SessionStatus
from antechamber.store.retention import BATCH

TOMORROW = NOON + timedelta(hours=24)
MANY = 2000
"""Sessions; with what each has, 12,000 rows."""
NUMBERS = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY})"
OLD = "2026-01-01T00:00:00.000000Z"


async def over(store, steps, user="ada", **other):
    """Return a session that has ended, its machine too, with an event of each, a right and a destination."""
    session = (await steps.completed(user, **other)).session
    await steps.end_machine(await steps.machine(session))
    await store.destinations.record(
        session.id, "auth.test", 443, "allowed", bytes_out=1, bytes_in=1, connections=1, at=NOON
    )
    return session


def fill(prompt):
    """Have many failed sessions of January, each with its machine, three events and a destination."""
    ids = "'ses_' || n, 'mac_' || n"
    times = f"'{OLD}', '{OLD}'"
    prompt.run(
        f"{NUMBERS} INSERT INTO auth_sessions (id, machine_id, application, user_id, provider, status, created_at,"
        f" status_at, expires_at) SELECT {ids}, 'default', 'u' || n, 'codex', 'pending', {times}, '{OLD}' FROM numbers"
    )
    prompt.run(
        f"{NUMBERS} INSERT INTO machines (session_id, id, kind, state, driver, incarnation, created_at, state_at,"
        f" ended_at) SELECT {ids}, 'sign_in', 'gone', 'scripted', 'inc_' || n, {times}, '{OLD}' FROM numbers"
    )
    for kind in ("created", "start_failed", "machine_ended"):
        prompt.run(
            f"{NUMBERS} INSERT INTO events (session_id, id, kind, act, at, fields)"
            f" SELECT 'ses_' || n, 'evt_{kind}' || n, '{kind}', 'move', '{OLD}', '{{}}' FROM numbers"
        )
    prompt.run(
        f"{NUMBERS} INSERT INTO destinations (session_id, name, port, verdict, bytes_out, bytes_in, connections,"
        f" first_at, last_at) SELECT 'ses_' || n, 'a.test', 443, 'allowed', 1, 1, 1, {times} FROM numbers"
    )
    prompt.run(
        f"UPDATE auth_sessions SET status = 'failed', reason = 'cli_ended', expires_at = NULL, ended_at = '{OLD}'"
        f" WHERE created_at = '{OLD}'"
    )


def counts(prompt):
    tables = ("auth_sessions", "machines", "events", "access", "destinations", "idempotency_keys")
    return [prompt.run(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


async def test_an_ended_session_goes_with_all_that_is_its_own_when_its_time_is_over(store, steps, prompt):
    session = await steps.cancelled()
    await steps.end_machine(await steps.machine(session))
    assert not (await store.retention.prune(later(86_399), DAY)).sessions
    pruned = await store.retention.prune(TOMORROW, DAY)
    assert (pruned.sessions, pruned.machines) == (1, 1)
    assert pruned.events > 3
    assert counts(prompt) == [0, 0, 0, 0, 0, 0]
    assert not await store.retention.prune(TOMORROW, DAY)


async def test_the_session_of_a_live_credential_keeps_its_row_and_loses_its_events(store, steps):
    session = await over(store, steps)
    pruned = await store.retention.prune(TOMORROW, DAY)
    assert (pruned.sessions, pruned.machines, pruned.destinations) == (0, 1, 1)
    kept = await store.sessions.get(session.id)
    assert (kept.status, kept.captured_version) == (SessionStatus.COMPLETED, 1)
    assert await store.sessions.events(session.id, machines=True) == []
    assert (await store.credentials.current(session.owner, "codex")).session_id == session.id
    assert not await store.retention.prune(TOMORROW, DAY), "it is not looked at again and again"


async def test_the_session_of_a_version_that_was_replaced_goes(store, steps):
    first, second = await over(store, steps), await over(store, steps)
    assert (await store.retention.prune(TOMORROW, DAY)).sessions == 1
    assert await store.sessions.get(first.id) is None
    assert await store.sessions.get(second.id) is not None
    credential = await store.credentials.current(second.owner, "codex")
    assert [one.version for one in await store.credentials.versions(credential.id)] == [2, 1]
    assert await store.credentials.sealed(credential.id) is not None


async def test_a_tombstone_goes_after_the_sessions_that_point_at_it(store, steps):
    session = await over(store, steps)
    await store.credentials.delete(session.captured_credential_id, at=NOON, by=BY)
    pruned = await store.retention.prune(TOMORROW, DAY)
    assert (pruned.sessions, pruned.tombstones) == (1, 1)
    assert await store.credentials.get(session.captured_credential_id) is None


async def test_a_tombstone_of_today_stays_with_its_session_until_it_is_old_too(store, steps):
    session = await over(store, steps)
    await store.credentials.delete(session.captured_credential_id, at=later(3600), by=BY)
    assert (await store.retention.prune(TOMORROW, DAY)).tombstones == 0
    assert (await store.credentials.get(session.captured_credential_id)).deleted_at == later(3600)


async def test_nothing_that_is_live_goes_however_old_it_is(store, steps, prompt):
    live = await steps.awaiting("ada")
    cancelled = await steps.awaiting("bob")
    running = await steps.begin(await steps.machine(cancelled))
    await store.sessions.apply(cancelled.id, SessionFact.CANCELLED, at=NOON, reason=Reason.CANCELLED_BY_PERSON)
    far = NOON + timedelta(days=1000)
    pruned = await store.retention.prune(far, DAY)
    assert pruned.sessions == pruned.machines == 0
    assert (await store.sessions.get(live.id)).status is SessionStatus.AWAITING_SIGN_IN
    assert await store.sessions.events(live.id) != []
    assert (await store.machines.get(running.id)).state == "booting"
    await steps.end_machine(running)
    assert (await store.retention.prune(far, DAY)).sessions == 1
    assert counts(prompt)[0] == 1


async def test_the_story_of_an_ended_session_stays_as_long_as_its_machine_runs(store, steps):
    session = await steps.awaiting("bob")
    running = await steps.begin(await steps.machine(session))
    await store.sessions.apply(session.id, SessionFact.CANCELLED, at=NOON, reason=Reason.CANCELLED_BY_PERSON)
    told = await store.sessions.events(session.id, machines=True)
    assert not await store.retention.prune(TOMORROW, DAY)
    assert await store.sessions.events(session.id, machines=True) == told != []
    await steps.end_machine(running)
    assert (await store.retention.prune(TOMORROW, DAY)).events > len(told)
    assert await store.sessions.get(session.id) is None


async def test_a_machine_that_checked_a_credential_goes_with_its_events(store, steps, prompt):
    row = await steps.end_machine(await steps.begin(await steps.check_machine()))
    assert (await store.retention.prune(TOMORROW, DAY)).machines == 1
    assert await store.machines.get(row.id) is None
    assert counts(prompt)[2] == 0


@pytest.mark.parametrize("services", [1, 2])
async def test_ten_thousand_rows_go_in_small_steps_between_which_others_write(store, steps, prompt, services):
    fill(prompt)
    kept = await over(store, steps)
    pruning = asyncio.gather(*(store.retention.prune(later(60), DAY) for _ in range(services)))
    written = 0
    while not pruning.done():
        session = await steps.pending(f"new{written}")
        await store.sessions.apply(session.id, SessionFact.OPENED, at=later(60))
        written += 1
    pruned = await pruning
    for name, rows in (("sessions", MANY), ("machines", MANY), ("events", 3 * MANY), ("destinations", MANY)):
        assert sum(getattr(one, name) for one in pruned) == rows, "each row is deleted once"
    # in a pruning that held the right to write there would be one
    assert written > MANY / BATCH / 2
    assert counts(prompt)[0] == written + 1
    assert await store.sessions.get(kept.id) is not None
