"""The key file: made once, kept, and refused when it is not what the database knows (F-44)."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.model import SealIdentity
from antechamber.vault import KeyFile, Vault

IDENTITY = SealIdentity("ins_1", "default", "ada", "codex", "cred_1", 1)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another owner")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "key.json"


def first(path) -> Vault:
    return Vault.open(path, known_key_id=None, has_rows=False)


def refusal(path, known_key_id=None, *, has_rows=False) -> OperatorError:
    with pytest.raises(OperatorError) as refused:
        Vault.open(path, known_key_id=known_key_id, has_rows=has_rows)
    return refused.value


def _key_id_in_a_process(path: str) -> str:
    return first(Path(path)).key_id


def test_the_first_start_makes_a_key_that_only_its_owner_reads_and_leaves_nothing_else(path):
    before = os.umask(0)
    try:
        vault = first(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"key_[0-9a-f]{8}", vault.key_id)
    assert list(path.parent.iterdir()) == [path]


def test_the_same_key_opens_after_a_restart(path):
    vault = first(path)
    sealed = vault.seal(b"DUMMY", IDENTITY)
    raw = path.read_bytes()
    again = Vault.open(path, known_key_id=vault.key_id, has_rows=True)
    assert (again.key_id, again.unseal(sealed, IDENTITY)) == (vault.key_id, b"DUMMY")
    assert path.read_bytes() == raw


def test_a_start_that_ended_before_the_database_knew_the_key_goes_on_with_it(path):
    assert first(path).key_id == first(path).key_id


def test_many_first_starts_at_once_have_one_key(path):
    with ThreadPoolExecutor(8) as pool:
        assert len({vault.key_id for vault in pool.map(first, [path] * 16)}) == 1
    assert list(path.parent.iterdir()) == [path]


def test_first_starts_of_several_processes_have_one_key(path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(_key_id_in_a_process, [str(path)] * 4, chunksize=1))) == 1


@pytest.mark.parametrize(("known", "has_rows"), [("key_00000001", False), (None, True), ("key_00000001", True)])
def test_f044_a_missing_key_is_never_made_anew_over_what_was_sealed(path, known, has_rows):
    error = refusal(path, known, has_rows=has_rows)
    assert error.code is Code.KEY_MISSING
    assert str(path) in error.detail
    assert not path.exists()


def test_f044_another_installations_key_is_refused(path):
    vault = first(path)
    error = refusal(path, "key_00000001", has_rows=True)
    assert error.code is Code.KEY_MISMATCH
    assert vault.key_id in error.detail
    assert "key_00000001" in error.detail


def test_a_key_is_not_trusted_when_there_are_rows_that_know_none(path):
    first(path)
    assert refusal(path, None, has_rows=True).code is Code.KEY_MISMATCH


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o644])
def test_a_key_that_others_can_use_is_refused(path, mode):
    vault = first(path)
    path.chmod(mode)
    error = refusal(path, vault.key_id, has_rows=True)
    assert error.code is Code.KEY_EXPOSED
    assert f"{mode:04o}" in error.detail


@needs_root
def test_a_key_of_another_owner_is_refused_with_both_uids_and_the_remedy(path):
    vault = first(path)
    os.chown(path, 54321, -1)
    error = refusal(path, vault.key_id, has_rows=True)
    assert error.code is Code.WRONG_OWNER
    assert "54321" in error.message
    assert str(os.geteuid()) in error.message
    assert "chown" in error.next


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}",
        b"[1, 2]",
        b"DUMMY",
        b"\xff\xfe\x00",
        b'{"primaryKeyId": 1, "key": []}',
        b'{"primaryKeyId": 1, "key": [{"keyId": 1}]}',
        b" " * 100_000,
    ],
)
def test_a_file_that_is_no_keyset_is_refused_and_left_as_it_is(path, raw):
    path.write_bytes(raw)
    path.chmod(0o600)
    assert refusal(path).code is Code.KEY_UNREADABLE
    for change in (lambda: KeyFile(path).add(first=False), lambda: KeyFile(path).remove("key_00000001")):
        with pytest.raises(OperatorError) as refused:
            change()
        assert refused.value.code is Code.KEY_UNREADABLE
    assert path.read_bytes() == raw


def test_a_key_file_that_was_cut_off_is_refused_and_not_quoted(path):
    first(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    error = refusal(path)
    assert error.code is Code.KEY_UNREADABLE
    secret = json.loads(raw)["key"][0]["keyData"]["value"]
    assert secret not in f"{error} {error.detail} {error.__cause__!r}"


def test_a_key_for_something_else_is_refused(path):
    first(path)
    keyset = json.loads(path.read_bytes())
    keyset["key"][0]["keyData"]["typeUrl"] = "type.googleapis.com/google.crypto.tink.HmacKey"
    path.write_text(json.dumps(keyset))
    assert refusal(path).code is Code.KEY_UNREADABLE


def test_a_link_a_folder_and_a_pipe_are_no_key_files(path, tmp_path):
    target = tmp_path / "elsewhere.json"
    first(target)
    path.symlink_to(target)
    assert refusal(path).code is Code.KEY_UNREADABLE
    path.unlink()
    path.mkdir()
    assert refusal(path).code is Code.KEY_UNREADABLE
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert refusal(path).code is Code.KEY_UNREADABLE


def test_a_dangling_link_is_not_followed_to_make_a_key(path, tmp_path):
    path.symlink_to(tmp_path / "nowhere.json")
    assert refusal(path).code is Code.KEY_UNREADABLE
    assert not (tmp_path / "nowhere.json").exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    error = refusal(tmp_path / "none" / "key.json")
    assert error.code is Code.KEY_UNREADABLE
    assert str(tmp_path / "none") in error.detail
