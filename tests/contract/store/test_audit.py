"""The audit: in the transaction of what it tells of, never changed, and without a way to a person who was removed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.contract.store.conftest import NOON, later

from antechamber.errors import Code
from antechamber.model import Actor, AuditAction, AuditOutcome, Claims, Owner, Purpose
from antechamber.store import Kept

ADA, BOB = Owner("ada"), Owner("bob")
STORED, OPENED = AuditAction.CREDENTIAL_STORED, AuditAction.CREDENTIAL_OPENED
REJECTED, DELETED, ERASED = (
    AuditAction.CREDENTIAL_REJECTED,
    AuditAction.CREDENTIAL_DELETED,
    AuditAction.OWNER_ERASED,
)


async def opened(store, owner=ADA, provider="codex"):
    return await store.credentials.open(owner, provider, purpose=Purpose.CHECK, actor=Actor.COMMAND_LINE, at=later(5))


def told(lines):
    return [(line.actor, line.action, line.outcome) for line in lines]


async def test_each_step_of_a_credentials_life_is_a_line_of_whoever_took_it(store, steps):
    captured = await steps.completed("ada")
    credential, sealed = await opened(store)
    assert (credential.id, sealed.ciphertext) == (captured.credential.id, b"DUMMY ciphertext")
    await store.credentials.delete(credential.id, at=later(6), by=Actor.DASHBOARD)
    lines = await store.audit.list()
    assert told(lines) == [
        (Actor.PERSON, STORED, AuditOutcome.GRANTED),
        (Actor.COMMAND_LINE, OPENED, AuditOutcome.GRANTED),
        (Actor.DASHBOARD, DELETED, AuditOutcome.GRANTED),
    ]
    assert {(line.credential_id, line.version, line.provider) for line in lines} == {(credential.id, 1, "codex")}
    assert [line.purpose for line in lines] == [None, Purpose.CHECK, None]
    assert lines[0].session_id == captured.session.id
    assert lines[1].at == later(5)
    assert len({line.owner for line in lines}) == 1
    assert len({line.id for line in lines}) == 3


async def test_a_deletion_that_changes_nothing_is_no_line(store, steps):
    captured = await steps.completed("ada")
    for _ in range(2):
        await store.credentials.delete(captured.credential.id, at=NOON, by=Actor.DASHBOARD)
    assert [line.action for line in await store.audit.list()] == [STORED, DELETED]


async def test_a_person_who_says_that_it_is_not_them_is_the_one_who_did_it(store, steps):
    captured = await steps.completed("ada")
    await store.credentials.reject(captured.session.id, at=NOON)
    line = (await store.audit.list())[-1]
    assert (line.actor, line.action, line.session_id) == (Actor.PERSON, REJECTED, captured.session.id)


async def test_a_try_that_was_denied_is_told_and_makes_nobody_known(store, prompt):
    assert await opened(store, Owner("nobody of ours")) is None
    (line,) = await store.audit.list()
    assert (line.action, line.outcome, line.refused) == (OPENED, AuditOutcome.DENIED, str(Code.CREDENTIAL_NOT_FOUND))
    assert line.owner is None
    assert prompt.run("SELECT count(*) FROM audit_keys") == [(0,)]


async def test_a_try_to_open_what_was_deleted_is_denied_and_belongs_to_its_owner(store, steps):
    captured = await steps.completed("ada")
    await store.credentials.delete(captured.credential.id, at=NOON, by=Actor.DASHBOARD)
    assert await opened(store) is None
    lines = await store.audit.list(owner=ADA)
    assert (lines[-1].outcome, lines[-1].owner) == (AuditOutcome.DENIED, lines[0].owner)


async def test_another_account_that_was_refused_is_a_denied_line(store, steps):
    await steps.completed("ada")
    session = await steps.awaiting("ada")
    refused = await steps.capture(session, claims=Claims("eve@example.test", "pro", later(3600)))
    assert refused.outcome == "other_account"
    line = (await store.audit.list())[-1]
    assert (line.action, line.refused, line.session_id) == (STORED, str(Code.OTHER_ACCOUNT), session.id)


async def test_what_cannot_be_put_on_record_is_not_opened(store, steps, prompt):
    await steps.completed("ada")
    if prompt.kind == "sqlite":
        prompt.run("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END")
    else:
        prompt.run("ALTER TABLE audit ADD CONSTRAINT no_room CHECK (action <> 'credential_opened') NOT VALID")
    with pytest.raises(Exception, match=r"no.room"):
        await opened(store)


@pytest.mark.parametrize("statement", ["UPDATE audit SET owner = 'eve'", "DELETE FROM audit"])
async def test_the_database_refuses_to_change_or_delete_a_line(store, steps, prompt, statement):
    await steps.completed("ada")
    assert "a line of the audit" in prompt.refusal(statement)
    assert len(await store.audit.list()) == 1


async def test_no_line_names_a_person_and_two_persons_are_told_apart(store, steps, prompt):
    for user in ("ada", "bob"):
        await steps.completed(user)
    await steps.completed("ada", "gemini")
    owners = [line.owner for line in await store.audit.list()]
    assert owners[0] == owners[2] != owners[1]
    assert "'ada'" not in str(prompt.run("SELECT * FROM audit"))
    assert [line.owner for line in await store.audit.list(owner=BOB)] == [owners[1]]
    assert await store.audit.list(owner=Owner("ada", "another application")) == []


async def test_of_whoever_was_removed_no_line_leads_to_them_and_one_says_that_it_was_done(store, steps, prompt):
    captured = await steps.completed("ada")
    await steps.end_machine(await steps.machine(captured.session))
    before = await store.audit.list(owner=ADA)
    erasure = await store.erasures.begin(ADA, by=Actor.DASHBOARD, at=NOON)
    while (await store.erasures.step(erasure.id, at=NOON))[1]:
        pass
    assert await store.audit.list(owner=ADA) == []
    assert prompt.run("SELECT count(*) FROM audit_keys") == [(0,)]
    lines = await store.audit.list()
    assert told(lines) == [
        (Actor.PERSON, STORED, AuditOutcome.GRANTED),
        (Actor.DASHBOARD, DELETED, AuditOutcome.GRANTED),
        (Actor.DASHBOARD, ERASED, AuditOutcome.GRANTED),
    ]
    assert lines[-1].owner is None
    # who comes back is somebody else
    await steps.completed("ada")
    assert (await store.audit.list(owner=ADA))[0].owner != before[0].owner


async def test_whom_only_the_audit_knows_can_be_removed_from_it(store, steps):
    captured = await steps.completed("ada")
    await steps.end_machine(await steps.machine(captured.session))
    await store.credentials.delete(captured.credential.id, at=NOON, by=Actor.DASHBOARD)
    kept = Kept(timedelta(days=1), timedelta(days=1), timedelta(days=1))
    while (found := await store.erasures.holdings(ADA)).sessions or found.tombstones:
        await store.retention.prune(NOON + timedelta(days=365), kept)
    assert found.is_known
    erasure = await store.erasures.begin(ADA, by=Actor.DASHBOARD, at=NOON)
    while (await store.erasures.step(erasure.id, at=NOON))[1]:
        pass
    assert not await store.erasures.holdings(ADA)


async def test_lines_are_read_in_pages(store, steps):
    for user in ("ada", "bob", "eve"):
        await steps.completed(user)
    first = await store.audit.list(limit=2)
    rest = await store.audit.list(after=first[-1].seq)
    assert [len(first), len(rest)] == [2, 1]
    assert rest[0].seq > first[-1].seq


async def test_two_that_tell_of_one_owner_at_once_give_them_one_pseudonym(store, steps):
    sessions = [await steps.awaiting("ada", provider) for provider in ("codex", "gemini", "claude_code")]
    await asyncio.gather(*(steps.capture(session) for session in sessions))
    assert len({line.owner for line in await store.audit.list()}) == 1


@pytest.mark.parametrize("same", ["seq", "id"])
async def test_no_line_is_put_in_the_place_of_another(store, steps, prompt, same):
    await steps.completed("ada")
    (line,) = await store.audit.list()
    seq, ident = (line.seq, "aud_0") if same == "seq" else (line.seq + 100, line.id)
    verb = "INSERT OR REPLACE INTO" if prompt.kind == "sqlite" else "INSERT INTO"
    forced = "" if prompt.kind == "sqlite" else "OVERRIDING SYSTEM VALUE"
    statement = (
        f"{verb} audit (seq, id, at, actor, action, outcome, owner) {forced} SELECT {seq}, '{ident}', at, 'dashboard',"  # noqa: S608 - the test's words
        " action, outcome, 'eve' FROM audit"
    )
    assert "not replaced" in prompt.refusal(statement)
    assert await store.audit.list() == [line]


async def test_whoever_reads_on_after_a_line_misses_none_that_was_committed_later(store, steps, prompt):
    captured = await steps.completed("ada")
    await steps.completed("bob", "gemini")
    read = (await store.audit.list())[-1].seq
    # a deletion that waits for its session's lock until another opening is committed
    with prompt.transaction() as held:
        if prompt.kind == "postgres":
            held.execute("SELECT id FROM auth_sessions WHERE id = %s FOR UPDATE", (captured.session.id,))
        else:
            held.execute("ROLLBACK")
        deleting = asyncio.get_running_loop().create_task(
            store.credentials.delete(captured.credential.id, at=NOON, by=Actor.DASHBOARD)
        )
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not deleting.done() and (prompt.kind == "sqlite" or prompt.run(waiting) == [(0,)]):
            await asyncio.sleep(0)
        assert await opened(store, BOB, "gemini") is not None
        first = await store.audit.list(after=read)
        if prompt.kind == "postgres":
            held.rollback()
        await deleting
    rest = await store.audit.list(after=first[-1].seq)
    assert sorted(line.action for line in [*first, *rest]) == [DELETED, OPENED]
