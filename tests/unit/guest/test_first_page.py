import asyncio
from urllib.parse import urlsplit

import pytest

from antechamber.guest.first_page import FirstPage
from antechamber.tasks import spawn

# what the vendors' addresses have in them, and what could end a header's line
PAGE = "https://login.vendor-one.com/authorize?scope=a%20b&redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fcb&state=~x+y"


async def asked(address, path=None):
    """Ask as a browser does; return the answer's lines."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {path or parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer.decode().split("\r\n")


@pytest.fixture
async def first():
    page = FirstPage()
    yield page
    page.close()


async def test_a_window_that_waits_is_sent_to_the_page_byte_for_byte(first):
    window = spawn("window", asked(await first.start()))
    assert await first.show(PAGE, within=10)
    lines = await window
    assert lines[0] == "HTTP/1.1 302 Found"
    assert f"Location: {PAGE}" in lines


async def test_a_page_that_is_there_before_the_window_is_kept_for_it(first):
    address = await first.start()
    shown = spawn("show", first.show(PAGE, within=10))
    assert f"Location: {PAGE}" in await asked(address)
    assert await shown


async def test_whoever_does_not_know_the_address_gets_nothing(first):
    address = await first.start()
    shown = spawn("show", first.show(PAGE, within=10))
    assert (await asked(address, "/"))[0] == "HTTP/1.1 404 Not Found"
    assert f"Location: {PAGE}" in await asked(address)
    assert await shown


async def test_only_one_window_waits(first):
    address = await first.start()
    window = spawn("window", asked(address))
    while not first._asked:
        await asyncio.sleep(0)
    assert (await asked(address))[0] == "HTTP/1.1 404 Not Found"
    assert await first.show(PAGE, within=10)
    assert f"Location: {PAGE}" in await window


async def test_nothing_listens_once_the_page_was_shown(first):
    address = await first.start()
    window = spawn("window", asked(address))
    assert await first.show(PAGE, within=10)
    await window
    with pytest.raises(OSError, match="Connect"):
        await asked(address)
    assert not await first.show(PAGE, within=10)


async def test_a_window_that_never_asks_is_not_waited_for_for_ever(first):
    await first.start()
    assert not await first.show(PAGE, within=0.05)


async def test_without_a_waiting_window_the_page_is_shown_otherwise(first):
    assert not await first.show(PAGE, within=10)


async def test_an_address_that_a_header_might_alter_is_shown_otherwise(first):
    await first.start()
    assert not await first.show("https://login.vendor-one.com/ä", within=10)


async def test_a_window_that_waits_is_let_go_at_the_end(first):
    window = spawn("window", asked(await first.start()))
    while not first._asked:
        await asyncio.sleep(0)
    first.close()
    assert await window == [""]
