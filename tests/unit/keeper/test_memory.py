"""What a machine's processes hold is counted: their own pages and files without a name, each once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from antechamber.keeper import memory

MIB = 2**20
SIZE = 64 * MIB
SMALL = 24 * MIB
"""More than Python itself takes."""
PAGES = f"kept = b'x' * {SIZE}"
UNNAMED = f"kept = os.memfd_create('held'); os.posix_fallocate(kept, 0, {SIZE})"


@pytest.fixture
def holder():
    """Have children that hold something, until the test ends."""
    children = []

    def holds(script, *keep):
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", f"import mmap, os, sys; {script}; print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=keep,
        )
        children.append(child)
        child.stdout.readline()

    yield holds
    for child in children:
        child.communicate()


def held():
    return memory.of_all_below(os.getpid())


@pytest.mark.parametrize("script", [PAGES, UNNAMED])
def test_what_a_child_takes_is_counted(holder, script):
    before = held()
    holder(script)
    assert SIZE <= held() - before < SIZE + SMALL


def test_an_unnamed_file_that_several_have_open_counts_once(holder):
    file = os.memfd_create("held")
    try:
        os.posix_fallocate(file, 0, SIZE)
        before = held()
        holder("pass", file)
        holder("pass", file)
        assert SIZE <= held() - before < SIZE + 2 * SMALL
    finally:
        os.close(file)


def test_what_is_mapped_of_a_file_that_has_a_name_is_not_counted(holder, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * SIZE)
    before = held()
    mapped = "kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); sum(kept[i] for i in range(0, len(kept), 4096))"
    holder(f"file = open({str(path)!r}, 'rb'); {mapped}")
    assert held() - before < SMALL


def test_what_a_childs_child_takes_is_counted_too(holder):
    before = held()
    inner = f"{PAGES}; print(flush=True); import sys; sys.stdin.read()"
    started = f"subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=-1)"
    holder(f"import subprocess; inner = {started}; inner.stdout.readline()")
    assert SIZE <= held() - before < SIZE + 2 * SMALL


def test_what_forked_children_share_counts_once(holder):
    before = held()
    holder(f"{PAGES}; any(os.fork() == 0 for _ in range(4)) and sys.exit(sys.stdin.read())")
    assert SIZE <= held() - before < SIZE + 4 * SMALL
    assert memory.of_all_below(os.getpid(), exactly=False) > 4 * SIZE
    watch = memory.Watch(before + 3 * SIZE)
    assert watch.too_much() == 0


def test_a_watch_looks_again_as_soon_as_the_host_has_clearly_less(holder):
    left = 10 * memory.FALLEN_BYTES
    watch = memory.Watch(SIZE, lambda: left)
    assert watch.too_much() == 0
    holder(PAGES)
    left -= memory.FALLEN_BYTES // 2
    assert watch.too_much() == 0, "it has not looked"
    left -= memory.FALLEN_BYTES // 2
    assert watch.too_much() >= SIZE, "small steps add up"
