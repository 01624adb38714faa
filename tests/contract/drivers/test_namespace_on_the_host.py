"""What the namespace driver does on the host's side: uids, sockets, the keeper's manners, crashes in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import struct
import time
from pathlib import Path

import pytest

from antechamber.drivers import locks
from antechamber.errors import Code, MachineError
from antechamber.machine import Door, MachineEnd
from antechamber.tasks import spawn
from antechamber.testing.bench import WITHIN
from tests.contract.drivers.test_namespace import NamespaceHost

pytestmark = pytest.mark.machine
_NONE = 0xFFFF_FFFF


def _needs_own_uids(bench):
    if not bench.driver.capabilities.own_uids:
        pytest.skip("this account cannot start programs under other uids")


def _uid_of(pid):
    return Path(f"/proc/{pid}").stat().st_uid


async def test_each_machine_runs_under_a_host_uid_of_its_own(bench):
    _needs_own_uids(bench)
    one, other = await bench.start("stay"), await bench.start("stay")
    for machine in (one, other):
        await bench.up(machine)
        keeper = bench.host.keeper(machine.handle)
        uids = {_uid_of(pid) for pid in bench.host.processes(machine.handle) if pid != keeper}
        assert uids == {machine.handle["uid"]}
    assert len({0, os.geteuid(), one.handle["uid"], other.handle["uid"]}) >= 3


async def test_a_door_belongs_to_its_machines_uid_and_to_nobody_else(bench):
    machine = await bench.start("stay")
    folder = Path(machine.handle["folder"])
    given = os.geteuid() == 0 and machine.handle["uid"] is not None
    for door in Door:
        path = folder / "doors" / f"{door}.sock"
        assert path.stat().st_uid == (machine.handle["uid"] if given else os.geteuid())
        if given or machine.handle["uid"] is None:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        else:
            # the group's bits are the list's mask; the group itself has nothing, and one uid is named
            listed = [
                struct.unpack_from("<HHI", os.getxattr(path, "system.posix_acl_access"), 4 + 8 * n) for n in range(5)
            ]
            named = machine.handle["uid"]
            assert listed == [(1, 6, _NONE), (2, 6, named), (4, 0, _NONE), (16, 6, _NONE), (32, 0, _NONE)]
    assert (folder / "doors").stat().st_uid == os.geteuid(), "the machine's uid cannot change the folder"
    for secret in ("secret", "plan.json", "mark.json", "keeper.sock"):
        assert stat.S_IMODE((folder / secret).stat().st_mode) == 0o600, secret


async def test_a_uid_that_another_installation_uses_is_not_offered_and_not_taken(bench):
    _needs_own_uids(bench)
    machine = await bench.start("stay")
    uid = machine.handle["uid"]
    neighbour = NamespaceHost()
    try:
        other = neighbour.driver()
        assert uid not in other.host_uids()
        assert not other.reserve(uid)
        spec, _ = bench.planned("stay")
        with pytest.raises(MachineError) as caught:
            await other.start(spec, other.plan(spec.machine_id, spec.incarnation, host_uid=uid))
        assert str(uid) in caught.value.detail
        await bench.up(machine)
        assert await other.found() == []
    finally:
        neighbour.remove()


async def test_a_reserved_uid_is_the_machine_s_that_starts_and_given_back_by_what_does_not(bench):
    _needs_own_uids(bench)
    driver, neighbour = bench.driver, NamespaceHost()
    try:
        other = neighbour.driver()
        uid, unused = driver.host_uids()[:2]
        assert driver.reserve(uid)
        assert driver.reserve(unused)
        assert not other.reserve(uid), "one installation's reservation holds against another"
        assert not {uid, unused} & set(other.host_uids())
        driver.give_back(unused)
        driver.give_back(unused)
        assert other.reserve(unused)
        other.give_back(unused)

        spec, _ = bench.planned("stay")
        handle = driver.plan(spec.machine_id, spec.incarnation, host_uid=uid)
        machine = await driver.start(spec, handle)
        driver.give_back(uid)
        assert not other.reserve(uid), "the machine has it now"
        await machine.stop(within=WITHIN)
        await machine.let_go()
        await driver.reap(handle)
        assert other.reserve(uid)
        other.give_back(uid)
    finally:
        neighbour.remove()


async def test_f091g_the_keeper_leaves_its_starter_behind(bench):
    machine = await bench.start("stay")
    proc = Path("/proc", str(bench.host.keeper(machine.handle)))
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    parent, session = int(fields[1]), int(fields[3])
    assert parent != os.getpid()
    assert session != os.getsid(0)
    assert (proc / "cwd").readlink() == Path("/")
    held = {int(fd.name): str(fd.readlink()) for fd in (proc / "fd").iterdir()}
    assert held[0] == "/dev/null"
    assert held[1] == held[2] == f"{machine.handle['folder']}/keeper.log"
    own_pipes = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    shared = {name for number, name in held.items() if number > 2} & own_pipes
    assert shared <= {"anon_inode:[eventpoll]"}, "no pipe or socket of the starter's"


async def test_f047_only_the_incarnations_secret_opens_the_keeper(bench):
    machine = await bench.start("stay")
    control = Path(machine.handle["folder"], "keeper.sock")
    for request in (b'{"op": "stop"}', b'{"op": "stop", "secret": "DUMMY"}', b"[]", b"garbage", b"x" * 10_000):
        reader, writer = await asyncio.open_unix_connection(os.fspath(control))
        writer.write(request + b"\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b"", "it says nothing"
        writer.close()
    await bench.up(machine)


async def test_a_service_that_died_before_the_keeper_came_leaves_no_machine(bench):
    spec, handle = bench.planned("stay")
    driver = bench.driver
    taken = []
    driver._make_folder(spec, handle, _folder(handle), taken)
    os.close(taken[0])  # the kernel does this for a service that is killed here
    assert await driver.attach(handle) == MachineEnd(None, None, "nothing of it runs, and nobody recorded its end")
    machine = await driver.start(spec, handle)
    await bench.keep(machine)
    await bench.up(machine)


async def test_f072_a_folder_that_a_crash_left_half_made_is_cleared_away(bench):
    _, handle = bench.planned("stay")
    half_made = Path(handle["folder"]).with_name("." + handle["incarnation"])
    half_made.mkdir()
    (half_made / "mark.json").write_text(json.dumps(dict(handle)))
    assert await bench.driver.found() == []
    assert not half_made.exists()


async def test_another_installations_machines_are_not_found(bench):
    await bench.start("stay")
    bench.host.installation = "ins_00000000000000000000"
    assert await bench.host.driver().found() == []


async def test_f105_a_stopped_keeper_is_not_a_dead_machine(bench):
    machine = await bench.start("stay")
    await bench.up(machine)
    await machine.let_go()
    keeper = bench.host.keeper(machine.handle)
    os.kill(keeper, signal.SIGSTOP)
    try:
        with pytest.raises(MachineError) as caught:
            await bench.driver.attach(machine.handle)
        assert caught.value.code is Code.INTERNAL
        with pytest.raises(MachineError):
            await bench.driver.reap(machine.handle)
    finally:
        os.kill(keeper, signal.SIGCONT)
    found = await bench.driver.attach(machine.handle)
    assert not isinstance(found, MachineEnd)
    await bench.keep(found)


async def test_a_start_that_is_cancelled_anywhere_leaves_a_machine_that_can_be_found_or_nothing(bench):
    for steps in range(0, 60, 6):
        spec, handle = bench.planned("stay")
        starting = spawn("start", bench.driver.start(spec, handle))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.sleep(steps / 1000)
        starting.cancel()
        await asyncio.wait({starting})
        if not starting.cancelled():
            await bench.keep(starting.result())
            continue
        found = await bench.driver.attach(handle)
        if not isinstance(found, MachineEnd):
            await found.stop(within=WITHIN)
            await found.let_go()
        await bench.driver.reap(handle)
        assert bench.host.left(handle) == []


async def test_two_starts_of_one_incarnation_at_once_make_one_machine(bench):
    spec, handle = bench.planned("stay")
    machines = await asyncio.gather(bench.driver.start(spec, handle), bench.driver.start(spec, handle))
    for machine in machines:
        await bench.keep(machine)
    keepers = [pid for pid in bench.host.processes(handle) if b"keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(keepers) == 1


async def test_a_machine_trusts_what_its_world_adds_and_nothing_else(bench):
    anchor = "-----BEGIN CERTIFICATE-----\nRFVNTVk=\n-----END CERTIFICATE-----\n"
    machine = await bench.start("stay", trust_anchors=(anchor,))
    etc = Path(machine.handle["folder"], "etc")
    policy = json.loads((etc / "chromium/policies/managed/antechamber.json").read_text())
    assert policy["CACertificates"] == ["RFVNTVk="]
    assert (etc / "antechamber/ca.pem").read_text() == anchor
    assert (etc / "antechamber/bundle.pem").read_text().endswith(anchor)
    other = await bench.start("stay")
    etc = Path(other.handle["folder"], "etc")
    assert "CACertificates" not in (etc / "chromium/policies/managed/antechamber.json").read_text()
    assert not (etc / "antechamber/ca.pem").exists()


async def test_f063_a_machine_starts_and_stops_quickly(bench, record_property):
    await (await bench.start("exit", "0")).ended()
    begun = time.perf_counter()
    machine = await bench.start("stay")
    await bench.up(machine)
    running = time.perf_counter()
    await machine.stop(within=WITHIN)
    stopped = time.perf_counter()
    record_property("start_ms", round((running - begun) * 1000))
    record_property("stop_ms", round((stopped - running) * 1000))
    assert running - begun < 3, "60 ms where nothing else runs; this is no benchmark"
    assert stopped - running < 3


def _folder(handle):
    from antechamber.drivers.keepers import KeptFolder

    return KeptFolder(Path(handle["folder"]))


def test_a_lock_that_is_held_is_not_taken_and_its_file_not_removed(tmp_path):
    path = tmp_path / "lock"
    held = locks.take(path)
    assert held is not None
    assert locks.held(path)
    assert locks.take(path) is None
    locks.remove(path)
    assert path.exists()
    os.close(held)
    assert not locks.held(path)
    locks.remove(path)
    assert not path.exists()
    locks.remove(path)
