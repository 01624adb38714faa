"""On PostgreSQL the service's own role can append to the audit, and in no way change it: the database refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import LiteralString, cast

import psycopg
import pytest
from tests.contract.store.conftest import NOON
from tests.opening import BY
from tests.postgres import OWNER, SERVICE

from antechamber.errors import Code, OperatorError
from antechamber.model import Actor
from antechamber.store import Store, file_url
from antechamber.store.postgres_roles import roles

DENIED = ("permission denied", "must be owner of", "must be superuser", "must have admin option", "must be member of")
LINE = "(id, at, actor, action, outcome)"
TOLD = "now(), 'dashboard', 'owner_erased', 'granted'"

ATTACKS = {
    "change a line": "UPDATE audit SET actor = 'person'",
    "change one column of it": "UPDATE audit SET at = now()",
    "delete a line": "DELETE FROM audit",
    "empty the table": "TRUNCATE audit",
    "empty it with others": "TRUNCATE auth_sessions, audit CASCADE",
    "drop the table": "DROP TABLE audit",
    "rename the table": "ALTER TABLE audit RENAME TO gone",
    "drop a column": "ALTER TABLE audit DROP COLUMN owner",
    "add a column": "ALTER TABLE audit ADD COLUMN x text",
    "move it to another schema": "ALTER TABLE audit SET SCHEMA pg_temp",
    "take it": "ALTER TABLE audit OWNER TO service",
    "drop the trigger that keeps lines": "DROP TRIGGER audit_kept ON audit",
    "drop the trigger against changes": "DROP TRIGGER audit_line_kept ON audit",
    "switch the triggers off": "ALTER TABLE audit DISABLE TRIGGER ALL",
    "switch one off": "ALTER TABLE audit DISABLE TRIGGER audit_kept",
    "make a trigger of its own": (
        "CREATE TRIGGER a BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "make a rule of its own": "CREATE RULE nothing AS ON INSERT TO audit DO INSTEAD NOTHING",
    "put a policy on it": "ALTER TABLE audit ENABLE ROW LEVEL SECURITY",
    "let no trigger fire": "SET session_replication_role = replica",
    "let none fire for its role": "ALTER ROLE service SET session_replication_role = replica",
    "replace a trigger's function": (
        "CREATE OR REPLACE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$"
    ),
    "drop a trigger's function": "DROP FUNCTION audit_kept() CASCADE",
    "alter a trigger's function": "ALTER FUNCTION audit_kept() SET search_path = pg_temp",
    "make a function in the schema": "CREATE FUNCTION public.count(x bigint) RETURNS int LANGUAGE sql AS 'SELECT 0'",
    "drop the schema": "DROP SCHEMA public CASCADE",
    "write a cut": "INSERT INTO audit_cuts VALUES ('2026-01-01Z', 1, 1, 1, 'x', now())",
    "change a cut": "UPDATE audit_cuts SET until = '2030-01-01Z'",
    "delete a cut": "DELETE FROM audit_cuts",
    "give a line its number": (
        "INSERT INTO audit (seq, id, at, actor, action, outcome) OVERRIDING SYSTEM VALUE"
        " VALUES (999, 'aud_x', now(), 'dashboard', 'owner_erased', 'granted')"
    ),
    "replace a line": (
        f"INSERT INTO audit {LINE} VALUES ('aud_x', {TOLD})"  # noqa: S608 - our words
        " ON CONFLICT (id) DO UPDATE SET actor = 'person'"
    ),
    "wind the numbers back": "ALTER SEQUENCE audit_seq_seq RESTART WITH 1",
    "set the numbers": "SELECT setval('audit_seq_seq', 1)",
    "merge into it": (
        "MERGE INTO audit USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING"
    ),
    "lock everybody out": "BEGIN; LOCK TABLE audit IN ACCESS EXCLUSIVE MODE",
    "change a reason": "UPDATE audit_reasons SET reason = 'x'",
    "change a pseudonym's key": "UPDATE audit_keys SET key = 'x'",
    "say that the schema is another": "UPDATE alembic_version SET version_num = '0001'",
    "become the owner": "SET ROLE tests",
    "become it for the session": "SET SESSION AUTHORIZATION tests",
    "get its rights": "GRANT tests TO service",
    "give itself rights": "GRANT DELETE ON audit TO service; DELETE FROM audit",
    "make a role": "CREATE ROLE another SUPERUSER",
    "read the server's files": "COPY audit FROM '/etc/hostname'",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "drop the database": "DROP DATABASE postgres",
    "change the system's tables": "UPDATE pg_catalog.pg_trigger SET tgenabled = 'D'",
}


async def test_whoever_acts_as_the_service_cannot_change_the_audit(store, steps, postgres_only):
    await steps.completed("ada")
    before = postgres_only.run("SELECT * FROM audit")
    said = {attack: refusal(postgres_only.url, statement) for attack, statement in ATTACKS.items()}
    assert {attack: words for attack, words in said.items() if not words.startswith(DENIED)} == {}
    assert postgres_only.run("SELECT * FROM audit") == before
    assert await Store.ways_to_change_audit(postgres_only.url) == []
    assert len(await store.audit.list()) == 1


def refusal(url, statement):
    """Run it as the service's role, and return what the server says, empty where it did it."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(cast("LiteralString", statement))
        except psycopg.Error as error:
            return str(error)
    return ""


async def test_what_it_is_for_it_may(store, steps, postgres_only):
    captured = await steps.completed("ada")
    await store.credentials.delete(captured.credential.id, at=NOON, by=BY)
    with psycopg.connect(postgres_only.url) as connection:
        connection.execute(cast("LiteralString", f"INSERT INTO audit {LINE} VALUES ('aud_x', {TOLD})"))  # noqa: S608
    assert [line.id for line in await store.audit.list()][-1] == "aud_x"
    assert not await store.audit_retention.may_cut()


