"""What `make test` runs: lint, types, floors and every tier, each in a network namespace with nothing but `lo`.

`python -m tests.run` runs all; `python -m tests.run unit contract` runs these. The last lines say what ran, what was
skipped and why, and how long each tier took. A tier that ran nothing, or skipped what must run, fails the run.

`integration` mostly waits, so the tiers that only reckon run beside it; what starts machines and Chromium by the dozen
runs alone. Of two that run at the same time each is printed whole, when it has ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import antechamber
from tests import netns

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "test-results"
PYTHON = sys.executable
BIN = Path(PYTHON).parent

LINT = {
    "ruff": [str(BIN / "ruff"), "check", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "mypy": [str(BIN / "mypy"), "--strict", "src/antechamber"],
    "mypy scripts": [str(BIN / "mypy"), "--strict", "-p", "scripts"],
    "mypy bench": [str(BIN / "mypy"), "-p", "bench"],
    "floors": [str(BIN / "lint-imports"), "--no-cache"],
}
TIERS = ("unit", "contract", "integration", "migration", "docs", "providers", "wheel", "acceptance", "browser")
BESIDE_THE_OTHERS = ("integration",)
ALONE = ("contract", "acceptance", "browser")
WORKERS = {"integration": 3}
"""How many files of a tier are gone through at once, where each mostly waits for its own services."""
MUST_RUN = {
    # tier: words that the names of tests that ran must contain
    "contract": ("namespace", "scripted", "sqlite", "postgres", "transit", "kms"),
    "integration": ("nginx", "caddy", "http_2", "sqlite", "postgres", "as_it_is_described", "transit", "kms"),
    "migration": ("sqlite", "postgres"),
    "docs": ("the_examples", "the_rules_of_the_alerts", "tutorial"),
    "acceptance": (
        "codex",
        "claude_code",
        "gemini",
        "postgres",
        "two_services",
        "start_again",
        "of_your_own",
        "bench",
        "kills_on_sqlite_and_postgres",
        "test_a_real_tool_answers_and_what_it_renews_is_the_one_live_copy[gemini]",
        "kills_around_real_tools",
        "tutorial",
    ),
    "browser": ("terminal", "whole_job", "proxy", "accessibility", "translation"),
}


@dataclass
class Outcome:
    """What one tier did."""

    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failed and not self.complaints


def run_lint(said: IO[bytes] | None) -> Outcome:
    outcome = Outcome("lint")
    begun = time.monotonic()
    for name, command in LINT.items():
        if subprocess.run(command, cwd=ROOT, stdout=said, stderr=said, check=False).returncode == 0:
            outcome.passed += 1
        else:
            outcome.complaints.append(f"{name} failed")
    outcome.seconds = time.monotonic() - begun
    return outcome


def run_tier(tier: str, extra: list[str], said: IO[bytes] | None) -> Outcome:
    outcome = Outcome(tier)
    report = RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    command = [PYTHON, "-m", "pytest", f"tests/{tier}", "-q", f"--junitxml={report}", *extra]
    command += ["-o", f"cache_dir=.pytest_cache/{tier}"]
    if (workers := WORKERS.get(tier)) is not None:
        command += ["-n", str(workers), "--dist", "loadfile"]
    begun = time.monotonic()
    code = subprocess.run(netns.argv(command), cwd=ROOT, stdout=said, stderr=said, check=False).returncode
    outcome.seconds = time.monotonic() - begun
    if not report.exists():
        outcome.complaints.append(f"pytest ended with {code} and left no report")
        return outcome
    ran = []
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif (skip := case.find("skipped")) is not None:
            outcome.skipped.append(f"{name}: {skip.get('message')}")
        else:
            outcome.passed += 1
            ran.append(name)
    if code not in {0, 1}:
        outcome.complaints.append(f"pytest ended with {code}")
    if code == 1 and not outcome.failed:
        outcome.complaints.append("pytest failed without a failed test")
    if not ran:
        outcome.complaints.append("no test ran")
    outcome.complaints += [
        f"nothing named {word!r} ran" for word in MUST_RUN.get(tier, ()) if not any(word in name for name in ran)
    ]
    return outcome


def run(wanted: list[str], extra: list[str]) -> list[Outcome]:
    """Run the tiers, some beside others, and return their outcomes in the order in which they were asked for."""
    beside = [tier for tier in wanted if tier in BESIDE_THE_OTHERS]
    reckoning = [tier for tier in wanted if tier not in {*BESIDE_THE_OTHERS, *ALONE}]
    alone = [tier for tier in wanted if tier in ALONE]
    lanes = [lane for lane in (beside, reckoning) if lane]
    with ThreadPoolExecutor(max_workers=2) as pool:
        ended = list(pool.map(lambda lane: run_lane(lane, extra, whole=len(lanes) > 1), lanes))
    outcomes = [outcome for lane in ended for outcome in lane] + run_lane(alone, extra, whole=False)
    return sorted(outcomes, key=lambda outcome: wanted.index(outcome.name))


def run_lane(tiers: list[str], extra: list[str], *, whole: bool) -> list[Outcome]:
    """Run these one after another; their output is passed through, or printed whole after each."""
    outcomes = []
    for tier in tiers:
        if not whole:
            print(f"\n=== {tier}", flush=True)
        with contextlib.nullcontext() if not whole else (RESULTS / f"{tier}.log").open("w+b") as said:
            outcome = run_lint(said) if tier == "lint" else run_tier(tier, extra, said)
            if said is not None:
                said.seek(0)
                words = said.read().decode(errors="replace")
                print(f"\n=== {tier}, {outcome.seconds:.0f} s\n{words}", end="", flush=True)
        outcomes.append(outcome)
    return outcomes


def main(words: list[str]) -> int:
    extra = [word for word in words if word.startswith("-")]
    wanted = [word for word in words if not word.startswith("-")] or ["lint", *TIERS]
    unknown = [word for word in wanted if word not in {"lint", *TIERS}]
    if unknown:
        print(f"no such tier: {', '.join(unknown)}; there are lint, {', '.join(TIERS)}")
        return 2
    RESULTS.mkdir(exist_ok=True)
    begun = time.monotonic()
    outcomes = run(wanted, extra)
    who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    print(f"\nWhat ran, as {who}, with {Path(antechamber.__file__).parent}:")
    for outcome in outcomes:
        counts = f"{outcome.passed} passed, {outcome.failed} failed, {len(outcome.skipped)} skipped"
        print(f"  {outcome.name:<12} {outcome.seconds:7.1f} s  {counts}")
        for line in outcome.skipped:
            print(f"      skipped: {line}")
        for line in outcome.complaints:
            print(f"      WRONG: {line}")
    passed = sum(outcome.passed for outcome in outcomes if outcome.name != "lint")
    failed = sum(outcome.failed + len(outcome.complaints) for outcome in outcomes)
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    print(f"  {'all of it':<12} {time.monotonic() - begun:7.1f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
