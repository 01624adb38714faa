"""The bare Debian 12 that every room begins as: made by mmdebstrap, kept for a day."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from scripts.clean_room.client_settings import ClientSettings

CACHE: Final = Path("/var/cache/antechamber-clean-room")
PACKAGES: Final = ("git", "make", "sudo")
"""Beside what every Debian has: what the README asks for first, and what an account without root needs for packages."""


class NoBase(Exception):  # noqa: N818 - reads as what it says
    """No Debian 12 can be made here; the text says why and what to do."""


def tarball(settings: ClientSettings) -> Path:
    """Return today's bare Debian as a tar file, made when there is none yet; raises NoBase."""
    if not settings.sources:
        raise NoBase(
            "No source of apt on this computer has Debian 12 (bookworm), so no clean room can be built.\n"
            "Name one in /etc/apt/sources.list.d, for example the line that a Debian 12 has there."
        )
    asked = hashlib.sha256("\n".join([*PACKAGES, settings.sources]).encode()).hexdigest()[:12]
    target = CACHE / f"bookworm-{datetime.now(UTC):%Y-%m-%d}-{asked}.tar"
    if target.exists():
        return target
    _need_mmdebstrap()
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob("bookworm-*.tar"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        sources, made = Path(scratch) / "debian.sources", Path(scratch) / "made.tar"
        sources.write_text(settings.sources)
        options = [f"--aptopt={line.rstrip(';')}" for line in settings.apt.splitlines()]
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        if subprocess.run([*command, *options, "bookworm", made, sources], check=False).returncode != 0:
            raise NoBase("mmdebstrap could not build a Debian 12; its words are above.")
        made.rename(target)
    return target


def archives() -> Path:
    """Return the folder in which the rooms' apt keeps what it has downloaded, for the next room."""
    folder = CACHE / "archives"
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    return folder


def _need_mmdebstrap() -> None:
    if shutil.which("mmdebstrap"):
        return
    print("clean room: installing mmdebstrap", file=sys.stderr, flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "mmdebstrap"]):
        if subprocess.run(["apt-get", *arguments], env=quiet, check=False).returncode != 0:
            raise NoBase("mmdebstrap is missing and apt-get could not install it; its words are above.")
