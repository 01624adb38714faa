"""Somebody at a service that is killed: they ask again while it is away, and know how their session may have ended."""

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

if TYPE_CHECKING:
    from antechamber.testing.rfb import Screen
    from tests.acceptance.crash.campaign import Campaign

T = TypeVar("T")
TERMINAL = {"completed", "failed", "cancelled", "expired"}
AWAY = (httpx.TransportError, ConnectionClosed, EOFError, OSError, asyncio.IncompleteReadError)
"""What a service that was just killed looks like from outside."""
LOOK_S = 0.02


class Ended(Exception):  # noqa: N818 - how a person's wish can come too late
    """The session has ended meanwhile."""


class OwnBrowser(Browser):
    """A browser that shares its connections with all others: TLS, which each would prepare, is never spoken here."""

    def __init__(self, sign_in_base: str, transport: httpx.AsyncBaseTransport) -> None:
        self.base = sign_in_base
        self._http = httpx.AsyncClient(
            base_url=self.base, headers={"Origin": sign_in_base}, timeout=20, transport=transport
        )


class Person:
    """One person with one application: a session from its first request to its end, by one of the fates."""

    patience_s = 300.0
    """What takes longer is stuck, also on a computer that does much else."""

    def __init__(
        self, campaign: Campaign, user: str, fate: str, chance: random.Random, provider: str = "codex"
    ) -> None:
        self._campaign = campaign
        self.user = user
        self.fate = fate
        self._chance = chance
        self.provider = provider
        self.session_id = ""
        self._key = secrets.token_hex(8)
        self._browser: OwnBrowser | None = None
        self.rights: dict[str, str] = {}
        """The headers by which an application other than the operator asks."""

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
            answer = await self._campaign.application.request(method, path, json=body, headers=self.rights | headers)
            if answer.is_success:
                return answer.json() if answer.content else {}
            code = answer.json()["error"]["code"] if "json" in answer.headers.get("content-type", "") else "?"
            raise Refused(f"{method} {path}", answer.status_code, code, answer.text[:200])

        return await self.persist(ask)

    async def page(self, step: Callable[[OwnBrowser], Awaitable[T]]) -> T:
        """Do something in the person's browser."""
        if self._browser is None:
            self._browser = OwnBrowser(self._campaign.sign_in_base, self._campaign.transport)
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
            async with asyncio.timeout(self.patience_s):
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
        self._campaign.told[self.session_id] = view["status"], view["reason"]

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
        self._campaign.report.locked_out += 1
        await self._cancel()
        raise Ended

    async def _cancel(self) -> None:
        self._may_end("cancelled")
        try:
            await self.call("POST", f"/api/auth/session/{self.session_id}/cancel", {})
        except Refused as refused:
            if refused.code != "session_ended":
                raise

    async def _screen(self) -> Screen:
        """Open the screen, as often as it takes."""

        async def open_it(browser: OwnBrowser) -> Screen:
            while True:
                try:
                    return await browser.screen(self.session_id)
                except Refused as refused:
                    if refused.code not in {"screen_not_ready", "no_screen", "too_often"}:
                        raise
                    await asyncio.sleep(LOOK_S)
                except AttributeError as error:
                    # the library asks the socket of a service that was killed just now for its address
                    raise ConnectionResetError from error

        return await self.page(open_it)


class _Link:
    def __init__(self, session_id: str, code: str) -> None:
        self.session_id = session_id
        self.link_code = code
