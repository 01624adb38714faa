"""A tool that asks in its terminal, in a real machine, is answered by its person in a real browser."""

import shutil
import tempfile
from pathlib import Path

import pytest

from antechamber.places import place, prepare
from antechamber.providers import Providers, install, tree
from antechamber.settings import Settings
from tests.acceptance.acme import ACCOUNT, Acme, served
from tests.browser.conftest import Person, view
from tests.browser.test_terminal import shown
from tests.browser.test_whole_job import keep, pictured

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "providers"
ASKS = """#!/usr/bin/python3
import os, pathlib, sys
print("Welcome to \\x1b[1mAcme\\x1b[0m.")
if sys.argv[1] == "login":
    team = input("Which team signs in? ")
    if team != "DUMMY-blue":
        sys.exit("There is no such team.")
os.execv(pathlib.Path(__file__).with_name("real"), ["acme", *sys.argv[1:]])
"""


def asking(folder):
    """Write a provider whose tool is the worked example's, behind a question; return its definitions' folder."""
    made = folder / "providers"
    shutil.copytree(EXAMPLE, made)
    (made / "acme" / "acme").rename(made / "acme" / "real")
    (made / "acme" / "acme").write_text(ASKS)
    (made / "acme" / "acme").chmod(0o755)
    shutil.copytree(made / "acme", folder / "hashed")
    tree.settle(folder / "hashed")
    of_files = tree.write_down(folder / "hashed", {}).sha256
    text = (made / "acme.toml").read_text()
    (before,) = [line for line in text.splitlines() if line.startswith("sha256")]
    text = text.replace(before, f'sha256 = "{of_files}"').replace('how = "plain"', 'how = "pty"')
    (made / "acme.toml").write_text(text)
    return made


@pytest.mark.machine
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
async def test_what_a_real_tool_asks_in_its_terminal_is_answered_in_the_page_and_the_sign_in_completes(
    browser, width, height
):
    phone = width < 600
    context = await browser.new_context(viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone)
    person = Person(context, None)
    with tempfile.TemporaryDirectory(prefix="ac-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        parts = {f"{part}_dir": folder / part for part in ("data", "run", "shared")}
        settings = Settings(world="demo", port=0, providers_dir=asking(folder), **parts)
        places = place(settings)
        prepare(places)
        install.install(Providers.of(settings).get("acme"), places.shared)
        async with Acme(folder) as vendor, served(settings, vendor) as said:
            dashboard = await person.page(said.dashboard_link)
            async with context.expect_page() as opening:
                await dashboard.get_by_role("button", name="Connect Acme").click()
            page = await opening.value
            page.set_default_timeout(30_000)
            async with pictured(page, f"failure-terminal-{width}"):
                await view(page, "consent")
                await page.get_by_role("button", name="Agree").click()
                await page.get_by_text("The tool asks something in its terminal").wait_for()
                await page.get_by_role("button", name="Open the terminal").click()
                await shown(page, "Welcome to Acme.", "Which team signs in?")
                assert vendor.asked == []
                await page.get_by_text("You can type here.").wait_for()
                await page.keyboard.type("DUMMY-blue")
                await shown(page, "Welcome to Acme.", "Which team signs in? DUMMY-blue")
                await keep(page, f"terminal-{width}")
                await page.keyboard.press("Enter")
                await page.get_by_role("heading", name=f"Connected as {ACCOUNT}").wait_for()
            assert {"/authorize", "/token"} <= set(vendor.asked)
    await context.close()
    assert person.faults == []
