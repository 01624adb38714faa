"""What this computer has left for another machine: memory, processors, and how much work waits for them.

Read from /proc (proc(5)), from the cgroups that the service is in (version 2's `memory.max`, `memory.current` and
`cpu.max`; version 1's `memory.limit_in_bytes`), and from the kernel's pressure stall figures, where it has them. What
cannot be read does not count: no machine is kept from starting by a figure that there is not.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NO_LIMIT: Final = 2**60
"""cgroup v1 writes a number near 2**63 where there is no limit."""
_LOAD_OF_ONE: Final = 4.0
"""Load of one processor that stands for full pressure, on a kernel without pressure stall figures."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that there are, and those that a new program could have now without anything being pushed out."""

    total: int
    available: int


class Host:
    """This computer, as the service may use it."""

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        """Read below these folders."""
        self._proc = proc
        self._cgroups = cgroups

    def memory(self) -> Memory | None:
        """Return the least of what the kernel and each cgroup above the service leave; None where nothing is said."""
        fields = dict(line.split(":", 1) for line in _lines(self._proc / "meminfo") if ":" in line)
        found = []
        with contextlib.suppress(KeyError, ValueError, IndexError):
            found.append(Memory(_kib(fields["MemTotal"]), _kib(fields["MemAvailable"])))
        found += self._cgroup_memory()
        if not found:
            return None
        return Memory(min(one.total for one in found), min(one.available for one in found))

    def processors(self) -> int:
        """Return how many processors the service may use, rounded down, at least one."""
        count = float(len(os.sched_getaffinity(0)))
        for folder in self._folders(""):
            match _lines(folder / "cpu.max")[:1]:
                case [line] if len(words := line.split()) == 2 and words[0].isdecimal() and words[1].isdecimal():
                    count = min(count, int(words[0]) / max(1, int(words[1])))
                case _:
                    continue
        return max(1, int(count))

    def pressure(self) -> float:
        """Return in percent how much of the last ten seconds some program waited for a processor; 0 where unknown."""
        for line in _lines(self._proc / "pressure" / "cpu"):
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if line.startswith("some ") and "avg10" in words:
                return _number(words["avg10"])
        load = _number((_lines(self._proc / "loadavg") or ["0"])[0].split()[0])
        return min(100.0, 100.0 * load / (_LOAD_OF_ONE * self.processors()))

    def _cgroup_memory(self) -> list[Memory]:
        found = []
        for folder in self._folders(""):
            limit, used = _bytes(folder / "memory.max"), _bytes(folder / "memory.current")
            if limit is not None and used is not None:
                found.append(Memory(limit, max(0, limit - used + _reclaimable(folder, "inactive_file"))))
        for folder in self._folders("memory"):
            limit, used = _bytes(folder / "memory.limit_in_bytes"), _bytes(folder / "memory.usage_in_bytes")
            if limit is not None and used is not None and limit < _NO_LIMIT:
                found.append(Memory(limit, max(0, limit - used + _reclaimable(folder, "total_inactive_file"))))
        return found

    def _folders(self, controller: str) -> list[Path]:
        """Return the service's cgroup of that controller ("": version 2) and those above it, as far as we see them."""
        for line in _lines(self._proc / "self" / "cgroup"):
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if controller not in controllers.split(","):
                continue
            root = self._cgroups / controller if controller else self._cgroups
            if not controller and (self._cgroups / "unified").is_dir():
                root = self._cgroups / "unified"
            here = root / path.strip("/")
            return [here, *(folder for folder in here.parents if folder.is_relative_to(root))]
        return []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []


def _bytes(path: Path) -> int | None:
    said = (_lines(path) or [""])[0].strip()
    return int(said) if said.isdecimal() else None


def _kib(said: str) -> int:
    return int(said.split(maxsplit=1)[0]) * 1024


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        return 0.0


def _reclaimable(folder: Path, name: str) -> int:
    """Return the bytes of files that the kernel lets go of first; `memory.current` counts them as used."""
    for line in _lines(folder / "memory.stat"):
        word, _, said = line.partition(" ")
        if word == name and said.isdecimal():
            return int(said)
    return 0
