"""The robot: does the person's part of a sign-in in the practice world, by public means only.

It asks for a session with the operator's token, opens the link as a browser would, agrees, and works the screen as a
VNC client by keyboard alone. Which page is before it, it knows from changed frames and from the stand-in vendor's own
page-shown beacons, never from the guest. Whether the credential is good, it asks the running service, which tells the
verdict alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import httpx

from antechamber.errors import AntechamberError
from antechamber.model import TERMINAL_STATUSES, MachineState, SessionStatus
from antechamber.tasks import Signal, Tasks
from antechamber.testing.outcome import Moment, Outcome, Timeline
from antechamber.testing.rfb import RETURN, RfbError, Screen
from antechamber.testing.visitor import Application, Browser, Refused, Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from antechamber.control import Client
    from antechamber.model import Secret
    from antechamber.testing.standin.journal import Beacon

T = TypeVar("T")

USER_ID: Final = "robot"
"""Whose credentials the robot's sign-ins are."""

_STATUSES: Final = frozenset(str(status) for status in SessionStatus)
_READY_S: Final = 90.0
_PAGE_S: Final = 45.0
_AGAIN_S: Final = 10.0
_CAPTURE_S: Final = 60.0
_GONE_S: Final = 60.0
_ASK_AGAIN_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.2


class StandIn(Protocol):
    """What the robot asks of the stand-in vendor; see `practice.StandInClient`."""

    async def beacons(self, *, after: int, wait: float) -> Sequence[Beacon]:
        """Return the pages shown after that number, waiting at most so many seconds for the first."""


class Trouble(Exception):  # noqa: N818 - what a person would call it; it becomes the outcome's sentence
    """The sign-in did not go as it should; the text says where."""


async def sign_in(
    provider: str,
    *,
    base: str,
    sign_in_base: str,
    token: Secret,
    standin: StandIn,
    control: Client,
    user_id: str = USER_ID,
    screens: Path | None = None,
    on_moment: Callable[[Moment], None] | None = None,
) -> Outcome:
    """Sign in to one provider and see everything through, the machine's end included.

    Never raises for what went wrong in the sign-in: `Outcome.held` and `Outcome.trouble` say it, and the last picture
    is saved in the folder `screens` where one is given.
    """
    outcome = Outcome(provider)
    async with Application(base, token) as application, Browser(sign_in_base) as browser, Tasks("robot") as tasks:
        attempt = _Attempt(
            control=control,
            outcome=outcome,
            application=application,
            browser=browser,
            standin=standin,
            tasks=tasks,
            timeline=Timeline(on_moment),
        )
        try:
            await attempt.run(user_id)
            await attempt.check(user_id)
        except (Trouble, Refused, AntechamberError, RfbError, EOFError, OSError, httpx.HTTPError) as error:
            outcome.trouble = f"{attempt.doing}: {error or type(error).__name__}"
            await attempt.look_back()
            if screens is not None:
                outcome.last_screen = attempt.save_screen(screens)
        finally:
            outcome.timeline = attempt.timeline.moments
            # first: whoever still works the screen would take its end for a fault
            await tasks.close()
            await attempt.leave_screen()
    return outcome


