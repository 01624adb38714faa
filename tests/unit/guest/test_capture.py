"""When the guest reports a credential: inotify on real files."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time

import pytest

from antechamber.guest.capture import Capture
from antechamber.guest.job import parse
from antechamber.guest.layout import Layout
from antechamber.guest.protocol import FileState
from antechamber.guest.tasks import Tasks

TOKENS = json.dumps({"tokens": {"access": "DUMMY-access"}})
ACCOUNT = json.dumps({"account": {"email": "person@vendor-one.com"}})
NEVER = 600_000
"""A companion's time in ms that no test waits out: what is reported before was reported for another reason."""


class Watch:
    def __init__(self, home, companion_wait_ms, companion):
        files = {"credential": {"path": "~/.tool/auth.json", "required": ["tokens.access"]}}
        if companion:
            files["account"] = {"path": "~/.tool.json", "required": ["account.email"]}
        job = parse({"kind": "sign_in", "argv": ["x"], "files": files, "companion_wait_ms": companion_wait_ms})
        self.home, self.reported, self.again, self.tasks = home, asyncio.Queue(), [], Tasks()
        self.capture = Capture(job, Layout(home=home), report=self._report, send_again=self._again)
        self.tasks.spawn("capture", self.capture.run())

    def _report(self, body):
        assert all(file["new"] is True for file in body["files"].values())
        self.reported.put_nowait(
            {name: base64.b64decode(file["content"]).decode() for name, file in body["files"].items()}
        )
        return f"rep_{self.reported.qsize()}"

    def _again(self, ident):
        self.again.append(ident)
        return True

    def rename(self, path, text):
        temporary = self.home / f"{path}.new"
        temporary.write_text(text)
        temporary.rename(self.home / path)

    async def next(self):
        async with asyncio.timeout(20):
            return await self.reported.get()


@pytest.fixture
async def watch(tmp_path):
    made = []

    def make(companion_wait_ms=NEVER, *, companion=False):
        made.append(Watch(tmp_path, companion_wait_ms, companion))
        return made[-1]

    yield make
    for one in made:
        one.capture.close()
        await one.tasks.close()


async def test_a_file_that_is_moved_in_is_reported_at_once(watch):
    on = watch()
    on.rename(".tool/auth.json", TOKENS)
    assert await on.next() == {"credential": TOKENS}


async def test_f038_a_file_that_is_written_in_place_is_reported_when_it_is_whole(watch, tmp_path):
    on = watch()
    with (tmp_path / ".tool/auth.json").open("w") as file:
        file.write(TOKENS[:9])
        file.flush()
        assert on.capture.look_again() is FileState.INCOMPLETE
        file.write(TOKENS[9:])
    assert await on.next() == {"credential": TOKENS}


async def test_an_empty_object_before_the_whole_file_is_not_reported(watch):
    on = watch()
    on.rename(".tool/auth.json", "{}")
    on.rename(".tool/auth.json", TOKENS)
    assert await on.next() == {"credential": TOKENS}
    assert on.reported.empty()


async def test_companions_are_waited_for_and_come_in_the_same_report(watch):
    on = watch(companion=True)
    on.rename(".tool/auth.json", TOKENS)
    on.rename(".tool.json", "{}")
    on.rename(".tool.json", ACCOUNT)
    assert await on.next() == {"credential": TOKENS, "account": ACCOUNT}


async def test_a_companion_that_does_not_come_in_time_is_no_failure(watch):
    on = watch(companion_wait_ms=30, companion=True)
    on.rename(".tool/auth.json", TOKENS)
    assert await on.next() == {"credential": TOKENS}


async def test_nothing_more_is_waited_for_once_the_cli_has_ended(watch):
    on = watch(companion=True)
    on.rename(".tool/auth.json", TOKENS)
    on.capture.cli_ended()
    assert await on.next() == {"credential": TOKENS}


async def test_the_same_content_is_reported_once_and_sent_again_when_asked(watch):
    on = watch()
    on.rename(".tool/auth.json", TOKENS)
    await on.next()
    assert on.capture.look_again() is None
    assert on.again == ["rep_1"]
    assert on.reported.empty()


async def test_another_content_is_another_report(watch):
    on = watch()
    on.rename(".tool/auth.json", TOKENS)
    await on.next()
    other = json.dumps({"tokens": {"access": "DUMMY-other"}})
    on.rename(".tool/auth.json", other)
    assert await on.next() == {"credential": other}


async def test_a_folder_that_the_cli_makes_anew_is_watched_again(watch, tmp_path):
    on = watch()
    (tmp_path / ".tool").rmdir()
    while not (tmp_path / ".tool").is_dir():
        await asyncio.sleep(0)
    on.rename(".tool/auth.json", TOKENS)
    assert await on.next() == {"credential": TOKENS}


async def test_f037_a_file_from_before_the_start_is_not_reported(watch, tmp_path):
    (tmp_path / ".tool").mkdir()
    (tmp_path / ".tool/auth.json").write_text(TOKENS)
    on = watch()
    assert on.capture.look_again() is FileState.STALE
    on.rename(".tool/auth.json", TOKENS)
    assert on.capture.look_again() is FileState.STALE
    other = json.dumps({"tokens": {"access": "DUMMY-other"}})
    on.rename(".tool/auth.json", other)
    assert await on.next() == {"credential": other}
    assert on.reported.empty()


async def test_a_companion_from_before_the_start_is_not_reported(watch, tmp_path):
    (tmp_path / ".tool.json").write_text(ACCOUNT)
    on = watch(companion_wait_ms=30, companion=True)
    on.rename(".tool/auth.json", TOKENS)
    assert await on.next() == {"credential": TOKENS}


@pytest.mark.parametrize("seconds", [-3600, 0, 3600, -(10**9), 10**9], ids=str)
async def test_a_file_is_reported_whatever_time_it_has(watch, tmp_path, seconds):
    on = watch()
    at = time.time() + seconds
    (tmp_path / ".tool/auth.json.new").write_text(TOKENS)
    os.utime(tmp_path / ".tool/auth.json.new", (at, at))
    (tmp_path / ".tool/auth.json.new").rename(tmp_path / ".tool/auth.json")
    assert await on.next() == {"credential": TOKENS}
