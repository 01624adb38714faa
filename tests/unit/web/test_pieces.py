import asyncio
import os
import socket

import pytest

from antechamber.machine import Stream
from antechamber.web.pieces import PIECE, Pieces


@pytest.fixture(params=[True, False], ids=["written before the takeover", "written after it"])
def before(request) -> bool:
    return request.param


async def pair():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)  # noqa: FBT003 - the standard library's signature
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    return Stream(reader, writer), theirs


async def taken(stream, meanwhile, *, before):
    """Return the pieces of a stream, and do something before or after the takeover."""
    if before:
        meanwhile()
        # until the reader has it, which has no public word for that
        while stream.writer.transport.is_reading() and not await _given(stream.reader):
            await asyncio.sleep(0)
    pieces = Pieces(stream)
    if not before:
        meanwhile()
    return pieces


async def _given(reader):
    return bool(reader._buffer) or reader._eof or reader.exception() is not None


async def all_of(pieces):
    got = b""
    async with asyncio.timeout(10):
        while piece := await pieces.read():
            got += piece
    return got


async def test_what_comes_is_read_and_then_the_end(before):
    stream, theirs = await pair()
    with theirs:
        pieces = await taken(stream, lambda: theirs.send(b"hello"), before=before)
        assert bytes(await pieces.read()) == b"hello"
        theirs.send(b"more")
        assert bytes(await pieces.read()) == b"more"
    assert not await pieces.read()
    assert not await pieces.read()
    stream.writer.transport.abort()


async def test_the_other_half_stays_open_after_an_end(before):
    stream, theirs = await pair()

    def last_words():
        theirs.send(b"last")
        theirs.shutdown(socket.SHUT_WR)

    with theirs:
        pieces = await taken(stream, last_words, before=before)
        assert await all_of(pieces) == b"last"
        stream.writer.write(b"heard")
        await stream.writer.drain()
        assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b"heard"
    stream.writer.transport.abort()


async def test_many_bytes_come_whole_and_in_order():
    stream, theirs = await pair()
    sent = os.urandom(PIECE * 5 + 17)
    with theirs:
        pieces = Pieces(stream)
        sending = asyncio.get_running_loop().create_task(asyncio.get_running_loop().sock_sendall(theirs, sent))
        got = b""
        async with asyncio.timeout(10):
            while len(got) < len(sent):
                got += await pieces.read()
        await sending
        assert got == sent
    stream.writer.transport.abort()


async def test_nobody_who_reads_stops_the_sender():
    stream, theirs = await pair()
    with theirs:
        Pieces(stream)
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await loop.sock_sendall(theirs, bytes(64 * PIECE))
    stream.writer.transport.abort()


async def test_the_writer_still_waits_for_who_does_not_take():
    stream, theirs = await pair()
    with theirs:
        Pieces(stream)
        stream.writer.write(bytes(64 * PIECE))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await stream.writer.drain()
    stream.writer.transport.abort()


async def test_a_connection_that_was_closed_here_before_is_an_end():
    stream, theirs = await pair()
    with theirs:
        stream.writer.transport.abort()
        assert await all_of(Pieces(stream)) == b""


async def test_a_connection_that_is_closed_here_while_reading_is_an_end():
    stream, theirs = await pair()
    with theirs:
        reading = asyncio.get_running_loop().create_task(all_of(Pieces(stream)))
        await asyncio.sleep(0)
        stream.writer.transport.abort()
        assert await reading == b""
        with pytest.raises(ConnectionResetError):
            await stream.writer.drain()
