"""What an earlier release stored is there after an upgrade, and as the new tables want it."""

from __future__ import annotations

import pytest
from tests.opening import BY

from antechamber.credential_life import CredentialFact
from antechamber.model import CredentialReason, CredentialStatus
from antechamber.store import Store
from antechamber.store.migrate import migrate

from .test_upgrade import engine_of, place  # noqa: F401 - a fixture

BEFORE = "0012"
ROWS = """
INSERT INTO provider_credentials (id, application, user_id, provider, version, session_id, account, ciphertext,
    wrapped_key, key_id, format_version, created_at, stored_at, deleted_at) VALUES
('cred_live', 'default', 'ada', 'codex', 3, 'ses_1', 'ada@example.test', BLOB, BLOB, 'key', 1,
    '2026-01-31 12:00:00+00:00', '2026-01-31 12:00:00+00:00', NULL),
('cred_gone', 'default', 'ada', 'codex', 1, 'ses_0', NULL, NULL, NULL, NULL, NULL,
    '2026-01-31 12:00:00+00:00', '2026-01-31 12:00:00+00:00', '2026-02-01 12:00:00+00:00')
"""


@pytest.fixture
async def upgraded(place):  # noqa: F811 - the fixture
    url = place.new("old")
    engine = engine_of(url)
    with engine.connect() as connection:
        migrate(connection, BEFORE)
        connection.commit()
    blob = "'\\xdeadbeef'" if engine.dialect.name == "postgresql" else "X'deadbeef'"
    with engine.connect() as connection:
        statement = ROWS.replace("BLOB", blob)
        if engine.dialect.name == "sqlite":
            statement = statement.replace(" 12:00:00+00:00", "T12:00:00.000000Z")
        connection.exec_driver_sql(statement)
        connection.commit()
    engine.dispose()
    store = await Store.open(url, world="demo")
    yield store
    await store.close()


async def test_a_stored_credential_is_active_since_its_sign_in_and_a_deleted_one_deleted(upgraded):
    live = await upgraded.credentials.get("cred_live")
    assert (live.status, live.status_reason, live.status_at) == (
        CredentialStatus.ACTIVE,
        CredentialReason.SIGNED_IN,
        live.stored_at,
    )
    assert (live.version, live.claims.account, live.claims.renewable, live.claims.ends_at) == (
        3,
        "ada@example.test",
        None,
        None,
    )
    assert (await upgraded.credentials.sealed("cred_live"))[1].ciphertext == b"\xde\xad\xbe\xef"
    gone = await upgraded.credentials.get("cred_gone")
    assert (gone.status, gone.status_reason, gone.status_at) == (
        CredentialStatus.DELETED,
        CredentialReason.DELETED,
        gone.deleted_at,
    )


async def test_it_goes_on_from_there(upgraded):
    live = await upgraded.credentials.get("cred_live")
    moved = await upgraded.statuses.apply(live.id, CredentialFact.SAID_REVOKED, at=live.stored_at)
    assert moved.credential.status is CredentialStatus.REVOKED
    assert [event.kind for event in await upgraded.statuses.events(live.id)] == [CredentialFact.SAID_REVOKED]
    assert (await upgraded.credentials.delete(live.id, at=live.stored_at, by=BY)).status is CredentialStatus.DELETED
