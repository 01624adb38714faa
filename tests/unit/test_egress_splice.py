from __future__ import annotations

import asyncio
import contextlib

from tests.unit.egress_scene import PUBLIC, Remote, Scene, Zone

MIB = 2**20


async def opened(tmp_path, serve):
    remote = Remote(tmp_path / "remote", serve)
    await remote.__aenter__()
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    guest = await scene.ask("connect", "some.dev", 80)
    assert await guest.answer() == "ok"
    return remote, scene, guest


async def test_the_guest_may_end_its_sending_and_still_read_the_answer(tmp_path):
    async def count(reader, writer):
        received = 0
        while chunk := await reader.read(65536):
            received += len(chunk)
        writer.write(b"%d" % received)
        await writer.drain()
        writer.close()

    remote, scene, guest = await opened(tmp_path, count)
    guest.writer.write(bytes(3 * MIB))
    guest.writer.write_eof()
    assert await guest.reader.read() == b"%d" % (3 * MIB)
    await guest.close()
    await remote.__aexit__()
    assert scene.egress.uses()[0].bytes_out == 3 * MIB


async def test_the_server_may_end_its_sending_and_still_receive(tmp_path):
    received = bytearray()
    whole = asyncio.Event()

    async def greet(reader, writer):
        writer.write(b"bye")
        writer.write_eof()
        while chunk := await reader.read(65536):
            received.extend(chunk)
        whole.set()
        writer.close()

    remote, _, guest = await opened(tmp_path, greet)
    assert await guest.reader.read() == b"bye"
    guest.writer.write(b"last words")
    guest.writer.write_eof()
    await whole.wait()
    assert received == b"last words"
    await guest.close()
    await remote.__aexit__()


async def test_a_guest_that_stops_reading_stops_the_server_and_nothing_is_hoarded(tmp_path):
    sent = 0
    stalled = asyncio.Event()

    async def pour(_, writer):
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(bytes(65536))
                try:
                    async with asyncio.timeout(0.5):
                        await writer.drain()
                except TimeoutError:
                    stalled.set()
                    await writer.drain()
                sent += 65536
        writer.transport.abort()

    remote, scene, guest = await opened(tmp_path, pour)
    await stalled.wait()
    assert sent < 8 * MIB
    assert scene.egress.uses()[0].bytes_in < 8 * MIB
    guest.writer.transport.abort()
    await guest.task
    await remote.__aexit__()


async def test_a_server_that_breaks_off_ends_the_guests_stream(tmp_path):
    async def slam(reader, writer):
        await reader.read(1)
        writer.transport.abort()

    remote, _, guest = await opened(tmp_path, slam)
    guest.writer.write(b"x")
    with contextlib.suppress(ConnectionError):
        assert await guest.reader.read() == b""
    guest.writer.close()
    await guest.task
    await remote.__aexit__()
