"""A service reclaims what is left of its own machines before it starts anything, its own checks included."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path

import pytest

from antechamber import app
from antechamber.egress import World
from antechamber.machine import Check, MachineSpec
from antechamber.model import IdPrefix, new_id
from antechamber.settings import Settings
from antechamber.tasks import spawn
from antechamber.testing.hosted import HostedDriver
from antechamber.testing.machine_host import HostedMachines
from tests.acceptance.crash.life import tools_of_nobody
from tests.integration.scene import Echo, OneAddress


class FullHost(HostedDriver):
    """Has room for no machine while another runs: its own check would fail for ever."""

    machines = None

    async def check(self):
        running = self.machines.running()
        return [Check("room", ok=not running, message=f"there is no room beside {running}", remedy="end one")]


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="arf-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


async def _forever(_):
    await asyncio.Event().wait()


async def test_what_is_left_of_a_machine_that_no_row_asks_for_does_not_keep_the_service_from_starting(folder):
    (folder / "run").mkdir()
    machines = HostedMachines(folder / "host.sock", _forever)
    await machines.serve()
    connector = Echo()

    def drivers(_, places, installation, node):
        driver = FullHost(folder / "host.sock", places.run, installation=installation, node=node)
        driver.machines = machines
        known.append(driver)
        return [driver]

    known = []

    async def serve(then):
        ready, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
        settings = Settings(
            world="demo", port=0, data_dir=folder / "data", run_dir=folder / "run", shared_dir=folder / "shared"
        )
        world = World("demo", OneAddress(), connector)
        serving = spawn(
            "service", app.run(settings, world, ready.set_result, stop=stop, drivers=drivers, look=tools_of_nobody)
        )
        await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await then()
        stop.set()
        await serving

    async def leave_a_machine():
        spec = MachineSpec(new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION))
        handle = known[-1].plan(spec.machine_id, spec.incarnation, host_uid=None)
        await (await known[-1].start(spec, handle)).let_go()
        stranger = {**handle, "incarnation": new_id(IdPrefix.INCARNATION), "installation": "ins_another"}
        (folder / "run" / stranger["incarnation"]).mkdir()
        (folder / "run" / stranger["incarnation"] / "mark.json").write_text(json.dumps(stranger))

    async def look():
        assert machines.running() == []
        assert [
            json.loads((path / "mark.json").read_text())["installation"] for path in (folder / "run").iterdir()
        ] == ["ins_another"]

    await serve(leave_a_machine)
    assert len(machines.running()) == 1
    await serve(look)
    await machines.close()
    await connector.close()
