"""File locks that outlive the process that took them, because a keeper goes on holding them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

_TRIES: Final = 5
_TRY_S: Final = 0.01


def take(path: Path) -> int | None:
    """Take the lock of that file, made when missing; return its descriptor, or None when another holds it.

    Whoever probes a lock holds it for an instant, so one refusal is not believed.
    """
    for attempt in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if attempt < _TRIES - 1:
                time.sleep(_TRY_S)
            continue
        # the file may have been removed between open and lock: then the lock is one of nothing
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)
    return None


def held(path: Path) -> bool:
    """Tell whether some living process holds the lock; False for a missing file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(path: Path) -> None:
    """Remove the lock's file unless somebody holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                path.unlink()
    except FileNotFoundError:
        pass
    finally:
        os.close(descriptor)
