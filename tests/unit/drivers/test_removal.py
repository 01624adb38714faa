"""What is left of a machine is removed, at a second try too, and takes nothing of the next one with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from antechamber.drivers import locks
from antechamber.drivers.namespace import driver as module
from antechamber.drivers.namespace.uids import UidLocks
from antechamber.model import IdPrefix, new_id
from antechamber.settings import Settings


@pytest.fixture
def driver(tmp_path):
    return module.NamespaceDriver(
        run_dir=tmp_path / "run", settings=Settings(world="demo"), installation="ins", node="nod"
    )


async def test_a_removal_that_failed_halfway_is_finished_at_the_next_try(driver, tmp_path, monkeypatch):
    incarnation = new_id(IdPrefix.INCARNATION)
    handle = driver.plan(new_id(IdPrefix.MACHINE), incarnation, host_uid=None)
    folder = tmp_path / "run" / incarnation
    (folder / "doors").mkdir(parents=True)
    (folder / "mark.json").write_text(json.dumps(handle))
    (folder / "secret").write_text("DUMMY")
    remove, busy = shutil.rmtree, [True]

    def once_busy(path, *given, **named):
        if Path(path).name == "doors" and busy:
            busy.clear()
            raise OSError(16, "Device or resource busy")
        return remove(path, *given, **named)

    monkeypatch.setattr(shutil, "rmtree", once_busy)
    with pytest.raises(OSError, match="busy"):
        await driver.reap(handle)
    await driver.reap(handle)
    assert list((tmp_path / "run").iterdir()) == []


async def test_a_second_try_does_not_take_the_uid_from_the_next_machine(driver, tmp_path):
    driver._uid_locks = UidLocks([tmp_path / "uids"])
    ended = driver.plan(new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION), host_uid=54321)
    assert driver.reserve(54321)
    await driver.reap(ended)
    assert locks.held(tmp_path / "uids" / "54321")
    driver.give_back(54321)
