from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.opening import BY
from tests.postgres import SERVICE, Server, programs

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import Act
from antechamber.model import Claims, Owner, SessionStatus
from antechamber.store import Store
from antechamber.store.postgres_roles import roles

from .conftest import PostgresPrompt, Steps

SECRET = b"DUMMY ciphertext " * 40


async def test_there_is_no_credential_before_a_capture(store, steps):
    assert await store.credentials.current(Owner("ada"), "codex") is None
    assert await store.credentials.get("cred_00000000000000000000") is None
    assert await store.credentials.sealed("cred_00000000000000000000") is None
    assert await store.credentials.list() == []
    assert not await store.has_sealed_rows()


async def test_a_credential_belongs_to_its_owner_application_and_provider_alone(store, steps):
    credential = (await steps.completed()).credential
    assert await store.has_sealed_rows()
    assert await store.credentials.current(Owner("ada"), "codex") == credential
    for owner, provider in ((Owner("bob"), "codex"), (Owner("ada"), "gemini"), (Owner("ada", "other"), "codex")):
        assert await store.credentials.current(owner, provider) is None


async def test_the_list_is_of_one_user_or_of_the_whole_application(store, steps):
    mine = [(await steps.completed("ada", provider)).credential for provider in ("codex", "gemini")]
    other = (await steps.completed("bob")).credential
    assert await store.credentials.list("ada") == mine
    assert await store.credentials.list() == [*mine, other]
    assert await store.credentials.list(application="another") == []


async def test_a_deleted_credential_leaves_a_tombstone_without_secret_or_claims(store, steps, noon):
    captured = await steps.completed()
    deleted = await store.credentials.delete(captured.credential.id, at=noon + timedelta(minutes=1), by=BY)
    assert (deleted.id, deleted.version) == (captured.credential.id, 1)
    assert (deleted.deleted_at, deleted.claims) == (noon + timedelta(minutes=1), Claims())
    assert await store.credentials.get(deleted.id) == deleted
    assert await store.credentials.sealed(deleted.id) is None
    assert await store.credentials.current(captured.session.owner, "codex") is None
    assert await store.credentials.list() == []
    assert not await store.has_sealed_rows()


async def test_a_completed_session_still_points_at_the_tombstone(store, steps, noon):
    captured = await steps.completed()
    await store.credentials.delete(captured.credential.id, at=noon, by=BY)
    session = await store.sessions.get(captured.session.id)
    assert (session.status, session.captured_credential_id) == (SessionStatus.COMPLETED, captured.credential.id)
    event = (await store.sessions.events(session.id))[-1]
    assert (event.kind, event.fields) == (
        "credential_deleted",
        {"credential_id": captured.credential.id, "version": 1},
    )


async def test_what_was_deleted_is_nowhere_in_the_files_any_more(store, steps, noon, sqlite_only):
    captured = await steps.completed(ciphertext=SECRET)
    assert SECRET in sqlite_only.bytes_on_disk()
    await store.credentials.delete(captured.credential.id, at=noon, by=BY)
    assert SECRET[:17] not in sqlite_only.bytes_on_disk()


VERSIONS = (
    "SELECT count(*) FROM heap_page_items(get_raw_page('provider_credentials', 0)) WHERE position(? IN t_data) > 0"
)


async def test_what_was_deleted_is_in_no_version_of_a_row_any_more(store, noon, postgres_only):
    postgres_only.run("CREATE EXTENSION pageinspect")
    # by a role that may vacuum
    owner = await Store.open(postgres_only.owner_url, world="demo")
    try:
        captured = await Steps(owner).completed(ciphertext=SECRET)
        assert postgres_only.run(VERSIONS, SECRET) == [(1,)]
        await owner.credentials.delete(captured.credential.id, at=noon, by=BY)
        assert postgres_only.run(VERSIONS, SECRET) == [(0,)]
    finally:
        await owner.close()


