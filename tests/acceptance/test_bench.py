"""`make bench`, once through: every scenario yields its figures, each whole and with its peer. No time is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.machine, pytest.mark.timeout(420)]

ROOT = Path(__file__).parents[2]
SCENARIOS = "abcdefgh" if os.geteuid() == 0 else "abdefgh"  # others' memory is only root's to read
STATISTICS = {"n", "median", "p95", "p99", "min", "max", "spread"}
ALONE = {"b", "c", "h"}
"""Scenarios with figures that stand for themselves: a limit is all that they are compared with."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    to = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [sys.executable, "-m", "bench", SCENARIOS, "--quick", "--json", to]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(to.read_text())


def test_it_says_what_the_figures_depend_on(run):
    facts = run["machine"]
    assert facts["cores"] > 0
    assert len(facts["load"]) == 3
    assert facts["commit"]
    assert {"chromium", "python", "bubblewrap"} <= facts["versions"].keys()
    assert all(facts["versions"].values())


@pytest.mark.parametrize("letter", SCENARIOS)
def test_each_scenario_yields_its_figures(run, letter):
    figures = [figure for figure in run["figures"] if figure["scenario"] == letter]
    assert len(figures) > 1
    assert len({figure["name"] for figure in figures}) == len(figures)
    for figure in figures:
        assert figure["ours"].keys() == STATISTICS
        assert figure["ours"]["n"] > 0
        assert figure["ours"]["min"] <= figure["ours"]["median"] <= figure["ours"]["p95"] <= figure["ours"]["max"]
        if letter not in ALONE:
            assert figure["theirs"].keys() == STATISTICS
            assert figure["peer"]


def test_what_is_to_be_reached_is_judged(run):
    judged = [target for figure in run["figures"] for target in figure["targets"]]
    assert len(judged) >= 10
    assert all(isinstance(target["reached"], bool) and target["words"] for target in judged)
