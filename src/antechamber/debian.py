"""The packages of Debian that Antechamber needs: which of them are missing, and the commands that bring them.

`debian-packages.txt` beside this file is the one list; `scripts/system-packages` reads it too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST: Final = Path(__file__).with_name("debian-packages.txt")
_QUIET: Final = ("env", "DEBIAN_FRONTEND=noninteractive")
_INSTALL: Final = ("apt-get", "install", "--yes", "--no-install-recommends")


def packages() -> tuple[str, ...]:
    """Return the names of all of them."""
    lines = (line.partition("#")[0].strip() for line in LIST.read_text().splitlines())
    return tuple(line for line in lines if line)


def missing() -> tuple[str, ...]:
    """Return those that are not installed here; raises OperatorError (misconfigured) where there is no dpkg."""
    if not (shutil.which("dpkg-query") and shutil.which("apt-get")):
        raise OperatorError(
            Code.MISCONFIGURED,
            message="This computer has no dpkg and apt-get: only Debian's packages can be installed from here.",
            next_step=f"Install what corresponds to these by your system's own means: {' '.join(packages())}.",
        )
    asked = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${binary:Package}\n", *packages()]
    # it also knows packages that were removed, so the status word decides; it ends with 1 when it does not know one
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    rows = (line.partition(" ") for line in said.splitlines())
    installed = {name.partition(":")[0] for status, _, name in rows if status == "installed"}
    return tuple(name for name in packages() if name not in installed)


def command(names: Sequence[str]) -> str:
    """Return the line that installs these, as this account would type it."""
    return shlex.join([*_as_root(), *_INSTALL, *names])


def install(names: Sequence[str]) -> None:
    """Have apt-get install these, its words on this program's own output.

    Raises OperatorError (misconfigured) when it cannot: this account is not root and has no sudo, or apt-get ended with
    another code than 0.
    """
    if os.geteuid() != 0 and not shutil.which("sudo"):
        raise OperatorError(
            Code.MISCONFIGURED,
            message="Only root may install packages, and there is no sudo here.",
            next_step=f"As root: {shlex.join([*_INSTALL, *names])}",
        )
    for line in (("apt-get", "update", "-qq"), (*_INSTALL, "-qq", *names)):
        ended = subprocess.run([*_as_root(), *_QUIET, *line], stdin=subprocess.DEVNULL, check=False).returncode
        if ended != 0:
            raise OperatorError(
                Code.MISCONFIGURED,
                message=f"{shlex.join(line[:2])} ended with code {ended}.",
                next_step=f"See its words above, then run: {command(names)}",
            )


def _as_root() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("sudo",)
