"""The locks on host uids: which folder they are in, and what is said when there is none."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from antechamber.drivers.namespace.uids import UidLocks
from antechamber.errors import Code, MachineError, OperatorError

POOL = range(200_000, 200_004)


def test_a_taken_uid_is_not_free_and_not_taken_twice(tmp_path):
    uid_locks = UidLocks([tmp_path / "uids"])
    assert uid_locks.free(POOL) == POOL
    held = uid_locks.take(POOL[1])
    assert stat.S_IMODE((tmp_path / "uids").stat().st_mode) == 0o700
    assert uid_locks.free(POOL) == [POOL[0], POOL[2], POOL[3]]
    with pytest.raises(MachineError):
        uid_locks.take(POOL[1])
    os.close(held)
    assert uid_locks.free(POOL) == POOL
    uid_locks.forget(POOL[1])
    assert list((tmp_path / "uids").iterdir()) == []


def test_files_that_are_no_uids_are_passed_over(tmp_path):
    (tmp_path / "uids").mkdir()
    for name in ("²", "٣", "notes", "1x"):
        (tmp_path / "uids" / name).touch()
    assert UidLocks([tmp_path / "uids"]).free(POOL) == POOL


def test_the_first_folder_that_can_be_made_is_used(tmp_path):
    (tmp_path / "file").touch()
    uid_locks = UidLocks([tmp_path / "file" / "uids", tmp_path / "uids"])
    assert uid_locks.free(POOL) == POOL
    held = uid_locks.take(POOL[0])
    assert list(uid_locks.free(POOL)) == list(POOL[1:])
    assert (tmp_path / "uids" / str(POOL[0])).exists()
    os.close(held)


def test_where_no_folder_can_be_made_it_is_named_with_a_remedy(tmp_path):
    folder = tmp_path / "missing" / "uids"
    with pytest.raises(OperatorError) as caught:
        UidLocks([folder]).take(POOL[0])
    assert caught.value.code is Code.MISCONFIGURED
    assert str(folder) in caught.value.message
    assert str(folder.parent) in caught.value.next


def test_what_is_in_the_folders_place_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "uids").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / str(POOL[0])).touch()
    for ask in (lambda found: found.free(POOL), lambda found: found.take(POOL[0])):
        with pytest.raises(OperatorError) as caught:
            ask(UidLocks([tmp_path / "uids"]))
        assert caught.value.code is Code.WRONG_OWNER
    UidLocks([tmp_path / "uids"]).forget(POOL[0])
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [str(POOL[0])]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: no folder can be given to another account")
def test_a_folder_that_another_account_made_beforehand_is_named_with_its_remedy(tmp_path):
    folder = tmp_path / "uids"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    for ask in (lambda found: found.free(POOL), lambda found: found.take(POOL[0])):
        with pytest.raises(OperatorError) as caught:
            ask(UidLocks([folder]))
        assert caught.value.code is Code.WRONG_OWNER
        assert str(folder) in caught.value.message
        assert str(folder) in caught.value.next


@pytest.mark.machine
def test_root_of_a_namespace_with_one_uid_needs_no_folder():
    program = (
        "from antechamber.drivers.namespace.uids import UidLocks\n"
        "from pathlib import Path\n"
        "assert list(UidLocks([Path('/proc/none')]).free(range(0))) == []\n"
        "assert list(UidLocks().free(range(0))) == []\n"
    )
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-B", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
