"""What the database refuses by itself, to anybody with a SQL prompt (design rule 2; F-02, F-10, F-30, F-31)."""

from __future__ import annotations

import psycopg
import pytest
from tests.opening import BY

from antechamber.lifecycle import SessionFact
from antechamber.model import AccessKind, MachineKind, MachineState, Reason, SessionStatus, new_secret
from antechamber.store.schema import DASHBOARD_KINDS

from .conftest import later


@pytest.fixture
async def completed(steps):
    return (await steps.completed()).session


@pytest.fixture
async def expired(store, steps, noon):
    session = await steps.awaiting("bob")
    return (await store.sessions.apply(session.id, SessionFact.NOBODY_CAME, at=noon)).session


@pytest.mark.parametrize(
    "assignment",
    [
        "status = 'cancelled', reason = 'superseded'",
        "status = 'failed', reason = 'machine_ended', captured_credential_id = NULL, captured_version = NULL",
        "status = 'pending', ended_at = NULL, expires_at = '2030-01-01T00:00:00.000000Z'",
        "reason = 'machine_ended'",
        "detail = 'exit code 1'",
        "captured_version = 2",
        "captured_credential_id = NULL",
        "captured_credential_id = NULL, captured_version = NULL",
        "ended_at = '2030-01-01T00:00:00.000000Z'",
        "status_at = '2030-01-01T00:00:00.000000Z'",
        "expires_at = '2030-01-01T00:00:00.000000Z'",
        "attempt = 3",
        "gave_up_at = '2030-01-01T00:00:00.000000Z'",
        "cli_said = 'Login failed'",
    ],
)
async def test_f010_a_completed_session_is_not_changed_from_a_prompt(store, prompt, completed, assignment):
    refusal = prompt.refused_change("auth_sessions", assignment, completed.id)
    assert refusal == "a terminal session does not change"
    assert await store.sessions.get(completed.id) == completed


@pytest.mark.parametrize(
    "assignment",
    [
        "status = 'starting', reason = NULL, ended_at = NULL, expires_at = '2030-01-01T00:00:00.000000Z'",
        "status = 'failed', reason = 'cli_ended'",
        "reason = 'sign_in_timed_out'",
        "reason = NULL",
    ],
)
async def test_an_expired_session_is_not_changed_from_a_prompt(store, prompt, expired, assignment):
    refusal = prompt.refused_change("auth_sessions", assignment, expired.id)
    assert refusal == "a terminal session does not change"
    assert await store.sessions.get(expired.id) == expired


async def test_times_of_notes_may_still_be_set_on_a_terminal_session(prompt, completed):
    prompt.run("UPDATE auth_sessions SET success_shown_at = ended_at, status = status WHERE id = ?", completed.id)


@pytest.mark.parametrize(
    ("assignment", "check"),
    [
        ("status = 'authenticating', expires_at = NULL", "ck_auth_sessions_status"),
        ("status = 'failed', ended_at = status_at, expires_at = NULL", "ck_auth_sessions_bad_end_has_reason"),
        ("reason = 'cli_ended'", "ck_auth_sessions_bad_end_has_reason"),
        ("reason = 'bad luck'", "ck_auth_sessions_"),
        ("expires_at = NULL", "ck_auth_sessions_live_has_deadline"),
        ("ended_at = status_at", "ck_auth_sessions_ended_when_terminal"),
        ("status = 'completed', ended_at = status_at, expires_at = NULL", "completed by the version"),
    ],
)
async def test_checks_refuse_what_no_state_is(steps, prompt, assignment, check):
    session = await steps.awaiting()
    assert check in prompt.refused_change("auth_sessions", assignment, session.id)


async def test_no_live_session_points_at_a_credential(steps, prompt, completed):
    session = await steps.awaiting("bob")
    refusal = prompt.refusal(
        "UPDATE auth_sessions SET captured_credential_id = ?, captured_version = 1 WHERE id = ?",
        completed.captured_credential_id,
        session.id,
    )
    assert "ck_auth_sessions_completed_is_captured" in refusal


async def test_no_session_is_completed_with_another_sessions_credential(steps, prompt, completed):
    session = await steps.awaiting("bob")
    refusal = prompt.refusal(
        "UPDATE auth_sessions SET status = 'completed', ended_at = status_at, expires_at = NULL,"
        " captured_credential_id = ?, captured_version = 1 WHERE id = ?",
        completed.captured_credential_id,
        session.id,
    )
    assert refusal == "a session is completed by the version that it stored"


