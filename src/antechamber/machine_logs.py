"""What failed machines and their keepers printed, kept for a while: one file each in the data directory, 0600.

Every line is cleaned and redacted as anything from a guest is (`GuestText`) before it is written. Kept are so many days
and so many bytes in all, the newest; and nothing of a machine that the database knows no more.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from antechamber.model import GuestText, IdPrefix, is_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from pathlib import Path

MOST_LINES: Final = 2000
"""Lines of each source that are kept, the last ones."""

_END: Final = ".log"


class MachineLogs:
    """The logs of one data directory."""

    def __init__(self, folder: Path, *, kept: timedelta, most: int) -> None:
        """Keep them in that folder, made when it is needed; `most` are the bytes of all of them."""
        self._folder = folder
        self._kept = kept
        self._most = most

    def path(self, machine_id: str) -> Path:
        """Return where a machine's log lies, or would."""
        return self._folder / f"{machine_id}{_END}"

    def keep(self, machine_id: str, printed: Mapping[str, str]) -> bool:
        """Write what a machine printed, by whose it is; tell whether there was anything. OSError when it cannot be."""
        lines = [
            f"{source}: {line}"
            for source, text in printed.items()
            for line in map(GuestText, text.splitlines()[-MOST_LINES:])
            if line
        ]
        if not lines:
            return False
        self._folder.mkdir(mode=0o700, exist_ok=True)
        staged = self._folder / f".{machine_id}"
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as made:
            made.write("\n".join(lines) + "\n")
        staged.replace(self.path(machine_id))
        return True

    def read(self, machine_id: str) -> list[str]:
        """Return the lines of a machine's log; none where it has none."""
        with suppress(FileNotFoundError):
            return self.path(machine_id).read_text(encoding="utf-8").splitlines()
        return []

    def ids(self) -> list[str]:
        """Return the machines that have one, the oldest log first."""
        if not self._folder.is_dir():
            return []
        found = [path for path in self._folder.glob(f"*{_END}") if is_id(path.stem, IdPrefix.MACHINE)]
        return [path.stem for path in sorted(found, key=lambda path: path.stat().st_mtime)]

    def forget(self, machine_id: str) -> None:
        """Remove a machine's log."""
        self.path(machine_id).unlink(missing_ok=True)

    def prune(self, at: datetime) -> int:
        """Remove what is past its time at that moment, and the oldest until the rest is small enough; say how many."""
        gone, sizes = 0, {}
        for machine_id in self.ids():
            found = self.path(machine_id).stat()
            if datetime.fromtimestamp(found.st_mtime, UTC) <= at - self._kept:
                self.forget(machine_id)
                gone += 1
            else:
                sizes[machine_id] = found.st_size
        total = sum(sizes.values())
        for machine_id, size in sizes.items():
            if total <= self._most:
                break
            self.forget(machine_id)
            total -= size
            gone += 1
        return gone
