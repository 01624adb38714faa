"""`make soak`: the stateful tests for a long time, on both databases, each run of steps from a seed that is printed.

It stops by itself: after so many steps, or at the first thing that does not hold, with the steps that lead to it.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from antechamber import log
from antechamber.store import file_url
from tests.contract.races.machine import Bench, drive
from tests.postgres import Server, programs

RUNS = 25
"""Runs from one seed: what is found is found again from that many."""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--steps", type=int, default=100_000, help="of both databases together")
    asked.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**9), help="of the first runs; each next is one more"
    )
    asked.add_argument("databases", nargs="*", default=["sqlite", "postgres"])
    given = asked.parse_args()
    log.configure("ERROR")
    for database in given.databases:
        soak(database, given.steps // len(given.databases), given.seed)
    return 0


def soak(database: str, steps: int, first: int) -> None:
    """Take at least so many steps on that database."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="antechamber-soak-") as folder:
        numbers = count(1)
        folder_of_programs = programs()
        if database == "sqlite":
            server = None
            bench = Bench(lambda: file_url(Path(folder) / f"{next(numbers)}.db"))
        else:
            if folder_of_programs is None:
                sys.exit("PostgreSQL's programs are not installed; `make test` installs them")
            server = Server(folder_of_programs)
            bench = Bench(lambda: server.url(server.create()))
        number = first
        try:
            while bench.steps.total() < steps:
                drive(bench, number=number, runs=RUNS, shrink=True)
                number += 1
                print(
                    f"{database}: {bench.steps.total()} of {steps} steps in {time.monotonic() - begun:.0f} s,"
                    f" seeds {first} to {number - 1}",
                    flush=True,
                )
        except BaseException:
            print(f"{database}: seed {number}: does not hold", flush=True)
            raise
        finally:
            bench.close()
            if server is not None:
                server.close()
            print(f"{database}: seeds {first} to {number}: {bench.said()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
