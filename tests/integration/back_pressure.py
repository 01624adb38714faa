"""That whoever does not read holds whoever writes back, wherever a screen's bytes pass."""

import asyncio

CHUNK = bytes(2**16)
MOST = 64 * 2**20


async def held_back_until_read(page, machine):
    """See that a page which does not read stops the machine, and that it gets every byte when it does."""
    written = 0
    # drain() waits when the socket is full; that it stays full is the fact that is waited for
    while True:
        machine.writer.write(CHUNK)
        written += len(CHUNK)
        try:
            async with asyncio.timeout(1):
                await machine.writer.drain()
        except TimeoutError:
            break
        assert written < MOST, "nothing holds the machine back"
    got = 0
    while got < written:
        got += len(await page.recv())
    assert got == written
    await machine.writer.drain()


async def held_back_both_ways_apart(page, machine):
    """See that a machine which does not read stops the page, and that what comes down still passes."""
    sent = 0
    while True:
        try:
            async with asyncio.timeout(1):
                await page.send(CHUNK)
            sent += len(CHUNK)
        except TimeoutError:
            break
        assert sent < MOST, "nothing holds the page back"
    machine.writer.write(b"the picture")
    assert await page.recv() == b"the picture"
