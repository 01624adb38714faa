"""What machines read is staged whole, by content, and open to other accounts."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from antechamber import assets
from antechamber.errors import Code, OperatorError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/tool").write_text("#!/bin/sh\n")
    (folder / "bin/tool").chmod(0o700)
    (folder / "notes").write_text("notes")
    (folder / "notes").chmod(0o600)
    (folder / "link").symlink_to("bin/tool")
    return folder


@pytest.fixture
def shared(tmp_path):
    return tmp_path / "a/b/shared"


def test_a_copy_is_named_by_its_content_and_can_be_read_by_others(source, shared):
    copy = assets.stage(source, shared, "cli")
    assert copy.parent == shared
    assert copy.name == f"cli-{assets.content_hash(source)}"
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in (copy, *copy.rglob("*"))}
    assert modes == {copy.name: "0o755", "bin": "0o755", "tool": "0o755", "notes": "0o644", "link": "0o755"}
    assert (copy / "link").readlink() == (source / "link").readlink()
    assert [oct(stat.S_IMODE(folder.stat().st_mode)) for folder in (shared, shared.parent)] == ["0o755"] * 2


def test_staging_again_changes_nothing(source, shared):
    copy = assets.stage(source, shared, "cli")
    before = (copy / "notes").stat().st_ino
    assert assets.stage(source, shared, "cli") == copy
    assert (copy / "notes").stat().st_ino == before


@pytest.mark.parametrize("change", ["content", "name", "mode", "link", "new"])
def test_f079d_f091f_any_change_of_the_source_makes_another_folder(source, shared, change):
    first = assets.stage(source, shared, "cli")
    match change:
        case "content":
            (source / "notes").write_text("other")
        case "name":
            (source / "notes").rename(source / "note")
        case "mode":
            (source / "notes").chmod(0o700)
        case "link":
            (source / "link").unlink()
            (source / "link").symlink_to("notes")
        case "new":
            (source / "new").write_text("")
    assert assets.stage(source, shared, "cli") != first


def test_an_altered_copy_is_replaced(source, shared):
    copy = assets.stage(source, shared, "cli")
    (copy / "notes").write_text("altered")
    assert assets.stage(source, shared, "cli") == copy
    assert (copy / "notes").read_text() == "notes"
    assert [path.name for path in shared.iterdir() if path.name not in {".lock", copy.name}] == []


def test_f080_what_an_interrupted_copy_left_is_no_obstacle(source, shared):
    half = shared / f".cli-{assets.content_hash(source)}.{os.getpid()}"
    half.mkdir(parents=True)
    (half / "half").write_text("half")
    assert not (assets.stage(source, shared, "cli") / "half").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "bin/../../outside"])
def test_a_link_that_leads_out_is_refused(source, shared, target):
    (source.parent / "outside").write_text("outside")
    (source / "link").unlink()
    (source / "link").symlink_to(target)
    with pytest.raises(OperatorError) as caught:
        assets.stage(source, shared, "cli")
    assert caught.value.code is Code.MISCONFIGURED
    assert [path.name for path in shared.iterdir()] == [".lock"], "nothing half-made stays"


def test_a_socket_among_the_files_is_refused(source, shared):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(source / "s"))
        with pytest.raises(OperatorError):
            assets.stage(source, shared, "cli")


def test_a_missing_source_is_the_operators_matter(tmp_path, shared):
    with pytest.raises(OperatorError):
        assets.stage(tmp_path / "missing", shared, "cli")


def test_f080_many_at_once_make_one_copy(source, shared):
    copies = []
    threads = [threading.Thread(target=lambda: copies.append(assets.stage(source, shared, "cli"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(copies) == 8
    assert len(set(copies)) == 1


def test_f079a_the_guest_is_staged_compiled_under_its_build_id(shared):
    folder = assets.stage_guest(shared)
    assert folder.name == f"guest-{assets.guest_build_id()}"
    assert (folder / "BUILD").read_text() == assets.guest_build_id()
    assert {path.name for path in folder.iterdir()} == {"BUILD", "__main__.py", "__pycache__", "antechamber"}
    ours = {path.relative_to(folder / "antechamber").parts[0] for path in (folder / "antechamber").rglob("*.py")}
    assert ours == {"__init__.py", "guest"}, "nothing of the service is in a machine"
    assert list((folder / "antechamber/guest/__pycache__").glob("main.*.pyc"))
    assert assets.stage_guest(shared) == folder


def test_f081d_the_staged_guest_needs_nothing_but_the_machines_python(shared):
    folder = assets.stage_guest(shared)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import antechamber.guest.main as m; print(m.build_id())"
    ran = subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == assets.guest_build_id()


def test_f079e_f091e_an_altered_guest_is_staged_again(shared):
    folder = assets.stage_guest(shared)
    (folder / "antechamber/guest/main.py").write_text("altered")
    assets.stage_guest(shared)
    assert "altered" not in (folder / "antechamber/guest/main.py").read_text().splitlines()


def old_guest(shared, hash_, *, days=2):
    """Stage what another release left, so long ago."""
    place = shared / f"guest-{hash_}"
    (place / "antechamber").mkdir(parents=True)
    (place / "BUILD").write_text(hash_)
    at = time.time() - days * 86_400
    os.utime(place, (at, at))
    return place


def test_guests_of_other_releases_that_nobody_needs_are_pruned_and_nothing_else_is(shared):
    gone = old_guest(shared, "0123456789abcdef")
    of_today = old_guest(shared, "1123456789abcdef", days=0.5)
    other = [shared / "guest-notes", shared / "node-0123456789abcdef", shared / "cli"]
    for place in other:
        place.mkdir()
        os.utime(place, (1, 1))
    served = assets.ServedGuest.take(shared)
    assert not gone.exists()
    assert of_today.is_dir()
    assert all(place.is_dir() for place in other)
    assert list(shared.glob(".pruned*")) == []
    os.utime(served.folder, (1, 1))
    assert assets.prune_guests(shared) == [], "the one that is served stays, however old"
    served.release()
    assert assets.prune_guests(shared) == [served.folder.name]


def test_what_a_kill_left_half_copied_or_half_removed_is_removed_and_whole_copies_stay(source, shared):
    whole = assets.stage(source, shared, "node")
    left = [
        shared / f".{whole.name}.4711",
        shared / f".altered-{whole.name}-4711",
        shared / ".pruned-guest-0123456789abcdef",
    ]
    for path in left:
        (path / "antechamber").mkdir(parents=True)
    assert assets.prune_guests(shared) == []
    assert [path.exists() for path in left] == [False] * 3
    assert whole.is_dir()
    assert (shared / ".lock").exists()


def test_a_guest_that_another_service_gives_to_machines_stays_until_that_service_has_ended(shared):
    place = old_guest(shared, "0123456789abcdef")
    hold = f"fcntl.flock(os.open({str(place)!r}, os.O_RDONLY), fcntl.LOCK_SH)"
    code = f"import fcntl, os; {hold}; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert assets.prune_guests(shared) == []
        assert (place / "BUILD").exists()
        other.communicate(b"\n")
    assert assets.prune_guests(shared) == [place.name]


def test_a_guest_that_a_running_machine_has_mounted_stays_until_that_machine_has_ended(shared, tmp_path):
    place = old_guest(shared, "0123456789abcdef")
    inside = tmp_path / "inside"
    inside.mkdir()
    mounts = f"mount --bind {place} {inside} && echo mounted && read line"
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounts]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
        assert machine.stdout.readline() == b"mounted\n"
        assert assets.prune_guests(shared) == []
        machine.communicate(b"\n")
    assert assets.prune_guests(shared) == [place.name]


def test_the_parent_that_others_cannot_enter_is_named(tmp_path):
    closed = tmp_path / "closed"
    (closed / "below").mkdir(parents=True)
    closed.chmod(0o700)
    assert assets.closed_parent(closed / "below" / "missing") == closed


def test_the_agent_loads_nothing_that_it_does_not_need(tmp_path):
    agent = assets.stage_guest(tmp_path / "shared")
    # without a HOME it ends once everything is loaded
    ended = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-X", "importtime", agent], env={}, capture_output=True, text=True, check=False
    )
    loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")}
    assert "KeyError: 'HOME'" in ended.stderr
    assert "antechamber.guest.agent" in loaded
    assert not {"site", "_ssl", "multiprocessing", "email", "http.client"} & loaded