async def test_there_is_no_second_live_session_of_one_owner_and_provider(steps, prompt):
    await steps.awaiting()
    refusal = prompt.refusal(
        "INSERT INTO auth_sessions"
        " (id, machine_id, application, user_id, provider, status, created_at, status_at, expires_at)"
        " SELECT 'ses_x', 'mac_x', application, user_id, provider, 'pending', created_at, status_at, expires_at"
        " FROM auth_sessions"
    )
    assert "UNIQUE constraint failed" in refusal


@pytest.mark.parametrize("column", ["id", "application", "user_id", "provider", "machine_id", "created_at"])
async def test_f022_a_session_stays_whose_it_is(steps, prompt, column):
    session = await steps.pending()
    value = "2030-01-01T00:00:00.000000Z" if column == "created_at" else "mallory"
    refusal = prompt.refused_change("auth_sessions", f"{column} = '{value}'", session.id)
    assert refusal == "a session stays whose it is"


REPLACING = {
    "sqlite": "REPLACE INTO auth_sessions SELECT * FROM auth_sessions WHERE id = ?",
    "postgres": "INSERT INTO auth_sessions SELECT * FROM auth_sessions WHERE id = ?"
    " ON CONFLICT (id) DO UPDATE SET status = excluded.status",
}


async def test_a_session_cannot_be_made_with_an_end_or_replaced(steps, prompt, completed):
    for session in (completed, await steps.pending("bob")):
        refusal = prompt.refusal(REPLACING[prompt.kind], session.id)
        # where two triggers refuse, PostgreSQL says what the first by name says
        first = prompt.kind == "postgres" and session is completed
        assert refusal == ("a session begins as pending" if first else "a session is not replaced")
    refusal = prompt.refusal(
        "INSERT INTO auth_sessions (id, machine_id, application, user_id, provider, status, created_at, status_at)"
        " SELECT 'ses_x', 'mac_x', 'default', 'ada', 'codex', 'completed', created_at, created_at"
        " FROM auth_sessions WHERE id = ?",
        completed.id,
    )
    assert refusal == "a session begins as pending"


async def test_a_live_session_or_machine_is_not_deleted_and_a_terminal_one_may_be(store, steps, prompt, expired):
    live = await steps.awaiting()
    assert "is not deleted" in prompt.refusal("DELETE FROM auth_sessions WHERE id = ?", live.id)
    running = await steps.machine(expired)
    assert "is not deleted" in prompt.refusal("DELETE FROM machines WHERE id = ?", running.id)
    assert "is not deleted" in prompt.refusal("DELETE FROM auth_sessions WHERE id = ?", expired.id)
    await steps.end_machine(running)
    prompt.run("DELETE FROM auth_sessions WHERE id = ?", expired.id)
    assert await store.machines.get(running.id) is None
    assert prompt.run("SELECT count(*) FROM events WHERE session_id = ?", expired.id) == [(0,)]


async def test_no_table_with_a_live_row_is_emptied_as_a_whole(store, steps, postgres_only, completed):
    refusal = postgres_only.refusal("TRUNCATE machines")
    assert refusal == "a machine that has not ended is not deleted"
    await steps.end_machine(await steps.machine(completed))
    postgres_only.run("TRUNCATE machines")
    session = await steps.pending()
    assert postgres_only.refusal("TRUNCATE auth_sessions CASCADE") == "a live session is not deleted"
    assert await store.sessions.get(session.id) == session


async def test_a_table_of_the_same_name_does_not_answer_in_place_of_ours(steps, postgres_only, completed):
    session = await steps.awaiting("bob")
    with postgres_only.transaction() as other:
        other.execute("CREATE TEMPORARY TABLE credential_versions AS SELECT * FROM public.credential_versions")
        other.execute("UPDATE credential_versions SET session_id = %s", [session.id])
        with pytest.raises(psycopg.IntegrityError, match="by the version that it stored"):
            other.execute(
                "UPDATE auth_sessions SET status = 'completed', ended_at = status_at, expires_at = NULL,"
                " captured_credential_id = %s, captured_version = 1 WHERE id = %s",
                [completed.captured_credential_id, session.id],
            )