async def test_months_go_by_the_owners_role_and_the_service_goes_on_meanwhile(store, steps, postgres_only):
    await steps.completed("ada", at=datetime(2025, 10, 5, tzinfo=UTC))
    wishes = {"by": Actor.COMMAND_LINE, "at": NOON, "taken_only": False}
    with pytest.raises(OperatorError) as refused:
        await store.audit_retention.cut(datetime(2026, 1, 1, tzinfo=UTC), **wishes)
    assert refused.value.code is Code.MISCONFIGURED
    owner = await Store.open(postgres_only.owner_url, world="demo")
    try:
        assert (await owner.audit_retention.cut(datetime(2026, 1, 1, tzinfo=UTC), **wishes)).lines == 1
        assert await owner.audit_retention.clear() == 1
    finally:
        await owner.close()
    assert [line.action for line in await store.audit.list()] == ["audit_pruned"]
    await steps.completed("bob")
    assert len(await store.audit.list()) == 2


LOOSE = {
    "GRANT UPDATE (at) ON audit TO service": "it may UPDATE lines",
    "GRANT DELETE ON audit TO service": "it may DELETE lines",
    "GRANT TRUNCATE ON audit TO service": "it may TRUNCATE the audit",
    "GRANT TRIGGER ON audit TO service": "it may make triggers on the audit",
    "GRANT INSERT ON audit TO service": "it may give a line its number",
    "GRANT INSERT ON audit_cuts TO service": "it may write cuts",
    "GRANT CREATE ON SCHEMA public TO service": "it may make functions in the schema",
    "ALTER TABLE audit OWNER TO service": "it owns the audit's table",
    "ALTER SCHEMA public OWNER TO service": "it owns the schema",
    "ALTER FUNCTION audit_kept() OWNER TO service": "it owns functions that the triggers call",
}


@pytest.mark.parametrize("statement", LOOSE)
async def test_each_right_with_which_it_could_is_found_and_taken_away_again(store, postgres_only, statement):
    assert await Store.ways_to_change_audit(postgres_only.url) == []
    postgres_only.run(statement)
    (way, *_) = await Store.ways_to_change_audit(postgres_only.url)
    assert way.startswith(LOOSE[statement]) or any(
        found.startswith(LOOSE[statement]) for found in await Store.ways_to_change_audit(postgres_only.url)
    )
    again = await roles(postgres_only.owner_url, SERVICE, apply=True)
    # what it owns is the administrator's to take away
    assert bool(again.ways) is ("OWNER" in statement)


async def test_a_superuser_and_the_databases_owner_are_told_as_that(store, postgres_only):
    assert await Store.ways_to_change_audit(postgres_only.owner_url) == ["it is a superuser"]
    postgres_only.run(f"ALTER DATABASE {postgres_only.name} OWNER TO service")
    assert "it owns the database" in await Store.ways_to_change_audit(postgres_only.url)


async def test_rights_that_belong_to_the_whole_server_are_found_too(store, postgres_only):
    for give, take, told in (
        ("GRANT pg_write_all_data TO service", "REVOKE pg_write_all_data FROM service", "it may UPDATE lines"),
        ("ALTER ROLE service CREATEROLE", "ALTER ROLE service NOCREATEROLE", "it may make roles"),
        (
            "GRANT SET ON PARAMETER session_replication_role TO service",
            "REVOKE SET ON PARAMETER session_replication_role FROM service",
            "it may set session_replication_role",
        ),
    ):
        postgres_only.run(give)
        try:
            ways = await Store.ways_to_change_audit(postgres_only.url)
        finally:
            postgres_only.run(take)
        assert any(way.startswith(told) for way in ways), (give, ways)
    assert await Store.ways_to_change_audit(postgres_only.url) == []


async def test_a_role_that_there_is_not_and_a_database_without_tables_are_told_with_the_remedy(postgres_only, tmp_path):
    with pytest.raises(OperatorError) as refused:
        await roles(postgres_only.owner_url, 'no"body', apply=True)
    assert 'CREATE ROLE "no""body" LOGIN' in refused.value.next
    with pytest.raises(OperatorError, match="no tables yet"):
        await roles(postgres_only.owner_url, SERVICE, apply=True)
    assert await Store.ways_to_change_audit(postgres_only.owner_url) is None
    with pytest.raises(OperatorError, match="no roles"):
        await roles(file_url(tmp_path / "antechamber.db"), SERVICE, apply=False)
    assert OWNER in postgres_only.owner_url


async def test_what_is_printed_is_what_is_done_and_doing_it_again_changes_nothing(store, postgres_only):
    rights = (
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = 'service'"
        " UNION ALL SELECT table_name || '.' || column_name, privilege_type FROM information_schema.role_column_grants"
        " WHERE grantee = 'service' ORDER BY 1, 2"
    )
    before = postgres_only.run(rights)
    printed = (await roles(postgres_only.owner_url, SERVICE, apply=False)).statements
    postgres_only.run("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM service")
    for statement in printed:
        postgres_only.run(statement)
    assert postgres_only.run(rights) == before
    assert (await roles(postgres_only.owner_url, SERVICE, apply=True)).ways == []
    assert postgres_only.run(rights) == before


async def test_a_service_that_finds_an_older_schema_says_who_upgrades_it(store, postgres_only):
    postgres_only.run("DROP TABLE reveals_allowed, audit_reasons")
    postgres_only.run("UPDATE alembic_version SET version_num = '0017'")
    with pytest.raises(OperatorError) as refused:
        await Store.open(postgres_only.url, world="demo")
    assert (refused.value.code, "antechamber database upgrade" in refused.value.next) == (Code.MISCONFIGURED, True)