async def test_what_a_service_deleted_that_owns_nothing_the_servers_own_vacuum_clears_away(noon, postgres):
    quick = Server(programs(), autovacuum="on", autovacuum_naptime="1s")
    try:
        prompt = PostgresPrompt(quick, quick.create(), role=SERVICE)
        prompt.run("CREATE EXTENSION pageinspect")
        await (await Store.open(prompt.owner_url, world="demo")).close()
        await roles(prompt.owner_url, SERVICE, apply=True)
        service = await Store.open(prompt.url, world="demo")
        captured = await Steps(service).completed(ciphertext=SECRET)
        await service.credentials.delete(captured.credential.id, at=noon, by=BY)
        async with asyncio.timeout(60):
            while prompt.run(VERSIONS, SECRET) != [(0,)]:
                await asyncio.sleep(0.2)
        await service.close()
    finally:
        quick.close()


async def test_f077_deleting_again_returns_the_same_tombstone(store, steps, noon):
    captured = await steps.completed()
    first = await store.credentials.delete(captured.credential.id, at=noon, by=BY)
    again = await store.credentials.delete(captured.credential.id, at=noon + timedelta(days=1), by=BY)
    assert again == first
    kinds = [event.kind for event in await store.sessions.events(captured.session.id)]
    assert kinds.count("credential_deleted") == 1


async def test_a_version_that_is_no_longer_current_is_not_deleted(store, steps, noon):
    await steps.completed()
    second = (await steps.completed()).credential
    assert await store.credentials.delete(second.id, at=noon, version=1, by=BY) is None
    assert await store.credentials.current(second.owner, "codex") == second
    assert (await store.credentials.delete(second.id, at=noon, version=2, by=BY)).deleted_at == noon


async def test_an_unknown_credential_is_not_deleted(store, noon):
    assert await store.credentials.delete("cred_00000000000000000000", at=noon, by=BY) is None


async def test_rejecting_deletes_the_version_that_the_session_captured(store, steps, noon):
    captured = await steps.completed()
    rejected = await store.credentials.reject(captured.session.id, at=noon)
    assert rejected.moved.decision.act is Act.NOTE
    assert rejected.moved.session.rejected_at == noon
    assert (rejected.deleted.id, rejected.deleted.deleted_at) == (captured.credential.id, noon)
    assert (await store.sessions.get(captured.session.id)).status is SessionStatus.COMPLETED


async def test_rejecting_again_changes_nothing(store, steps, noon):
    session = (await steps.completed()).session
    first = await store.credentials.reject(session.id, at=noon)
    count = len(await store.sessions.events(session.id))
    again = await store.credentials.reject(session.id, at=noon + timedelta(minutes=1))
    assert (again.deleted, again.moved.session) == (first.deleted, first.moved.session)
    assert len(await store.sessions.events(session.id)) == count


async def test_rejecting_again_spares_a_credential_that_came_later(store, steps, noon):
    session = (await steps.completed()).session
    await store.credentials.reject(session.id, at=noon)
    later = (await steps.completed()).credential
    await store.credentials.reject(session.id, at=noon)
    assert await store.credentials.current(later.owner, "codex") == later


async def test_rejecting_after_a_later_sign_in_is_refused(store, steps, noon):
    first = await steps.completed()
    second = await steps.completed()
    refused = await store.credentials.reject(first.session.id, at=noon)
    assert (refused.moved.decision.act, refused.moved.decision.error) == (Act.REFUSE, Code.NOT_REJECTABLE)
    assert (refused.deleted, refused.moved.session.rejected_at) == (None, None)
    assert await store.credentials.current(second.credential.owner, "codex") == second.credential


async def test_rejecting_what_was_deleted_otherwise_is_refused(store, steps, noon):
    captured = await steps.completed()
    await store.credentials.delete(captured.credential.id, at=noon, by=BY)
    refused = await store.credentials.reject(captured.session.id, at=noon)
    assert refused.moved.decision.error is Code.NOT_REJECTABLE


async def test_rejecting_before_a_capture_is_refused(store, steps, noon):
    session = await steps.awaiting()
    refused = await store.credentials.reject(session.id, at=noon)
    assert (refused.moved.decision.error, refused.deleted) == (Code.NOT_REJECTABLE, None)


async def test_rejecting_an_unknown_session_is_an_error_of_the_caller(store, noon):
    with pytest.raises(CallerError) as refused:
        await store.credentials.reject("ses_00000000000000000000", at=noon)
    assert refused.value.code is Code.SESSION_NOT_FOUND
