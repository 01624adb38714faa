"""What `test_full_disk` runs where machines' folders are on a disk of a megabyte."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from antechamber.drivers import locks
from tests import small_disk
from tests.unit.keeper.test_keep import STARTED, Kept

DISK = Path(os.environ[small_disk.AT])


@pytest.fixture
def disk():
    filler = small_disk.Filler(DISK)
    yield filler
    (DISK / "filler").unlink(missing_ok=True)


async def test_a_full_disk_ends_no_machine_and_its_end_is_recorded_all_the_same(disk):
    kept = Kept(Path(tempfile.mkdtemp(dir=DISK)))
    # two: what is written to one that its first reader has not left yet is lost with that reader
    go, on = kept.folder.path / "go", kept.folder.path / "on"
    os.mkfifo(go)
    os.mkfifo(on)
    noise = "i=0; while [ $i -lt 2000 ]; do echo DUMMY words of a machine; i=$((i+1)); done; "
    await kept.start(f"{STARTED} read line < {go}; {noise} read line < {on}; exit 7")
    disk.fill()
    # opening it waits for the other end, which has read it then
    await asyncio.to_thread(go.write_text, "on\n")
    # it has printed all that it wants to by then
    with await asyncio.to_thread(on.open, "w") as again:
        assert locks.held(kept.folder.alive), "the machine goes on"
        again.write("on\n")
    end = await kept.end()
    assert (end["code"], end["began"]) == (7, True)


async def test_a_machine_without_room_for_its_record_is_not_started(disk):
    kept = Kept(Path(tempfile.mkdtemp(dir=DISK)))
    began = kept.folder.path / "began"
    disk.fill()
    (DISK / "filler").write_bytes(b"\0" * ((DISK / "filler").stat().st_size - 8 * 1024))
    with pytest.raises(Exception, match="No space left"):
        await kept.start(f"echo > {began}; {STARTED} sleep 60")
    assert not began.exists()
    assert await kept.folder.nothing_left(20)
