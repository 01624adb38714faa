"""Figures: samples with their peer's, what is to be reached, and how both are told."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

ROOT = Path(__file__).parent.parent
STATISTICS = ("n", "median", "p95", "p99", "min", "max", "spread")


@dataclass(frozen=True)
class Size:
    """How much a run measures."""

    quick: bool = False

    def of(self, whole: int, quick: int = 1) -> int:
        """Return the number of samples, of which a quick run takes fewer."""
        return quick if self.quick else whole


@dataclass(frozen=True)
class Target:
    """What is to be reached: one statistic of the figure, or its `ratio` to the peer's."""

    statistic: str
    limit: float
    at_least: bool = False

    def reached(self, told: dict[str, Any]) -> bool:
        value = told["ratio"] if self.statistic == "ratio" else told["ours"][self.statistic]
        if value is None:
            return False
        return value >= self.limit if self.at_least else value <= self.limit

    def words(self, unit: str) -> str:
        unit = "x the peer" if self.statistic == "ratio" else unit
        return f"{self.statistic} {'>=' if self.at_least else '<='} {self.limit:g} {unit}"


@dataclass
class Figure:
    """One figure; `peer` says what stands beside it, measured in the same run."""

    scenario: str
    name: str
    unit: str
    ours: list[float] = field(default_factory=list)
    peer: str = ""
    theirs: list[float] = field(default_factory=list)
    targets: tuple[Target, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return the figure as JSON."""
        ours, theirs = summary(self.ours), summary(self.theirs) if self.theirs else None
        told: dict[str, Any] = {
            "scenario": self.scenario,
            "name": self.name,
            "unit": self.unit,
            "ours": ours,
            "peer": self.peer,
            "theirs": theirs,
            "ratio": ours["median"] / theirs["median"] if theirs and theirs["median"] else None,
        }
        told["targets"] = [
            {
                "statistic": target.statistic,
                "limit": target.limit,
                "words": target.words(self.unit),
                "reached": target.reached(told),
            }
            for target in self.targets
        ]
        return told


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Return the statistics of some samples; the spread is the distance between the quartiles."""
    ordered = sorted(samples)
    quartiles = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return {
        "n": len(ordered),
        "median": statistics.median(ordered),
        "p95": _percentile(ordered, 95),
        "p99": _percentile(ordered, 99),
        "min": ordered[0],
        "max": ordered[-1],
        "spread": quartiles[2] - quartiles[0],
    }


def _percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    git = ("git", "-c", "safe.directory=*", "-C", str(ROOT))  # whoever made the checkout
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said(*git, "rev-parse", "--short", "HEAD"),
        "changed": bool(_said(*git, "status", "--porcelain", "--untracked-files=no")),
        "cores": len(os.sched_getaffinity(0)),
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "memory_mib": int(memory.split()[1]) // 1024,
        "kernel": platform.release(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "user": "root" if os.geteuid() == 0 else "an ordinary user",
        "versions": {
            "python": platform.python_version(),
            "machine python": _said("/usr/bin/python3", "-c", "import platform; print(platform.python_version())"),
            "chromium": _said("/usr/bin/chromium", "--version").split(" built")[0],
            "bubblewrap": _said("/usr/bin/bwrap", "--version"),
            "uvicorn": metadata.version("uvicorn"),
            "sqlalchemy": metadata.version("sqlalchemy"),
        },
    }


def _said(*command: str) -> str:
    said = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/nonexistent"}
    )
    return said.stdout.strip()


def table(told: Sequence[dict[str, Any]]) -> Table:
    """Return the figures as a table."""
    shown = Table(title="Antechamber's figures", title_justify="left")
    shown.add_column("figure", overflow="fold")
    for name in ("n", "median", "p95", "p99", "min", "max", "spread"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("peer, median", overflow="fold")
    shown.add_column("ratio", justify="right", no_wrap=True)
    shown.add_column("to reach", overflow="fold")
    for figure in told:
        numbers = [short(figure["ours"][name]) for name in STATISTICS]
        peer = f"{figure['peer']}: {short(figure['theirs']['median'])}" if figure["theirs"] else figure["peer"]
        targets = "\n".join(
            f"[{'green' if target['reached'] else 'red'}]{target['words']}[/]" for target in figure["targets"]
        )
        ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f}"
        shown.add_row(f"{figure['scenario']}  {figure['name']}, {figure['unit']}", *numbers, peer, ratio, targets)
    return shown


def short(number: float) -> str:
    """Return a number with three digits that mean something."""
    if number == int(number) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def write(path: Path, facts: dict[str, Any], told: Sequence[dict[str, Any]]) -> None:
    """Write the JSON of a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": facts, "figures": list(told)}, indent=1) + "\n")


def say(text: str) -> None:
    """Tell whoever waits what is being measured now."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
