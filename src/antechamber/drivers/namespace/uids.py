"""Which host uid a machine runs as: one of its own wherever the host allows it.

Decided by /proc/self/uid_map and by trying, never by `geteuid() == 0`: in a namespace of one uid that is 0 and no other
uid can be had.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antechamber.drivers import locks
from antechamber.drivers.namespace import subordinate
from antechamber.drivers.namespace.subordinate import Subordinate
from antechamber.errors import Code, MachineError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRY_S: Final = 10


@dataclass(frozen=True, slots=True)
class Uids:
    """How machines get their uids here."""

    pool: range
    """Host uids that machines may take; empty where all share the service's account."""
    subordinate: Subordinate | None = None
    """Whose ranges they are, where they exist in a namespace of the machine's only."""
    why_shared: str = ""
    """Why the pool is empty, with the remedy."""


def decide(first: int, count: int, run_dir: Path) -> Uids:
    """Find out which uids machines can have, by trying: the configured ones, then subordinate ones, then none."""
    if os.geteuid() != 0:
        found = subordinate.find(run_dir)
        if isinstance(found, Subordinate):
            return Uids(found.pool(count), found)
        return Uids(range(0), why_shared=found)
    wanted = range(first, first + count)
    if not _mapped(wanted, Path("/proc/self/uid_map")) or not _mapped(wanted, Path("/proc/self/gid_map")):
        return Uids(range(0), why_shared=f"the uids {wanted[0]} to {wanted[-1]} do not exist in this user namespace: "
                    "set ANTECHAMBER_FIRST_MACHINE_UID to a free range that does")  # fmt: skip
    if not _can_become(first):
        return Uids(range(0), why_shared="this account may not start programs under other uids: run it as real root")
    return Uids(wanted)


def _mapped(wanted: range, table: Path) -> bool:
    for line in table.read_text().splitlines():
        inside, _, length = map(int, line.split())
        if inside <= wanted[0] and wanted[-1] < inside + length:
            return True
    return False


def _can_become(uid: int) -> bool:
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "true"]
    try:
        tried = subprocess.run(argv, capture_output=True, timeout=_TRY_S, check=False, cwd="/")
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0


class UidLocks:
    """Locks on host uids that hold across installations: one folder per host, outside every data directory.

    The first of the folders that can be used is the one; where machines share an account, none is ever looked at.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        """Name the folders; one is made when the first lock is taken."""
        own = os.geteuid()
        # root of a namespace cannot write the host's /run: which of them it is shows by trying only
        preferred = (Path("/run/antechamber-uids"),) if own == 0 else ()
        self._folders = tuple(folders) or (*preferred, Path(f"/tmp/antechamber-uids-{own}"))  # noqa: S108 - owner-checked

    def try_take(self, uid: int) -> int | None:
        """Take a uid; return the lock's descriptor, or None when another machine has it.

        Raises OperatorError when no folder for locks can be had.
        """
        return locks.take(self._folder(make=True) / str(uid))

    def take(self, uid: int) -> int:
        """Take a uid as `try_take` does; raises MachineError when another machine has it."""
        descriptor = self.try_take(uid)
        if descriptor is None:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=f"the host uid {uid} is another machine's")
        return descriptor

    def free(self, pool: range) -> Sequence[int]:
        """Return the uids of the pool that no machine of any installation on this host has now.

        Raises OperatorError when the folder of the locks is another account's.
        """
        if not pool:
            return pool
        folder = self._folder(make=False)
        if not folder.exists():
            return pool
        names = [path.name for path in folder.iterdir()]
        taken = {int(name) for name in names if name.isascii() and name.isdecimal() and locks.held(folder / name)}
        return [uid for uid in pool if uid not in taken] if taken else pool

    def forget(self, uid: int) -> None:
        """Remove the lock's file unless it is held; in another account's folder there is none of ours."""
        with contextlib.suppress(OperatorError):
            locks.remove(self._folder(make=False) / str(uid))

    def sweep(self, pool: range) -> None:
        """Remove the locks' files of the pool that nobody holds, as a service leaves that was killed taking one."""
        with contextlib.suppress(OperatorError):
            folder = self._folder(make=False)
            for uid in pool if folder.exists() else ():
                locks.remove(folder / str(uid))

    def path(self, uid: int) -> Path:
        """Return the file of a uid's lock; raises OperatorError as `free` does."""
        return self._folder(make=False) / str(uid)

    def _folder(self, *, make: bool) -> Path:
        """Return the first folder that is this account's or, when it may be made, can be; else the last one's error."""
        refused: OperatorError | None = None
        for folder in self._folders:
            try:
                if make:
                    folder.mkdir(mode=0o700, exist_ok=True)
                found = folder.lstat()
            except FileNotFoundError as error:
                if not make and os.access(folder.parent, os.W_OK):
                    return folder
                refused = _unusable(folder, error)
                continue
            except OSError as error:
                refused = _unusable(folder, error)
                continue
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                return folder
            refused = _anothers(folder, found.st_uid)
        assert refused is not None  # noqa: S101 - there is at least one folder
        raise refused


def _unusable(folder: Path, error: OSError) -> OperatorError:
    return OperatorError(
        Code.MISCONFIGURED,
        message=f"The folder {folder} for the locks on uids cannot be made: {error.strerror}.",
        next_step=f"Let uid {os.geteuid()} write {folder.parent}, or make {folder} as this account, with mode 0700.",
        detail=str(folder),
    )


def _anothers(folder: Path, owner: int) -> OperatorError:
    return OperatorError(
        Code.WRONG_OWNER,
        message=f"The folder {folder} for the locks on uids is not a folder of uid {os.geteuid()}: "
        f"it belongs to uid {owner}.",
        next_step=f"Remove {folder}, or run as uid {owner}.",
        detail=str(folder),
    )
