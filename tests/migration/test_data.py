"""The data of every earlier schema is there after the upgrade, on both databases; the way back leads back (F-16)."""

# ruff: noqa: S608, ISC004, F811 - the statements are the tests' own, and each is one; `place` is a fixture

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.integration.cli_scene import place as installation
from tests.migration.test_upgrade import engine_of, place  # noqa: F401 - a fixture

from antechamber.errors import Code, OperatorError
from antechamber.model import Owner, Reason, SessionStatus
from antechamber.store import Store, copies, file_url
from antechamber.store.migrate import migrate, scripts

LINE = [one.revision for one in scripts().walk_revisions()][::-1]
AT = "2026-01-31T12:00:00.000000Z"
STATUS_SINCE = "0013"
ROWS = (
    "INSERT INTO installation (singleton, id, world, key_id) VALUES (1, 'ins_1', 'demo', 'key 1')",
    "INSERT INTO provider_credentials (id, application, user_id, provider, version, session_id, account, ciphertext,"
    f" wrapped_key, key_id, format_version, created_at, stored_at) VALUES ('cred_1', 'default', 'ada', 'codex', 1,"
    f" 'ses_1', 'ada@example.test', '\\x44', '\\x55', 'key 1', 1, '{AT}', '{AT}')",
    "INSERT INTO credential_versions (credential_id, version, stored_at, session_id, report_id)"
    f" VALUES ('cred_1', 1, '{AT}', 'ses_1', 'rep_1')",
    *(
        "INSERT INTO auth_sessions (id, application, user_id, provider, status, machine_id, created_at, status_at,"
        f" expires_at) VALUES ('ses_{n}', 'default', 'ada', '{provider}', 'pending', 'mac_{n}', '{AT}', '{AT}', '{AT}')"
        for n, provider in ((1, "codex"), (2, "gemini"), (3, "claude_code"))
    ),
    "UPDATE auth_sessions SET status = 'completed', captured_credential_id = 'cred_1', captured_version = 1,"
    f" expires_at = NULL, ended_at = '{AT}' WHERE id = 'ses_1'",
    f"UPDATE auth_sessions SET status = 'failed', reason = 'cli_ended', expires_at = NULL, ended_at = '{AT}',"
    " detail = 'exit code 1' WHERE id = 'ses_2'",
    "INSERT INTO machines (id, kind, session_id, state, driver, incarnation, created_at, state_at, expires_at)"
    f" VALUES ('mac_3', 'sign_in', 'ses_3', 'requested', 'scripted', 'inc_3', '{AT}', '{AT}', '{AT}')",
    "INSERT INTO events (id, session_id, kind, act, at, fields)"
    f" VALUES ('evt_1', 'ses_2', 'created', 'move', '{AT}', '{{\"attempt\": 1}}')",
    "INSERT INTO destinations (session_id, name, port, verdict, bytes_out, bytes_in, connections, first_at, last_at)"
    f" VALUES ('ses_2', 'auth.test', 443, 'allowed', 1, 2, 3, '{AT}', '{AT}')",
)


LATER = {
    "0001": (
        "INSERT INTO access (secret_hash, kind, session_id, granted_at, expires_at)"
        f" VALUES ('DUMMY hash', 'session_cookie', 'ses_3', '{AT}', '{AT}')",
    ),
    "0011": (
        "INSERT INTO erasures (id, application, user_id, asked_by, asked_at)"
        f" VALUES ('era_1', 'default', 'bob', 'command_line', '{AT}')",
    ),
    "0016": (
        "INSERT INTO audit (id, at, actor, action, outcome, credential_id)"
        f" VALUES ('aud_1', '{AT}', 'person', 'credential_stored', 'granted', 'cred_1')",
    ),
}
"""Rows of tables whose CHECKs a later migration changes, by the migration since when they are there."""


def rows_of(revision):
    """Return the rows as that schema takes them."""
    at = LINE.index(LINE[-1] if revision == "head" else revision)
    later = [row for since, rows in LATER.items() if LINE.index(since) <= at for row in rows]
    return (*credentials_of(at), *later)


def credentials_of(at):
    """Return the rows that each schema takes: a credential has a status since one of the migrations."""
    if at < LINE.index(STATUS_SINCE):
        return ROWS
    with_status = ROWS[1].replace("stored_at) VALUES", "stored_at, status, status_reason, status_at) VALUES")
    return (ROWS[0], with_status.removesuffix(")") + f", 'active', 'signed_in', '{AT}')", *ROWS[2:])


