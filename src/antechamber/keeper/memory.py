"""What a machine takes of the host's memory, by /proc: where no cgroup limits it, its keeper looks and ends it.

Counted is what nobody shares (anonymous pages, in memory or swapped out) and files in memory that have no name
(memfd_create), each once. Not counted: what lies in the machine's own file systems, which have sizes, and what can be
had in small pieces only (page tables, pipes, sockets), which the numbers of processes and files bound.
"""

from __future__ import annotations

import contextlib
import os
import time

TYPE_CHECKING = False  # typing itself would cost each machine 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 0.25
"""Seconds between two looks at what the host has left."""
ANYWAY_S = 5.0
"""Seconds after which the machine is looked at whatever the host has left."""
FALLEN_BYTES = 128 * 2**20
"""Less on the host than at the last look by so much: then somebody grows, and the machine is looked at now."""
_UNIT = 1024
_BLOCK = 512


class Watch:
    """Tells when a machine, whose processes all descend from this one, holds more than that many bytes."""

    def __init__(self, most: int, available: Callable[[], int] | None = None) -> None:
        """Begin; `available` tells what the host has left, in bytes."""
        self._most = most
        self._available = available or _available
        self._looked_at = 0.0
        self._left = 0

    def too_much(self) -> int:
        """Return how many bytes it holds where that is too much, else 0; cheap while the host's memory stays."""
        left, now = self._available(), time.monotonic()
        if left > self._left - FALLEN_BYTES and now - self._looked_at < ANYWAY_S:
            # slow growth must not move the mark along with it
            self._left = max(self._left, left)
            return 0
        self._left, self._looked_at = left, now
        # what children share with whoever forked them counts for each at first, and once where that would be too much
        for exactly in (False, True):
            if (held := of_all_below(os.getpid(), exactly=exactly)) <= self._most:
                return 0
        return held


def of_all_below(pid: int, *, exactly: bool = True) -> int:
    """Return the bytes that the descendants of a process hold; `exactly` takes a hundred times as long."""
    held = 0
    files: dict[tuple[int, int], int] = {}
    for process in _below(str(pid)):
        with contextlib.suppress(OSError):
            held += _exactly(process) if exactly else _own(process)
            files.update(_unnamed(process))
    return held + sum(files.values())


def _available() -> int:
    return _fields("/proc/meminfo").get("MemAvailable", 0)


def _own(process: str) -> int:
    fields = _fields(f"/proc/{process}/status")
    return fields.get("RssAnon", 0) + fields.get("VmSwap", 0)


def _exactly(process: str) -> int:
    try:
        fields = _fields(f"/proc/{process}/smaps_rollup")
    except PermissionError:
        return _own(process)
    return fields.get("Pss_Anon", 0) + fields.get("SwapPss", 0)


def _fields(path: str) -> dict[str, int]:
    """Return those fields of a file of the kernel's that are sizes, in bytes."""
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib would be the only import for it
        lines = file.read().decode(errors="replace").splitlines()
    split = (line.split() for line in lines)
    return {words[0].rstrip(":"): int(words[1]) * _UNIT for words in split if len(words) == 3 and words[2] == "kB"}


def _unnamed(process: str) -> list[tuple[tuple[int, int], int]]:
    """Return the files without a name that a process has open: which, and its bytes."""
    found = []
    for number in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
        path = f"/proc/{process}/fd/{number}"
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith("/memfd:"):  # noqa: PTH115
                status = os.stat(path)  # noqa: PTH116
                found.append(((status.st_dev, status.st_ino), status.st_blocks * _BLOCK))
    return found


def _below(pid: str) -> list[str]:
    children: dict[str, list[str]] = {}
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError), open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123
            # the name before it is in brackets, and may hold any
            parent = file.read().rpartition(b")")[2].split()[1].decode()
            children.setdefault(parent, []).append(process)
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for one in fresh for child in children.get(one, ())]
        found += fresh
    return found
