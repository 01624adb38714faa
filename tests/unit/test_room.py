"""For how many machines more there is room on a node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import structlog.testing

from antechamber.drivers.scripted import ScriptedDriver, ScriptedHost
from antechamber.host import Host
from antechamber.machine import Capabilities
from antechamber.model import MachineKind, MachineRow, MachineState
from antechamber.reconciler.room import MACHINES_A_PROCESSOR, Left, Room
from antechamber.settings import Settings

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
MIB = 2**20


class Hungry(ScriptedDriver):
    """A driver whose machines take what the real ones take."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(isolation="none", own_uids=False, memory_bytes=512 * MIB)


def row(number: int, state: MachineState = MachineState.READY, uid: int | None = None, age: float = 60) -> MachineRow:
    since = AT - timedelta(seconds=age)
    return MachineRow(
        f"mac_{number}", MachineKind.SIGN_IN, None, state, "scripted", "inc", since, since, AT, host_uid=uid
    )


async def nothing(_guest: object) -> int:
    return 0


@pytest.fixture
def room(tmp_path):
    def make(*, available: int = 100_000, total: int = 100_000, pressure: float = 0, uids=(), **settings) -> Room:
        (tmp_path / "pressure").mkdir(exist_ok=True)
        (tmp_path / "meminfo").write_text(f"MemTotal: {total * 1024} kB\nMemAvailable: {available * 1024} kB\n")
        (tmp_path / "pressure/cpu").write_text(f"some avg10={pressure} avg60=0.00 avg300=0.00 total=1\n")
        driver = Hungry(ScriptedHost(nothing, uids=uids))
        return Room(Settings(world="demo", **settings), driver, Host(tmp_path, tmp_path / "no cgroups"))

    return make


def test_the_operator_s_number_is_the_most_and_what_has_been_claimed_counts(room):
    there = [row(1), row(2, MachineState.STOPPING), row(3, MachineState.REQUESTED)]
    assert room(machines=5).left(there, AT) == Left(2, "machines")
    assert room(machines=3).left(there, AT) == Left(0, "machines")
    assert room(machines=2).left(there, AT).count == 0


def test_the_default_is_what_memory_and_processors_hold(room):
    # 1 GiB for the rest, 512 MiB for each
    assert room(total=4 * 1024).most == 6
    assert room(total=600).most == 1
    assert room(total=10**6).most % MACHINES_A_PROCESSOR == 0


def test_one_uid_is_kept_for_a_check_that_waits_in_no_line(room):
    uids = range(200_001, 200_005)
    assert room(uids=uids).left([row(1, uid=200_001)], AT) == Left(2, "uids")
    assert room(uids=uids).left([row(n, uid=200_000 + n) for n in (1, 2, 3)], AT) == Left(0, "uids")
    assert room(uids=[200_001]).left([], AT) == Left(1, "uids")


def test_a_start_must_leave_the_least_of_memory_and_those_that_start_have_not_taken_theirs(room):
    here = room(available=2 * 1024, least_memory_mb=512)
    assert here.left([row(1)], AT) == Left(3, "memory")
    assert here.left([row(1, MachineState.BOOTING), row(2, MachineState.REQUESTED)], AT) == Left(1, "memory")
    assert room(available=900, least_memory_mb=512).left([], AT) == Left(0, "memory")


def test_where_processors_are_waited_for_machines_begin_one_after_another_and_never_none(room):
    pressed = room(pressure=95)
    assert pressed.left([row(1)], AT) == Left(1, "processors")
    assert pressed.left([row(1, MachineState.BOOTING, age=1)], AT) == Left(0, "processors")
    assert pressed.left([row(1, MachineState.BOOTING, age=6)], AT) == Left(1, "processors")
    assert room(pressure=60).left([row(1, MachineState.BOOTING, age=1)], AT).count > 1


def test_of_machines_that_take_nothing_the_host_is_not_asked(tmp_path):
    here = Room(Settings(world="demo"), ScriptedDriver(ScriptedHost(nothing)), Host(tmp_path, tmp_path))
    assert here.left([], AT) == Left(1000, "machines")


def test_that_machines_wait_is_logged_once_with_what_is_short(room):
    here = room(machines=1)
    with structlog.testing.capture_logs() as logged:
        for waiting in (2, 1):
            here.tell(here.left([row(1)], AT), waiting)
        here.tell(here.left([], AT), 0)
    lines = [(line["event"], line.get("short"), line.get("waiting")) for line in logged]
    assert lines == [("machines wait", "machines", 2), ("no machine waits any more", None, None)]
