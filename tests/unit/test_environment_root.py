"""Keys from the environment: read once, and inherited by nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.integration.cli_scene import place

from antechamber import settings
from antechamber.errors import Code, OperatorError
from antechamber.settings import Settings, read_settings
from antechamber.vault import KeyFile, Vault, roots_of

DUMMY = "DUMMY-text-of-a-key-file"


@pytest.fixture(autouse=True)
def taken(monkeypatch):
    monkeypatch.setattr(settings, "_taken", {})


@pytest.fixture
def text(tmp_path):
    KeyFile(tmp_path / "key").add(first=True)
    return (tmp_path / "key").read_text()


def opened(text, tmp_path, known=None):
    given = Settings(roots="environment", keys=text)
    return Vault.of(roots_of(given, tmp_path / "none"), known_key_id=known, has_rows=known is not None)


def test_a_secret_is_taken_out_of_the_environment_and_is_still_there_for_a_second_reading(monkeypatch):
    monkeypatch.setenv("ANTECHAMBER_KEYS", DUMMY)
    for _ in range(2):
        read = read_settings()
        assert read.keys.reveal() == DUMMY
        assert "ANTECHAMBER_KEYS" not in os.environ
        assert DUMMY not in f"{read!r} {read}"


PROGRAM = """
import subprocess, sys
from pathlib import Path
from antechamber.settings import read_settings
read = read_settings()
child = subprocess.run([sys.executable, "-c", "import os; print(dict(os.environ))"], capture_output=True, text=True)
print("read" if "DUMMY" in read.keys.reveal() else "not read")
print("inherited" if "DUMMY" in child.stdout else "not inherited")
print("in the block" if b"DUMMY" in Path("/proc/self/environ").read_bytes() else "not in the block")
"""


def test_no_program_that_is_started_later_inherits_it_and_the_kernels_block_is_as_the_docs_say():
    environment = {**os.environ, "ANTECHAMBER_KEYS": DUMMY}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["read", "not inherited", "in the block"]


def test_the_text_of_a_key_file_is_what_the_variable_holds(text, tmp_path):
    from_file = Vault.read(tmp_path / "key")
    vault = opened(text, tmp_path, known=from_file.key_id)
    assert vault.key_ids == from_file.key_ids
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("bad", [DUMMY, "{}", "x" * 70_000, f'{{"primaryKeyId": 1, "key": ["{DUMMY}"]}}'])
def test_what_is_no_keyset_is_refused_and_not_quoted(bad, tmp_path):
    with pytest.raises(OperatorError) as refused:
        opened(bad, tmp_path)
    assert refused.value.code is Code.KEY_UNREADABLE
    assert DUMMY not in f"{refused.value} {refused.value.__cause__!r}"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_variable_that_is_not_set_is_said_and_no_key_is_made(nothing, tmp_path):
    with pytest.raises(OperatorError) as refused:
        opened(nothing, tmp_path)
    assert refused.value.code is Code.KEY_MISSING
    assert "ANTECHAMBER_KEYS" in refused.value.message
    assert "keys make" in refused.value.next


@pytest.mark.parametrize(
    ("given", "said"),
    [("vault", "no root; there are file, environment, transit, kms"), ("file,file", "twice"), (",", "at least 1")],
)
def test_roots_that_there_are_not_are_refused(given, said, monkeypatch):
    monkeypatch.setenv("ANTECHAMBER_ROOTS", given)
    with pytest.raises(OperatorError, match=said):
        read_settings()


def test_the_command_line_makes_and_changes_a_key_file_for_it_and_shows_no_key():
    with place() as here:
        file = here.root / "kept"
        first = here.says("keys", "make", str(file))
        assert first.code == 0, first.err
        assert oct(file.stat().st_mode & 0o777) == "0o600"
        assert here.says("keys", "make", str(file)).error()[2] == "misconfigured"
        second = here.says("keys", "make", "--add", str(file)).out.strip()
        assert here.says("keys", "make", "--without", "key_00000000", str(file)).error()[2] == "key_unknown"
        gone = here.says("keys", "make", "--without", first.out.strip(), str(file))
        assert Vault.read(file).key_ids == (second,)
        assert here.says("keys", "make", "--without", second, str(file)).error()[2] == "key_needed"
        assert here.says("keys", "make", "--add", str(here.root / "none")).error()[2] == "misconfigured"
        secret = json.loads(file.read_text())["key"][0]["keyData"]["value"]
        assert secret not in first.out + gone.out
