"""The data directory's disk is full, or read-only: said clearly, nothing lost, and it goes on by itself afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import small_disk


@pytest.mark.timeout(300)
def test_sqlite_on_a_disk_that_gets_full_or_read_only(tmp_path):
    said = small_disk.run_there(tmp_path / "disk", Path(__file__).with_name("on_a_small_disk.py"), size="3m")
    assert "passed" in said
    assert "skipped" not in said


@pytest.mark.timeout(120)
def test_a_machines_keeper_on_a_disk_that_gets_full(tmp_path):
    file = Path(__file__).with_name("keeper_on_a_small_disk.py")
    said = small_disk.run_there(tmp_path / "disk", file, size="1m", timeout_s=100)
    assert "passed" in said
    assert "skipped" not in said
