"""The whole job as a person does it: real service, machine, command-line tool and Chromium, seen in a real browser.

Leaves pictures of each step in test-results/pictures; the picture of README is taken from there.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from antechamber.testing.practice import StandInClient
from tests.browser.conftest import Person, view

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANTECHAMBER = Path(sys.executable).with_name("antechamber")
PICTURES = Path(__file__).parents[2] / "test-results" / "pictures"
ACCOUNT = "ada@example.com"


@contextlib.asynccontextmanager
async def demo():
    """Run `antechamber demo` on a free port; yield (its dashboard's one-time link, its stand-in vendor)."""
    with tempfile.TemporaryDirectory(prefix="antechamber-job-") as folder:
        surroundings = {**os.environ, "ANTECHAMBER_DATA_DIR": f"{folder}/data", "COLUMNS": "200"}
        process = await asyncio.create_subprocess_exec(
            ANTECHAMBER, "demo", "--port", "0", stdout=asyncio.subprocess.PIPE, env=surroundings
        )
        try:
            async with asyncio.timeout(60):
                told = ""
                while "Ready in" not in told:
                    line = await process.stdout.readline()
                    assert line, f"the service ended: {told}"
                    told += line.decode()
            standin = await StandInClient.find(Path(folder) / "data" / "stand-in")
            yield re.search(r"http://\S+/#code=[\w-]+", told)[0], standin
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            # not for the end of its output: what outlives it may hold that open
            await asyncio.wait_for(process.wait(), 30)
            standin = await StandInClient.find(Path(folder) / "data" / "stand-in")
            if standin is not None:
                await standin.stop()


async def painted(standin, page, after):
    """Wait until the machine's browser shows that page of the vendor; return the beacon's number."""
    async with asyncio.timeout(30):
        while True:
            for beacon in await standin.beacons(after=after, wait=10):
                after = beacon.n
                if beacon.page == page:
                    return after


async def keep(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png")


@contextlib.asynccontextmanager
async def pictured(page, name):
    """Keep a picture of where it went wrong."""
    try:
        yield
    except Exception:
        await keep(page, name)
        raise


async def type_and_copy_back(page, text):
    """Type into the machine's field, copy what it holds by the machine's clipboard and the page's button, and compare.

    A busy machine's browser loses a key now and then, and a copied text shows it.
    """
    held = ""
    async with asyncio.timeout(40):
        while held != text:
            await page.locator("#frame canvas").focus()
            await page.keyboard.press("Control+a")
            await page.keyboard.type(text)
            await page.keyboard.press("Control+a")
            await page.keyboard.press("Control+c")
            await page.keyboard.press("End")
            await page.get_by_role("button", name="Text").click()
            await page.get_by_role("button", name="Copy from the browser").click()
            await page.locator("#take-outcome", has_text=re.compile("characters|no text")).wait_for()
            held = await page.evaluate("navigator.clipboard.readText()")
            if held == text:
                await keep(page, f"copied-{page.viewport_size['width']}")
            await page.keyboard.press("Escape")
    await page.locator("#frame canvas").focus()


KEPT = """async () => ({
  local: Object.keys(localStorage), session: Object.keys(sessionStorage), hash: location.hash, cookies: document.cookie,
  databases: (await indexedDB.databases()).length, caches: (await caches.keys()).length,
})"""
NOTHING = {"hash": "", "cookies": "", "databases": 0, "caches": 0}


async def keeps_no_secret(context, dashboard, page):
    """Look at all that the browser keeps: an answer, and cookies that no script can read."""
    assert await dashboard.evaluate(KEPT) == {"local": [], "session": [], **NOTHING}
    kept = await page.evaluate(KEPT)
    assert [key.partition(" ")[0] for key in kept.pop("session")] == ["answer"]
    assert kept == {"local": [], **NOTHING}
    cookies = (await context.storage_state())["cookies"]
    assert cookies
    assert all(cookie["httpOnly"] for cookie in cookies)


@pytest.mark.machine
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_a_person_connects_codex_and_sees_the_account_and_the_machine_destroyed(browser, width, height):
    size = {"width": width, "height": height}
    phone = width < 600
    rights = ["clipboard-read", "clipboard-write"]
    context = await browser.new_context(viewport=size, has_touch=phone, is_mobile=phone, permissions=rights)
    person = Person(context, None)
    async with demo() as (link, standin):
        dashboard = await person.page(link)
        async with context.expect_page() as opening:
            await dashboard.get_by_role("button", name="Connect Codex").click()
        page = await opening.value
        page.set_default_timeout(30_000)
        async with pictured(page, f"failure-{width}"):
            await view(page, "consent")
            await keep(page, f"consent-{width}")
            await page.get_by_role("button", name="Agree").click()
            await page.locator("#state", has_text="Connected").wait_for()
            number = await painted(standin, "email", 0)
            await type_and_copy_back(page, ACCOUNT)
            await keep(page, f"sign-in-{width}")
            await page.keyboard.press("Enter")
            number = await painted(standin, "code", number)
            if phone:
                await page.get_by_role("button", name="Keyboard").tap()
            await page.keyboard.type("123456")
            await keep(page, f"code-{width}")
            await page.keyboard.press("Enter")
            await painted(standin, "consent", number)
            await page.keyboard.press("Enter")
            await page.get_by_role("heading", name=f"Connected as {ACCOUNT}").wait_for()
            await page.get_by_text("Plan: plus").wait_for()
            await keep(page, f"connected-{width}")
            await page.get_by_role("button", name="Yes, that is me").click()
            await page.get_by_role("heading", name="All done").wait_for()
            await keeps_no_secret(context, dashboard, page)
            await dashboard.bring_to_front()
            await dashboard.get_by_role("link", name="Sign-ins", exact=True).click()
            await dashboard.get_by_role("link", name="its story").click()
            await dashboard.locator(".panel", has_text="Its machine").get_by_text("Destroyed").wait_for()
            await dashboard.locator(".story-head", has_text="Completed").wait_for()
            await keep(dashboard, f"dashboard-{width}")
            await view(page, "completed")
    await context.close()
    assert person.faults == []
