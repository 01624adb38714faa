"""Every program that a machine is to run is there and starts: the host's own that the guest names, Node, the tools."""

from __future__ import annotations

import json

import pytest

from antechamber.machine import Mount
from antechamber.places import place
from antechamber.providers import Providers, install, job
from antechamber.providers.job import CLI_AT, NODE_AT
from antechamber.settings import Settings
from tests.unit.guest.test_programs_of_the_host import started_by_the_guest

VERSIONS = {
    "Xtigervnc": ["-version"],
    "openbox": ["--version"],
    "/usr/bin/chromium": ["--version"],
    "/usr/bin/python3": ["--version"],
}
"""By program of the host, how it says its version."""
RUN = """
import json, socket, subprocess, sys
told = {}
for argv in json.loads(sys.argv[1]):
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        told[argv[0]] = [ran.returncode, (ran.stdout + ran.stderr)[-400:]]
    except (OSError, subprocess.TimeoutExpired) as error:
        told[argv[0]] = [-1, repr(error)]
with socket.socket(socket.AF_UNIX) as link:
    link.connect("/run/doors/link.sock")
    link.sendall(json.dumps(told).encode())
"""


def test_f079_each_program_that_the_guest_starts_is_one_that_is_tried():
    assert started_by_the_guest() == VERSIONS.keys() - {"/usr/bin/python3"}


async def run_in_a_machine(bench, commands, *mounts):
    """Return, by its first word, how each command that was run in a machine ended: its code, and what it printed."""
    program = ("/usr/bin/python3", "-I", "-c", RUN, json.dumps(commands))
    machine = await bench.start(program=program, mounts=mounts)
    return json.loads(await bench.said(machine, within=100))


@pytest.mark.machine
async def test_f079_every_program_of_the_host_that_the_guest_starts_runs_in_a_machine(bench):
    told = await run_in_a_machine(bench, [[name, *words] for name, words in VERSIONS.items()])
    assert told.keys() == VERSIONS.keys()
    # the X server says its version as an error
    told["Xtigervnc"][0] = 0 if "TigerVNC" in told["Xtigervnc"][1] else told["Xtigervnc"][0]
    assert {name: said for name, said in told.items() if said[0] != 0} == {}


def mounts_of(spec):
    """Return how an installed tool lies in a machine."""
    shared = place(Settings()).shared
    mounts = [Mount(install.verify(spec, shared).folder, CLI_AT)]
    return mounts + ([Mount(install.node(shared), NODE_AT)] if spec.needs_node else [])


@pytest.mark.machine
@pytest.mark.parametrize("spec", Providers.load().all(), ids=lambda spec: spec.id)
async def test_f079_f082_each_vendors_tool_starts_in_a_machine_and_is_the_pinned_one(bench, spec):
    ((code, said),) = (await run_in_a_machine(bench, [[*job.program(spec), "--version"]], *mounts_of(spec))).values()
    assert code == 0, said
    assert spec.version in said
