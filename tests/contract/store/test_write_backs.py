"""What a run's tool makes of its credential: a new version under its lease, or nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.store.conftest import DAY, NOON, later
from tests.contract.store.running import ACCOUNT, Running
from tests.opening import BY

from antechamber.credential_life import CredentialFact
from antechamber.errors import Code
from antechamber.model import AuditAction, Claims, CredentialReason, CredentialStatus, IdPrefix, Sealed, new_id
from antechamber.run_life import RunFact


@pytest.fixture
def running(steps):
    return Running(steps)


@pytest.fixture
async def held(running):
    """A credential, and the run that has it."""
    credential = await running.credential()
    return credential, await running.begun(await running.run(credential))


async def test_a_renewal_is_the_next_version_and_keeps_whose_it_is(store, running, held, prompt):
    credential, run = held
    written = await running.write_back(run, at=later(5))
    after, sealed = await store.credentials.sealed(credential.id)
    assert (written.outcome, written.credential) == ("stored", after)
    assert (after.id, after.version, after.stored_at) == (credential.id, 2, later(5))
    assert (after.status, after.status_reason) == (CredentialStatus.ACTIVE, CredentialReason.REFRESHED)
    assert after.session_id == credential.session_id, "a run is no sign-in"
    assert sealed.ciphertext == b"DUMMY renewed 2"
    assert (await running.lease(run)).version == 2
    rows = prompt.run("SELECT version, session_id, run_id FROM credential_versions ORDER BY version")
    assert rows == [(1, credential.session_id, None), (2, credential.session_id, run.id)]
    line = (await store.audit.list(after=0, limit=100))[-1]
    assert (line.action, line.version, line.refused) == (AuditAction.CREDENTIAL_REFRESHED, 2, None)
    event = (await store.statuses.events(credential.id))[-1]
    assert (event.kind, event.version, event.fields) == (CredentialFact.REFRESHED, 2, {"run_id": run.id})


async def test_what_was_stored_before_is_in_no_file_of_the_database_any_more(running, held, prompt, sqlite_only):
    _, run = held
    await running.write_back(run, sealed=Sealed(b"DUMMY first renewal", b"DUMMY wrapped key", "key_00000001", 1))
    assert b"DUMMY first renewal" in prompt.bytes_on_disk()
    await running.write_back(run, 2)
    assert b"DUMMY first renewal" not in prompt.bytes_on_disk()


async def test_a_report_that_comes_again_changes_nothing(store, running, held, prompt):
    credential, run = held
    report = new_id(IdPrefix.REPORT)
    first = await running.write_back(run, report_id=report)
    again = await running.write_back(run, 2, report_id=report)
    assert (first.outcome, again.outcome) == ("stored", "repeated")
    assert (await store.credentials.get(credential.id)).version == 2
    assert prompt.run("SELECT count(*) FROM audit WHERE action = 'credential_refreshed'") == [(1,)]


async def test_a_version_that_has_moved_on_is_to_be_sealed_again(running, held):
    _, run = held
    await running.write_back(run)
    assert (await running.write_back(run, 1)).outcome == "conflict"
    assert (await running.write_back(run, 2)).outcome == "stored"


async def test_a_sign_in_meanwhile_wins(store, running, held):
    credential, run = held
    await running.sign_in_again(credential.owner)
    assert (await running.write_back(run, 2)).outcome == "superseded"
    assert (await running.write_back(run, 1)).outcome == "superseded"
    _, sealed = await store.credentials.sealed(credential.id)
    assert sealed.ciphertext == b"DUMMY ciphertext"


@pytest.mark.parametrize("end", ["exit", "machine"])
async def test_a_late_writer_is_refused_also_while_the_next_one_has_it(store, running, held, end):
    credential, run = held
    waiting = await running.run(credential, later(1))
    await (running.exited(run) if end == "exit" else running.machine_ended(run))
    assert (await running.write_back(run)).outcome == "lease_over"
    assert (await running.write_back(waiting)).outcome == "stored"
    assert (await store.credentials.get(credential.id)).version == 2


async def test_who_waits_writes_nothing(running, held):
    waiting = await running.run(held[0], later(1))
    assert (await running.write_back(waiting)).outcome == "lease_over"


async def test_another_account_is_refused_and_on_record(store, running, held):
    credential, run = held
    written = await running.write_back(run, claims=Claims("eve@example.test", None, None))
    assert written.outcome == "other_account"
    assert await store.credentials.get(credential.id) == credential
    line = (await store.audit.list(after=0, limit=100))[-1]
    assert (line.action, line.refused) == (AuditAction.CREDENTIAL_REFRESHED, Code.OTHER_ACCOUNT)


async def test_a_file_that_names_no_account_leaves_the_one_that_is_known(store, running, held):
    credential, run = held
    await running.write_back(run, claims=Claims(None, None, None))
    assert (await store.credentials.get(credential.id)).claims.account == ACCOUNT
    assert (await running.write_back(run, 2, claims=Claims("eve@example.test", None, None))).outcome == "other_account"


async def test_a_revoked_credential_stays_revoked_and_a_deleted_one_gone(store, running, held):
    credential, run = held
    await store.statuses.apply(credential.id, CredentialFact.SAID_REVOKED, at=NOON)
    assert (await running.write_back(run)).outcome == "revoked"
    assert await running.status(credential) == ("revoked", "said_revoked")
    await store.credentials.delete(credential.id, at=NOON, by=BY)
    assert (await running.write_back(run)).outcome == "gone"
    assert await store.credentials.sealed(credential.id) is None


async def test_a_renewal_makes_one_that_was_refused_work_again(store, running, held):
    credential, run = held
    await store.statuses.apply(credential.id, CredentialFact.VENDOR_REFUSED, at=NOON)
    assert (await running.write_back(run)).outcome == "stored"
    assert await running.status(credential) == ("active", "refreshed")


async def test_what_is_sealed_with_a_key_of_before_is_to_be_sealed_again_unless_any_will_do(store, running, held):
    _, run = held
    await store.set_key_id("key_00000002")
    assert (await running.write_back(run)).outcome == "key_changed"
    assert (await running.write_back(run, any_key=True)).outcome == "stored"


async def test_a_renewal_that_is_stored_is_none_any_more_unless_another_may_have_begun(running, held):
    _, run = held
    for number, (again, left) in enumerate([(True, NOON), (False, None)], 1):
        await running.renewing(run)
        await running.write_back(run, number, is_renewing=lambda again=again: again)
        assert (await running.lease(run)).renewing_at == left


async def test_a_renewal_that_begins_while_one_is_sealed_stays_written_down(running, held):
    """Whether it may be in another one is asked under the lease's lock, not before the sealing."""
    _, run = held
    connected = False
    seal_is_done = running.write_back(run, is_renewing=lambda: connected)
    connected = True
    await running.renewing(run, later(1))
    await seal_is_done
    assert (await running.lease(run)).renewing_at == later(1)


