"""A small disk of a test's own: a tmpfs in a mount namespace that only the test's own process has.

A mount namespace is one of a whole process, so what needs such a disk is a file of tests that pytest does not collect,
and a test runs it in there: as root by one unshare, as a user in a user namespace, where the user is root.
"""

from __future__ import annotations

import gc
import os
import shlex
import subprocess
import sys
from pathlib import Path

AT = "ANTECHAMBER_TESTS_SMALL_DISK"
"""Names the disk's folder, in the namespace."""


def run_there(folder: Path, file: Path, *, size: str, timeout_s: float = 300) -> str:
    """Run a file of tests where `folder` is such a disk; return what pytest said, AssertionError if it failed."""
    folder.mkdir()
    inner = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", os.fspath(file)]
    mount = f"mount -t tmpfs -o size={size},mode=0700 tmpfs {shlex.quote(os.fspath(folder))}"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    ran = subprocess.run(
        ["unshare", *user, "--mount", "--propagation", "private", "sh", "-c", f"{mount} && exec {shlex.join(inner)}"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, AT: os.fspath(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def read_only(folder: Path, *, on: bool) -> None:
    """Make the disk read-only, or writable again; nobody may have a file of it open for writing."""
    # the error of a test that is over can be in a cycle with its traceback: SQLite keeps a closed connection's file
    # open for as long as that holds a cursor
    gc.collect()
    subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", os.fspath(folder)], check=True)


class Filler:
    """What takes all the room that is left on a disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "filler"

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self._path.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Give the room back."""
        self._path.unlink()
