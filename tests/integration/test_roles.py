"""The service's own role on PostgreSQL, by the commands: who upgrades, who serves, who lets months of the audit go."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from psycopg import sql

from antechamber.model import Actor, Owner, Purpose
from antechamber.store import Store
from tests.integration.cli_scene import place
from tests.postgres import SERVICE


@pytest.fixture
def database(postgres):
    """Give the name of a database without any tables."""
    name = postgres.create()
    yield name
    postgres.drop(name)


async def about_audit(here):
    """Return what the doctor says of the audit, by whether it is well."""
    checks = (await here.says_meanwhile("doctor", "--json")).json
    return [(check["ok"], check["message"], check["fatal"]) for check in checks if check["name"] == "audit"]


async def test_the_owner_upgrades_and_prunes_and_the_service_can_do_neither(postgres, database):
    owner, service = postgres.url(database), postgres.url(database, SERVICE)
    with place() as here:
        as_owner = {"ANTECHAMBER_DATABASE_OWNER_URL": owner}
        here.environment["ANTECHAMBER_DATABASE_URL"] = service
        early = await here.says_meanwhile("database", "roles", SERVICE, "--apply", **as_owner)
        assert "database upgrade" in early.error()[1]
        assert (await here.says_meanwhile("database", "upgrade", **as_owner)).code == 0
        # the tables are there, and are not the service's yet
        assert (await here.says_meanwhile("sessions", "list")).error()[2] == "misconfigured"
        printed = await here.says_meanwhile("database", "roles", SERVICE, **as_owner)
        assert f'GRANT SELECT ON "public"."audit_cuts" TO "{SERVICE}";' in printed.out.splitlines()
        assert (await here.says_meanwhile("sessions", "list")).error()[2] == "misconfigured"
        applied = await here.says_meanwhile("database", "roles", SERVICE, "--apply", **as_owner)
        assert "not change it" in applied.out
        async with here.opened(url=service) as installation:
            at = datetime(2026, 1, 3, tzinfo=UTC)
            await installation.store.credentials.open(
                Owner("ada"), "codex", purpose=Purpose.CHECK, actor=Actor.COMMAND_LINE, at=at
            )
            async with installation.answering(here.data):
                refused = await here.says_meanwhile("audit", "prune", "--before", "2026-02", "--yes")
                assert "ANTECHAMBER_DATABASE_OWNER_URL" in refused.error()[1]
                done = await here.says_meanwhile("audit", "prune", "--before", "2026-02", "--yes", **as_owner)
                assert "1 lines are deleted" in done.out
                (line,) = (await here.says_meanwhile("audit", "export")).out.splitlines()
            assert json.loads(line)["action"] == "audit_pruned"


async def test_the_doctor_says_whether_the_service_could_change_its_audit(postgres, database):
    owner, service = postgres.url(database), postgres.url(database, SERVICE)
    with place() as here:
        ((ok, said, _),) = await about_audit(here)
        assert (ok, "whoever can write" in said) == (True, True)
        here.environment["ANTECHAMBER_DATABASE_URL"] = owner
        assert await about_audit(here) == []
        await (await Store.open(owner, world="serve")).close()
        ((ok, said, fatal),) = await about_audit(here)
        assert (ok, fatal, "it is a superuser" in said) == (False, False, True)
        assert (await here.says_meanwhile("database", "roles", SERVICE, "--apply")).code == 0
        here.environment["ANTECHAMBER_DATABASE_URL"] = service
        ((ok, said, _),) = await about_audit(here)
        assert (ok, "append to it and not change it" in said) == (True, True)
        here.environment["ANTECHAMBER_DATABASE_OWNER_URL"] = owner
        assert [ok for ok, _, _ in await about_audit(here)] == [True, False]
        postgres.run(sql.SQL("ALTER FUNCTION audit_kept() OWNER TO service"), database)
        left = await here.says_meanwhile("database", "roles", SERVICE, "--apply")
        assert (left.code, "it owns functions" in left.err) == (1, True)


async def test_a_file_has_no_roles():
    with place() as here:
        refused = await here.says_meanwhile("database", "roles", SERVICE)
        assert "no roles" in refused.error()[0]