async def test_what_a_run_writes_that_was_ended_is_stored_while_its_copy_lives(running, held):
    _, run = held
    await running.apply(run, RunFact.CANCELLED)
    assert (await running.write_back(run)).outcome == "stored"


async def test_the_next_one_gets_the_version_that_was_written_last(store, running, held):
    credential, run = held
    waiting = await running.run(credential, later(1))
    for version in (1, 2, 3):
        await running.write_back(run, version, at=NOON + timedelta(seconds=version))
    await running.exited(run)
    assert (await running.lease(waiting)).version == (await store.credentials.get(credential.id)).version == 4


async def test_a_person_can_reject_what_a_run_has_renewed_since(store, running, held):
    credential, run = held
    await running.write_back(run)
    rejected = await store.credentials.reject(credential.session_id, at=NOON)
    assert (rejected.deleted.id, rejected.deleted.version) == (credential.id, 2)
    assert await store.credentials.sealed(credential.id) is None


async def test_what_a_later_sign_in_has_replaced_is_not_rejected_by_the_one_before(store, running, held):
    credential, run = held
    await running.write_back(run)
    later_one = await running.sign_in_again(credential.owner)
    rejected = await store.credentials.reject(credential.session_id, at=NOON)
    assert rejected.moved.decision.error is Code.NOT_REJECTABLE
    assert await store.credentials.get(credential.id) == later_one


async def test_the_sign_in_of_what_runs_have_renewed_is_kept(store, running, held):
    credential, run = held
    await running.write_back(run)
    await running.exited(run)
    await running.machine_ended(run)
    await store.retention.prune(later(25 * 3600), DAY)
    assert (await store.sessions.get(credential.session_id)).captured_version == 1
