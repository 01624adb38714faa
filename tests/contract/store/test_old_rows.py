"""What a service asks of its database again and again reads no ended row, however many there are.

Looked at by SQLite's own plan: `make bench` measures it, on both databases.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from antechamber.lifecycle import SessionFact
from antechamber.model import Fields, Owner
from antechamber.store import NewSession, Store, file_url

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ADA = Owner("ada")


async def daily_round(store):
    new = NewSession(ADA, "codex", Fields(), "scripted", NOON + timedelta(minutes=1))
    session = (await store.sessions.create(new, at=NOON)).session
    machine = await store.machines.of_session(session.id)
    await store.machines.taken_uids("scripted")
    await store.machines.begin(
        machine.id, incarnation=machine.incarnation, handle={}, host_uid=7, expires_at=NOON, at=NOON
    )
    for fact in (SessionFact.MACHINE_BOOTING, SessionFact.OPENED, SessionFact.OPENED, SessionFact.MACHINE_READY):
        await store.sessions.apply(session.id, fact, at=NOON)
    await store.machines.not_ended()
    await store.machines.due(NOON)
    await store.machines.list(limit=1)
    await store.sessions.due(NOON)
    await store.sessions.list(live=True, limit=1)
    await store.sessions.list(owner=ADA, limit=1)
    await store.sessions.list(limit=1)
    await store.sessions.prune(NOON, idempotency_kept=timedelta(1), destinations_kept=timedelta(1))
    await store.credentials.current(ADA, "codex")
    await store.has_sealed_rows()


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
        if any(step.startswith("SCAN") and "USING" not in step for step in steps)
    }
    assert whole == {}


def test_nothing_is_sorted_first(plans):
    assert {
        statement: steps for statement, steps in plans.items() if any("TEMP B-TREE" in step for step in steps)
    } == {}


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("FROM machines \nWHERE (machines.state NOT IN ('gone', 'lost')) ORDER BY", "machines_running"),
        ("WHERE auth_sessions.status IN ('awaiting_sign_in', 'pending', 'starting') ORDER BY", "sessions_live"),
        ("auth_sessions.provider = ? AND auth_sessions.status IN", "one_live_session"),
        ("machines.host_uid = ? AND", "one_machine_of_uid"),
        ("auth_sessions.user_id = ? ORDER BY", "sessions_of_owner"),
    ],
)  # fmt: skip
def test_what_lives_is_found_by_an_index_of_the_living(plans, asked, index):
    steps = [steps for statement, steps in plans.items() if asked in statement]
    assert len(steps) == 1
    assert any(index in step for step in steps[0])