def filled(place, name, revision):
    """Return the URL of a database of that schema, with a row of each kind in it."""
    url = place.new(name)
    engine = engine_of(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL search_path = public, pg_temp")
        migrate(connection, revision)
    engine.dispose()
    place.run(url, *rows_of(revision))
    return url


@pytest.mark.parametrize("revision", LINE)
async def test_what_an_earlier_schema_held_is_there_after_the_upgrade(place, revision):
    url = filled(place, "earlier", revision)
    assert (await Store.revisions(url)).pending == tuple(LINE[LINE.index(revision) + 1 :])
    store = await Store.open(url, world="demo")
    try:
        assert (store.installation, await store.key_id()) == ("ins_1", "key 1")
        completed = await store.sessions.get("ses_1")
        assert (completed.status, completed.captured_version, completed.attempt) == (SessionStatus.COMPLETED, 1, 1)
        failed = await store.sessions.get("ses_2")
        assert (failed.reason, failed.detail) == (Reason.CLI_ENDED, "exit code 1")
        held = await store.credentials.current(Owner("ada"), "codex")
        assert (held.id, held.claims.account) == ("cred_1", "ada@example.test")
        assert await store.credentials.sealed("cred_1") is not None
        assert [one.id for one in await store.machines.not_ended()] == ["mac_3"]
        assert [one.fields for one in await store.sessions.events("ses_2")] == [{"attempt": 1}]
        assert [one.bytes_in for one in await store.destinations.list("ses_2")] == [2]
        assert await store.sessions.time_out("ses_3", at=datetime.now(UTC)) is not None
        assert len(await store.erasures.list(9)) == (LINE.index("0011") <= LINE.index(revision))
        assert [line.id for line in await store.audit.list()][:1] == (
            ["aud_1"] if LINE.index("0016") <= LINE.index(revision) else []
        )
    finally:
        await store.close()
    assert (await Store.revisions(url)).pending == ()


async def test_a_later_schema_is_refused_with_the_release_that_it_needs_and_nothing_is_changed(place):
    url = filled(place, "later", "head")
    place.run(url, "UPDATE alembic_version SET version_num = '9999'", "UPDATE installation SET release = '7.8.9'")
    before = place.tables_of(url)
    found = await Store.revisions(url)
    assert (found.at, found.too_new, found.release) == ("9999", True, "7.8.9")
    for opening in (Store.open, Store.look):
        with pytest.raises(OperatorError) as refused:
            await opening(url, world="demo")
        assert refused.value.code is Code.SCHEMA_TOO_NEW
        assert "release 7.8.9" in refused.value.next
    assert place.tables_of(url) == before


@pytest.fixture
def here():
    with installation() as made:
        made.data.mkdir(mode=0o700)
        yield made


class Files:
    """Where `filled` makes its database: at one installation's own place."""

    def __init__(self, here):
        self.here = here

    def new(self, _name):
        return file_url(self.here.data / "antechamber.db")

    def run(self, url, *statements):
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()


async def test_one_command_says_where_it_is_leads_on_and_leads_back(here):
    filled(Files(here), "", "0008")
    demo = ("--world", "demo")
    told = here.says("database", "status", *demo, "--json").json
    assert (told["state"], told["revision"], told["wants"]) == ("behind", "0008", LINE[-1])
    assert told["pending"][0].startswith("0009 (since ")
    assert told["copies"] == []
    upgraded = here.says("database", "upgrade", *demo)
    assert upgraded.code == 0, upgraded.err
    told = here.says("database", "status", *demo, "--json").json
    assert (told["state"], told["revision"]) == ("current", LINE[-1])
    (copied,) = told["copies"]
    assert copied.endswith("antechamber.db.before-0009")
    assert copies.within(here.data / "antechamber.db.before-0009").revision == "0008"
    assert (here.data / "antechamber.db.before-0009").stat().st_mode & 0o777 == 0o600
    back = here.says("database", "rollback", *demo, "--yes")
    assert back.code == 0, back.err
    told = here.says("database", "status", *demo, "--json").json
    assert (told["state"], told["revision"], told["copies"]) == ("behind", "0008", [])
    assert here.says("database", "rollback", *demo, "--yes").error()[2] == "store_unavailable"


async def test_no_database_is_a_state_too_and_an_upgrade_makes_one(here):
    assert here.says("database", "status", "--json").json["state"] == "none"
    assert here.says("database", "upgrade").code == 0
    told = here.says("database", "status", "--json").json
    assert (told["state"], told["copies"]) == ("current", [])


async def test_an_upgrade_of_postgresql_wants_to_hear_of_a_dump(here, postgres):
    class Databases(Files):
        def new(self, _name):
            return postgres.url(postgres.create())

        def run(self, url, *statements):
            import psycopg

            with psycopg.connect(url) as connection:
                for statement in statements:
                    connection.execute(statement)

    url = filled(Databases(here), "", "0008")
    demo = ("--world", "demo")
    here.environment["ANTECHAMBER_DATABASE_URL"] = url
    assert "--backed-up" in here.says("database", "upgrade", *demo).error()[1]
    assert here.says("database", "status", *demo, "--json").json["state"] == "behind"
    assert here.says("database", "upgrade", *demo, "--backed-up").code == 0
    assert here.says("database", "status", *demo, "--json").json["state"] == "current"
    assert "dump" in here.says("database", "rollback", *demo, "--yes").error()[1]


def test_copies_from_before_upgrades_are_forgotten_by_their_time(tmp_path):
    url = file_url(tmp_path / "a.db")
    for name in ("a.db", "a.db.before-0009", "a.db.before-mine"):
        (tmp_path / name).touch()
    assert copies.forget(url, made_before=datetime(2020, 1, 1, tzinfo=UTC)) == 0
    assert copies.forget(url, made_before=datetime.now(UTC)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "a.db.before-mine"]
