"""The guest with its screen: a real Chromium, a real X server, and the callback to localhost."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from antechamber.guest.protocol import ReportKind
from antechamber.screen import read_banner, wait_for_paint
from antechamber.tasks import spawn
from tests.integration.machine_bench import SIGN_IN, Pages, machine_with, sign_in_job

pytestmark = pytest.mark.machine

# stands in for a person: some time after it was shown, the page goes where the vendor's would
PAGE = (
    b"<h1>Sign in</h1><script>setTimeout(() => location = 'http://localhost:1455/callback?state=STATE', 700)</script>"
)


@pytest.mark.parametrize("opener", ["browser", "xdg-open"])
async def test_f079b_f083_f083b_a_whole_sign_in_from_the_clis_start_to_the_captured_files(opener):
    pages = Pages()
    pages.page = PAGE.replace(b"STATE", b"right")
    async with machine_with(sign_in_job(opener, screen=True, browser=True), pages) as bench:
        opened = asyncio.Event()

        async def watch():
            await bench.egress.carried([SIGN_IN])
            opened.set()

        watching = spawn("watch", watch())
        stream = await bench.screens.open()
        async with asyncio.timeout(60):
            await wait_for_paint(stream, opened)
        stream.writer.close()
        await watching
        assert (await bench.next_of(ReportKind.PAGE_ASKED)).body["host"] == SIGN_IN
        captured = await bench.next_of(ReportKind.CREDENTIAL, ReportKind.CLI_ENDED, within=60)
        files = {name: json.loads(base64.b64decode(file["content"])) for name, file in captured.body["files"].items()}
        assert files == {
            "credential": {"tokens": {"access_token": "DUMMY-access", "refresh_token": "DUMMY-refresh"}},
            "account": {"account": {"email": "person@vendor-one.com"}},
        }
        proof = (await bench.next_of(ReportKind.BROWSER_SANDBOX, within=60)).body
        assert proof["ok"], proof
        assert proof["renderers"] >= 1
        await bench.link.capture_done()
        # the screen outlives the CLI: the person sees the last picture until the machine ends
        another = await bench.screens.open()
        assert (await read_banner(another)).startswith(b"RFB 003.")
        another.writer.close()
        assert pages.asked[0] == "/authorize?state=right"
        # nothing tells the vendor that a window was waiting
        assert b"referer:" not in pages.heads[0].lower()
        kinds = [report.kind for report in bench.reports]
        assert ReportKind.CLI_ENDED not in kinds
        assert ReportKind.TROUBLE not in kinds


async def test_f083h_f085_a_browser_that_was_closed_comes_back_with_the_page_that_the_cli_asked_for():
    pages = Pages()
    pages.page = b"<h1>Sign in</h1><img src=http://localhost:1455/seen>"
    async with machine_with(sign_in_job("loses its browser", screen=True, browser=True), pages) as bench:
        await bench.next_of(ReportKind.SCREEN_UP)
        async with asyncio.timeout(60):
            await pages.was_asked("/authorize?state=right", times=2)
        kinds = [report.kind for report in bench.reports]
        assert ReportKind.TROUBLE not in kinds


async def test_the_browser_is_seen_to_be_confined_before_there_is_a_page():
    async with machine_with(sign_in_job("idles", screen=True, browser=True), Pages()) as bench:
        assert (await bench.next_of(ReportKind.BROWSER_SANDBOX, within=20)).body["ok"]


async def test_many_screens_are_opened_one_after_another_and_at_once():
    async with machine_with(sign_in_job("idles", screen=True), Pages()) as bench:
        await bench.next_of(ReportKind.SCREEN_UP)
        streams = await asyncio.gather(*(bench.screens.open() for _ in range(5)))
        for stream in streams:
            assert (await read_banner(stream)).startswith(b"RFB 003.")
            stream.writer.close()
