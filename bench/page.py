"""docs/performance.md, from the figures of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.figures import ROOT, STATISTICS, short

PAGE = ROOT / "docs" / "performance.md"
WHY = ROOT / "bench" / "why.json"
"""Why a figure that falls short does, by its name: a person's words, kept beside the bench."""
_HEAD = """\
# Performance

Made by `python -m bench --write-page` from the last run of `make bench`; nothing here is written by hand but the
reasons why a figure falls short. Each figure stands beside a *peer* that was measured in the same run, in turns: on
another computer, or with something else running, the ratio says more than the milliseconds.

    make bench                    # everything, about ten minutes
    make bench BENCH="a d"        # some scenarios
    make bench BENCH=--quick      # each once, to see that all figures are there

It needs a computer with nothing else to do. Everything happens in a network namespace that has nothing but `lo`, in
the practice world, with the real tools and the real Chromium; the figures are also written to
`test-results/bench.json`.

## The computer

{computer}

## To reach, and reached

| figure | to reach | reached | why not |
|---|---|---|---|"""
_FOOT = """\
`spread` is the distance between the quartiles; p95 and p99 are by nearest rank, so that of few samples they are the
largest. What each scenario does is in `bench/`, one file each.
"""
TITLES = {
    "a": "Connect",
    "b": "From the whole file to the page",
    "c": "Memory",
    "d": "The relay",
    "e": "Sessions through all states",
    "f": "Among old sessions",
    "g": "A service that was killed, started again",
    "h": "The remote CLI",
}


def write(result: Path) -> None:
    """Write the page."""
    run = json.loads(result.read_text())
    PAGE.write_text(page(run, json.loads(WHY.read_text())))


def page(run: dict[str, Any], why: dict[str, str]) -> str:
    """Return the page of a run."""
    machine = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    load = ", ".join(f"{load:g}" for load in machine["load"])
    computer = (
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_mib']} MiB, kernel {machine['kernel']},"
        f" as {machine['user']}; {versions}.\n"
        f"Load when it began: {load}. Commit {machine['commit']}{' with changes' if machine['changed'] else ''},"
        f" {machine['at']}, {machine['seconds']} s in all."
    )
    if machine["quick"]:
        computer += "\n\n**A quick run: each figure once or twice, on whatever computer it was. Nothing to judge by.**"
    lines = [_HEAD.format(computer=computer)]
    for figure in run["figures"]:
        for target in figure["targets"]:
            value = figure["ratio"] if target["statistic"] == "ratio" else figure["ours"][target["statistic"]]
            unit = "x" if target["statistic"] == "ratio" else figure["unit"]
            reason = "" if target["reached"] else why.get(figure["name"], "not looked into yet")
            lines.append(
                f"| {figure['name']} | {target['words']} | {short(value)} {unit}"
                f"{'' if target['reached'] else ', **not reached**'} | {reason} |"
            )
    for letter, title in TITLES.items():
        if figures := [figure for figure in run["figures"] if figure["scenario"] == letter]:
            lines += ["", f"## {title}", "", *_table(figures)]
    return "\n".join([*lines, "", _FOOT])


def _table(figures: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"| figure | {' | '.join(STATISTICS)} | peer | its median | ratio |",
        "|---|" + "--:|" * 7 + "---|--:|--:|",
    ]
    for figure in figures:
        numbers = " | ".join(short(figure["ours"][name]) for name in STATISTICS)
        theirs = short(figure["theirs"]["median"]) if figure["theirs"] else ""
        ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f}"
        lines.append(f"| {figure['name']}, {figure['unit']} | {numbers} | {figure['peer']} | {theirs} | {ratio} |")
    return lines
