"""A person who signs in step by step, so that things can happen to the service in between.

The robot of `antechamber demo --headless` does a sign-in in one go; this one uses the same public ends of it.
"""

from __future__ import annotations

import asyncio
import contextlib

from antechamber.model import TERMINAL_STATUSES
from antechamber.tasks import Tasks
from antechamber.testing.rfb import RETURN
from antechamber.testing.visitor import Application, Browser, Refused
from tests.acceptance.service import LOOK_S

READY_S = 90
PAGE_S = 45
END_S = 60


class Person:
    """One person at one sign-in, and the application that asked for it."""

    def __init__(self, service, provider, user_id="somebody"):
        self._service = service
        self.provider = provider
        self.user_id = user_id
        self.email = f"{user_id}-DUMMY@example.com"
        self.session_id = None
        self.screen = None
        self._standin = None
        self._seen = 0
        self._sign_in = ""
        self.beacons = []

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        self.application = await self._stack.enter_async_context(Application(self._service.base, self._service.token))
        self.browser = await self._stack.enter_async_context(Browser(self._service.sign_in_base))
        self._tasks = await self._stack.enter_async_context(Tasks("person"))
        self._standin = await self._service.standin()
        await self._forget()
        return self

    async def __aexit__(self, *_):
        await self.leave()
        await self._stack.aclose()

    async def _forget(self):
        # the pages of an earlier person's sign-in with the same vendor are not this one's
        self._seen = max((beacon.n for beacon in await self._standin.beacons()), default=0)

    # -- step by step

    async def connect(self):
        """Ask for a session, open its link and agree."""
        await self._forget()
        started = await self.application.start(self.provider, self.user_id)
        self.session_id = started.session_id
        await self.browser.open(started)
        await self.browser.consent(self.session_id)

    async def look(self):
        """See the screen, now or as soon as there is one; a screen from before is left."""
        await self.leave()
        async with asyncio.timeout(READY_S):
            await self._status({"awaiting_sign_in"})
            while self.screen is None:
                try:
                    self.screen = await self.browser.screen(self.session_id)
                except Refused as refused:
                    if refused.status not in {409, 503}:
                        raise
                    await asyncio.sleep(LOOK_S)
                except EOFError as closed:
                    # its machine is being found again: a page comes back with another ticket too
                    if "4004" not in str(closed):
                        raise
                    await asyncio.sleep(LOOK_S)
        self._tasks.spawn("screen", self.screen.watch())
        async with asyncio.timeout(PAGE_S):
            since = await self.screen.change(0)
            while not self.screen.painted:
                since = await self.screen.change(since)

    async def leave(self):
        """Leave the screen, as by closing the page."""
        screen, self.screen = self.screen, None
        if screen is not None:
            with contextlib.suppress(EOFError, OSError):
                await screen.close()

    async def sees(self, page):
        """Wait until the vendor says that it has shown that page in this sign-in."""
        async with asyncio.timeout(PAGE_S):
            while True:
                for beacon in await self._standin.beacons(after=self._seen, wait=5):
                    self._seen = max(self._seen, beacon.n)
                    if self._sign_in not in {"", beacon.sign_in} or beacon.vendor != self.provider:
                        continue  # somebody else's page
                    self.beacons.append(beacon)
                    if beacon.page == page:
                        self._sign_in = beacon.sign_in
                        return

    async def enter(self, text):
        """Type something, see it, and press Enter."""
        since = self.screen.changes
        await self.screen.type(text)
        async with asyncio.timeout(PAGE_S):
            await self.screen.change(since)
        await self.screen.press(RETURN)

    async def to_the_code(self):
        """Come to the page that asks for the code."""
        await self.connect()
        await self.look()
        await self.sees("email")
        await self.enter(self.email)
        await self.sees("code")

    async def from_the_code(self):
        """Type the code and press Enter on Authorize."""
        await self.enter("123456")
        await self.sees("consent")
        await self.screen.press(RETURN)

    async def sign_in(self):
        """Do all of the person's part; return how the session ended."""
        await self.to_the_code()
        await self.from_the_code()
        return await self.ended()

    async def finish(self):
        """Do all of the person's part, see that it was stored and that nothing is left of its machine, and leave."""
        status = await self.sign_in()
        assert status == "completed", status
        await self._service.machine_gone(self.session_id)
        await self.leave()

    async def gave_up(self):
        """Wait until the tool has given up; return what it said last, as the page shows it."""
        async with asyncio.timeout(END_S):
            while (page := await self.browser.session(self.session_id))["gave_up_at"] is None:
                assert not page["terminal"], f"the session is {page['status']}: {page['reason']}"
                await asyncio.sleep(LOOK_S)
        return page["cli_said"]

    async def again(self):
        """Have the tool started again."""
        # the vendor begins a sign-in of its own with the tool's next run
        self._sign_in = ""
        await self.browser.again(self.session_id, 1)

    # -- how it went

    async def ended(self):
        """Wait for the session's end and return its status."""
        async with asyncio.timeout(END_S):
            return await self._status({str(status) for status in TERMINAL_STATUSES})

    async def status(self):
        return (await self.application.session(self.session_id))["status"]

    async def reason(self):
        return (await self.application.session(self.session_id))["reason"]

    async def _status(self, wanted):
        ended = {str(status) for status in TERMINAL_STATUSES}
        wait_s = 0
        while True:
            session = await self.application.session(self.session_id, wait_s=wait_s)
            wait_s = 1  # a change between two questions is no change to the second
            if session["status"] in wanted:
                return session["status"]
            assert session["status"] not in ended, f"the session is {session['status']}: {session['reason']}"

    def save_screen(self, folder):
        """Keep the last picture."""
        if self.screen is not None and self.screen.updates:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.provider}.png").write_bytes(self.screen.png())
