"""`python -m antechamber.testing.standin --socket-dir DIR`: run the stand-in vendor until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from antechamber import log
from antechamber.testing.standin.server import AlreadyServedError, serve

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run; 0 after an ordinary end, 3 when another stand-in serves the folder already."""
    parser = argparse.ArgumentParser(prog="python -m antechamber.testing.standin", description=__doc__)
    parser.add_argument("--socket-dir", type=Path, required=True, help="folder of the sockets, 0700")
    parser.add_argument("--idle-s", type=float, default=0, help="end after so many seconds without a request; 0: never")
    parser.add_argument("--detach", action="store_true", help="go on in the background once all sockets listen")
    asked = parser.parse_args()
    log.configure("WARNING")
    os.umask(0o077)
    asked.socket_dir.mkdir(mode=0o700, exist_ok=True)
    ready = _detached() if asked.detach else _nothing
    try:
        asyncio.run(serve(asked.socket_dir, idle_s=asked.idle_s, ready=ready))
    except AlreadyServedError:
        sys.stderr.write(f"another stand-in serves {asked.socket_dir}\n")
        return 3
    return 0


def _nothing() -> None:
    """Tell nobody."""


def _detached() -> Callable[[], None]:
    """Go on in a child with a session of its own; the parent ends when the child is ready or has ended."""
    told, ready = os.pipe()
    if os.fork():
        os.close(ready)
        came = os.read(told, 1)
        os._exit(0 if came else 1)
    os.close(told)
    os.setsid()

    def tell() -> None:
        os.write(ready, b"1")
        os.close(ready)

    return tell


if __name__ == "__main__":
    sys.exit(main())
