"""Whoever is in a machine gets out of it in none of the ways that we know, and a wall that is open is seen to be."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from antechamber.drivers.namespace import bwrap, seccomp
from antechamber.egress import Judgement, Policy
from antechamber.egress.policy import ip_address
from antechamber.errors import Code, OperatorError
from antechamber.isolation import CATALOGUE, attempts, bombs, floods, prove, suite, targets, ways_out
from antechamber.machine import Limits
from tests.contract.drivers.test_namespace import NamespaceHost

pytestmark = [pytest.mark.machine, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def host():
    host = NamespaceHost()
    (host.folder / "run").mkdir()
    (host.folder / "run").chmod(0o755)
    yield host
    host.remove()


async def found_in(host, named=(), **others):
    others["named"] = named
    return {one.name: one for one in await prove(host.driver(), host.folder / "run", **others)}


async def through(host, **others):
    return {name for name, one in (await found_in(host, **others)).items() if not one.refused}


async def test_every_attempt_to_get_out_of_a_real_machine_is_refused(host):
    found = await found_in(host, named=bombs.BOMBS)
    assert {name: one.saw for name, one in found.items() if not one.refused} == {}
    assert [(one.name, one.attempt, one.expected) for one in found.values()] == [
        (one.name, one.attempt, one.expected) for one in CATALOGUE
    ]
    inside = {one.name for one in CATALOGUE} - set(bombs.BOMBS)
    assert set(attempts.ATTEMPTS) == {name for name in inside if not name.startswith("egress_")}
    assert await host.driver().found() == []


def more_options(monkeypatch, *more):
    options = bwrap.options

    def opened(spec, folder):
        usual = options(spec, folder)
        # behind all that is mounted, or that would cover it
        end = usual.index("/dev", usual.index("--chdir") - 5) - 1
        return [*usual[:end], *(str(word) for word in more), *usual[end:]]

    monkeypatch.setattr(bwrap, "options", opened)


async def test_a_folder_of_the_host_in_the_machine_is_seen(host, monkeypatch):
    more_options(monkeypatch, "--ro-bind", host.folder, host.folder)
    assert await through(host) >= {"host_file", "host_socket", "other_machine"}


async def test_devices_and_the_kernel_s_tree_in_the_machine_are_seen(host, monkeypatch):
    more_options(monkeypatch, "--ro-bind", "/sys", "/sys", "--dev-bind", "/dev/null", "/dev/kvm")
    assert await through(host) == {"sys_files", "devices"}


async def test_a_filter_that_lets_everything_pass_is_seen(host, monkeypatch):
    import pyseccomp

    def program():
        rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
        with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "w+b") as file:
            rules.export_bpf(file)
            file.seek(0)
            return file.read()

    monkeypatch.setattr(seccomp, "program", program)
    assert await through(host) >= {"trace", "foreign_memory", "foreign_descriptor", "keys", "wide_calls"}


async def test_a_machine_without_a_limit_of_processes_is_seen(host):
    assert await through(host, limits=Limits(processes=8192)) == {"forks"}


class Open(Policy):
    """A policy that lets any address through."""

    def judge_addresses(self, raws, *, also_own=frozenset()):
        return [Judgement(allowed=True, address=ip_address(raw)) for raw in raws]


class OpenToNames(Policy):
    """A policy that lets any name through as it was asked for."""

    def judge_name(self, raw):
        return Judgement(allowed=True, name=raw)


async def test_a_way_out_that_lets_any_address_through_is_seen(host):
    found = await through(host, policy=Open())
    assert {name for name in found if not name.startswith("egress_")} == set()
    leads = {one.name for one in CATALOGUE if "leads to" in one.attempt}
    assert len(leads) > 15
    assert leads <= found


async def test_a_way_out_that_connects_to_anybody_is_seen_whatever_it_says_of_it(host):
    class Also(ways_out.MadeUp):
        async def connect(self, address, port, name):
            self.connected.append("127.0.0.1")
            return await super().connect(address, port, name)

    asked = {one.name for one in CATALOGUE} - set(bombs.BOMBS)
    assert await through(host, network=Also) == {name for name in asked if name.startswith("egress_")}


MEMORY = {name for name in bombs.BOMBS if name.startswith("memory_")}


async def test_a_machine_that_may_hold_any_memory_is_seen(host):
    assert await through(host, named=MEMORY, limits=Limits(memory_bytes=8 * 2**30)) == MEMORY


async def test_a_service_that_another_machine_has_to_wait_for_is_seen(host):
    holds = iter(range(8))

    class Slow(ways_out.MadeUp):
        held: ClassVar[set[str]] = set()

        async def resolve(self, name):
            # a name that is known already is answered at once; once in a turn of the loop, or all are over in one
            # while nobody asks
            if name[:1] == "n" and name[1].isdigit() and not self.held and next(holds, None) is not None:
                self.held.add(name)
                time.sleep(floods.ANSWERED_WITHIN.total_seconds() + 0.5)  # noqa: ASYNC251 - it holds up all others
                asyncio.get_running_loop().call_later(0.001, self.held.clear)
            return await super().resolve(name)

    assert await through(host, named={"egress_names"}, network=Slow) == {"egress_names"}


async def test_a_link_that_takes_reports_in_another_machines_name_is_seen(host):
    class Fooled(floods.Ends):
        def incarnation(self, machine, beside):
            return beside.incarnation

    assert await through(host, named={"link_other"}, ends=Fooled) == {"link_other"}


BREAKING = {one.name for one in CATALOGUE if one.breaks}


async def test_a_service_that_goes_on_with_a_machine_that_breaks_the_protocol_is_seen(host):
    class Patient(floods.Ends):
        async def broke(self, error):
            pass

    assert {"link_oversized", "link_nonsense", "link_other", "link_reports"} == BREAKING
    assert await through(host, named=BREAKING, ends=Patient) == BREAKING


async def test_a_door_for_which_the_service_takes_memory_is_seen(host):
    kept = []

    class Keeping(floods.Ends):
        async def follow(self, screen):
            while piece := await screen.reader.read(65536):
                kept.append(piece)

    assert await through(host, named={"screen_endless"}, ends=Keeping) == {"screen_endless"}


async def test_a_way_out_that_is_shut_for_all_proves_nothing(host):
    class Shut(Policy):
        def judge_name(self, raw):
            return Judgement(allowed=False, why="shut")

    with pytest.raises(OperatorError) as refused:
        await prove(host.driver(), host.folder / "run", policy=Shut())
    assert "let nobody through" in refused.value.message


async def test_what_is_not_there_to_be_reached_proves_nothing(host, monkeypatch):
    async def unreachable(planted):
        return ["host_loopback"]

    monkeypatch.setattr(suite, "can_be_reached", unreachable)
    with pytest.raises(OperatorError) as refused:
        await prove(host.driver(), host.folder / "run")
    assert "host_loopback" in refused.value.message


async def test_an_attempt_that_a_listener_of_the_host_has_heard_is_not_called_refused(host, monkeypatch):
    can_be_reached = suite.can_be_reached

    async def heard(planted):
        faults = await can_be_reached(planted)
        planted.reached.add("host_socket")
        return faults

    monkeypatch.setattr(suite, "can_be_reached", heard)
    assert await through(host) == {"host_socket"}


async def test_a_machine_that_ends_before_it_has_told_everything_proves_nothing(host, monkeypatch):
    monkeypatch.setitem(attempts.ATTEMPTS, "nobody_knows_this", None)
    with pytest.raises(Exception, match="ended after") as ended:
        await prove(host.driver(), host.folder / "run")
    assert ended.value.code is Code.MACHINE_ENDED
    assert await host.driver().found() == []


async def test_without_a_machine_around_it_the_same_attempts_go_through(tmp_path):
    """An attempt that fails wherever it is made would prove nothing of a wall."""
    async with targets.planted(tmp_path) as planted:
        told = {**planted.described(), "neighbour": "DUMMY", "neighbour_folder": str(tmp_path)}
        names = {
            *("host_file", "host_processes", "other_machine", "host_signal", "foreign_descriptor", "namespaces"),
            *("keys", "sys_files", "host_loopback", "host_socket", "abstract_socket", "nested_mount"),
        }
        if os.geteuid() == 0:
            names |= {"host_folders", "kernel_settings", "raw_packets", "open_files", "odd_families"}
        with (tmp_path / "file").open() as file:
            ran = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", ALONE, str(Path(attempts.__file__)), json.dumps(told)),
                *sorted(names),
                stdin=file,
                stdout=subprocess.PIPE,
            )
            out, _ = await ran.communicate()
    assert ran.returncode == 0
    said = json.loads(out)
    assert {name: saw for name, (refused, saw) in said.items() if refused} == {}
    assert set(said) == names


ALONE = """
import json, runpy, sys
program = runpy.run_path(sys.argv[1])
told = json.loads(sys.argv[2])
said = {name: program["tried"](name, told) for name in sys.argv[3:]}
print(json.dumps({name: (one["refused"], one["saw"]) for name, one in said.items()}))
"""


@pytest.mark.timeout(240)
def test_the_operator_runs_it_on_their_own_host(tmp_path_factory, host):
    data = tmp_path_factory.mktemp("data")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANTECHAMBER_")},
        "ANTECHAMBER_DATA_DIR": str(data / "data"),
        "ANTECHAMBER_RUN_DIR": str(host.folder / "run"),
        "ANTECHAMBER_SHARED_DIR": str(data / "shared"),
    }
    command = [str(Path(sys.executable).with_name("antechamber")), "doctor", "--isolation"]
    ran = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert len(told) == len(CATALOGUE)
    assert all(one["refused"] and one["attempt"] and one["expected"] for one in told)
