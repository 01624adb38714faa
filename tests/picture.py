"""Take README's picture: the real sign-in page over a real machine in the practice world, looked at by a real Chromium.

python -m tests.netns .venv/bin/python tests/picture.py FOLDER
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.async_api import Error, Page

from antechamber import app, control, log
from antechamber.model import MachineState
from antechamber.places import place, prepare
from antechamber.settings import Settings
from antechamber.tasks import spawn
from antechamber.testing.practice import StandInClient, practice_world
from tests.browser.unprivileged import chromium

ENDED = {MachineState.GONE, MachineState.LOST}


async def take(images: Path, folder: Path) -> None:
    settings = Settings(world="demo", data_dir=folder / "data", run_dir=folder / "run", port=0)
    places = place(settings)
    prepare(places)
    standin = await StandInClient.start(places.data / "stand-in")
    started: asyncio.Future[app.Ready] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    service = spawn("service", app.run(settings, practice_world(standin), started.set_result, stop=stop))
    try:
        await asyncio.wait({service, started}, return_when=asyncio.FIRST_COMPLETED)
        await look(await started, standin, images, folder)
    finally:
        stop.set()
        await service
        await standin.stop()


async def look(ready: app.Ready, standin: StandInClient, images: Path, folder: Path) -> None:
    """Sign in as far as the e-mail page, take what the person sees, and leave no machine behind."""
    headers = {"Authorization": f"Bearer {ready.token.reveal()}"}
    async with httpx.AsyncClient(base_url=ready.dashboard_url, headers=headers, trust_env=False) as caller:
        body = {"user_id": "ann", "provider": "codex", "display_name": "Ann", "purpose": "Run Codex for your builds"}
        session = (await caller.post("/api/auth/session", json=body)).raise_for_status().json()
        (folder / "browser").mkdir()
        try:
            async with chromium(folder / "browser") as browser:
                page = await browser.new_page(viewport={"width": 1200, "height": 780}, device_scale_factor=1.5)
                await see(page, session["sign_in_url"], standin, images)
        finally:
            await caller.post(f"/api/auth/session/{session['session_id']}/cancel", json={})
            client = control.Client(ready.places.control)
            while (await client.call("sessions.show", id=session["session_id"]))["machine"]["state"] not in ENDED:
                await asyncio.sleep(0.2)


async def see(page: Page, address: str, standin: StandInClient, images: Path) -> None:
    try:
        await page.goto(address)
        agree = page.get_by_role("button", name="Agree")
        await agree.wait_for()
        await page.screenshot(path=images / "consent.png")
        await agree.click()
        await page.locator("#state", has_text="Connected").wait_for()
        await shown(standin, "email")
        await page.keyboard.type("ann@example.com")
        await page.wait_for_timeout(1500)  # the picture is for people: the last letter's pixels have come by then
        await page.screenshot(path=images / "sign-in.png")
    except Error:
        await page.screenshot(path=images / "trouble.png")
        raise


async def shown(standin: StandInClient, name: str) -> None:
    """Wait until the vendor says that a page was shown."""
    while all(beacon.page != name for beacon in await standin.beacons(wait=5)):
        pass


if __name__ == "__main__":
    log.configure("WARNING")
    with tempfile.TemporaryDirectory(prefix="antechamber-picture-") as name:
        where = Path(name)
        where.chmod(0o711)
        target = Path(sys.argv[1])
        target.mkdir(parents=True, exist_ok=True)
        asyncio.run(take(target, where))
