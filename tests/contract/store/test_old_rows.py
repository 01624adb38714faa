"""What a service asks of its database again and again reads no ended row, however many there are.

Looked at by SQLite's own plan: `make bench` measures it, on both databases.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event
from tests.contract.store.conftest import Steps, later
from tests.contract.store.running import Running

from antechamber.lifecycle import SessionFact
from antechamber.model import Fields, IdPrefix, Owner, new_id
from antechamber.store import Kept, NewSession, Store, file_url

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ADA = Owner("ada")
OF_THE_LIVING = {
    "one_live_session",
    "one_machine_of_uid",
    "machines_running",
    "sessions_live",
    "runs_due",
}
NODE = new_id(IdPrefix.NODE)


async def daily_round(store):
    new = NewSession(ADA, "codex", Fields(), "scripted", NOON + timedelta(minutes=1))
    session = (await store.sessions.create(new, at=NOON)).session
    machine = await store.machines.of_session(session.id)
    await store.nodes.join(NODE, name="here", url=None, at=NOON)
    assert (await store.line.length("scripted", NOON), await store.line.position(session.id, NOON)) == (1, 1)
    await store.machines.claim(NODE, driver="scripted", at=NOON, until=NOON + timedelta(seconds=10))
    await store.machines.withdraw(NOON)
    await store.machines.taken_uids(NODE, "scripted")
    await store.machines.begin(
        machine.id, incarnation=machine.incarnation, node=NODE, handle={}, host_uid=7, expires_at=NOON, at=NOON
    )
    for fact in (SessionFact.MACHINE_BOOTING, SessionFact.OPENED, SessionFact.OPENED, SessionFact.MACHINE_READY):
        await store.sessions.apply(session.id, fact, at=NOON)
    await store.machines.not_ended(NODE)
    await store.machines.due(NOON)
    await store.machines.list(limit=1)
    await store.sessions.due(NOON)
    await store.sessions.deadlines()
    await store.sessions.list(live=True, limit=1)
    await store.sessions.list(user_id=ADA.user_id, application=ADA.application, limit=1)
    await store.sessions.list(limit=1)
    await store.retention.prune(NOON, Kept(timedelta(1), timedelta(1), timedelta(1)))
    await store.credentials.current(ADA, "codex")
    await store.has_sealed_rows()
    await store.statuses.due(NOON, timedelta(days=3))
    running = Running(Steps(store))
    credential = await running.credential("grace")
    run, waiting = [await running.run(credential, later(number)) for number in range(2)]
    await store.runs.position(waiting)
    await store.runs.due(NOON)
    await store.runs.deadlines()
    await store.runs.of_node(NODE)
    await running.renewing(run)
    await running.write_back(run)
    await store.runs.list(user_id="grace", application=ADA.application, limit=1)
    await running.exited(run)
    await store.machines.withdraw(NOON)


@pytest.fixture
async def plans(tmp_path):
    path = tmp_path / "antechamber.db"
    store = await Store.open(file_url(path), world="demo")
    asked = {}

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            asked[statement] = parameters

    event.listen(store._database._engine.sync_engine, "before_cursor_execute", note)
    await daily_round(store)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        return {
            statement: [
                step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            ]
            for statement, parameters in asked.items()
        }


def test_no_statement_reads_a_whole_table(plans):
    assert len(plans) > 20
    # along an index it stops at its limit, or the index has live rows alone
    whole = {
        statement: steps
        for statement, steps in plans.items()
        # the installation is one row
        if any(step.startswith("SCAN") and "USING" not in step and step != "SCAN installation" for step in steps)
    }
    assert whole == {}


def test_nothing_but_what_lives_is_sorted(plans):
    assert [
        steps
        for steps in plans.values()
        if any("TEMP B-TREE" in step for step in steps) and not any(name in steps[0] for name in OF_THE_LIVING)
    ] == []


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("machines.node = ? ORDER BY", "one_machine_of_uid"),
        ("machines.claimed_until <= ?) ORDER BY", "machines_running"),
        ("auth_sessions.id = machines.session_id) NOT IN", "machines_requested"),
        ("WHERE machines.driver = ? AND", "machines_requested"),
        ("WHERE (machines.created_at < ? OR", "machines_requested"),
        ("WHERE auth_sessions.status IN ('awaiting_sign_in', 'pending', 'starting') ORDER BY", "sessions_live"),
        ("auth_sessions.provider = ? AND auth_sessions.status IN", "one_live_session"),
        ("machines.host_uid = ? AND", "one_machine_of_uid"),
        ("auth_sessions.user_id = ? ORDER BY", "sessions_of_owner"),
        ("provider_credentials.status IN ('active', 'expiring')", "credentials_ending"),
    ],
)  # fmt: skip
def test_what_lives_is_found_by_an_index_of_the_living(plans, asked, index):
    steps = [steps for statement, steps in plans.items() if asked in statement]
    assert steps
    assert all(any(index in step for step in each) for each in steps)
