"""Whatever is killed, and whenever: a sign-in goes on, or ends with a true reason, and nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3

import pytest

from tests.acceptance import processes
from tests.acceptance.service import until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(200)]


async def accepted(service, person):
    verdict = await service.control.call("credentials.check", provider=person.provider, user_id=person.user_id)
    return verdict["accepted"]


async def nothing_left(machine):
    await until(lambda: not machine.left(), 30, f"something is left: {machine.left()}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill_9", "sigterm"])
async def test_a_service_started_again_finds_the_machine_and_the_person_signs_in(scene, number):
    service, person = scene.service, await scene.person("codex")
    await person.to_the_code()
    machine = await service.machine_of(person.session_id)
    # what ends the service alone, as systemd's KillMode=process does, reaches nothing of its machines
    assert machine.keeper not in {one.pid for one in processes.below(service.pid)}
    assert os.getsid(machine.keeper) != os.getsid(service.pid)

    code = await service.end(number)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert processes.look(machine.keeper) is not None, "the machine goes on without the service"
    standin = await service.standin()
    assert (f"`kill {standin.pid}` ends it now" in service.log.read_text()) is (number == signal.SIGTERM)
    await service.start()

    assert await service.machine_of(person.session_id) == machine
    await person.look()
    await person.from_the_code()
    assert await person.ended() == "completed"
    assert await accepted(service, person)
    assert (await service.machine_gone(person.session_id))["state"] == "gone"
    assert await person.status() == "completed"
    await nothing_left(machine)


async def test_a_machine_whose_keeper_is_killed_fails_its_session_and_leaves_nothing(scene):
    service, person = scene.service, await scene.person("codex")
    await person.to_the_code()
    machine = await service.machine_of(person.session_id)

    os.kill(machine.keeper, signal.SIGKILL)

    assert await person.ended() == "failed"
    assert await person.reason() == "machine_ended"
    told = await service.machine_gone(person.session_id)
    assert (told["state"], told["detail"]) == ("lost", "its keeper was killed")
    await nothing_left(machine)
    assert await service.stored() == 0


async def test_a_machine_that_ended_while_no_service_ran_fails_its_session_at_the_next_start(scene):
    service, person = scene.service, await scene.person("codex")
    await person.to_the_code()
    machine = await service.machine_of(person.session_id)

    await service.end(signal.SIGKILL)
    os.kill(machine.keeper, signal.SIGKILL)
    await service.start()

    assert await person.ended() == "failed"
    assert await person.reason() == "machine_ended"
    assert (await service.machine_gone(person.session_id))["state"] == "lost"
    await nothing_left(machine)


async def test_f018_a_service_killed_right_after_the_capture_stays_completed_and_ends_the_machine(scene):
    service, person = scene.service, await scene.person("codex")
    await person.to_the_code()
    machine = await service.machine_of(person.session_id)
    await person.from_the_code()
    assert await person.ended() == "completed"

    await service.end(signal.SIGKILL)
    await service.start()

    assert await person.status() == "completed"
    await service.machine_gone(person.session_id)
    await nothing_left(machine)
    assert await person.status() == "completed"
    assert await accepted(service, person)


@contextlib.contextmanager
def locked_database(service):
    """Hold the database's one right to write, so that nothing can be stored meanwhile."""
    with contextlib.closing(sqlite3.connect(service.data / "antechamber.db", isolation_level=None)) as database:
        database.execute("begin immediate")
        yield
        database.execute("rollback")


def runs(machine, program):
    return any(one.argv[0].endswith(program) for one in processes.below(machine.keeper))


async def cli_has_written(machine):
    await until(lambda: not runs(machine, "/codex"), 30, "codex does not end")


async def test_a_credential_that_could_not_be_stored_before_a_kill_is_sent_again(scene):
    service, person = scene.service, await scene.person("codex")
    await person.to_the_code()
    machine = await service.machine_of(person.session_id)
    assert runs(machine, "/codex")

    with locked_database(service):
        await person.from_the_code()
        await cli_has_written(machine)
        await service.end(signal.SIGKILL)
    assert await service.stored() == 0
    await service.start()

    assert await person.ended() == "completed"
    assert await service.machine_gone(person.session_id)
    await nothing_left(machine)
    assert await accepted(service, person)
