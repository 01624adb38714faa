"""Dialling a door whose queue is full, and carrying bytes between two connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from antechamber.guest.doors import dial, join
from antechamber.guest.tasks import Tasks


async def test_a_door_whose_queue_is_full_is_dialled_until_there_is_room(tmp_path):
    path = tmp_path / "door.sock"
    with contextlib.ExitStack() as stack:
        door = stack.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(str(path))
        door.listen(0)
        for _ in range(10):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(path))
        tasks = Tasks()
        dialling = tasks.spawn("dial", dial(path, within=20))
        await asyncio.sleep(0)
        assert not dialling.done()
        while not dialling.done():
            with contextlib.suppress(TimeoutError):
                door.settimeout(0.01)
                stack.enter_context(door.accept()[0])
            await asyncio.sleep(0)
        _, writer = await dialling
        writer.write(b"there")
        await writer.drain()
        writer.close()
        await tasks.close()


async def test_a_door_that_stays_full_or_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        await dial(tmp_path / "nothing.sock", within=1)


async def test_each_half_ends_for_itself_and_a_broken_one_breaks_both():
    one, one_end = await _pair()
    other, other_end = await _pair()
    tasks = Tasks()
    joining = tasks.spawn("join", join(one, other))
    one_end[1].write(b"question")
    one_end[1].write_eof()
    assert await other_end[0].read() == b"question"
    other_end[1].write(b"answer")
    other_end[1].write_eof()
    assert await one_end[0].read() == b"answer"
    await joining
    for end in (one_end, other_end):
        end[1].transport.abort()
    await tasks.close()


async def test_cancelled_it_hangs_up_on_both():
    one, one_end = await _pair()
    other, other_end = await _pair()
    tasks = Tasks()
    tasks.spawn("join", join(one, other))
    await asyncio.sleep(0)
    await tasks.close()
    for reader, writer in (one_end, other_end):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.transport.abort()


async def _pair():
    here, there = socket.socketpair()
    return await asyncio.open_connection(sock=here), await asyncio.open_connection(sock=there)
