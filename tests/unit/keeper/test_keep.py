"""The keeper with plain programs in the place of bubblewrap: how it starts, records, limits and ends them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from antechamber.drivers import keepers, locks
from antechamber.drivers.namespace import seccomp
from antechamber.errors import MachineError
from antechamber.keeper.keep import LOG_LIMIT

STARTED = "echo >&3; exec 3>&-; "


class Kept:
    def __init__(self, folder):
        self.folder = keepers.KeptFolder(folder)
        (folder / "secret").write_text("DUMMY-secret")

    async def start(self, script, *, unclaimed_s=60.0):
        path = self.folder.path
        (path / "seccomp.bpf").write_bytes(seccomp.program())
        plan = {
            "incarnation": "inc_test",
            "argv": ["/bin/sh", "-c", script],
            "options": [],
            "seccomp": str(path / "seccomp.bpf"),
            "uid": None,
            "subordinate": None,
            "unclaimed_s": unclaimed_s,
            "memory_bytes": 2**30,
        }
        (path / "plan.json").write_text(json.dumps(plan))
        alive = locks.take(self.folder.alive)
        try:
            await keepers.start_keeper(self.folder, alive)
        finally:
            os.close(alive)

    async def end(self):
        assert await self.folder.nothing_left(20)
        return json.loads((self.folder.path / "exit.json").read_text())


@pytest.fixture
async def kept(tmp_path):
    kept = Kept(tmp_path)
    yield kept
    if locks.held(kept.folder.alive):
        claim = await keepers.claim(kept.folder)
        await claim.stop()
        await claim.ended()
        await claim.release()


async def test_the_programs_code_is_recorded(kept):
    await kept.start(STARTED + "exit 4")
    end = await kept.end()
    assert (end["code"], end["detail"], end["began"]) == (4, "", True)
    assert not kept.folder.control.exists()


async def test_a_signal_is_recorded_as_128_and_its_number(kept):
    await kept.start(STARTED + "kill -SEGV $$")
    assert (await kept.end())["code"] == 128 + signal.SIGSEGV


async def test_f069i_a_start_that_fails_says_what_was_printed(kept):
    with pytest.raises(MachineError) as caught:
        await kept.start("echo no such thing >&2; exit 1")
    assert caught.value.detail == "no such thing"
    assert (await kept.end())["began"] is False


async def test_a_program_that_is_missing_fails_the_start(kept):
    with pytest.raises(MachineError) as caught:
        await kept.start("exec /nonexistent-antechamber")
    assert "nonexistent-antechamber" in caught.value.detail
    assert (await kept.end())["code"] == 127


async def test_what_the_program_leaves_running_is_ended_with_it(kept):
    marked = f"FOLDER={kept.folder.path} setsid --fork sleep 86400; "
    await kept.start(marked + STARTED + "exit 0")
    assert (await kept.end())["code"] == 0
    mark = str(kept.folder.path).encode()
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]
    assert left == []


async def test_f073_output_is_kept_up_to_a_limit(kept):
    await kept.start(STARTED + f"head -c {LOG_LIMIT * 4} /dev/zero")
    await kept.end()
    assert (kept.folder.path / "machine.log").stat().st_size == LOG_LIMIT


async def test_a_pipes_end_that_a_guest_sent_away_does_not_hold_up_the_end(kept):
    script = kept.folder.path / "send.py"
    script.write_text(
        "import socket, sys\n"
        "with socket.socket(socket.AF_UNIX) as s:\n"
        "    s.connect(sys.argv[1])\n"
        "    socket.send_fds(s, [b'x'], [1, 2, 3, 4])\n"
    )
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(kept.folder.path / "door.sock"))
        door.listen()  # and nobody takes what is sent, so that the ends stay open
        await kept.start(f"/usr/bin/python3 -I {script} {kept.folder.path}/door.sock && {STARTED} exit 6")
        assert (await kept.end())["code"] == 6


async def test_a_machine_that_outlives_its_keeper_is_seen(kept):
    # its keeper's death would end it here: what stays is started as no child of its
    path = kept.folder.path
    await kept.start(f"setsid --fork sleep 86400; echo $$ > {path}/pid; {STARTED} exec sleep 86400")
    claim = await keepers.claim(kept.folder)
    keeper = _keeper(kept)
    survivors = [pid for pid in _descendants(keeper) if pid != int((path / "pid").read_text())]
    os.kill(keeper, signal.SIGKILL)
    assert not await kept.folder.nothing_left(0.5), "its socket is still bound"
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert await kept.folder.nothing_left(20)
    assert (await claim.ended()).exit_code is None
    await claim.release()


async def test_an_unclaimed_machine_ends(kept):
    await kept.start(STARTED + "exec sleep 86400", unclaimed_s=0.1)
    end = await kept.end()
    assert end["detail"] == "no service claimed it"


async def test_two_claims_count_until_both_are_gone(kept):
    await kept.start(STARTED + "exec sleep 86400", unclaimed_s=0.5)
    one, other = await keepers.claim(kept.folder), await keepers.claim(kept.folder)
    await one.release()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await other.ended()
    await other.release()
    await kept.end()


async def test_every_claim_is_told_of_the_end(kept):
    await kept.start(STARTED + "exec sleep 86400")
    one, other = await keepers.claim(kept.folder), await keepers.claim(kept.folder)
    await one.stop()
    ends = [await one.ended(), await other.ended()]
    assert ends[0] == ends[1]
    assert ends[0].exit_code == 128 + signal.SIGKILL
    await one.release()
    await other.release()


async def test_a_sigterm_to_the_keeper_ends_the_machine(kept):
    await kept.start(STARTED + "exec sleep 86400")
    claim = await keepers.claim(kept.folder)
    os.kill(_keeper(kept), signal.SIGTERM)
    assert (await claim.ended()).detail == "the keeper was asked to end"
    await claim.release()


def _keeper(kept):
    return next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"keeper/__main__.py" in (line := _read(path)) and str(kept.folder.path).encode() in line
    )


def _descendants(pid):
    return [int(child) for child in _read(Path(f"/proc/{pid}/task/{pid}/children")).split()]


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