class _Attempt:
    """One try, step after step."""

    def __init__(
        self,
        *,
        control: Client,
        outcome: Outcome,
        application: Application,
        browser: Browser,
        standin: StandIn,
        tasks: Tasks,
        timeline: Timeline,
    ) -> None:
        self._control = control
        self._outcome = outcome
        self._application = application
        self._browser = browser
        self._standin = standin
        self._tasks = tasks
        self._screen: Screen | None = None
        self._first = 0
        self._seen = 0
        self._sign_in = ""
        self._told = Signal()
        self._file_whole_at: datetime | None = None
        self.timeline = timeline
        self.doing = "begin"

    async def run(self, user_id: str) -> None:
        self._first = max((beacon.n for beacon in await self._standin.beacons(after=0, wait=0)), default=0)
        self._seen = self._first
        session_id = await self._start(user_id)
        ended = self._tasks.spawn("events", self._follow(session_id))
        person = self._tasks.spawn("person", self._person(session_id, user_id))
        await asyncio.wait({person, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await person
            self.doing = "wait for the capture"
        await _within(_CAPTURE_S, "the session did not end in time", asyncio.shield(ended))
        await self._see_ready(session_id)
        await self._wait_for_the_end(session_id)

    async def _person(self, session_id: str, user_id: str) -> None:
        screen = await self._see(session_id)
        await self._type_in(screen, user_id)

    async def _start(self, user_id: str) -> str:
        self.doing = "Connect"
        self.timeline.mark("Connect: the application asks for a session")
        started = await self._application.start(self._outcome.provider, user_id)
        self._outcome.session_id = started.session_id
        self._outcome.status = started.status
        self.timeline.mark("the session is there; the link is opened")
        self.doing = "open the link"
        await self._browser.open(started)
        self.doing = "agree"
        await self._browser.consent(started.session_id)
        self.timeline.mark("agreed")
        return started.session_id

    async def _see(self, session_id: str) -> Screen:
        self.doing = "wait until the machine is ready"
        await _within(_READY_S, "the machine was not ready in time", self._ready(session_id))
        self.timeline.mark("ready: the screen is opened")
        self.doing = "open the screen"
        self._screen = screen = await self._browser.screen(session_id)
        self._tasks.spawn("screen", screen.watch())
        self.doing = "see the sign-in page"
        await self._page("email", 0)
        self._outcome.connect_to_painted_ms = self.timeline.mark(
            f"painted: the e-mail page on a screen of {screen.width}x{screen.height}", at=screen.changed_at
        )
        return screen

    async def _type_in(self, screen: Screen, user_id: str) -> None:
        account = f"{user_id}-{secrets.token_hex(3)}@example.com"
        await self._enter(screen, account, "an e-mail address", "code")
        await self._enter(screen, f"{secrets.randbelow(10**6):06}", "a code of six digits", "consent")
        await screen.press(RETURN)
        self.timeline.mark("pressed Enter on Authorize")

    async def _enter(self, screen: Screen, text: str, what: str, then: str) -> None:
        """Type a text and Enter until the next page comes; as a person does when a key was lost."""
        for last in (False, False, True):
            since = screen.changes
            self.doing = f"type {what}"
            await screen.type(text)
            await _within(_PAGE_S, "what was typed did not show", screen.change(since))
            since = screen.changes
            await screen.press(RETURN)
            self.timeline.mark(f"typed {what} and pressed Enter")
            self.doing = f"see the {then} page"
            try:
                async with asyncio.timeout(None if last else _AGAIN_S):
                    await self._page(then, since)
            except TimeoutError:
                self.timeline.mark(f"the page {then} did not come; once more")
                await screen.select_all()
            else:
                return

    async def _page(self, name: str, since: int) -> None:
        """Wait for the page's beacon and for a picture that changed after `since` changes."""
        screen = self._screen
        if screen is None:
            raise Trouble("there is no screen")
        await _within(_PAGE_S, f"the page {name} did not come", self._beacon(name))
        await _within(_PAGE_S, f"the page {name} was not painted", self._painted(screen, since))

    async def _painted(self, screen: Screen, since: int) -> None:
        since = await screen.change(since)
        while not screen.painted:
            since = await screen.change(since)

    async def _beacon(self, name: str) -> None:
        while True:
            for beacon in await self._standin.beacons(after=self._seen, wait=_ASK_AGAIN_S):
                self._seen = max(self._seen, beacon.n)
                if self._sign_in not in {"", beacon.sign_in}:
                    continue  # somebody else's page
                if beacon.webdriver:
                    raise Trouble("the page sees an automated browser (navigator.webdriver)")
                if beacon.page == "error":
                    raise Trouble("the vendor shows an error page")
                if beacon.page == name:
                    self._sign_in = beacon.sign_in
                    self.timeline.mark(f"the vendor says: page {name} shown")
                    return

    async def _ready(self, session_id: str) -> None:
        while self._outcome.status != SessionStatus.AWAITING_SIGN_IN:
            if not await self._told.wait(_ASK_AGAIN_S):
                self._outcome.status = (await self._application.session(session_id))["status"]

    async def _follow(self, session_id: str) -> None:
        """Follow the events to the end that the service makes of them."""
        last = Told("", "", {})
        while self._outcome.status not in TERMINAL_STATUSES:
            before = last
            async for told in self._browser.events(session_id, last.id):
                last = told
                after = told.body.get("after")
                self._outcome.status = after if after in _STATUSES else self._outcome.status
                if kind := told.body.get("kind"):
                    self.timeline.mark(f"event {kind}" + (f" -> {after}" if after != told.body.get("before") else ""))
                if whole_at := told.body.get("fields", {}).get("file_whole_at"):
                    self._file_whole_at = datetime.fromisoformat(whole_at)
                self._told.wake()
            if last is before:
                raise Trouble("the events ended, but the session did not")

    async def _see_ready(self, session_id: str) -> None:
        self.timeline.mark(f"the events end: {self._outcome.status}")
        poll = await self._application.poll(session_id)
        ready_at = time.time()
        self.timeline.mark(f"the poll answers {poll['status']}")
        session = await self._application.session(session_id)
        self._outcome.status = session["status"]
        if poll["status"] != "ready" or session["status"] != SessionStatus.COMPLETED:
            raise Trouble(f"the session is {session['status']} and the poll says {poll['status']}")
        self.doing = "see the result"
        if self._file_whole_at is not None:
            self._outcome.file_whole_to_ready_ms = round((ready_at - self._file_whole_at.timestamp()) * 1000)
        await self._browser.shown(session_id)
        self.timeline.mark("success is shown")

    async def _wait_for_the_end(self, session_id: str) -> None:
        self.doing = "wait until the machine is gone"
        await self._see_machine_gone(session_id)
        self.doing = "look at the session after that"
        session = await self._application.session(session_id)
        self._outcome.status_after_machine_gone = session["status"]
        poll = await self._application.poll(session_id)
        self.timeline.mark(f"the session is {session['status']}, the poll answers {poll['status']}")
        if poll["status"] != "ready":
            raise Trouble(f"after the machine's end the poll says {poll['status']}")
        self._outcome.destinations = [
            {"name": use["name"], "port": use["port"], "verdict": use["verdict"]}
            for use in await self._browser.destinations(session_id)
        ]

    async def _see_machine_gone(self, session_id: str) -> None:
        machine = await _within(_GONE_S, "the machine was not gone in time", self._machine_end(session_id))
        self._outcome.machine_state = machine["state"]
        self._outcome.machine_exit = machine.get("exit_code")
        self.timeline.mark(f"the machine is {machine['state']} (exit code {machine.get('exit_code')})")

    async def _machine_end(self, session_id: str) -> Mapping[str, Any]:
        while True:
            machine = (await self._application.session(session_id))["machine"] or {}
            if machine.get("state") in {MachineState.GONE, MachineState.LOST}:
                return dict(machine)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def check(self, user_id: str) -> None:
        """Ask the service for its offline check of the credential."""
        self.doing = "check the credential"
        verdict = await self._control.call("credentials.check", provider=self._outcome.provider, user_id=user_id)
        self.timeline.mark(f"the credential is {'accepted' if verdict['accepted'] else 'refused'} by {verdict['by']}")
        if not verdict["accepted"]:
            raise Trouble(f"{verdict['by']} does not accept it: {verdict.get('detail', '')}")
        self._outcome.credential_accepted_by = verdict["by"]

    async def look_back(self) -> None:
        """After trouble: say how the session stands, end it where it goes on, and leave no machine behind."""
        session_id = self._outcome.session_id
        if session_id is None:
            return
        with contextlib.suppress(Refused, Trouble, AntechamberError, httpx.HTTPError):
            session = await self._application.session(session_id)
            if session["status"] not in TERMINAL_STATUSES:
                await self._application.cancel(session_id)
            poll = await self._application.poll(session_id)
            self._outcome.status, self._outcome.reason = session["status"], poll.get("reason")
            self.timeline.mark(f"the session was {session['status']}; the poll answers {poll['status']}")
            pages = [beacon.page for beacon in await self._standin.beacons(after=self._first, wait=0)]
            self.timeline.mark(f"pages that the vendor saw shown: {', '.join(pages) or 'none'}")
            for use in await self._browser.destinations(session_id):
                self.timeline.mark("destination {name}:{port} {verdict}, {bytes_out} out, {bytes_in} in".format(**use))
            await self._see_machine_gone(session_id)

    def save_screen(self, folder: Path) -> Path | None:
        """Save the last picture; return where."""
        if self._screen is None or not self._screen.updates:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._outcome.provider}-{self._outcome.session_id}.png"
        path.write_bytes(self._screen.png())
        return path

    async def leave_screen(self) -> None:
        if self._screen is not None:
            with contextlib.suppress(EOFError, OSError):
                await self._screen.close()


async def _within(seconds: float, otherwise: str, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise Trouble(otherwise) from error
