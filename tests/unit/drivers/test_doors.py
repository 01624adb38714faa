"""The doors' listening ends: nothing that was dialled is lost, and nothing stays open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from pathlib import Path

import pytest

from antechamber.drivers.doors import UnixDoors
from antechamber.machine import Door
from antechamber.tasks import cancel_and_wait, spawn


@pytest.fixture
async def doors(tmp_path):
    made = UnixDoors(tmp_path, list(Door), give=None)
    yield made
    await made.close()


def _dial(folder, door):
    dialled = socket.socket(socket.AF_UNIX)
    dialled.connect(os.fspath(folder / f"{door}.sock"))
    return dialled


def _sockets():
    gc.collect()
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own is gone
            if str(link.readlink()).startswith("socket:"):
                found.add(link.name)
    return found


async def test_drained_doors_leave_no_listener_open_whether_taken_begun_or_neither(tmp_path):
    before = _sockets()
    doors = UnixDoors(tmp_path, list(Door), give=None)
    never_begun = doors.accept(Door.SCREEN)
    begun = spawn("begun", anext(doors.accept(Door.LINK), None))
    await asyncio.sleep(0)
    doors.drain()
    assert await begun is None
    assert _sockets() == before
    assert [stream async for stream in never_begun] == []


async def test_what_was_dialled_before_the_end_is_yielded_by_an_iterator_that_begins_after_it(doors, tmp_path):
    streams = doors.accept(Door.LINK)
    with _dial(tmp_path, Door.LINK) as dialled:
        dialled.sendall(b"bye")
    doors.drain()
    heard = []
    async for stream in streams:
        heard.append(await stream.reader.read())
        stream.writer.close()
    assert heard == [b"bye"]


async def test_what_nobody_asked_for_after_the_end_is_closed(tmp_path):
    before = _sockets()
    doors = UnixDoors(tmp_path, list(Door), give=None)
    unread = doors.accept(Door.LINK)
    with _dial(tmp_path, Door.LINK):
        doors.drain()
        await doors.close()
    assert _sockets() == before
    assert [stream async for stream in unread] == []


@pytest.mark.parametrize("waits", range(6))
async def test_a_connection_that_comes_as_the_wait_is_cancelled_is_never_left_open_unheard(tmp_path, waits):
    before = _sockets()
    doors = UnixDoors(tmp_path, list(Door), give=None)
    waiting = spawn("waiting", anext(doors.accept(Door.LINK)))
    await asyncio.sleep(0)
    with _dial(tmp_path, Door.LINK):
        for _ in range(waits):
            await asyncio.sleep(0)
        await cancel_and_wait(waiting)
    await doors.close()
    assert _sockets() == before


async def test_closing_ends_an_iterator_that_waits(doors):
    waiting = spawn("waiting", anext(doors.accept(Door.LINK), None))
    await asyncio.sleep(0)
    await doors.close()
    assert await waiting is None
