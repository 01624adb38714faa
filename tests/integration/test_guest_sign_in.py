"""The guest in real machines, without a screen: each way in which a CLI has ended or might."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from antechamber.errors import Code
from antechamber.guest.protocol import ReportKind
from tests.integration.machine_bench import Pages, machine_with, sign_in_job

pytestmark = pytest.mark.machine

CREDENTIAL = {"tokens": {"access_token": "DUMMY-access", "refresh_token": "DUMMY-refresh"}}


@pytest.mark.parametrize(
    ("scene", "code", "file"),
    [
        ("quits", 3, "none"),
        ("cut-off", 0, "incomplete"),
        ("huge", 0, "too_large"),
        ("symlink", 0, "not_a_file"),
    ],
)
async def test_f110_a_cli_that_ends_without_a_whole_file_is_told_with_what_it_left(scene, code, file):
    async with machine_with(sign_in_job(scene), Pages()) as bench:
        ended = await bench.next_of(ReportKind.CLI_ENDED, ReportKind.CREDENTIAL)
        assert (ended.kind, ended.body["code"], ended.body["file"]) == (ReportKind.CLI_ENDED, code, file)
        if scene == "quits":
            assert ended.body["lines"] == ["no such account"]


@pytest.mark.parametrize("scene", ["quits", "touches"])
async def test_f037_what_was_there_before_the_cli_is_told_as_such(scene):
    whole = {"path": "~/.fake/auth.json", "content": json.dumps(CREDENTIAL), "mode": 0o600}
    async with machine_with(sign_in_job(scene, seed=[whole]), Pages()) as bench:
        ended = await bench.next_of(ReportKind.CLI_ENDED, ReportKind.CREDENTIAL)
        assert (ended.kind, ended.body["file"]) == (ReportKind.CLI_ENDED, "stale")


@pytest.mark.parametrize("scene", ["of 1960", "of 2001", "of 2100", "of 2400"])
async def test_a_file_is_captured_whatever_time_its_tool_gives_it(scene):
    async with machine_with(sign_in_job(scene), Pages()) as bench:
        captured = await bench.next_of(ReportKind.CREDENTIAL, ReportKind.CLI_ENDED)
        assert captured.kind is ReportKind.CREDENTIAL
        file = captured.body["files"]["credential"]
        assert json.loads(base64.b64decode(file["content"])) == CREDENTIAL
        assert file["new"] is True


async def test_a_file_that_is_written_in_place_is_captured_while_the_cli_goes_on():
    async with machine_with(sign_in_job("writes and stays"), Pages()) as bench:
        captured = await bench.next_of(ReportKind.CREDENTIAL)
        content = json.loads(base64.b64decode(captured.body["files"]["credential"]["content"]))
        assert content["tokens"]["refresh_token"] == "DUMMY-refresh"
        await bench.link.stop()
        end = await bench.machine.ended()
        assert end.exit_code == 0


async def test_a_cli_that_asks_for_no_page_in_time_is_told():
    async with machine_with(sign_in_job("idles", page_wait_s=0.2), Pages()) as bench:
        assert (await bench.next_of(ReportKind.TROUBLE)).body["what"] == "no_page"
        answer = await bench.link.look_again(timedelta(seconds=20))
        assert answer is not None
        assert answer.kind is ReportKind.NOTHING_YET


async def test_a_machine_with_another_build_is_not_spoken_with():
    async with machine_with(sign_in_job("idles"), Pages(), build="another") as bench:
        assert (await bench.broke()).code is Code.GUEST_VERSION
        assert bench.reports == []


async def test_a_check_is_answered_in_a_machine():
    program = "import pathlib; print((pathlib.Path.home() / '.fake/auth.json').stat().st_mode & 0o777)"
    job = {
        "kind": "check",
        "seed": [{"path": "~/.fake/auth.json", "content": '{"a": 1}', "mode": 0o600}],
        "check": {"argv": ["/usr/bin/python3", "-c", program]},
    }
    async with machine_with(job, Pages()) as bench:
        assert (await bench.next_of(ReportKind.CHECKED)).body == {"accepted": True, "code": 0, "lines": ["384"]}
