"""Scripted machines that outlive the service pass the contract, less isolation."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from antechamber.model import IdPrefix, new_id
from antechamber.testing.drivers import DriverContract
from antechamber.testing.hosted import HostedDriver
from antechamber.testing.machine_host import HostedMachines
from tests.contract.drivers.test_scripted import script


async def talk(guest) -> int:
    guest.print("first ")
    guest.print("x" * 2**20)
    guest.print("last words")
    return 3


async def script_or_talk(guest) -> int:
    return await (talk if guest.spec.program[4] == "talk" else script)(guest)


class _Host:
    def __init__(self, folder):
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir()
        self.machines = HostedMachines(folder / "host.sock", script_or_talk)
        self.node = new_id(IdPrefix.NODE)

    def driver(self, *, unclaimed_s=900.0):
        self.machines.unclaimed_s = unclaimed_s
        return HostedDriver(self.folder / "host.sock", self.run, installation="ins_0", node=self.node)

    def left(self, handle):
        incarnation = handle["incarnation"]
        left = [f"process {incarnation}"] if incarnation in self.machines.running() else []
        if incarnation in self.machines.kept() and not left:
            left.append(f"record {incarnation}")
        if Path(handle["folder"]).exists():
            left.append(f"folder {handle['folder']}")
        return left

    def kill_keeper(self, handle):
        self.machines.kill_keeper(handle["incarnation"])

    def readable(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder


class TestHostedDriver(DriverContract):
    @pytest.fixture
    async def host(self):
        # short, because sockets' paths are
        folder = Path(tempfile.mkdtemp(prefix="ah-", dir="/tmp"))
        host = _Host(folder)
        await host.machines.serve()
        yield host
        await host.machines.close()
        shutil.rmtree(folder)

    async def test_what_a_script_printed_is_told_by_any_service_until_it_is_reaped(self, bench):
        machine = await bench.start("talk")
        assert (await machine.ended()).exit_code == 3
        await machine.let_go()
        other = bench.host.driver()
        printed = (await other.printed(machine.handle))["machine"]
        assert (printed[-11:], len(printed)) == ("xlast words", 65_536)
        await other.reap(machine.handle)
        assert await other.printed(machine.handle) == {}
