#!/usr/bin/env python3
"""Put what the pages take from npm into src/antechamber/web/static/vendor, with its licences.

Standard library only, so that make can run it before anything else is set up. `npm ci` checks each package against the
integrity hash in package-lock.json and runs no script of a package. A second run with the same lock file does nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
VENDOR: Final = HERE.parent / "src" / "antechamber" / "web" / "static" / "vendor"
TAKEN: Final = {
    "novnc": (
        "@novnc/novnc",
        ("core", "vendor", "AUTHORS", "LICENSE.txt", "docs/LICENSE.MPL-2.0", "docs/LICENSE.BSD-3-Clause"),
    ),
    "xterm": ("@xterm/xterm", ("lib/xterm.mjs", "css/xterm.css", "LICENSE")),
}
"""By folder: the package, its files and folders that the pages load, and the licences that cover them."""
STAMP: Final = "LOCK-SHA256"


def npm() -> str:
    """Return the npm to call: the one beside this Python when there is one, else the one on PATH."""
    beside = Path(sys.executable).parent / "npm"
    found = str(beside) if beside.exists() else shutil.which("npm")
    if not found:
        sys.exit("vendor.py: no npm found; run it with the project's own Python (make does)")
    return found


def lock_hash() -> str:
    """Return what the copy follows from: the lock file and this program."""
    return hashlib.sha256((HERE / "package-lock.json").read_bytes() + Path(__file__).read_bytes()).hexdigest()


def whole() -> bool:
    """Say whether what this lock file names is in its place already."""
    stamps = [VENDOR / folder / STAMP for folder in TAKEN]
    return all(stamp.exists() and stamp.read_text() == lock_hash() for stamp in stamps)


def main() -> None:
    """Install by the lock file and copy; leaves the old copy in place until the new one is whole."""
    if whole():
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    subprocess.run(command, cwd=HERE, check=True, env={**os.environ, "PATH": path})
    for folder, (package, taken) in TAKEN.items():
        copy(HERE / "node_modules" / package, taken, VENDOR / folder)


def copy(package: Path, taken: tuple[str, ...], target: Path) -> None:
    """Copy these files and folders of a package to where the pages find them."""
    fresh = target.with_name(f".{target.name}-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in taken:
        source, place = package / name, fresh / Path(name).name
        if source.is_dir():
            shutil.copytree(source, place)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    (fresh / STAMP).write_text(lock_hash())
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError:
        sys.exit(
            "vendor.py: npm, whose words are above, did not bring what the pages need.\n"
            "  Is the network there? npm does not look at the system's certificates: where a proxy opens TLS, set\n"
            "  NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt. Then run the same command again."
        )
