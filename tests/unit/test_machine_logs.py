"""What failed machines printed: redacted, readable by nobody else, and bounded in time and size."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from antechamber.machine_logs import MOST_LINES, MachineLogs
from antechamber.model import IdPrefix, new_id

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.fixture
def logs(tmp_path):
    return MachineLogs(tmp_path / "machine-logs", kept=timedelta(days=90), most=3000)


def kept(logs, text="a line of it\n", days=0.0):
    """Keep a machine's log as if it had been kept so many days ago; return the machine's id."""
    machine_id = new_id(IdPrefix.MACHINE)
    assert logs.keep(machine_id, {"machine": text})
    then = (NOW - timedelta(days=days)).timestamp()
    os.utime(logs.path(machine_id), (then, then))
    return machine_id


def test_lines_are_told_by_whose_they_are_and_hold_no_secret_and_no_control_character(logs):
    machine_id = new_id(IdPrefix.MACHINE)
    printed = {
        "keeper": "began\n",
        "machine": "\x1b[31mred\x1b[0m\ntoken=DUMMYabcdefghijklmnopqrstuvwx1234\n\nBearer DUMMY0123456789abcdef\n",
    }
    assert logs.keep(machine_id, printed)
    assert logs.read(machine_id)[:2] == ["keeper: began", "machine: red"]
    assert "DUMMY" not in "".join(logs.read(machine_id))
    assert "[removed]" in "".join(logs.read(machine_id))
    assert logs.path(machine_id).stat().st_mode & 0o777 == 0o600
    assert logs.path(machine_id).parent.stat().st_mode & 0o777 == 0o700


def test_the_last_lines_are_kept_and_a_long_one_is_cut(logs):
    machine_id = kept(logs, "".join(f"{n}\n" for n in range(MOST_LINES + 5)) + "x " * 5000)
    lines = logs.read(machine_id)
    assert len(lines) == MOST_LINES
    assert lines[0] == "machine: 6"
    assert len(lines[-1]) < 420


def test_of_what_printed_nothing_there_is_no_file(logs, tmp_path):
    assert not logs.keep(new_id(IdPrefix.MACHINE), {})
    assert not logs.keep(new_id(IdPrefix.MACHINE), {"machine": "\n\x1b[0m\n"})
    assert logs.ids() == []
    assert list(tmp_path.iterdir()) == []
    assert logs.read(new_id(IdPrefix.MACHINE)) == []


def test_what_is_old_goes_and_then_the_oldest_until_the_rest_is_small_enough(logs):
    old = kept(logs, days=91)
    first, second, third = (kept(logs, "x y " * 300 + "\n" + "z " * 300, days=days) for days in (3, 2, 1))
    big = MachineLogs(logs.path(old).parent, kept=timedelta(days=90), most=10**9)
    assert big.prune(NOW) == 1
    assert big.ids() == [first, second, third]
    size = logs.path(first).stat().st_size
    small = MachineLogs(logs.path(old).parent, kept=timedelta(days=90), most=2 * size)
    assert small.prune(NOW) == 1
    assert small.ids() == [second, third]
    assert MachineLogs(logs.path(old).parent, kept=timedelta(days=90), most=0).prune(NOW) == 2


def test_a_log_that_is_kept_again_takes_the_place_of_the_first(logs):
    machine_id = kept(logs, "first\n")
    logs.keep(machine_id, {"machine": "second\n"})
    assert logs.read(machine_id) == ["machine: second"]
    logs.forget(machine_id)
    logs.forget(machine_id)
    assert logs.ids() == []
