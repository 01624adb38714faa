"""The host's end of the screen door, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from tests.unit.test_screen_rfb import BANNER, HEIGHT, WIDTH, greeting, raw, size, update

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import GO
from antechamber.machine import Stream
from antechamber.screen import Screens, read_banner, wait_for_paint
from antechamber.screen.rfb import CHROME_HEIGHT
from antechamber.screen.spares import SPARES
from antechamber.tasks import spawn


class Door:
    """What a guest dials, as the driver hands it over."""

    def __init__(self):
        self._dialled = asyncio.Queue()
        self.hosts = []

    async def dial(self):
        host, guest = socket.socketpair()
        self.hosts.append(Stream(*await asyncio.open_connection(sock=host)))
        await self._dialled.put(self.hosts[-1])
        return Stream(*await asyncio.open_connection(sock=guest))

    def close(self):
        self._dialled.put_nowait(None)

    async def streams(self):
        while (stream := await self._dialled.get()) is not None:
            yield stream


async def test_the_guests_spare_connection_is_told_to_go_when_a_screen_is_opened():
    door = Door()
    screens = Screens(door.streams())
    guest = await door.dial()
    opened = await screens.open()
    assert await guest.reader.readexactly(1) == GO
    guest.writer.write(BANNER)
    assert await read_banner(opened) == BANNER
    await screens.close()
    for stream in (guest, opened):
        stream.writer.transport.abort()


async def test_a_spare_that_died_is_passed_over():
    door = Door()
    screens = Screens(door.streams())
    dead = await door.dial()
    dead.writer.transport.abort()
    while not door.hosts[0].reader.at_eof():
        await asyncio.sleep(0)
    living = await door.dial()
    opened = await screens.open()
    assert opened is door.hosts[1]
    await screens.close()
    for end in (opened, living):
        end.writer.transport.abort()


async def test_more_spares_than_are_of_use_are_hung_up():
    door = Door()
    screens = Screens(door.streams())
    guests = [await door.dial() for _ in range(SPARES + 3)]
    for guest in guests[:3]:
        assert await guest.reader.read() == b""
    await screens.close()
    for guest in guests:
        guest.writer.transport.abort()


async def test_a_closed_door_is_said_and_not_waited_for():
    door = Door()
    screens = Screens(door.streams())
    opening = spawn("open", screens.open())
    door.close()
    with pytest.raises(MachineError) as error:
        await opening
    assert error.value.code is Code.MACHINE_ENDED
    await screens.close()


@pytest.mark.parametrize(("said", "code"), [(b"", Code.GUEST_PROTOCOL), (b"HTTP/1.1 400", Code.GUEST_PROTOCOL)])
async def test_f062_a_screen_that_is_no_rfb_is_an_error(said, code):
    door = Door()
    guest = await door.dial()
    host = await anext(door.streams())
    guest.writer.write(said)
    guest.writer.write_eof()
    with pytest.raises(MachineError) as error:
        await read_banner(host)
    assert error.value.code is code
    for end in (host, guest):
        end.writer.transport.abort()


async def test_the_paint_after_the_event_is_what_is_waited_for():
    door = Door()
    guest = await door.dial()
    host = await anext(door.streams())
    opened = asyncio.Event()
    waiting = spawn("paint", wait_for_paint(host, opened))
    guest.writer.write(greeting() + update(raw(0, 0, WIDTH, HEIGHT)))
    # banner, security, shared, format, encodings, the first request and the one after the update
    await guest.reader.readexactly(12 + 1 + 1 + 20 + 12 + 10 + 10)
    assert not waiting.done()
    opened.set()
    guest.writer.write(update(raw(20, CHROME_HEIGHT + 10, 60, 60, b"\0")))
    await waiting
    for end in (host, guest):
        end.writer.transport.abort()


async def test_a_page_that_opens_while_its_picture_is_followed_is_seen_without_another_picture():
    door = Door()
    guest = await door.dial()
    host = await anext(door.streams())
    opened = asyncio.Event()

    class Writer:
        def __getattr__(self, name):
            return getattr(host.writer, name)

        async def drain(self):
            opened.set()
            for _ in range(5):  # until whoever waits for it has heard
                await asyncio.sleep(0)

    host.reader.feed_data(
        greeting() + update(raw(0, 0, WIDTH, HEIGHT)) + update(raw(20, CHROME_HEIGHT + 10, 60, 60, b"\0"))
    )
    try:
        async with asyncio.timeout(5):
            await wait_for_paint(Stream(host.reader, Writer()), opened)
    finally:
        for end in (host, guest):
            end.writer.transport.abort()


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"GET / HTTP/1.1\r\n", Code.GUEST_PROTOCOL), (greeting(), Code.MACHINE_ENDED), (b"", Code.MACHINE_ENDED)],
)
async def test_a_screen_that_lies_or_ends_is_not_waited_for(said, code):
    door = Door()
    guest = await door.dial()
    host = await anext(door.streams())
    guest.writer.write(said)
    guest.writer.write_eof()
    with pytest.raises(MachineError) as error:
        await wait_for_paint(host, asyncio.Event())
    assert error.value.code is code
    for end in (host, guest):
        end.writer.transport.abort()


async def follows(said):
    """Have a watch follow a guest that says this; return how often other work had its turn, and the error."""
    door, turns, done = Door(), 0, asyncio.Event()
    guest = await door.dial()
    host = await anext(door.streams())

    async def other():
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    event = asyncio.Event()
    event.set()
    # all of it lies there before the first read: the watch itself must let others have their turn
    host.reader.feed_data(said)
    others = spawn("other", other())
    with pytest.raises(MachineError) as error:
        await wait_for_paint(host, event)
    done.set()
    await others
    for end in (host, guest):
        end.writer.transport.abort()
    return turns, error.value


@pytest.mark.parametrize(
    "said",
    [
        update(*[size(2560, 1600 - turn % 2) for turn in range(4000)]),
        struct.pack(">BxH", 0, 65535) + size(4096, 4096) * 65535,
        b"".join(update(size(2560, 1600 - turn % 2)) for turn in range(20_000)),
    ],
    ids=["in one update", "in the largest update", "in many updates"],
)
async def test_a_screen_that_only_resizes_ends_its_own_watch(said):
    _, error = await follows(greeting() + said)
    assert error.code is Code.GUEST_PROTOCOL


async def test_other_work_goes_on_while_much_is_followed():
    blank = update(raw(0, 0, WIDTH, HEIGHT))
    turns, error = await follows(greeting() + blank * 3 + b"\xff")
    assert error.code is Code.GUEST_PROTOCOL
    assert turns > len(blank) * 3 // 4096
