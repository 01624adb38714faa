"""Starts lives quickly: everything is imported once, and each service is a fork of that, from before it did anything.

`python -m tests.acceptance.crash.nursery`: reads an order a line, answers with the pid.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

import uvloop

from antechamber.store import migrate
from tests.acceptance.crash import life

IMPORTED = (uvloop, migrate)
"""What a service imports late."""


def main() -> None:
    """Fork a life for each order, until nobody gives any more."""
    # uvloop leaves its own ends of these three with whom it starts: the practice vendor, which outlives us, kept one
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # whoever is killed is reaped by the kernel
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = life.Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _begin(order)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _begin(order: life.Order) -> None:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        said = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(source, target)
        at = tuple(order.dies_at) if order.dies_at else None
        life.run(life.Order(order.words, order.log, order.settings, order.host, at, order.world))
    except BaseException:  # noqa: BLE001 - whatever it is, the child never goes on as the nursery
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
