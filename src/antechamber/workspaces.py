"""Folders of the operator's in which runs may work: chosen by name below configured roots, read-only in a machine."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.ownership import others_may_write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AT: Final = "/workspace"
"""Where a workspace is in a machine."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHOWN: Final = 20
_ENTERED: Final = stat.S_IROTH | stat.S_IXOTH


class Workspaces:
    """The workspaces of each application."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        """Take every folder below an application's root for a workspace of its own users."""
        self._roots = roots

    def faults(self, ours: Iterable[Path]) -> list[str]:
        """Return what is wrong with the roots, a sentence each; `ours` are the service's own folders."""
        return [fault for root in self._roots.values() for fault in _faults(root, tuple(ours))]

    def names(self, application: str) -> list[str]:
        """Return an application's workspaces, in order."""
        root = self._roots.get(application)
        if root is None:
            return []
        try:
            with os.scandir(root) as entries:
                found = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return sorted(filter(_NAME.fullmatch, found))

    def folder(self, application: str, name: str) -> Path:
        """Return the folder of an application's workspace.

        Raises CallerError workspace_not_found where there is none of that name (a link is none), or none that machines
        may read; OperatorError misconfigured where others than the operator could put another folder in its place.
        """
        root = self._roots.get(application)
        found = _look(root / name) if root is not None and _NAME.fullmatch(name) else None
        if root is None or found is None or not stat.S_ISDIR(found.st_mode):
            raise self._not_found(application, name)
        if faults := others_may_write(root):
            raise OperatorError(Code.MISCONFIGURED, message=f"The workspaces cannot be trusted: {'; '.join(faults)}.")
        if found.st_mode & _ENTERED != _ENTERED:
            raise CallerError(
                Code.WORKSPACE_NOT_FOUND,
                message=f"Machines may not read the workspace {name}: they have accounts of their own.",
                next_step="Have the operator let others read it, as `chmod -R o+rX` does.",
            )
        return root / name

    def _not_found(self, application: str, name: str) -> CallerError:
        names = self.names(application)
        known = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        said = name if _NAME.fullmatch(name) else "of that name"
        return CallerError(
            Code.WORKSPACE_NOT_FOUND,
            message=f"There is no workspace {said}; there are {known}." if names else "There are no workspaces here.",
        )


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _faults(root: Path, ours: tuple[Path, ...]) -> list[str]:
    found = _look(root)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return [f"{root}: is no folder"]
    if Path(os.path.realpath(root)) != root:
        return [f"{root}: is reached by a link; name the folder itself"]
    faults = others_may_write(root)
    for parent in root.parents:
        status = parent.stat()
        if status.st_uid not in {0, os.geteuid()} or (
            # in a folder as /tmp is, nobody can put another in the place of what is not theirs
            status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        ):
            faults.append(f"{parent}: others could put another folder in the place of {root}")
        if not status.st_mode & stat.S_IXOTH:
            faults.append(f"{parent}: machines, which have accounts of their own, cannot enter it")
    if not found.st_mode & stat.S_IXOTH:
        faults.append(f"{root}: machines, which have accounts of their own, cannot enter it")
    for mine in ours:
        real = Path(os.path.realpath(mine))
        if real == root or root in real.parents or real in root.parents:
            faults.append(f"{root}: holds or lies in the service's own folder {mine}")
    return faults
