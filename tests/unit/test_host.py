"""What is read of the host: from files as a kernel writes them, in a folder of the test's own."""

from __future__ import annotations

import os

import pytest

from antechamber.host import Host, Memory

GIB = 2**30
MEMINFO = (
    "MemTotal:       8388608 kB\nMemFree:          100000 kB\nMemAvailable:   4194304 kB\nSwapTotal:            0 kB\n"
)


@pytest.fixture
def made(tmp_path):
    """Write files below a folder, and return the host that is read from it."""

    def make(**files: str) -> Host:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Host(tmp_path / "proc", tmp_path / "cgroup")

    return make


def test_memory_is_what_the_kernel_could_give_without_pushing_anything_out(made):
    assert made(proc__meminfo=MEMINFO).memory() == Memory(8 * GIB, 4 * GIB)


def test_the_least_of_kernel_and_every_cgroup_above_the_service_counts(made):
    host = made(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/system.slice/antechamber.service\n",
        cgroup__system_dot_slice__memory_dot_max=f"{3 * GIB}\n",
        cgroup__system_dot_slice__memory_dot_current=f"{2 * GIB}\n",
        cgroup__system_dot_slice__memory_dot_stat=f"anon 1\ninactive_file {GIB // 2}\n",
        cgroup__system_dot_slice__antechamber_dot_service__memory_dot_max="max\n",
        cgroup__system_dot_slice__antechamber_dot_service__memory_dot_current=f"{GIB}\n",
    )
    # files that nobody uses now are let go of first
    assert host.memory() == Memory(3 * GIB, GIB + GIB // 2)


def test_cgroups_of_version_1_count_too_and_no_limit_is_none(made):
    host = made(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="8:pids:/\n4:memory:/box\n0::/\n",
        cgroup__memory__box__memory_dot_limit_in_bytes=f"{2 * GIB}\n",
        cgroup__memory__box__memory_dot_usage_in_bytes=f"{GIB}\n",
        cgroup__memory__memory_dot_limit_in_bytes="9223372036854771712\n",
        cgroup__memory__memory_dot_usage_in_bytes=f"{GIB}\n",
    )
    assert host.memory() == Memory(2 * GIB, GIB)


def test_where_nothing_can_be_read_nothing_is_said(made):
    host = made()
    assert (host.memory(), host.pressure()) == (None, 0.0)
    assert host.processors() == len(os.sched_getaffinity(0))


def test_a_quota_of_the_cgroup_is_fewer_processors(made):
    host = made(proc__self__cgroup="0::/box\n", cgroup__box__cpu_dot_max="100000 100000\n")
    assert host.processors() == 1
    assert made(cgroup__box__cpu_dot_max="max 100000\n").processors() == len(os.sched_getaffinity(0))
    assert made(cgroup__box__cpu_dot_max="50000 100000\n").processors() == 1


def test_pressure_is_the_kernel_s_own_figure_and_else_the_load(made):
    cpu = "some avg10=87.50 avg60=10.00 avg300=1.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    assert made(proc__pressure__cpu=cpu).pressure() == 87.5


def test_without_pressure_figures_the_load_of_each_processor_is_taken(made):
    processors = len(os.sched_getaffinity(0))
    assert made(proc__loadavg=f"{2.0 * processors} 1.00 1.00 1/2 3\n").pressure() == pytest.approx(50.0)
    assert made(proc__loadavg=f"{9.0 * processors} 1.00 1.00 1/2 3\n").pressure() == 100.0
