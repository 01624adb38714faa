"""Subordinate uids: what /etc/subuid gives an ordinary account to run machines under.

They exist only in a user namespace that newuidmap has filled; the account itself is not mapped there, so that a machine
keeps none of its supplementary groups either.
"""

from __future__ import annotations

import os
import pwd
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TRY_S: Final = 10
_REMEDY: Final = "usermod --add-subuids 200000-265535 --add-subgids 200000-265535 ACCOUNT"
_ACL: Final = "system.posix_acl_access"
# include/uapi/linux/posix_acl_xattr.h: a version, then tag, permissions and id of each entry
_ACL_VERSION: Final = struct.Struct("<I")
_ACL_ENTRY: Final = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID: Final = 0xFFFF_FFFF
_READ_WRITE: Final = 6


@dataclass(frozen=True, slots=True)
class Subordinate:
    """The account's ranges of host ids."""

    uids: tuple[int, int]
    """First and count."""
    gids: tuple[int, int]

    def pool(self, count: int) -> range:
        """Return the host uids that machines may take; the first stays free, it is root in the namespace."""
        first, length = self.uids
        return range(first + 1, first + min(count + 1, length, self.gids[1]))

    def inner(self, host_uid: int) -> int:
        """Return what a host uid is called in the namespace."""
        return host_uid - self.uids[0]


def find(run_dir: Path) -> Subordinate | str:
    """Return the account's ranges when a program can really be run under one and reach `run_dir`; else why not."""
    uids, gids = _range(Path("/etc/subuid")), _range(Path("/etc/subgid"))
    if uids is None or gids is None:
        return f"this account has no lines in /etc/subuid and /etc/subgid: {_REMEDY}"
    if not all(os.access(f"/usr/bin/{name}", os.X_OK) for name in ("newuidmap", "newgidmap")):
        return "newuidmap is missing: apt-get install uidmap"
    closed = [folder for folder in (run_dir, *run_dir.parents)[1:] if not folder.stat().st_mode & stat.S_IXOTH]
    if closed:
        return f"other uids cannot enter {closed[0]}: set ANTECHAMBER_RUN_DIR to a folder whose parents they can"
    argv = [
        "unshare",
        "--user",
        "--map-root-user",
        "--map-auto",
        "setpriv",
        "--reuid=10",
        "--regid=10",
        "--keep-groups",
        "true",
    ]
    try:
        tried = subprocess.run(argv, capture_output=True, text=True, timeout=_TRY_S, check=False, cwd="/")
    except (OSError, subprocess.SubprocessError) as error:
        return f"subordinate uids cannot be used: {error}"
    if tried.returncode != 0:
        return f"subordinate uids cannot be used: {tried.stderr.strip()}"
    return Subordinate(uids, gids)


def let_use(path: Path, uid: int) -> None:
    """Let that host uid read and write a socket that it cannot own, because only root gives files away."""
    entries = (
        (_USER_OBJ, _READ_WRITE, _NO_ID),
        (_USER, _READ_WRITE, uid),
        (_GROUP_OBJ, 0, _NO_ID),
        (_MASK, _READ_WRITE, _NO_ID),
        (_OTHER, 0, _NO_ID),
    )
    os.setxattr(path, _ACL, _ACL_VERSION.pack(2) + b"".join(_ACL_ENTRY.pack(*entry) for entry in entries))


def _range(table: Path) -> tuple[int, int] | None:
    try:
        lines = table.read_text().splitlines()
        names = {str(os.getuid()), pwd.getpwuid(os.getuid()).pw_name}
    except (OSError, KeyError):
        return None
    for line in lines:
        name, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if name in names and _number(first) and _number(count) and int(count) > 1:
            return int(first), int(count)
    return None


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
