import asyncio
import hashlib
import tempfile
from pathlib import Path

import pytest_asyncio

from antechamber.machine import Check
from antechamber.texts import Languages
from antechamber.web.services import Installation, InstalledTool
from tests.browser import pseudo
from tests.browser.far_screen import FarScreen
from tests.browser.unprivileged import chromium
from tests.integration.web_service import now, running

SESSION = {"scope": "session", "loop_scope": "session"}
HARMLESS = (
    # a request that is answered with an error, or not at all, is in the console whatever the page makes of it
    "Failed to load resource",
    "WebSocket connection to",
    "net::ERR_",
    "Failed when connecting",
    "Canvas2D: Multiple readback operations",
)


@pytest_asyncio.fixture(**SESSION)
async def browser():
    # pytest's own folders are closed to other accounts
    with tempfile.TemporaryDirectory(prefix="antechamber-browser-") as folder:
        async with chromium(Path(folder)) as started:
            yield started


class Person:
    """Somebody at a browser: pages of one browser context, and what went wrong in them."""

    def __init__(self, context, service, options=None):
        self.context = context
        self.options = options or {}
        """How this person's browser is otherwise: its language."""
        self.service = service
        self.faults = []
        self.far_ends = []
        context.on("page", self._watch)

    def _watch(self, page):
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._heard)

    def _heard(self, message):
        if message.type in {"error", "warning"} and not any(word in message.text for word in HARMLESS):
            self.faults.append(f"{message.type}: {message.text}")

    async def page(self, url=None):
        page = await self.context.new_page()
        page.set_default_timeout(15_000)
        if url:
            await page.goto(url)
        return page

    async def dashboard(self, path="/", page=None):
        """Return a page of the dashboard, at one of its addresses."""
        code = (await self.service.signin.dashboard_link()).reveal()
        page = page or await self.page()
        await page.goto(f"{self.service.addresses.dashboard.url}{path}#code={code}")
        return page

    async def sign_in(self, **body):
        """Return (session id, page) of a sign-in whose link was opened."""
        started = await self.service.start(**body)
        page = await self.page(started["sign_in_url"])
        return started["session_id"], page

    async def at_screen(self, **body):
        """Return (session id, page, far end) of a sign-in whose screen is shown."""
        session_id, page = await self.sign_in(**body)
        await page.get_by_role("button", name="Agree").click()
        await self.service.ready(session_id)
        return session_id, page, await self.far_end(page)

    async def far_end(self, page):
        """Return the machine's end of the connection that the page is making, once the page shows it."""
        async with asyncio.timeout(15):
            far = FarScreen(await self.service.stage.screens.get()).begin()
        self.far_ends.append(far)
        await view(page, "screen")
        await page.locator("#state", has_text="Connected").wait_for()
        return far

    async def capture(self, session_id):
        """Capture as the machine does: from then on no input reaches it."""
        self.service.stage.input_ended(session_id).set()
        await self.service.capture(session_id)


WORKSPACES = ("site", "workspace-with-averyveryverylongname-of-sixty-four-characters.xy")


async def view(page, name):
    """Wait until the page shows that view."""
    await page.locator(f"body[data-view={name}]").wait_for()


def installed(spec):
    """Have every tool lie there as it was installed; its hash is of its name."""
    return InstalledTool(sha256=hashlib.sha256(spec.id.encode()).hexdigest())


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path):
    languages = Languages.load(pseudo.written(tmp_path))
    installation = Installation(
        started_at=now(),
        # what a driver cannot do anywhere is told, and is no fault
        checks=(
            Check("memory limit", ok=False, message="not limited", remedy="limit all", fatal=False, by_nature=True),
        ),
        link_command=".venv/bin/antechamber link --world demo",
    )
    kinds = {"installed": installed, "installation": installation, "languages": languages}
    roots = tmp_path / "workspaces"
    for name in WORKSPACES:
        (roots / name).mkdir(parents=True)
    async with running(tmp_path, world="demo", heartbeat_s=1, workspace_roots=str(roots), **kinds) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def people(browser, service):
    """Make persons, each with a browser of their own; whatever their pages complained of fails the test."""
    made = []

    async def make(*, width=1280, height=800, **options):
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        made.append(Person(context, service, {name: options[name] for name in ("locale",) if name in options}))
        return made[-1]

    yield make
    for person in made:
        for far in person.far_ends:
            await far.end()
        await person.context.close()
    while not service.stage.screens.empty():
        service.stage.screens.get_nowait().writer.close()
    assert [fault for person in made for fault in person.faults] == []


@pytest_asyncio.fixture(loop_scope="session")
async def person(people):
    return await people()
