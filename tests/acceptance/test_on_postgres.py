"""The service on PostgreSQL, killed and started again, its database away for a while: the whole job all the same."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.conftest import FAILED, Scene
from tests.acceptance.service import until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(200)]
PASSWORD = "DUMMY-password-of-a-role"


@pytest.fixture
async def scene(request, postgres):
    name = postgres.create()
    for statement in (
        "DROP ROLE IF EXISTS guarded",
        f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'",
        f"ALTER DATABASE {name} OWNER TO guarded",
    ):
        postgres.run(sql.SQL(statement))
    scene = Scene(grace_completed_s=2, database_url=postgres.url(name, f"guarded:{PASSWORD}"))
    scene.database = postgres.url(name)
    await scene.service.start()
    yield scene
    await scene.close(failed=request.node.stash.get(FAILED, False), name=request.node.name)
    postgres.drop(name)


async def test_codex_is_signed_in_to_on_postgres_whatever_is_killed_or_away_meanwhile(scene, postgres):
    service, person = scene.service, await scene.person("codex")
    await person.to_the_code()
    machine = await service.machine_of(person.session_id)
    secret = PASSWORD.encode()
    assert secret in Path(f"/proc/{service.pid}/environ").read_bytes()
    assert secret not in Path(f"/proc/{service.pid}/cmdline").read_bytes()
    assert secret not in Path(f"/proc/{machine.keeper}/environ").read_bytes()

    await service.end(signal.SIGKILL)
    await service.start()
    assert await service.machine_of(person.session_id) == machine
    postgres.stop()
    postgres.start()

    await person.look()
    await person.from_the_code()
    assert await person.ended() == "completed"
    verdict = await service.control.call("credentials.check", provider=person.provider, user_id=person.user_id)
    assert verdict["accepted"]
    assert (await service.machine_gone(person.session_id))["state"] == "gone"
    assert await person.status() == "completed"
    await until(lambda: not machine.left(), 30, f"something is left: {machine.left()}")

    assert not (service.data / "antechamber.db").exists()
    with psycopg.connect(scene.database) as prompt:
        rows = prompt.execute("SELECT status, user_id FROM auth_sessions").fetchall()
    assert rows == [("completed", person.user_id)]
    assert secret not in service.log.read_bytes()
