"""Chromium, as a person would use it: their hands only, no debugging interface, its sandbox on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from antechamber.guest import programs, sandbox
from antechamber.guest.first_page import FirstPage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from antechamber.guest.layout import Layout

_RESTARTS = 5
_PROOF_S = 30.0
_LOOK_EVERY_S = 0.1
_LOCK_EVERY_S = 0.02
_FIRST_ASKS_S = 10.0


class BrowserError(Exception):
    """Chromium keeps ending; the text is what it said last."""


class Browser:
    """One Chromium with a fresh profile; started again when the person closes its last window."""

    def __init__(self, layout: Layout, variables: dict[str, str]) -> None:
        """Prepare; `run` starts it."""
        self._layout = layout
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._page: str | None = None
        self._shown: str | None = None
        self._first = FirstPage()
        self._stopping = False
        self._heard = programs.Heard()

    async def run(self) -> None:
        """Keep Chromium running until `stop`; raises BrowserError when it ends too often, OSError without it."""
        self._prefer()
        for _ in range(1 + _RESTARTS):
            self._first.close()
            self._first = FirstPage()
            # a page that was asked for already is the first one
            self._shown = self._page
            page = self._page or await self._first.start()
            self._process = await self._heard.start(self._command(page), self._variables)
            await self._hand_over(self._process)
            await self._process.wait()
            if self._stopping:
                return
        raise BrowserError(self._heard.last_words())

    async def open(self, url: str) -> None:
        """Show a page, now or as soon as Chromium has been started."""
        self._page = url
        self._shown = None
        if self._process is not None and self._process.returncode is None:
            await self._hand_over(self._process)

    async def _hand_over(self, first: asyncio.subprocess.Process) -> None:
        """Show the page asked for last: in the window that waits for one, or else in a new one.

        Started again on its profile, Chromium hands a page to the one that runs.
        """
        page = self._page
        if page is not None and self._shown != page and await self._first.show(page, within=_FIRST_ASKS_S):
            self._shown = page
        lock = self._profile / "SingletonSocket"
        # before the first has its lock the second could take it: the first would end, and be taken for closed
        while self._page is not None and self._shown != self._page and first.returncode is None:
            if lock.is_symlink():
                self._shown = self._page
                second = await programs.start(self._command(self._page, "--new-window"), self._variables)
                await second.wait()
            else:
                await asyncio.sleep(_LOCK_EVERY_S)

    def _prefer(self) -> None:
        """Let the window manager draw the frame, which draws none: a window that a person hid could not be got back."""
        default = self._profile / "Default"
        default.mkdir(mode=0o700, parents=True, exist_ok=True)
        (default / "Preferences").write_text(json.dumps({"browser": {"custom_chrome_frame": False}}))

    async def prove(self, tell: Callable[[sandbox.Sandbox], None]) -> None:
        """Tell once whether all renderers are confined, as soon as they are or after half a minute."""
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
        self._first.close()
        if self._process is not None:
            await programs.stop(self._process, patience=0.5)
        self._heard.close()

    @property
    def _profile(self) -> Path:
        return self._layout.profile / "profile"

    def _command(self, url: str, *more: str) -> tuple[str, ...]:
        return (
            "/usr/bin/chromium", f"--user-data-dir={self._profile}", "--no-first-run",
            "--no-default-browser-check", "--password-store=basic", "--disable-sync", "--disable-background-networking",
            "--disable-component-update", "--disable-gpu", "--start-maximized", *more, "--", url,
        )  # fmt: skip
