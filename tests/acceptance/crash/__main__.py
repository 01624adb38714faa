"""`make chaos`: two thousand kills in campaigns of a hundred, each with a seed of its own, on both databases.

    python -m tests.acceptance.crash [--kills 2000] [--seed N]

It needs no network and makes none; it ends by itself, with 1 and the seed at the first campaign with a fault, whose
folder is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time

from antechamber import log
from antechamber.store import Store
from tests.acceptance.crash.campaign import Campaign
from tests.acceptance.crash.scripted import campaign
from tests.postgres import Server, programs

OF_ONE = 100
SHORT_EVERY = 5
LONGEST_S = 3 * 3600


async def fight(kills: int, seed: int, server: Server | None) -> int:
    """Run campaigns until there were so many kills; return 1 when something was wrong."""
    done, begun = 0, time.monotonic()
    say(f"seed {seed}; {'SQLite and PostgreSQL' if server else 'SQLite alone: no PostgreSQL is installed'}")
    while done < kills:
        if time.monotonic() - begun > LONGEST_S:
            say(f"stopped after {LONGEST_S} s and {done} kills")
            return 1
        short = seed % SHORT_EVERY == 0
        urls = [None, *([await _fresh(server)] if server else [])]
        fights = await asyncio.gather(*(campaign(url, seed, min(OF_ONE, kills), short=short) for url in urls))
        done += sum(one.report.kills.total() for one in fights)
        for one in fights:
            say(f"{time.monotonic() - begun:6.0f} s, {done} kills; {one.report}")
        if any(one.faults for one in fights):
            _tell(fights)
            return 1
        seed += 1
    say(f"{done} kills in {time.monotonic() - begun:.0f} s: nothing lost, nothing contradictory, nothing left")
    return 0


def _tell(fights: list[Campaign]) -> None:
    for one in fights:
        for fault in one.faults:
            say(f"WRONG, seed {one.report.seed}, {one.report.folder}: {fault}")


async def _fresh(server: Server) -> str:
    url = server.url(server.create())
    await (await Store.open(url, world="demo")).close()
    return url


def say(words: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main() -> int:
    """Read the command line and fight."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None, help="default a new one, which is printed")
    asked = parser.parse_args()
    log.configure("ERROR")
    server = None if (folder := programs()) is None else Server(folder)
    try:
        return asyncio.run(fight(asked.kills, asked.seed or secrets.randbelow(10**6) + 1, server))
    finally:
        if server is not None:
            server.close()


if __name__ == "__main__":
    sys.exit(main())