async def test_an_ended_machine_does_not_change_and_no_machine_becomes_another(steps, prompt):
    row = await steps.begin(await steps.check_machine(), host_uid=200_001)
    assert "which it is" in prompt.refusal("UPDATE machines SET incarnation = 'inc_x' WHERE id = ?", row.id)
    await steps.end_machine(row)
    for assignment in ("state = 'ready', ended_at = NULL", "exit_code = 0", "state = 'gone'"):
        refusal = prompt.refused_change("machines", assignment, row.id)
        assert refusal == "an ended machine does not change"


@pytest.mark.parametrize("column", ["id", "kind", "session_id", "driver", "incarnation"])
async def test_f022_a_machine_stays_which_it_is_and_whose(steps, prompt, column):
    row = await steps.machine(await steps.pending())
    other = await steps.pending("bob")
    refusal = prompt.refused_change("machines", f"{column} = '{other.id}'", row.id)
    assert refusal == "a machine stays which it is"


async def test_f074_two_machines_that_have_not_ended_never_have_one_uid(steps, prompt):
    await steps.begin(await steps.check_machine(), host_uid=200_001)
    other = await steps.begin(await steps.check_machine(), host_uid=200_002)
    assert "UNIQUE" in prompt.refusal("UPDATE machines SET host_uid = 200001 WHERE id = ?", other.id)


async def test_a_credential_is_sealed_or_a_tombstone_and_nothing_between(store, steps, prompt, completed, noon):
    credential_id = completed.captured_credential_id
    for assignment in ("ciphertext = NULL", "key_id = NULL", "deleted_at = stored_at", "version = 0"):
        refusal = prompt.refused_change("provider_credentials", assignment, credential_id)
        assert "CHECK constraint failed" in refusal or "grows by one" in refusal
    assert "grows by one" in prompt.refusal("UPDATE provider_credentials SET version = version + 2")
    assert "whose it is" in prompt.refusal("UPDATE provider_credentials SET user_id = 'mallory'")
    await store.credentials.delete(credential_id, at=noon, by=BY)
    refusal = prompt.refusal(
        "UPDATE provider_credentials SET deleted_at = NULL, ciphertext = wrapped_key, key_id = 'k'"
    )
    assert refusal == "a deleted credential does not change"
    assert "FOREIGN KEY" in prompt.refusal("DELETE FROM provider_credentials WHERE id = ?", credential_id)


async def test_events_and_stored_versions_do_not_change(prompt, completed):
    assert prompt.refusal("UPDATE events SET kind = 'cancelled'") == "an event does not change"
    assert prompt.refusal("UPDATE credential_versions SET session_id = 'x'") == "a stored version does not change"


CHECKS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'table'",
    "postgres": "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'",
}


async def test_f030_f102_every_word_of_every_enum_is_accepted_by_its_column(store, steps, prompt, noon):
    for reason in Reason:
        session = await steps.awaiting()
        moved = await store.sessions.apply(session.id, SessionFact.SIGN_IN_FAILED, at=noon, reason=reason)
        assert moved.session.reason is reason
    for kind in AccessKind:
        session_id = None if kind in DASHBOARD_KINDS else moved.session.id
        await store.access.grant(kind, new_secret(), session_id=session_id, at=noon, expires_at=later(1))
    checks = "".join(sql for (sql,) in prompt.run(CHECKS[prompt.kind]))
    assert all(f"'{word}'" in checks for enum in (SessionStatus, MachineState, MachineKind) for word in enum)


async def test_f102_a_word_that_no_enum_has_is_refused_everywhere(steps, prompt, completed):
    row = await steps.begin(await steps.check_machine())
    refusals = [
        prompt.refused_change("machines", "state = 'asleep'", row.id),
        prompt.refusal(
            "INSERT INTO access (secret_hash, kind, session_id, granted_at, expires_at)"
            " SELECT 'h', 'master_key', id, created_at, created_at FROM auth_sessions"
        ),
        prompt.refusal(
            "INSERT INTO events (id, kind, act, at, fields) SELECT 'e', 'k', 'guess', created_at, '{}'"
            " FROM auth_sessions"
        ),
    ]
    assert all("CHECK constraint failed" in refusal for refusal in refusals)
