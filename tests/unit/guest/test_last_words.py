"""A part of the machine that does not start or keeps ending: what it printed last is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
from tests.unit.guest.test_agent import STAY, agent_with, job

from antechamber.guest import programs
from antechamber.guest.browser import Browser, BrowserError
from antechamber.guest.layout import Layout
from antechamber.guest.protocol import ReportKind, Trouble
from antechamber.guest.screen import Screen, ScreenError

WORDS = "no display for you"


def tool(folder, name, script):
    """Put a program of that name first on the PATH of whoever looks there."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


def layout(path):
    return Layout(home=path / "home", work=path / "work", doors=path, dns=("127.0.0.1", 0))


async def test_f081f_a_screen_that_does_not_start_is_told_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tool(tmp_path / 'bin', 'Xtigervnc', f'echo {WORDS} >&2; exit 1')}:/usr/bin:/bin")
    screen = Screen(layout(tmp_path))
    with pytest.raises(ScreenError, match=WORDS):
        await screen.start()
    await screen.stop()


async def test_f081f_the_host_is_told_what_a_screen_that_does_not_start_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tool(tmp_path / 'bin', 'Xtigervnc', f'echo {WORDS}; exit 1')}:/usr/bin:/bin")
    async with agent_with(tmp_path, job(STAY, screen=True)) as (host, _):
        told = (await host.next_of(ReportKind.TROUBLE)).body
    assert (told["what"], WORDS in told["detail"]) == (Trouble.SCREEN.value, True)


async def test_f081f_a_browser_that_keeps_ending_is_given_up_and_told_with_its_last_words(tmp_path):
    counted = tmp_path / "starts"
    chromium = tool(tmp_path / "bin", "chromium", f"echo x >> {counted}; echo {WORDS} $(wc -l < {counted}) >&2")

    class OfTheTest(Browser):
        """Starts a program that ends at once, as Chromium does where it can show nothing."""

        def _command(self, url, *_):
            return (str(chromium / "chromium"), url)

    (tmp_path / "work").mkdir()
    browser = OfTheTest(layout(tmp_path), {"PATH": "/usr/bin:/bin"})
    async with asyncio.timeout(30):
        with pytest.raises(BrowserError, match=WORDS) as given_up:
            await browser.run()
    await browser.stop()
    starts = len(counted.read_text().splitlines())
    assert 1 < starts < 20, "it is tried again, and not for ever"
    assert str(given_up.value).endswith(f"{WORDS} {starts}")


async def test_the_last_words_are_short_and_the_latest_and_nothing_waits_for_a_child_that_is_left_behind():
    heard = programs.Heard()
    script = (
        "import os, time\nprint('x' * 5000, flush=True)\nprint('the end', flush=True)\nos.fork() or time.sleep(600)"
    )
    process = await heard.start([sys.executable, "-c", script], {})
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    while not heard.last_words().endswith("the end"):
        await asyncio.sleep(0.01)
    assert len(heard.last_words()) == programs.LAST_WORDS
    os.killpg(process.pid, signal.SIGKILL)
    heard.close()
    assert heard.last_words().endswith("the end"), "what was heard is kept"
