"""Chromium, as a person would use it: their hands only, no debugging interface, its sandbox on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from antechamber.guest import programs, sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from antechamber.guest.layout import Layout

_RESTARTS = 5
_PROOF_S = 30.0
_LOOK_EVERY_S = 0.1


class BrowserError(Exception):
    """Chromium keeps ending."""


class Browser:
    """One Chromium with a fresh profile; started again when the person closes its last window."""

    def __init__(self, layout: Layout, variables: dict[str, str]) -> None:
        """Prepare; `run` starts it."""
        self._layout = layout
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._first_page: str | None = None
        self._page: str | None = None
        self._stopping = False

    async def run(self) -> None:
        """Keep Chromium running until `stop`; raises BrowserError when it ends too often, OSError without it."""
        for _ in range(1 + _RESTARTS):
            async with self._starting:
                # a page that was asked for already is the first one: no empty tab beside it
                self._first_page = self._page or "about:blank"
                self._process = await programs.start(self._command(self._first_page), self._variables)
            await self._process.wait()
            if self._stopping:
                return
        raise BrowserError

    async def open(self, url: str) -> None:
        """Show a page: started again on the same profile, Chromium hands it to the one that runs."""
        self._page = url
        async with self._starting:
            first = self._process
        if first is None or first.returncode is not None or self._first_page == url:
            return
        # before that, the second would take the profile, and the first would hand itself over and end
        while first.returncode is None and not self._owns_profile():  # noqa: ASYNC110 - Chromium announces it by nothing else
            await asyncio.sleep(_LOOK_EVERY_S / 5)
        second = await programs.start(self._command(url), self._variables)
        await second.wait()

    def _owns_profile(self) -> bool:
        # a link to the socket that Chromium listens on for its later starts
        return (self._layout.profile / "profile" / "SingletonSocket").exists()

    async def prove(self, tell: Callable[[sandbox.Sandbox], None]) -> None:
        """Tell once whether all renderers are confined, as soon as there are any."""
        # nothing announces a new process to an ordinary user, so this looks; a renderer confines itself after its start
        seen = sandbox.Sandbox(ok=False, renderers=0, detail="no renderer was seen")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PROOF_S):
                while True:
                    if self._process is not None:
                        seen = sandbox.look(self._process.pid)
                    if seen.ok:
                        break
                    await asyncio.sleep(_LOOK_EVERY_S)
        tell(seen)

    async def stop(self) -> None:
        """End Chromium."""
        self._stopping = True
        if self._process is not None:
            await programs.stop(self._process, patience=0.5)

    def _command(self, url: str) -> tuple[str, ...]:
        return (
            "/usr/bin/chromium", f"--user-data-dir={self._layout.profile}/profile", "--no-first-run",
            "--no-default-browser-check", "--password-store=basic", "--disable-sync", "--disable-background-networking",
            "--disable-component-update", "--disable-gpu", "--start-maximized", "--", url,
        )  # fmt: skip
