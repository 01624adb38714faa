"""`make test-clean`: build clean rooms, do in each what the README tells a newcomer to do, and say what was found.

A room is a bare Debian 12 with `git` and `make`, as README.md asks for, and `sudo`. It is entered by pivot_root, since
the kernel forbids user namespaces after a chroot, and ends with its processes, mounts and files. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scripts.clean_room import base, client_settings
from scripts.clean_room.room import ACCOUNTS, STEPS, Room

if TYPE_CHECKING:
    from types import FrameType

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / "test-results" / "clean-room"


def main() -> int:
    """Return 0 when every step held in every room."""
    parser = argparse.ArgumentParser(prog="make test-clean", description=__doc__)
    parser.add_argument("accounts", nargs="*", choices=[*ACCOUNTS, []], help="who sets it up; default both")
    parser.add_argument("--tiers", default="", help="the test tiers to run; default all")
    parser.add_argument("--steps", default=" ".join(STEPS), help=f"which of: {' '.join(STEPS)}")
    asked = parser.parse_args()
    steps = asked.steps.split()
    if unknown := sorted(set(steps) - set(STEPS)):
        parser.error(f"no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}")
    if os.geteuid() != 0:
        print(
            "The clean room mounts a Debian of its own, and needs root for that: sudo make test-clean", file=sys.stderr
        )
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    begun = time.monotonic()
    settings = client_settings.of_this_computer()
    try:
        tarball = base.tarball(settings)
    except base.NoBase as error:
        print(error, file=sys.stderr)
        return 2
    print(f"clean room: {tarball} after {time.monotonic() - begun:.0f} s", flush=True)
    held = True
    lines: list[str] = []
    for account in asked.accounts or ACCOUNTS:
        with Room(account, tarball, settings, base.archives()) as room:
            ended = room.work(ROOT, steps, asked.tiers)
            results = room.results()
            shutil.rmtree(KEPT / account, ignore_errors=True)
            room.keep(KEPT / account)
        held = held and ended == 0 and {result.step for result in results} >= set(steps)
        lines += [f"  {account:<5} {one.step:<9} {one.seconds:6d} s  {one.verdict}" for one in results]
        if ended != 0:
            lines.append(f"  {account:<5} ended with {ended}")
    print(f"\nWhat the clean rooms found, in {time.monotonic() - begun:.0f} s:")
    print("\n".join(lines))
    print("clean room: " + ("all of it held" if held else "NOT all of it held"))
    return 0 if held else 1


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
