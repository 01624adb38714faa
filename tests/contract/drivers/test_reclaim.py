"""What the namespace driver clears away as it looks for its machines, and what it leaves; no machine is started."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from antechamber.drivers import locks
from antechamber.drivers.namespace import driver as driver_module
from antechamber.drivers.namespace.driver import NamespaceDriver
from antechamber.drivers.namespace.uids import UidLocks
from antechamber.model import IdPrefix, new_id
from antechamber.settings import Settings

WEEK_S = 7 * 86_400


class Host:
    """A folder of machines' folders that several installations share."""

    def __init__(self, run):
        self.run = run
        self.installation, self.node = new_id(IdPrefix.INSTALLATION), new_id(IdPrefix.NODE)
        self.driver = self.driver_of(self.installation, self.node)

    def driver_of(self, installation, node):
        return NamespaceDriver(run_dir=self.run, settings=Settings(), installation=installation, node=node)

    def folder(self, driver=None, *, name="{}", mark=True, ended=None):
        """Make the folder of a machine: `ended` so many seconds ago, None where nobody recorded an end."""
        handle = (driver or self.driver).plan(new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION), host_uid=None)
        path = self.run / name.format(handle["incarnation"])
        (path / "doors").mkdir(parents=True)
        (path / "doors/link.sock").touch()
        (path / "keeper.log").touch()
        if mark:
            (path / "mark.json").write_text(json.dumps(handle))
        if ended is not None:
            (path / "exit.json").write_text(json.dumps({"at": 0, "code": 0, "detail": ""}))
            at = (path / "exit.json").stat().st_mtime - ended
            os.utime(path / "exit.json", (at, at))
        return path


@pytest.fixture
def host():
    folder = Path(tempfile.mkdtemp(prefix="acr-", dir="/tmp"))
    yield Host(folder)
    shutil.rmtree(folder)


async def found(host):
    return {Path(handle["folder"]) for handle in await host.driver.found()}


async def test_ones_own_folders_are_found_whatever_state_they_are_in(host):
    mine = {host.folder(), host.folder(ended=1), host.folder(ended=2 * WEEK_S)}
    assert await found(host) == mine


async def test_ones_own_half_made_and_half_removed_folders_are_cleared_away_at_once(host):
    half = host.folder(name=".{}")
    assert await found(host) == set()
    assert not half.exists()


async def test_a_half_made_folder_of_nobody_known_is_left_for_an_hour(host):
    young, old = host.folder(name=".{}", mark=False), host.folder(name=".{}", mark=False)
    os.utime(old, (1, 1))
    assert await found(host) == set()
    assert young.exists()
    assert not old.exists()


async def test_a_half_made_folder_that_somebody_is_making_now_is_left(host):
    half = host.folder(name=".{}")
    held = locks.take(half / "alive")
    assert await found(host) == set()
    assert half.exists()
    os.close(held)


@pytest.mark.parametrize("same_installation", [False, True], ids=["another_installation", "another_node"])
async def test_anothers_folder_is_left_until_a_week_after_its_end(host, same_installation):
    installation = host.installation if same_installation else new_id(IdPrefix.INSTALLATION)
    another = host.driver_of(installation, new_id(IdPrefix.NODE))
    unknown, fresh, old = host.folder(another), host.folder(another, ended=60), host.folder(another, ended=WEEK_S + 60)
    lives = host.folder(another, ended=2 * WEEK_S)
    held = locks.take(lives / "alive")
    assert await found(host) == set()
    assert [path.exists() for path in (unknown, fresh, lives, old)] == [True, True, True, False]
    assert {Path(handle["folder"]) for handle in await another.found()} == {unknown, fresh, lives}
    os.close(held)


async def test_a_folder_is_removed_so_that_its_mark_is_the_last_to_go(host):
    path = host.folder(ended=1)
    seen = []
    hidden = path.with_name("." + path.name)
    for entry in ("doors", "exit.json", "keeper.log"):
        assert (path / entry).exists()
    driver_module._remove_tree(path)
    assert not path.exists()
    assert not hidden.exists()
    # as a kill in the middle leaves it: found by its mark, and cleared away
    hidden.mkdir()
    (hidden / "mark.json").write_text(json.dumps(host.driver.plan("mac_x", path.name, host_uid=None)))
    assert await found(host) == set(seen)
    assert not hidden.exists()


def test_the_files_of_uids_that_nobody_holds_are_removed_and_held_ones_stay(tmp_path):
    pool = range(200_000, 200_004)
    uid_locks = UidLocks([tmp_path / "uids"])
    held = uid_locks.take(pool[0])
    os.close(uid_locks.take(pool[1]))  # as a service leaves it that was killed between taking a uid and its folder
    (tmp_path / "uids/notes").touch()
    uid_locks.sweep(pool)
    assert {path.name for path in (tmp_path / "uids").iterdir()} == {str(pool[0]), "notes"}
    os.close(held)
