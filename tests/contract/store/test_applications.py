"""Applications and their keys: what opens, until when, and what the database itself refuses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.store.conftest import later

from antechamber.errors import CallerError, Code
from antechamber.model import ApiScope, new_secret

READ = frozenset({ApiScope.SESSIONS_READ, ApiScope.CREDENTIALS_READ})


@pytest.fixture
async def acme(store, noon):
    return await store.applications.add("Acme", bind_url="https://acme.example.test/bind", at=noon)


@pytest.fixture
def add_key(store, acme, noon):
    async def add(*, seconds=None, application=acme.id):
        secret = new_secret()
        until = None if seconds is None else later(seconds)
        key = await store.applications.add_key(application, secret, name="test", scopes=READ, at=noon, expires_at=until)
        return key, secret

    return add


async def test_a_key_opens_for_its_application_with_its_scopes(store, acme, add_key, noon):
    key, secret = await add_key()
    found = await store.applications.holder(secret, at=noon)
    assert (found, found.application, found.scopes) == (key, acme.id, READ)
    assert await store.applications.holder(new_secret(), at=noon) is None


async def test_a_revoked_key_opens_nothing_and_never_again(store, add_key, noon, prompt):
    key, secret = await add_key()
    revoked = await store.applications.revoke(key.id, at=later(5))
    assert revoked.revoked_at == later(5)
    assert await store.applications.holder(secret, at=later(6)) is None
    assert await store.applications.revoke(key.id, at=later(60)) == revoked
    assert "a revoked key stays revoked" in prompt.refused_change("api_keys", "revoked_at = NULL", key.id)


async def test_a_key_ends_at_its_time(store, add_key):
    key, secret = await add_key(seconds=60)
    assert await store.applications.holder(secret, at=later(59)) == key
    assert await store.applications.holder(secret, at=later(60)) is None


async def test_the_keys_of_a_disabled_application_open_nothing_until_it_is_enabled(store, acme, add_key, noon):
    key, secret = await add_key()
    await store.applications.change(acme.id, {"disabled_at": noon})
    assert await store.applications.holder(secret, at=noon) is None
    await store.applications.change(acme.id, {"disabled_at": None})
    assert await store.applications.holder(secret, at=noon) == key


async def test_a_use_is_noted_once_a_minute_at_most(store, acme, add_key):
    _, secret = await add_key()
    noted = []
    for seconds in (0, 59, 60, 61, 3600):
        key = await store.applications.holder(secret, at=later(seconds))
        await store.applications.note_use(key, at=later(seconds))
        noted.append((await store.applications.keys(acme.id))[0].last_used_at)
    assert noted == [later(0), later(0), later(60), later(60), later(3600)]


async def test_no_key_is_in_the_database(add_key, prompt):
    key, secret = await add_key()
    stored = prompt.bytes_on_disk()
    assert key.id.encode() in stored
    assert secret.reveal().encode() not in stored


async def test_a_key_stays_what_it_is(add_key, prompt):
    key, _ = await add_key(seconds=60)
    for change in ("scopes = 'admin'", "application = 'app_x'", "expires_at = NULL", "secret_hash = 'DUMMY'"):
        assert "a key stays what it is" in prompt.refused_change("api_keys", change, key.id)


async def test_two_applications_have_two_names(store, acme, noon):
    with pytest.raises(CallerError) as refused:
        await store.applications.add("Acme", bind_url=None, at=noon)
    assert refused.value.code is Code.APPLICATION_EXISTS
    other = await store.applications.add("Other", bind_url=None, at=noon)
    with pytest.raises(CallerError) as refused:
        await store.applications.change(other.id, {"name": "Acme"})
    assert refused.value.code is Code.APPLICATION_EXISTS
    assert (await store.applications.change(acme.id, {"name": "Acme", "bind_url": None})).bind_url is None
    assert [one.name for one in await store.applications.list()] == ["Acme", "Other"]


async def test_an_application_is_kept_for_what_names_it(acme, prompt):
    assert "an application is kept" in prompt.refusal("DELETE FROM applications WHERE id = ?", acme.id)


async def test_what_there_is_not_is_said(store, noon):
    nobody = "app_00000000000000000000"
    assert await store.applications.get(nobody) is None
    secret = new_secret()
    asked = (
        (store.applications.change(nobody, {"name": "x"}), Code.APPLICATION_NOT_FOUND),
        (
            store.applications.add_key(nobody, secret, name="x", scopes=READ, at=noon, expires_at=None),
            Code.APPLICATION_NOT_FOUND,
        ),
        (store.applications.revoke("apk_00000000000000000000", at=noon + timedelta(1)), Code.API_KEY_NOT_FOUND),
    )
    for work, code in asked:
        with pytest.raises(CallerError) as refused:
            await work
        assert refused.value.code is code
    assert await store.applications.holder(secret, at=noon) is None


async def test_a_key_is_neither_replaced_nor_deleted(add_key, prompt):
    key, _ = await add_key()
    columns = "id, application, name, secret_hash, scopes, created_at"
    values = "SELECT id, application, name, secret_hash, 'admin', created_at FROM api_keys WHERE id = ?"
    replace = "INSERT OR REPLACE" if prompt.kind == "sqlite" else "INSERT"
    assert "a key is not replaced" in prompt.refusal(f"{replace} INTO api_keys ({columns}) {values}", key.id)
    assert "a key is kept" in prompt.refusal("DELETE FROM api_keys WHERE id = ?", key.id)
    if prompt.kind == "postgres":
        assert "a key is kept" in prompt.refusal("TRUNCATE api_keys")


async def test_whether_a_key_that_is_known_still_opens_is_asked_for_by_its_id(store, acme, add_key, noon):
    lasting, _ = await add_key()
    short, _ = await add_key(seconds=60)
    assert [await store.applications.opens(key.id, at=later(59)) for key in (lasting, short)] == [True, True]
    assert [await store.applications.opens(key.id, at=later(60)) for key in (lasting, short)] == [True, False]
    await store.applications.revoke(lasting.id, at=noon)
    assert not await store.applications.opens(lasting.id, at=noon)
    await store.applications.change(acme.id, {"disabled_at": noon})
    assert not await store.applications.opens(short.id, at=noon)
