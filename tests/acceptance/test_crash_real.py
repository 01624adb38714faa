"""Services and machines killed around the vendors' own tools, in real machines, while people type."""

from __future__ import annotations

import os
import sys

import pytest

from tests.acceptance.crash.real import campaign
from tests.acceptance.crash.scripted import OF_REAL_MACHINES

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]
SEED = int(os.environ.get("CHAOS_SEED", "11"))
KILLS = int(os.environ.get("CHAOS_REAL_KILLS", "12"))
"""Of services and machines, on each database."""
TOOLS = ("codex", "claude_code")


async def fight(url, capsys):
    fight = await campaign(url, SEED, KILLS, TOOLS)
    with capsys.disabled():
        sys.stdout.write(f"\n{fight.report}\n")
    assert fight.faults == [], f"seed {fight.report.seed}, see {fight.report.folder}"
    assert fight.report.kills.total() >= KILLS - 1, "too few were killed"
    assert {fight.report.kills["guest"], fight.report.kills["keeper"]} != {0}
    assert all(fight.passed[point] for point in OF_REAL_MACHINES), "a point is not passed any more"
    assert fight.report.ends["completed"] >= len(TOOLS)


async def test_twelve_kills_around_real_tools_on_sqlite_lose_nothing_and_leave_nothing(capsys):
    await fight(None, capsys)


async def test_twelve_kills_around_real_tools_on_postgres_lose_nothing_and_leave_nothing(
    postgres, postgres_template, capsys
):
    await fight(postgres.url(postgres.create(postgres_template)), capsys)
