"""a: Connect until the vendor's page is painted before the person, and eight at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Self

from tests.acceptance.service import Service

from antechamber.model import SessionStatus
from antechamber.screen.rfb import Painter
from antechamber.testing.visitor import Application, Browser
from bench.bare import Bare, Vendor, one
from bench.figures import Figure, Size, Target, say

PROVIDERS = ("codex", "claude_code", "gemini")
MEDIAN_MS = {"codex": 1200, "claude_code": 1200, "gemini": 3000}
BURST = 8
BURST_MS = 4000
BARE = "bare sandbox"
_END_S = 60.0
_PAINTED_S = 90.0


@contextlib.asynccontextmanager
async def demo(**settings: object) -> AsyncIterator[Service]:
    """Run `antechamber demo` as a process of its own, in folders of its own."""
    service = Service(**settings)
    try:
        await service.start()
        yield service
    finally:
        await service.remove()


class Visit:
    """One application's and one person's part, until they see the vendor's page."""

    def __init__(self, service: Service, provider: str, user: str) -> None:
        self._service = service
        self._provider = provider
        self._user = user
        self.session_id = ""
        self.marks: dict[str, float] = {}
        """Milliseconds from Connect to each event of the session."""

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        self.application = await self._stack.enter_async_context(Application(self._service.base, self._service.token))
        self.browser = await self._stack.enter_async_context(Browser(self._service.sign_in_base))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def painted(self) -> float:
        """Connect, and return the milliseconds until the page has been painted at the person's end of the relay."""
        begun = time.monotonic()
        async with asyncio.timeout(_PAINTED_S):
            started = await self.application.start(self._provider, self._user)
            self.session_id = started.session_id
            await self.browser.open(started)
            await self.browser.consent(self.session_id)
            async with contextlib.aclosing(self.browser.events(self.session_id)) as events:
                async for told in events:
                    self.marks.setdefault(str(told.body.get("kind")), (time.monotonic() - begun) * 1000)
                    if told.body.get("after") == SessionStatus.AWAITING_SIGN_IN:
                        break
            await self._see()
        return (time.monotonic() - begun) * 1000

    async def _see(self) -> None:
        painter = Painter()
        painter.watch()
        page = await self.browser.screen_socket(self.session_id)
        try:
            while not painter.feed(await page.recv(decode=False)):
                await page.send(painter.to_send())
        finally:
            page.transport.abort()

    async def end(self) -> None:
        """Cancel the session and wait until its machine is gone."""
        await self.application.cancel(self.session_id)
        await self._service.machine_gone(self.session_id)


async def once(service: Service, provider: str, user: str) -> tuple[float, dict[str, float]]:
    """Return the milliseconds to the painted page, and the events on the way."""
    async with Visit(service, provider, user) as visit:
        took = await visit.painted()
        await visit.end()
    return took, visit.marks


async def run(size: Size) -> list[Figure]:
    """Measure."""
    singles = {
        provider: Figure(
            "a",
            f"Connect to the page painted, cold, {provider}",
            "ms",
            peer=BARE,
            targets=(Target("median", MEDIAN_MS[provider]),),
        )
        for provider in PROVIDERS
    }
    count = size.of(BURST, 2)
    burst = Figure(
        "a", f"Connect to the page painted, {count} at once, the slowest", "ms", peer=f"{count} bare sandboxes at once",
        targets=(Target("max", BURST_MS),),
    )  # fmt: skip
    async with demo() as service:
        standin = await service.standin()
        vendor = Vendor(standin.folder)
        async with vendor.serving():
            for turn in range(size.of(6)):
                for provider, figure in singles.items():
                    say(f"a: {provider}, {turn + 1}")
                    theirs = await one(standin, vendor)
                    ours, _ = await once(service, provider, f"somebody-{turn}")
                    figure.ours.append(ours)
                    figure.theirs.append(theirs)
            for turn in range(size.of(5)):
                say(f"a: {count} at once, {turn + 1}")
                burst.theirs.append(await _bare_burst(standin, vendor, count))
                burst.ours.append(await _burst(service, count, turn))
    return [*singles.values(), burst]


async def _burst(service: Service, count: int, turn: int) -> float:
    async with contextlib.AsyncExitStack() as stack:
        visits = [
            await stack.enter_async_context(Visit(service, "codex", f"burst-{turn}-{number}"))
            for number in range(count)
        ]
        took = await asyncio.gather(*(visit.painted() for visit in visits))
        await asyncio.gather(*(visit.end() for visit in visits))
    return max(took)


async def _bare_burst(standin, vendor: Vendor, count: int) -> float:
    vendor.carried.clear()
    begun = time.monotonic()
    bares = await asyncio.gather(*(Bare.start(standin, number) for number in range(count)))
    try:
        await asyncio.gather(*(bare.painted(vendor) for bare in bares))
        return (time.monotonic() - begun) * 1000
    finally:
        await asyncio.gather(*(bare.end() for bare in bares))
