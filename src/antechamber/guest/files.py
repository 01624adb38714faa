"""Reads a watched file and says whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antechamber.guest.protocol import LATEST_NS, FileState

if TYPE_CHECKING:
    from pathlib import Path

    from antechamber.guest.job import Seed, Watched
    from antechamber.guest.layout import Layout


@dataclass(frozen=True)
class WholeFile:
    """A file that was read to its end; its repr does not show the content."""

    content: bytes
    mtime_ns: int
    """What the CLI, or the machine's clock, says; brought within what a report can carry."""
    mode: int

    def __repr__(self) -> str:
        return f"WholeFile({len(self.content)} bytes)"

    @property
    def digest(self) -> bytes:
        """What tells this content from another."""
        return hashlib.sha256(self.content).digest()


def look(path: Path, watched: Watched, *, before: bytes | None = None) -> WholeFile | FileState:
    """Return the file when it is whole, else what it is instead.

    `before` is the digest of what was there before the CLI's start: with that content it is `STALE`. No time of day
    says so, as a clock may have gone forward and back again, and a CLI can give a file whatever time it likes.
    Never follows a symlink or waits on a pipe: whatever the CLI put there, the answer comes at once.
    """
    found = _read(path, watched)
    if isinstance(found, FileState):
        return found
    if found.digest == before:
        return FileState.STALE
    return found if _complete(found.content, watched) else FileState.INCOMPLETE


def digest(path: Path, watched: Watched) -> bytes | None:
    """Return the digest of what is there now, whole or not; None where no file is that could ever be whole."""
    found = _read(path, watched)
    return None if isinstance(found, FileState) else found.digest


def _read(path: Path, watched: Watched) -> WholeFile | FileState:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return FileState.NONE
    except OSError:
        return FileState.NOT_A_FILE if path.is_symlink() or path.is_socket() else FileState.UNREADABLE
    try:
        status = os.fstat(descriptor)
        fault = _fault(status, watched)
        if fault is not None:
            return fault
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(watched.max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > watched.max_bytes:
        return FileState.TOO_LARGE
    return WholeFile(content, min(max(status.st_mtime_ns, 0), LATEST_NS), stat.S_IMODE(status.st_mode))


def _fault(status: os.stat_result, watched: Watched) -> FileState | None:
    """Return what the file is instead of a file of ours."""
    if not stat.S_ISREG(status.st_mode):
        return FileState.NOT_A_FILE
    if status.st_uid != os.geteuid():
        return FileState.UNREADABLE
    if status.st_size > watched.max_bytes:
        return FileState.TOO_LARGE
    return None


def _complete(content: bytes, watched: Watched) -> bool:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(has(value, path) for path in watched.required)


def has(value: Any, path: tuple[str, ...]) -> bool:
    """Tell whether a JSON value has something at that path that is neither null nor empty text."""
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return value is not None and value != ""


def plant(layout: Layout, seeds: tuple[Seed, ...]) -> None:
    """Write the files that the CLI finds at its start."""
    for seed in seeds:
        path = layout.in_home(seed.path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), seed.mode & 0o777)
            file.write(seed.content)


def empty(folder: Path) -> None:
    """Remove all that is in a folder, as far as it can be."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
