"""DriverContract: what every driver must do, as tests that a driver's own test class inherits.

Use it so::

    class TestMyDriver(DriverContract):
        @pytest.fixture
        async def host(self, tmp_path):
            yield MyHost(tmp_path)       # a DriverHost

The machines run `probe.py` by Debian's Python; what it sees and does is looked at from the host, through the doors.
Tests of isolation are skipped, printed, for a driver that says `isolation="none"`.
"""
# ruff: noqa: S101, D102 - a suite of tests, in the package because others subclass it; its names are its sentences

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from antechamber.errors import Code, MachineError
from antechamber.machine import Door, Limits, MachineEnd, Mount
from antechamber.model import IdPrefix, new_id
from antechamber.testing import probe
from antechamber.testing.bench import WITHIN, Bench, DriverHost

if TYPE_CHECKING:
    from antechamber.machine import Machine, Stream

_UNCLAIMED_S: Final = 0.3
_STALLED_BYTES: Final = 4 * 1024 * 1024
_EACH_BYTES: Final = 200_000
_MEMORY_BYTES: Final = 192 * 2**20
_HELD_BYTES: Final = 1536 * 2**20


class DriverContract:
    """The suite; subclasses provide the fixture `host`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def host(self) -> DriverHost:
        """Be overridden."""
        raise NotImplementedError

    @pytest.fixture
    async def bench(self, host: DriverHost) -> AsyncIterator[Bench]:
        """Give each test a bench that clears up after it."""
        bench = Bench(host)
        yield bench
        await bench.clear()

    # --- running

    async def test_a_program_reaches_the_doors_that_the_host_made(self, bench: Bench) -> None:
        machine = await bench.start("bye", "0")
        assert await bench.said(machine) == b"bye"

    async def test_the_exit_code_is_recorded(self, bench: Bench) -> None:
        machine = await bench.start("exit", "7")
        end = await machine.ended()
        assert (end.exit_code, end.at is not None) == (7, True)

    async def test_what_was_said_just_before_the_end_is_still_heard(self, bench: Bench) -> None:
        machine = await bench.start("bye", "3")
        assert (await machine.ended()).exit_code == 3
        assert await bench.said(machine) == b"bye"

    async def test_acceptance_ends_with_the_machine(self, bench: Bench) -> None:
        machine = await bench.start("exit", "0")
        assert [stream async for stream in machine.accept(Door.SCREEN)] == []

    async def test_one_door_is_accepted_from_once(self, bench: Bench) -> None:
        machine = await bench.start("stay")
        machine.accept(Door.LINK)
        with pytest.raises(RuntimeError):
            machine.accept(Door.LINK)

    async def test_a_door_that_was_not_asked_for_is_not_there(self, bench: Bench) -> None:
        machine = await bench.start("stay", doors=frozenset({Door.LINK}))
        await bench.up(machine)
        with pytest.raises((RuntimeError, KeyError)):
            machine.accept(Door.EGRESS)

    async def test_streams_are_half_closed(self, bench: Bench) -> None:
        machine = await bench.start("half_close")
        stream = await anext(machine.accept(Door.EGRESS))
        assert await stream.reader.read() == b"question", "the guest's direction is closed"
        stream.writer.write(b"x" * 100_000)
        stream.writer.write_eof()
        assert await bench.said(machine) == b"100000"
        stream.writer.close()

    async def test_64_streams_go_on_while_one_is_stalled(self, bench: Bench) -> None:
        machine = await bench.start("streams")
        streams: dict[int, Stream] = {}
        async for stream in machine.accept(Door.EGRESS):
            streams[int(await stream.reader.readline())] = stream
            if len(streams) == probe.STREAMS:
                break
        stalled = streams.pop(0)
        stalled.writer.write(bytes(_STALLED_BYTES))
        async with asyncio.timeout(WITHIN.total_seconds()), asyncio.TaskGroup() as group:
            echoes = [group.create_task(_echoed(stream)) for stream in streams.values()]
        assert [echo.result() for echo in echoes] == [True] * (probe.STREAMS - 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await stalled.writer.drain()
        for stream in (stalled, *streams.values()):
            stream.writer.transport.abort()

    # --- starting

    async def test_a_second_start_of_one_incarnation_finds_the_first(self, bench: Bench) -> None:
        first = await bench.start("stay")
        born = await bench.up(first)
        await first.let_go()
        second = await bench.driver.start(bench.specs[0], first.handle)
        assert await bench.up(second) == born
        await bench.keep(second)

    async def test_an_incarnation_that_has_ended_is_not_started_again(self, bench: Bench) -> None:
        machine = await bench.start("exit", "0")
        await machine.ended()
        with pytest.raises(MachineError) as caught:
            await bench.driver.start(bench.specs[0], machine.handle)
        assert caught.value.code is Code.MACHINE_ENDED

    async def test_a_start_that_fails_leaves_nothing(self, bench: Bench) -> None:
        spec, handle = bench.planned("stay")
        spec = replace(spec, incarnation=new_id(IdPrefix.INCARNATION))
        with pytest.raises(MachineError) as caught:
            await bench.driver.start(spec, handle)
        assert caught.value.code is Code.MACHINE_DID_NOT_START
        assert (bench.host.left(handle), await bench.driver.found()) == ([], [])

    async def test_a_mount_that_is_missing_fails_the_start_and_leaves_nothing(self, bench: Bench) -> None:
        bench.must_isolate()
        spec, handle = bench.planned("stay")
        spec = replace(spec, mounts=(*spec.mounts, Mount(Path("/nonexistent-antechamber"), "/opt/missing")))
        with pytest.raises(MachineError) as caught:
            await bench.driver.start(spec, handle)
        assert caught.value.code is Code.MACHINE_DID_NOT_START
        assert "nonexistent-antechamber" in caught.value.detail, "the operator's log says why"
        assert (bench.host.left(handle), await bench.driver.found()) == ([], [])

    # --- ending

    async def test_stop_ends_it_and_may_be_asked_again(self, bench: Bench) -> None:
        machine = await bench.start("family")
        await bench.up(machine)
        end = await machine.stop(within=WITHIN)
        assert await machine.stop(within=WITHIN) == end == await machine.ended()

    async def test_nothing_is_left_after_reap(self, bench: Bench) -> None:
        machine = await bench.start("family")
        await bench.up(machine)
        await machine.stop(within=WITHIN)
        await machine.let_go()
        await bench.driver.reap(machine.handle)
        assert bench.host.left(machine.handle) == []
        assert await bench.driver.printed(machine.handle) == {}
        await bench.driver.reap(machine.handle)

    async def test_a_running_machine_is_not_reaped(self, bench: Bench) -> None:
        machine = await bench.start("stay")
        with pytest.raises(MachineError):
            await bench.driver.reap(machine.handle)
        await bench.up(machine)

    async def test_a_machine_that_nobody_claims_ends_itself(self, bench: Bench) -> None:
        bench.driver = bench.host.driver(unclaimed_s=_UNCLAIMED_S)
        machine = await bench.start("family")
        await machine.let_go()
        end = await bench.ends(machine.handle)
        assert "claimed" in end.detail
        await bench.driver.reap(machine.handle)
        assert bench.host.left(machine.handle) == []

    async def test_a_claimed_machine_goes_on_past_that_time(self, bench: Bench) -> None:
        bench.driver = bench.host.driver(unclaimed_s=_UNCLAIMED_S)
        machine = await bench.start("stay")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(_UNCLAIMED_S * 3):
                await machine.ended()
        await bench.up(machine)

    async def test_a_killed_keeper_takes_its_machine_along(self, bench: Bench) -> None:
        machine = await bench.start("family")
        await bench.up(machine)
        try:
            bench.host.kill_keeper(machine.handle)
        except NotImplementedError:
            pytest.skip("this driver has no keeper")
        async with asyncio.timeout(WITHIN.total_seconds()):
            end = await machine.ended()
        assert end.exit_code is None, "nobody could record it"
        await machine.let_go()
        assert isinstance(await bench.driver.attach(machine.handle), MachineEnd)
        await bench.driver.reap(machine.handle)
        assert bench.host.left(machine.handle) == []

    # --- a restart of the service

    async def test_a_new_service_finds_the_machine_and_its_doors_work_again(self, bench: Bench) -> None:
        machine = await bench.start("stay")
        born = await bench.up(machine)
        await machine.let_go()
        driver = bench.driver = bench.host.driver()
        assert [handle["incarnation"] for handle in await driver.found()] == [machine.handle["incarnation"]]
        found = await driver.attach(machine.handle)
        assert not isinstance(found, MachineEnd)
        link = await anext(found.accept(Door.LINK))
        assert (await link.reader.readline()).split()[1] == born
        link.writer.write(b"exit 9\n")
        assert (await found.ended()).exit_code == 9
        link.writer.close()
        await found.let_go()

    async def test_an_end_that_no_service_saw_is_told_afterwards(self, bench: Bench) -> None:
        machine = await bench.start("stay")
        link = await anext(machine.accept(Door.LINK))
        link.writer.write(b"exit 5\n")
        await link.writer.drain()
        assert (await machine.ended()).exit_code == 5
        link.writer.close()
        await machine.let_go()
        bench.driver = bench.host.driver()
        end = await bench.driver.attach(machine.handle)
        assert isinstance(end, MachineEnd)
        assert (end.exit_code, end.at is not None) == (5, True)

    async def test_waiting_for_the_end_stops_when_the_machine_is_let_go(self, bench: Bench) -> None:
        machine = await bench.start("stay")
        await bench.up(machine)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_caught(machine))
            await asyncio.sleep(0)
            await machine.let_go()
        assert waiting.result() is Code.SHUTTING_DOWN
        assert [stream async for stream in machine.accept(Door.SCREEN)] == []
        await machine.let_go()

    async def test_no_trace_means_no_known_end(self, bench: Bench) -> None:
        _, handle = bench.planned("stay")
        assert await bench.driver.attach(handle) == MachineEnd(None, None)

    async def test_a_handle_is_json_and_planning_starts_nothing(self, bench: Bench) -> None:
        _, handle = bench.planned("stay")
        assert json.loads(json.dumps(dict(handle))) == dict(handle)
        assert (bench.host.left(handle), await bench.driver.found()) == ([], [])

    async def test_found_names_what_runs_and_what_is_not_reaped(self, bench: Bench) -> None:
        one, other = await bench.start("stay"), await bench.start("exit", "0")
        await other.ended()
        expected = sorted([one.handle["incarnation"], other.handle["incarnation"]])
        assert sorted(handle["incarnation"] for handle in await bench.driver.found()) == expected
        await other.let_go()
        await bench.driver.reap(other.handle)
        assert [handle["incarnation"] for handle in await bench.driver.found()] == [one.handle["incarnation"]]

    async def test_the_check_passes_where_the_suite_runs(self, bench: Bench) -> None:
        assert [check for check in await bench.driver.check() if check.fatal and not check.ok] == []
        assert await bench.driver.found() == []

    # --- isolation

    async def test_a_machine_knows_the_public_certificates_and_the_fonts(self, bench: Bench) -> None:
        """Without the one no vendor is believed, without the other pages show in whatever font is found first."""
        facts = await bench.facts()
        assert facts["certificates"]
        assert facts["fonts"]

    async def test_the_machine_has_no_network_besides_loopback(self, bench: Bench) -> None:
        facts = await bench.facts()
        assert facts["interfaces"] == ["lo"]
        assert facts["outside"] == "Network is unreachable"
        assert facts["loopback_down"]
        assert facts["nested_loopback_down"]
        assert facts["dns_port"] == "", "the agent's DNS has port 53"

    async def test_the_doors_folder_cannot_be_written(self, bench: Bench) -> None:
        facts = await bench.facts()
        read_only = {facts[name] for name in ("doors_create", "doors_link", "doors_remove", "usr", "etc")}
        assert read_only <= {"Read-only file system", "Permission denied"}

    async def test_nothing_of_the_host_shows(self, bench: Bench) -> None:
        facts = await bench.facts()
        assert not facts["hidden"]
        assert facts["local"] == []
        assert not {"root", "srv", "boot", "work", "media"} & set(facts["root"])
        assert facts["processes"][0] == 1
        assert len(facts["processes"]) < 10, "only the machine's own processes"
        assert set(facts["environment"]) <= {"PATH", "HOME", "LANG", "PWD", "ANTECHAMBER_INCARNATION", "LC_CTYPE"}
        assert facts["descriptors"] in ([0, 1, 2, 3], [0, 1, 2, 3, 4]), "no descriptor of the keeper's"

    async def test_nothing_that_any_process_has_open_leads_to_a_file_of_the_host(self, bench: Bench) -> None:
        facts = await bench.facts()
        assert {link.split()[0] for link in facts["links"]} >= {"1"}, "the first process is looked at too"
        assert facts["writable"] == []
        paths = {name for _, _, name in (link.split(" ", 2) for link in facts["links"]) if name.startswith("/")}
        assert {path for path in paths if not path.startswith(("/dev/null", "/proc/"))} == set()

    async def test_the_command_lines_name_no_path_of_the_host(self, bench: Bench) -> None:
        facts = await bench.facts()
        folder = str(Path(bench.host.readable("named")).parent)
        assert len(facts["command_lines"]) >= 2
        # the probe itself is told of one, to look whether it is there
        assert [line for line in facts["command_lines"] if folder in line.replace(f"{folder}/hidden", "")] == []

    async def test_the_machine_has_no_privilege(self, bench: Bench) -> None:
        facts = await bench.facts()
        assert facts["uid"] != 0
        assert facts["capabilities"] == ""
        assert (facts["no_new_privileges"], facts["seccomp"]) == ("1", "2")
        assert facts["mount"]
        assert facts["tty_push"]
        assert facts["odd_socket"]
        assert facts["netlink"] == [0, 15], "routes and the kernel's events, which Chromium asks for"
        assert facts["modify_ldt"]

    async def test_the_browser_can_make_its_own_sandbox(self, bench: Bench) -> None:
        facts = await bench.facts()
        assert facts["nested"] == ""
        assert facts["shm_bytes"] == Limits().shm_bytes

    async def test_processes_are_limited_for_each_machine(self, bench: Bench) -> None:
        bench.must_isolate()
        machine = await bench.start("forks", "150", limits=Limits(processes=60))
        assert 20 < int(await bench.said(machine)) < 60

    @pytest.mark.parametrize("folder", ["/home/user", "/tmp", "/run", "/var", "/dev"])  # noqa: S108 - in the machine
    async def test_memory_that_is_a_disk_is_limited(self, bench: Bench, folder: str) -> None:
        bench.must_isolate()
        small = 8 * 2**20
        limits = Limits(home_bytes=small, tmp_bytes=small, shm_bytes=small)
        machine = await bench.start("fill", folder, str(128 * 2**20), limits=limits)
        assert int(await bench.said(machine)) <= 64 * 2**20

    @pytest.mark.parametrize("kind", ["pages", "unnamed", "family"])
    async def test_a_machine_that_takes_too_much_memory_is_ended(self, bench: Bench, kind: str) -> None:
        bench.must_isolate()
        if kind == "unnamed" and os.geteuid() and bench.driver.host_uids():
            pytest.skip("an account may not look at the files that its subordinate uids have open")
        machine = await bench.start("hold", kind, str(_HELD_BYTES), limits=Limits(memory_bytes=_MEMORY_BYTES))
        async with asyncio.timeout(WITHIN.total_seconds()):
            end = await machine.ended()
        assert "memory" in end.detail

    async def test_a_machine_goes_on_that_takes_less_memory_than_it_may(self, bench: Bench) -> None:
        bench.must_isolate()
        limits = Limits(memory_bytes=2 * _MEMORY_BYTES)
        machine = await bench.start("hold", "pages", str(_MEMORY_BYTES), limits=limits)
        async with asyncio.timeout(WITHIN.total_seconds()):
            stream = await anext(machine.accept(Door.LINK))
            assert await stream.reader.readexactly(4) == b"held"
        stream.writer.close()

    async def test_what_a_machine_prints_does_not_fill_the_host(self, bench: Bench) -> None:
        bench.must_isolate()
        machine = await bench.start("shout", str(16 * 2**20))
        assert await bench.said(machine) == b"bye"
        assert bench.size(machine.handle) < 2**20
        await machine.ended()
        assert 0 < len((await bench.driver.printed(machine.handle))["machine"]) < 2**20


async def _echoed(stream: Stream) -> bool:
    sent = bytes(_EACH_BYTES)
    stream.writer.write(sent)
    received = await stream.reader.readexactly(len(sent))
    stream.writer.write_eof()
    return received == sent and await stream.reader.read() == b""


async def _caught(machine: Machine) -> Code | None:
    try:
        await machine.ended()
    except MachineError as error:
        return error.code
    return None
