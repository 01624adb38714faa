"""When a watched file is whole, and what it is until then."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.guest import files
from antechamber.guest.files import WholeFile
from antechamber.guest.job import Watched
from antechamber.guest.protocol import FileState

WATCHED = Watched("~/.tool/auth.json", (("tokens", "access"), ("tokens", "refresh")), 1000)
GOOD = {"tokens": {"access": "DUMMY-a", "refresh": "DUMMY-r"}}


def test_a_file_with_all_its_paths_is_whole(tmp_path):
    path = tmp_path / "auth.json"
    since = files.now_ns(tmp_path)
    path.write_text(json.dumps(GOOD))
    path.chmod(0o640)
    found = files.look(path, WATCHED, since_ns=since)
    assert isinstance(found, WholeFile)
    assert json.loads(found.content) == GOOD
    assert found.mode == 0o640
    assert "DUMMY" not in repr(found)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "null",
        '"text"',
        '{"tokens": {"access": "a"}}',
        '{"tokens": {"access": "a", "refresh": ""}}',
        '{"tokens": {"access": "a", "refresh": null}}',
        '{"tokens": "access refresh"}',
        json.dumps(GOOD)[:-3],
        "[" * 990,
    ],
)
def test_a_file_that_lacks_something_is_incomplete(tmp_path, content):
    path = tmp_path / "auth.json"
    path.write_text(content)
    assert files.look(path, WATCHED, since_ns=0) is FileState.INCOMPLETE


@settings(deadline=None)
@given(st.binary(max_size=1100))
def test_any_content_gets_an_answer(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "auth.json"
    path.write_bytes(content)
    found = files.look(path, WATCHED, since_ns=0)
    assert found in {FileState.INCOMPLETE, FileState.TOO_LARGE}


def test_what_is_no_file_of_its_own_is_said_to_be_none(tmp_path):
    target = tmp_path / "target.json"
    target.write_text(json.dumps(GOOD))
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(target)
    os.mkfifo(pipe)
    folder.mkdir()
    assert {files.look(path, WATCHED, since_ns=0) for path in (link, pipe, folder)} == {FileState.NOT_A_FILE}
    assert files.look(tmp_path / "nothing", WATCHED, since_ns=0) is FileState.NONE
    assert files.look(target / "below", WATCHED, since_ns=0) is FileState.NONE


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({**GOOD, "more": "x" * 1000}))
    assert files.look(path, WATCHED, since_ns=0) is FileState.TOO_LARGE


def test_a_file_from_before_the_start_is_stale(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(GOOD))
    os.utime(path, ns=(1, 1))
    assert files.look(path, WATCHED, since_ns=files.now_ns(tmp_path)) is FileState.STALE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_somebody_else_is_not_taken(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(GOOD))
    os.chown(path, 12345, 12345)
    assert files.look(path, WATCHED, since_ns=0) is FileState.UNREADABLE
