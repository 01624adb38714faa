"""Reads a watched file and says whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antechamber.guest.protocol import FileState

if TYPE_CHECKING:
    from pathlib import Path

    from antechamber.guest.job import Seed, Watched
    from antechamber.guest.layout import Layout


@dataclass(frozen=True)
class WholeFile:
    """A file that has everything that it must have; its repr does not show the content."""

    content: bytes
    mtime_ns: int
    mode: int

    def __repr__(self) -> str:
        return f"WholeFile({len(self.content)} bytes)"

    @property
    def digest(self) -> bytes:
        """What tells this content from another."""
        return hashlib.sha256(self.content).digest()


def look(path: Path, watched: Watched, *, since_ns: int) -> WholeFile | FileState:
    """Return the file when it is whole, else what it is instead.

    Never follows a symlink or waits on a pipe: whatever the CLI put there, the answer comes at once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return FileState.NONE
    except OSError:
        return FileState.NOT_A_FILE if path.is_symlink() or path.is_socket() else FileState.UNREADABLE
    try:
        status = os.fstat(descriptor)
        fault = _fault(status, watched, since_ns)
        if fault is not None:
            return fault
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(watched.max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > watched.max_bytes:
        return FileState.TOO_LARGE
    if not _complete(content, watched):
        return FileState.INCOMPLETE
    return WholeFile(content, status.st_mtime_ns, stat.S_IMODE(status.st_mode))


def _fault(status: os.stat_result, watched: Watched, since_ns: int) -> FileState | None:
    """Return what the file is instead of a fresh file of ours."""
    if not stat.S_ISREG(status.st_mode):
        return FileState.NOT_A_FILE
    if status.st_uid != os.geteuid():
        return FileState.UNREADABLE
    if status.st_size > watched.max_bytes:
        return FileState.TOO_LARGE
    return FileState.STALE if status.st_mtime_ns < since_ns else None


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


def now_ns(folder: Path) -> int:
    """Return the time as that folder's file system stamps it; the kernel's file clock lags behind the real one."""
    stamp = folder / ".stamp"
    descriptor = os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
        stamp.unlink()


def plant(layout: Layout, seeds: tuple[Seed, ...]) -> None:
    """Write the files that the CLI finds at its start."""
    for seed in seeds:
        path = layout.in_home(seed.path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), seed.mode & 0o777)
            file.write(seed.content)
