"""The scripted driver passes the contract, less isolation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from antechamber.drivers.scripted import ScriptedDriver, ScriptedHost
from antechamber.machine import Door
from antechamber.testing import probe
from antechamber.testing.drivers import DriverContract


async def _dial(guest, door: Door):
    while True:
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            return await guest.dial(door)
        await asyncio.sleep(0.005)


async def _bye(guest, code):
    stream = await _dial(guest, Door.LINK)
    stream.writer.write(b"bye")
    await stream.writer.drain()
    stream.writer.close()
    return int(code)


async def _stay(guest):
    while True:
        stream = await _dial(guest, Door.LINK)
        with contextlib.suppress(OSError):
            stream.writer.write(f"up {id(guest)}\n".encode())
            async for line in stream.reader:
                if line.startswith(b"exit "):
                    return int(line.split()[1])
                stream.writer.write(line)
        stream.writer.close()


async def _streams(guest):
    async def echo(stream):
        while received := await stream.reader.read(probe.BLOCK):
            stream.writer.write(received)
            await stream.writer.drain()
        stream.writer.write_eof()

    streams = [await _dial(guest, Door.EGRESS) for _ in range(probe.STREAMS)]
    for number, stream in enumerate(streams):
        stream.writer.write(f"{number}\n".encode())
    streams[0].reader._transport.pause_reading()
    async with asyncio.TaskGroup() as group:
        for stream in streams[1:]:
            group.create_task(echo(stream))
    await asyncio.Event().wait()
    return 0


async def _half_close(guest):
    stream = await _dial(guest, Door.EGRESS)
    stream.writer.write(b"question")
    stream.writer.write_eof()
    length = len(await stream.reader.read())
    stream.writer.close()
    stream = await _dial(guest, Door.LINK)
    stream.writer.write(str(length).encode())
    await stream.writer.drain()
    stream.writer.close()
    return 0


async def _leave(guest, code):
    return int(code)


WORDS = {
    "exit": _leave,
    "bye": _bye,
    "stay": _stay,
    "family": _stay,
    "streams": _streams,
    "half_close": _half_close,
}


async def script(guest) -> int:
    word, *rest = guest.spec.program[4:]
    return await WORDS[word](guest, *rest)


class _Host:
    def __init__(self, folder):
        self.folder = folder
        self.scripted = ScriptedHost(script)

    def driver(self, *, unclaimed_s=900.0):
        self.scripted.unclaimed_s = unclaimed_s
        return ScriptedDriver(self.scripted)

    def left(self, handle):
        found = self.scripted.find(handle["incarnation"])
        return [] if found is None else [f"{'process' if found.end is None else 'record'} {handle['incarnation']}"]

    def kill_keeper(self, handle):
        raise NotImplementedError

    def readable(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder


class TestScriptedDriver(DriverContract):
    @pytest.fixture
    async def host(self, tmp_path):
        host = _Host(tmp_path)
        yield host
        await host.scripted.close()
