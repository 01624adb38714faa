"""What /proc says of processes' memory and time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.acceptance import processes

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[processes.Process]:
    """Return a process and all that descend from it."""
    top = processes.look(pid)
    return [*([top] if top else []), *processes.below(pid)]


def pss_mib(pids: Iterable[int]) -> float:
    """Return the proportional set size of these processes together, in MiB; one that has ended counts nothing."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cpu_s(pid: int) -> float:
    """Return the seconds of processor time of a process and its living descendants, and of those that it reaped."""
    return sum(_ticks(one.pid) for one in tree(pid)) / _TICKS


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(field) for field in fields[11:15])
