"""People at scripted sign-ins: they try again while the service is away, and know how their session may have ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import httpx
from websockets.exceptions import ConnectionClosed

from antechamber.testing.visitor import Browser, Refused
from tests.integration.scene import WHOLE

if TYPE_CHECKING:
    from antechamber.testing.scripted_guest import SignInGuest
    from tests.acceptance.crash.campaign import Campaign

T = TypeVar("T")
TERMINAL = {"completed", "failed", "cancelled", "expired"}
AWAY = (httpx.TransportError, ConnectionClosed, EOFError, OSError, asyncio.IncompleteReadError)
"""What a service that was just killed looks like from outside."""
PERSON_S = 300
"""What takes longer is stuck, also on a computer that does much else."""
LOOK_S = 0.02


class Ended(Exception):  # noqa: N818 - how a person's wish can come too late
    """The session has ended meanwhile."""


class _Browser(Browser):
    """A browser that shares its connections with all others: TLS, which each would prepare, is never spoken here."""

    def __init__(self, sign_in_base: str, transport: httpx.AsyncBaseTransport) -> None:
        self.base = sign_in_base
        self._http = httpx.AsyncClient(
            base_url=self.base, headers={"Origin": sign_in_base}, timeout=20, transport=transport
        )


class Person:
    """One person with one application: a session from its first request to its end, by one of FATES."""

    def __init__(self, campaign: Campaign, user: str, fate: str, chance: random.Random) -> None:
        self._campaign = campaign
        self.user = user
        self.fate = fate
        self._chance = chance
        self.provider = "codex"
        self.session_id = ""
        self._key = secrets.token_hex(8)
        self._browser: _Browser | None = None

    # -- to a service that comes and goes

    async def persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer; an error of the service's own is none."""
        while True:
            life = await self._campaign.alive()
            try:
                return await ask()
            except AWAY:
                pass
            except Refused as refused:
                if refused.status < 500:
                    raise
            # the next life, or a moment in this one
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await life.dead.wait()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask as the application, until answered; raises Refused for 4xx."""

        async def ask() -> Any:
            answer = await self._campaign.application.request(method, path, json=body, headers=headers)
            if answer.is_success:
                return answer.json() if answer.content else {}
            code = answer.json()["error"]["code"] if "json" in answer.headers.get("content-type", "") else "?"
            raise Refused(f"{method} {path}", answer.status_code, code, answer.text[:200])

        return await self.persist(ask)

    async def page(self, step: Callable[[_Browser], Awaitable[T]]) -> T:
        """Do something in the person's browser."""
        if self._browser is None:
            self._browser = _Browser(self._campaign.sign_in_base, self._campaign.transport)
        browser = self._browser
        try:
            return await self.persist(lambda: step(browser))
        except Refused as refused:
            if refused.code in {"session_ended", "session_not_found"}:
                raise Ended from refused
            raise

    # -- the sign-in

    async def live(self) -> None:
        """Go through a sign-in to the end of the session; what may be true of it is told to the campaign."""
        try:
            async with asyncio.timeout(PERSON_S):
                await self._live()
        except TimeoutError:
            self._campaign.faults.append(f"{self.session_id} of {self.user} ({self.fate}) did not come to its end")
            self._campaign.give_up()
        except (Refused, AssertionError) as error:
            self._campaign.faults.append(f"{self.session_id} of {self.user} ({self.fate}): {error!r}")
            self._campaign.give_up()

    async def _live(self) -> None:
        await self._ask_for_one()
        with contextlib.suppress(Ended):
            await getattr(self, f"_{self.fate}")()
        view = await self._view()
        while view["status"] not in TERMINAL:
            view = await self._view(wait=True)

    async def _view(self, *, wait: bool = False) -> Any:
        """Return the application's view of the session, or the next one."""
        return await self.call("GET", f"/api/auth/session/{self.session_id}" + ("?wait=1" if wait else ""))

    async def _ask_for_one(self, **more: Any) -> str:
        body = {"user_id": self.user, "provider": self.provider, **more}
        started = await self.call("POST", "/api/auth/session", body, **{"Idempotency-Key": self._key})
        self.session_id = started["session_id"]
        self._campaign.acknowledged[self.session_id] = self
        self._may_end("machine_did_not_start" if self.fate in {"crashes", "keeper"} else self.fate)
        return str(started["sign_in_url"]).partition("#")[2].rpartition("=")[2]

    def _may_end(self, *ends: str) -> None:
        self._campaign.true_ends.setdefault(self.session_id, set()).update(ends)

    async def _open(self) -> None:
        """Open the link; one that is spent, and whose cookie never came, is no use: the application gives up then."""
        link = await self._ask_for_one()
        if not link:
            # asked for again after it was opened: there is no second one
            await self._lock_out()
        started = _Link(self.session_id, link)
        try:
            await self.page(lambda browser: browser.open(started))
        except Refused as refused:
            if refused.code != "link_not_valid":
                raise
            await self._lock_out()
        await self.page(lambda browser: browser.consent(self.session_id))

    async def _lock_out(self) -> NoReturn:
        self._campaign.locked_out += 1
        await self._cancel()
        raise Ended

    async def _guest(self) -> SignInGuest:
        """Return the session's guest, once its machine runs."""
        view = await self._view()
        while (guest := self._campaign.guests.get(view["machine"]["id"])) is None:
            if view["status"] in TERMINAL:
                raise Ended
            view = await self._view(wait=True)
        return guest

    async def _ready(self) -> SignInGuest:
        guest = await self._guest()
        view = await self._view()
        while view["status"] != "awaiting_sign_in":
            if view["status"] in TERMINAL:
                raise Ended
            view = await self._view(wait=True)
        return guest

    async def _look(self) -> None:
        """See the screen, as often as it takes."""

        async def look(browser: _Browser) -> None:
            while True:
                try:
                    screen = await browser.screen(self.session_id)
                except Refused as refused:
                    if refused.code not in {"screen_not_ready", "no_screen"}:
                        raise
                    await asyncio.sleep(LOOK_S)
                    continue
                except AttributeError as error:
                    # the library asks the socket of a service that was killed just now for its address
                    raise ConnectionResetError from error
                await screen.close()
                return

        await self.page(look)

    async def _seen(self) -> None:
        """Look until the session knows of it: a screen that was cut off at once may not have counted."""
        while (await self.page(lambda browser: browser.session(self.session_id)))["screen_seen_at"] is None:
            await self._look()

    # -- the fates

    async def _completes(self) -> None:
        if self._chance.random() < 0.5:
            await self._open()
        guest = await self._ready()
        if self._browser is not None:
            await self._look()
        await self._hand_in(guest)
        if self._browser is not None and self._chance.random() < 0.5:
            await self.page(lambda browser: browser.shown(self.session_id))

    async def _hand_in(self, guest: SignInGuest) -> None:
        self._may_end("completed")
        refused = await self._campaign.while_it_runs(guest, guest.sign_in(WHOLE))
        if refused is None:
            self._campaign.captured.add(self.session_id)
        else:
            self._campaign.refused.add(self.session_id)

    async def _single_sign_on(self) -> None:
        """The file is whole before the first painted frame."""
        guest = await self._guest()
        await self._campaign.while_it_runs(guest, guest.page_open.wait())
        await self._hand_in(guest)

    async def _rejects(self) -> None:
        await self._open()
        await self._hand_in(await self._ready())
        path = f"/api/auth/session/{self.session_id}/reject"
        with contextlib.suppress(Refused):  # a later sign-in of the same person may have replaced it
            await self.page(lambda browser: browser._call("POST", path, {}))

    async def _deletes(self) -> None:
        await self._hand_in(await self._ready())
        view = await self._view()
        if view["credential_id"] is not None:
            with contextlib.suppress(Refused):
                await self.call("DELETE", f"/api/credentials/{view['credential_id']}")

    async def _cancelled(self) -> None:
        for step in (self._open, self._ready, self._seen):
            if self._chance.random() < 0.3:
                break
            await step()
        await self._cancel()

    async def _cancel(self) -> None:
        self._may_end("cancelled")
        try:
            await self.call("POST", f"/api/auth/session/{self.session_id}/cancel", {})
        except Refused as refused:
            if refused.code != "session_ended":
                raise

    async def _superseded(self) -> None:
        if self._chance.random() < 0.5:
            await self._ready()
        self._may_end("superseded")
        self._key = secrets.token_hex(8)
        await self._ask_for_one(replace=True)
        self._may_end("completed")
        await self._hand_in(await self._ready())

    async def _gives_up(self) -> None:
        await self._open()
        guest = await self._ready()
        await self._seen()
        self._may_end("completed", "cli_ended")
        if await self._campaign.while_it_runs(guest, guest.end_cli(1, "no thanks")) is not None:
            return
        with contextlib.suppress(Refused):
            await self.page(lambda browser: browser.again(self.session_id, 1))
            await self._campaign.while_it_runs(guest, guest.again.wait())
            await self._hand_in(guest)

    async def _cli_ended(self) -> None:
        guest = await self._ready()
        await self._campaign.while_it_runs(guest, guest.end_cli(1, "no thanks"))

    async def _credential_unusable(self) -> None:
        guest = await self._ready()
        refused = await self._campaign.while_it_runs(guest, guest.sign_in({"credential": b"{}"}))
        assert refused is not None

    async def _crashes(self) -> None:
        """The machine's first program is killed, in any phase."""
        await self._some_phase()
        self._may_end("machine_ended", "machine_did_not_start")
        self._campaign.kill(self.session_id, await self._guest(), keeper=False)

    async def _keeper(self) -> None:
        """The machine's keeper is killed, in any phase: nobody records how it ended."""
        await self._some_phase()
        self._may_end("machine_ended", "machine_did_not_start")
        self._campaign.kill(self.session_id, await self._guest(), keeper=True)

    async def _some_phase(self) -> None:
        steps = [self._guest, self._open, self._ready, self._seen]
        if self._chance.random() < 0.3:
            steps = [self._guest]
        elif self._chance.random() < 0.5:
            steps = [self._ready]
        for step in steps:
            await step()

    async def _nobody_came(self) -> None:
        await self._ready()

    async def _sign_in_timed_out(self) -> None:
        await self._open()
        await self._ready()
        await self._seen()


class _Link:
    def __init__(self, session_id: str, code: str) -> None:
        self.session_id = session_id
        self.link_code = code


FATES = {
    "completes": 8,
    "single_sign_on": 2,
    "rejects": 1,
    "deletes": 1,
    "cancelled": 2,
    "superseded": 1,
    "gives_up": 2,
    "cli_ended": 1,
    "credential_unusable": 1,
    "crashes": 2,
    "keeper": 2,
}
"""What people do, and how many of so many."""
IN_TIME = {"nobody_came": 1, "sign_in_timed_out": 1, "gives_up": 1, "completes": 1}
"""The same where time is short."""
