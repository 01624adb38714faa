"""The remote CLI's page with a real tool in a real machine: worked in, found again after a reload, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import pytest
from playwright.async_api import Error as PlaywrightError

from tests.browser.unprivileged import chromium

TEXT = "document.querySelector('.run .xterm-accessibility-tree')?.textContent ?? ''"
WATCH = """() => {
  window.pressed = [];
  window.echoed = [];
  document.addEventListener('keydown', () => pressed.push(performance.now()), true);
  new MutationObserver(() => echoed.push(performance.now()))
    .observe(document.querySelector('.run .xterm-rows'), {subtree: true, childList: true, characterData: true});
}"""


FIRST_SCREEN = {"codex": "Ask Codex to do anything", "gemini": "Type your message"}


@pytest.mark.machine
@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", FIRST_SCREEN)
async def test_a_real_tool_draws_its_screen_and_answers_in_it(scene, provider):
    await scene.signed_in(provider)
    link = (await scene.service.control.call("dashboard.link"))["url"]
    with tempfile.TemporaryDirectory(prefix="antechamber-browser-") as folder:
        async with chromium(Path(folder)) as browser:
            page = await browser.new_page()
            page.set_default_timeout(60_000)
            await page.goto(link.replace("/#", "/runs#"))
            await page.get_by_role("button", name="Open a terminal of").click()
            await says(page, FIRST_SCREEN[provider])
            await page.keyboard.type("say hello")
            await says(page, "say hello")
            async with asyncio.timeout(60):
                while True:
                    # one that comes with the other keys is a part of what is pasted
                    await page.keyboard.press("Enter")
                    with contextlib.suppress(PlaywrightError):
                        await says(page, "The practice vendor answers: say hello", timeout=4000)
                        break
            await page.get_by_role("button", name="End the run").click()
            await page.get_by_role("button", name="End it").click()
            await page.get_by_text("The run was cancelled.").wait_for()


async def says(page, text, times=1, **options):
    await page.wait_for_function(
        f"([text, times]) => ({TEXT}).split(text).length > times", arg=[text, times], **options
    )


async def trusted(page):
    """Say that Claude Code may trust its folder, and wait for its prompt."""
    await says(page, "Yes, I trust this folder")
    async with asyncio.timeout(60):
        while True:
            # a key that comes while the question is still being drawn is lost
            await page.keyboard.press("ArrowDown")
            with contextlib.suppress(PlaywrightError):
                chosen = "❯ Yes, I trust this folder"  # noqa: RUF001 - as the tool writes it
                await page.wait_for_function(f"(chosen) => ({TEXT}).includes(chosen)", arg=chosen, timeout=5000)
                break
    await page.keyboard.press("Enter")
    await says(page, "shift+tab to cycle")


async def echoes(page, text):
    """Type a text key by key, each once the one before is seen; return the milliseconds that each took."""
    await page.evaluate(WATCH)
    typed = ""
    for key in text:
        typed += key
        await page.keyboard.press("Space" if key == " " else key)
        if key != " ":
            await says(page, typed)
    pressed, echoed = await page.evaluate("[pressed, echoed]")
    # of a blank nothing is seen
    begun = [at for at, key in zip(pressed, text, strict=True) if key != " "]
    return [min(seen for seen in echoed if seen >= at) - at for at in begun]


@pytest.mark.machine
@pytest.mark.timeout(300)
async def test_a_real_tool_is_worked_in_on_the_page_and_its_screen_is_there_again_after_a_reload(
    scene, record_property
):
    await scene.signed_in("claude_code")
    link = (await scene.service.control.call("dashboard.link"))["url"]
    complaints = []
    with tempfile.TemporaryDirectory(prefix="antechamber-browser-") as folder:
        async with chromium(Path(folder)) as browser:
            page = await (await browser.new_context(viewport={"width": 1440, "height": 900})).new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            await page.goto(link.replace("/#", "/runs#"))
            await page.get_by_role("button", name="Open a terminal of Claude Code").click()
            await trusted(page)
            took = await echoes(page, "say hello")
            record_property("key to echo, ms", sorted(round(one, 1) for one in took))

            await page.keyboard.press("Enter")
            await says(page, "say hello", 2)
            await page.reload()
            await says(page, "say hello", 2)
            await page.get_by_role("button", name="End the run").click()
            await page.get_by_role("button", name="End it").click()
            await page.get_by_text("The run was cancelled.").wait_for()
    assert complaints == []
