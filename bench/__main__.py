"""`python -m bench [a b c d e f g h] [--quick] [--json FILE] [--write-page]`: see the package."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from tests import netns

from antechamber import log
from bench import capture, connect, figures, memory, page, relay, restart, runs, sessions
from bench.figures import ROOT, Figure, Size

SCENARIOS: dict[str, tuple[str, Callable[[Size], Awaitable[list[Figure]]], Callable[[], str]]] = {
    "a": ("Connect to the page painted", connect.run, lambda: ""),
    "b": ("file whole to completed", capture.run, lambda: ""),
    "c": ("memory of a waiting machine", memory.run, memory.possible),
    "d": ("the relay", relay.run, relay.possible),
    "e": ("whole sessions", sessions.whole, lambda: ""),
    "f": ("among old sessions", sessions.old, lambda: ""),
    "g": ("after a kill", restart.run, lambda: ""),
    "h": ("the remote CLI", runs.run, lambda: ""),
}
LONGEST_S = 600.0
"""For one scenario: what takes longer is broken."""
RESULT = ROOT / "test-results" / "bench.json"


def main() -> int:
    """Measure, print the table and write the JSON; returns 1 when a scenario could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Antechamber beside its peers.")
    named = ", ".join(f"{letter} = {words}" for letter, (words, *_) in SCENARIOS.items())
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"which, default all: {named}")
    parser.add_argument("--quick", action="store_true", help="each figure once or twice, to see that all are there")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the figures are written")
    parser.add_argument(
        "--write-page", action="store_true", help="write docs/performance.md from that file, measure nothing"
    )
    asked = parser.parse_args()
    if asked.write_page:
        page.write(asked.json)
        return 0
    wanted = "".join(asked.scenarios) or "".join(SCENARIOS)
    if unknown := sorted(set(wanted) - set(SCENARIOS)):
        parser.error(f"no such scenario: {', '.join(unknown)}")
    if {name for _, name in socket.if_nameindex()} != {"lo"} or not os.environ.get("ANTECHAMBER_BENCH_NETWORK"):
        line = netns.argv([sys.executable, "-m", "bench", *sys.argv[1:]], low_ports=True)
        os.execvpe(line[0], line, {**os.environ, "ANTECHAMBER_BENCH_NETWORK": "own"})
    log.configure("ERROR")
    return asyncio.run(_measure(wanted, Size(asked.quick), asked.json))


async def _measure(wanted: str, size: Size, to: Path) -> int:
    console = Console(width=None if sys.stdout.isatty() else 180)
    facts, told, missing, begun = figures.machine(), [], {}, time.monotonic()
    for letter, (words, measure, impossible) in SCENARIOS.items():
        if letter not in wanted:
            continue
        if why := impossible():
            missing[words] = why
            continue
        figures.say(f"{letter}: {words}, after {time.monotonic() - begun:.0f} s")
        try:
            async with asyncio.timeout(LONGEST_S):
                told += [figure.told() for figure in await measure(size)]
        except Exception as error:  # noqa: BLE001 - the others are worth having; it is told below, and by the exit code
            traceback.print_exc()
            missing[words] = f"{type(error).__name__}: {error}"
        # after each: what was measured is there, also when the next one breaks
        figures.write(to, {**facts, "seconds": round(time.monotonic() - begun), "quick": size.quick}, told)
    console.print(figures.table(told))
    load = "/".join(map(str, facts["load"]))
    console.print(f"{facts['cores']} cores, kernel {facts['kernel']}, load at the start {load}; {to}")
    for words, why in missing.items():
        console.print(f"[red]not measured: {words}: {why}[/]")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
