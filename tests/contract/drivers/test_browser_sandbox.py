"""Chromium keeps its own sandbox in a machine: nothing of ours takes from it what it is made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from antechamber.machine import Mount
from antechamber.testing.bench import Bench
from tests.contract.drivers.test_namespace import NamespaceHost

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Chromium is not installed"),
]
_FOLDER = "/opt/browser-probe"


async def test_every_renderer_is_in_chromiums_own_sandbox():
    host = NamespaceHost()
    bench = Bench(host)
    try:
        folder = host.readable("browser")
        shutil.copy(Path(__file__).with_name("browser_probe.py"), folder / "probe.py")
        machine = await bench.start(
            program=("/usr/bin/python3", "-I", f"{_FOLDER}/probe.py"), mounts=(Mount(folder, _FOLDER),)
        )
        said = json.loads(await bench.said(machine, within=90) or b"{}")
        log = Path(machine.handle["folder"], "machine.log")
        assert said, log.read_text() if log.exists() else "the machine printed nothing"
        assert said["running"], said["log"]
        assert said["renderers"], said["log"]
        assert {one["seccomp"] for one in said["renderers"]} == {"2"}
        assert min(one["depth"] for one in said["renderers"]) > said["browser"]["depth"]
        assert said["policy"]["DeveloperToolsAvailability"] == 2
        assert "no-sandbox" not in said["log"]
    finally:
        await bench.clear()
        host.remove()
