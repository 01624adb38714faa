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
from antechamber.guest.protocol import LATEST_NS, FileState

WATCHED = Watched("~/.tool/auth.json", (("tokens", "access"), ("tokens", "refresh")), 1000)
GOOD = {"tokens": {"access": "DUMMY-a", "refresh": "DUMMY-r"}}


def test_a_file_with_all_its_paths_is_whole(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(GOOD))
    path.chmod(0o640)
    found = files.look(path, WATCHED)
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
    assert files.look(path, WATCHED) is FileState.INCOMPLETE


@settings(deadline=None)
@given(st.binary(max_size=1100))
def test_any_content_gets_an_answer(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "auth.json"
    path.write_bytes(content)
    found = files.look(path, WATCHED)
    assert found in {FileState.INCOMPLETE, FileState.TOO_LARGE}


def test_what_is_no_file_of_its_own_is_said_to_be_none(tmp_path):
    target = tmp_path / "target.json"
    target.write_text(json.dumps(GOOD))
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(target)
    os.mkfifo(pipe)
    folder.mkdir()
    assert {files.look(path, WATCHED) for path in (link, pipe, folder)} == {FileState.NOT_A_FILE}
    assert files.look(tmp_path / "nothing", WATCHED) is FileState.NONE
    assert files.look(target / "below", WATCHED) is FileState.NONE


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({**GOOD, "more": "x" * 1000}))
    assert files.look(path, WATCHED) is FileState.TOO_LARGE


def test_what_was_there_before_is_stale_also_when_it_was_touched_or_put_there_anew(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(GOOD))
    before = files.digest(path, WATCHED)
    assert files.look(path, WATCHED, before=before) is FileState.STALE
    os.utime(path, ns=(1, 1))
    path.chmod(0o640)
    assert files.look(path, WATCHED, before=before) is FileState.STALE
    (tmp_path / "new").write_text(json.dumps(GOOD))
    (tmp_path / "new").rename(path)
    assert files.look(path, WATCHED, before=before) is FileState.STALE
    path.write_text(json.dumps({"tokens": {"access": "DUMMY-b", "refresh": "DUMMY-r"}}))
    assert isinstance(files.look(path, WATCHED, before=before), WholeFile)


@pytest.mark.parametrize("ns", [-(10**18), 0, 1, 10**18, 4 * 10**18, LATEST_NS, 10**19])
def test_a_file_has_whatever_time_its_tool_gives_it(tmp_path, ns):
    path = tmp_path / "auth.json"
    path.write_text("{}")
    before = files.digest(path, WATCHED)
    path.write_text(json.dumps(GOOD))
    os.utime(path, ns=(ns, ns))
    found = files.look(path, WATCHED, before=before)
    assert isinstance(found, WholeFile)
    assert found.mtime_ns == min(max(path.stat().st_mtime_ns, 0), LATEST_NS)


def test_what_is_no_file_before_the_start_keeps_nothing_out(tmp_path):
    path = tmp_path / "auth.json"
    assert files.digest(path, WATCHED) is None
    path.mkdir()
    assert files.digest(path, WATCHED) is None
    path.rmdir()
    path.write_text("x" * (WATCHED.max_bytes + 1))
    assert files.digest(path, WATCHED) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_somebody_else_is_not_taken(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(GOOD))
    os.chown(path, 12345, 12345)
    assert files.look(path, WATCHED) is FileState.UNREADABLE
