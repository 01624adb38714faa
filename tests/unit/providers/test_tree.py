"""Installed folders: any byte that was not there when they were written down is found."""

from __future__ import annotations

import os

import pytest

from antechamber.providers import tree

LABEL = {"provider": "example", "version": "1.0.0", "lock": "00"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "tool"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "program").write_bytes(b"\x7fELF" * 1000)
    (root / "bin" / "program").chmod(0o755)
    (root / "read me").write_text("hello")
    (root / "none").write_text("")
    tree.settle(root)
    tree.write_down(root, LABEL)
    return root


def test_an_untouched_folder_is_what_was_written_down(folder):
    found = tree.compare(folder, LABEL)
    assert set(found.files) == {"bin/program", "read me", "none"}
    assert found.sha256 == tree.compare(folder, LABEL).sha256


@pytest.mark.parametrize(
    "alter",
    [
        lambda root: (root / "bin" / "program").write_bytes(b"\x7fELE" + b"\x7fELF" * 999),
        lambda root: (root / "read me").write_text("hello!"),
        lambda root: (root / "read me").unlink(),
        lambda root: (root / "more").write_text(""),
        lambda root: (root / "link").symlink_to("/etc/passwd"),
        lambda root: os.mkfifo(root / "pipe"),
        lambda root: (root / "read me").chmod(0o666),
        lambda root: (root / "bin").chmod(0o777),
        lambda root: (root / "bin" / "program").chmod(0o4755),
        lambda root: (root / tree.MANIFEST).unlink(),
        lambda root: (root / tree.MANIFEST).write_text("{}"),
        lambda root: (root / tree.MANIFEST).write_text('{"label": {}, "files": {"read me": 5}}'),
    ],
)
def test_every_alteration_is_found(folder, alter):
    alter(folder)
    with pytest.raises(tree.TreeError):
        tree.compare(folder, LABEL)


def test_a_folder_of_another_version_is_not_taken_for_this_one(folder):
    with pytest.raises(tree.TreeError, match="another version"):
        tree.compare(folder, LABEL | {"version": "1.0.1"})


def test_settling_gives_everybody_the_right_to_read_and_nobody_to_write(tmp_path):
    root = tmp_path / "tool"
    root.mkdir(mode=0o700)
    for name, before in (("program", 0o700), ("text", 0o600), ("open", 0o666)):
        (root / name).write_text(name)
        (root / name).chmod(before)
    tree.settle(root)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (root, *root.iterdir())}
    assert modes == {"tool": 0o755, "program": 0o755, "text": 0o644, "open": 0o644}


def test_the_size_counts_every_file(folder):
    assert tree.size(folder) == 4000 + 5 + (folder / tree.MANIFEST).stat().st_size
