"""The opener: what a CLI may hand over, and how."""

from __future__ import annotations

import asyncio

import pytest

from antechamber.guest.layout import Layout
from antechamber.guest.opener import URL_LIMIT, Opener, host_of

URL = "https://login.vendor-one.com/authorize?state=a%20b&redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fcb&x=ü#frag"


@pytest.fixture
async def opener(tmp_path):
    layout = Layout(home=tmp_path / "home", work=tmp_path / "work")
    layout.work.mkdir()
    opened = asyncio.Queue()
    opener = Opener(layout, lambda url, host: opened.put_nowait((url, host)))
    await opener.start()
    yield layout, opener, opened
    opener.close()


async def run(program, *arguments):
    process = await asyncio.create_subprocess_exec(
        str(program), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output


@pytest.mark.parametrize("name", ["xdg-open", "open-page"])
async def test_f053_a_url_arrives_byte_for_byte_and_nothing_is_printed(opener, name):
    layout, _, opened = opener
    assert await run(layout.commands / name, URL) == (0, b"")
    assert await opened.get() == (URL, "login.vendor-one.com")


@pytest.mark.parametrize("arguments", [(), (URL, URL), ("--help",), ("file:///etc/passwd",), ("javascript:alert(1)",)])
async def test_anything_but_exactly_one_web_address_is_refused(opener, arguments):
    layout, _, opened = opener
    assert await run(layout.commands / "xdg-open", *arguments) == (2, b"")
    assert opened.empty()


async def test_what_comes_over_the_socket_is_looked_at_again(opener):
    layout, _, opened = opener
    for wrong in (b"file:///etc/passwd", b"\xff\xfe", b"http://a b/", b"x" * (URL_LIMIT + 10), b""):
        reader, writer = await asyncio.open_unix_connection(layout.opener)
        writer.write(wrong)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    assert opened.empty()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (URL, "login.vendor-one.com"),
        ("HTTP://LOCALHOST:1455/cb", "localhost"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("https://vendor-one.com@evil.com/", None),
        ("https:///path", None),
        ("https://vendor.com:99999/", None),
        ("ftp://vendor.com/", None),
        ("https://vendör.com/", None),
        ("https://vendor.com/\n", None),
        ("https://[::1", None),
    ],
)
def test_the_host_is_the_one_that_a_browser_would_go_to(url, host):
    assert host_of(url) == host
