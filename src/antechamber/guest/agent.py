"""The agent: takes the host's job, runs its parts, and reports what happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from antechamber.guest import check, files, job, programs
from antechamber.guest.browser import Browser, BrowserError
from antechamber.guest.capture import Capture
from antechamber.guest.cli import MARK, Cli, environment
from antechamber.guest.egress import Egress
from antechamber.guest.opener import Opener
from antechamber.guest.protocol import ReportKind, Trouble
from antechamber.guest.run import Run
from antechamber.guest.screen import Joiner, Screen, ScreenError
from antechamber.guest.tasks import Tasks
from antechamber.guest.uplink import Uplink
from antechamber.guest.view import View

if TYPE_CHECKING:
    from antechamber.guest.layout import Layout
    from antechamber.guest.sandbox import Sandbox

_QUIET_S = 3.0
"""A tool that has begun a line and says nothing more for so long waits for an answer."""
_EARLY = 16
_CLI_FINISHES_S = 1.0
"""Codex ends only when the browser has followed it to its own page of success: it may, before it is stopped."""


class Agent:
    """One machine's agent; lives as long as the machine."""

    def __init__(self, layout: Layout, *, build: str, incarnation: str) -> None:
        """Prepare; `run` begins."""
        self._layout = layout
        self._tasks = Tasks(
            on_error=lambda name, error: self._trouble(Trouble.AGENT, f"{name}: {type(error).__name__}")
        )
        self._stopped = asyncio.Event()
        self._job: job.Job | None = None
        self._finished = False
        self._attempt = 1
        self._run: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._page_asked = asyncio.Event()
        self._capture: Capture | None = None
        self._cli: Cli | None = None
        self._browser: Browser | None = None
        self._screen: Screen | None = None
        self._opener: Opener | None = None
        self._egress: Egress | None = None
        self._view = View(self._say)
        self._work: Run | None = None
        self._early: list[dict[str, Any]] = []
        """What the host said to a run before its CLI's files were in place."""
        self._uplink = Uplink(
            layout.link,
            build=build,
            incarnation=incarnation,
            has_job=lambda: self._job is not None,
            on_message=self._on_message,
            on_settled=self._on_settled,
        )

    async def run(self) -> int:
        """Serve the host until it says stop; return the machine's exit code."""
        self._tasks.spawn("link", self._uplink.run())
        await self._stopped.wait()
        await self._end()
        return 0

    def stop(self) -> None:
        """End everything."""
        self._stopped.set()

    # -- what the host says -------------------------------------------------------------------------------------------

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "welcome" if self._job is None and message.get("job") is not None:
                self._begin(message["job"])
            case "again" if isinstance(message.get("attempt"), int):
                self._again(message["attempt"])
            case "capture_done":
                self._finish()
            case "welcome":
                self._view.close()
            case word if word.startswith("terminal_") and not self._finished:
                self._view.take(message)
            case word if word.startswith("run_"):
                self._on_run_message(message)
            case "look_again":
                if not self._has_something_new():
                    self._uplink.report(ReportKind.NOTHING_YET, {})
            case "stop":
                self.stop()
            case _:
                pass  # a later host may say more

    def _on_run_message(self, message: dict[str, Any]) -> None:
        if self._work is not None:
            self._work.take(message)
        elif len(self._early) < _EARLY:
            self._early.append(message)

    def _has_something_new(self) -> bool:
        """Report a whole file that the host may not have, and tell whether there is one."""
        if self._work is not None:
            return self._work.look_again()
        return self._capture is not None and not self._finished and self._capture.look_again() is None

    def _on_settled(self, report: str, kind: ReportKind, refused: str | None) -> None:
        if self._work is not None:
            self._work.settled(report, is_stored=refused is None)
        elif kind is ReportKind.CREDENTIAL and refused is None:
            self._finish()

    # -- the job ------------------------------------------------------------------------------------------------------

    def _begin(self, table: Any) -> None:
        try:
            self._job = job.parse(table)
        except job.BadJobError as error:
            self._trouble(Trouble.JOB, str(error))
            return
        kinds = {"sign_in": self._sign_in, "check": self._check, "run": self._run_with_credential}
        self._tasks.spawn(self._job.kind, kinds[self._job.kind](self._job))

    async def _run_with_credential(self, todo: job.Job) -> None:
        layout = self._layout
        for folder in (layout.home, layout.work, layout.project):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._egress = Egress(layout)
        await self._egress.start()
        files.plant(layout, todo.seeds)
        self._work = Run(
            todo,
            layout,
            environment(todo, layout, opener=None),
            report=self._uplink.report,
            send_again=self._uplink.send_again,
            say=self._say,
            tasks=self._tasks,
        )
        for message in self._early:
            self._work.take(message)
        try:
            await self._work.run()
        except OSError as error:
            self._trouble(Trouble.CLI_NOT_FOUND, type(error).__name__)

    async def _check(self, todo: job.Job) -> None:
        self._layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.plant(self._layout, todo.seeds)
        self._uplink.report(ReportKind.STARTED, {"cli_pid_started": False})
        try:
            verdict = await check.check(todo, self._layout, environment(todo, self._layout, opener=None))
        except OSError as error:
            self._trouble(Trouble.CLI_NOT_FOUND, type(error).__name__)
            return
        self._uplink.report(
            ReportKind.CHECKED, {"accepted": verdict.accepted, "code": verdict.code, "lines": verdict.lines}
        )

    async def _sign_in(self, todo: job.Job) -> None:
        layout = self._layout
        for folder in (layout.home, layout.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._opener = Opener(layout, self._open)
        await self._opener.start()
        self._egress = Egress(layout)
        await self._egress.start()
        if todo.screen:
            self._screen = Screen(layout)
            if todo.browser:
                self._browser = Browser(layout, self._screen.variables)
            self._tasks.spawn("screen", self._show(self._screen, self._browser))
        self._run = self._tasks.spawn("cli", self._attempt_once(todo, self._opener))

    async def _attempt_once(self, todo: job.Job, opener: Opener) -> None:
        """Run the CLI once, from its seeds; whatever it began is watched for the files to capture."""
        layout = self._layout
        files.plant(layout, todo.seeds)
        self._capture = Capture(
            todo,
            layout,
            report=lambda body: self._uplink.report(ReportKind.CREDENTIAL, body),
            send_again=self._uplink.send_again,
        )
        self._cli = Cli(todo.argv, todo.drive, environment(todo, layout, opener=opener.program), layout, self._view)
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._tasks.spawn("capture", self._capture.run())
        patience = self._tasks.spawn("patience", self._expect_page(todo.page_wait_s, self._cli))
        try:
            await self._run_cli(self._cli, self._capture)
        finally:
            patience.cancel()

    def _again(self, attempt: int) -> None:
        if attempt > self._attempt and not self._finished and self._run is not None and self._job is not None:
            self._attempt = attempt
            self._run = self._tasks.spawn("again", self._start_over(self._job, self._run))

    async def _start_over(self, todo: job.Job, before: asyncio.Task[None]) -> None:
        # a fixed callback port is free again only when all that the last run started has gone
        if self._cli is not None:
            await self._cli.stop(patience=0)
        await asyncio.wait({before})
        if self._capture is not None:
            self._capture.close()
        files.empty(self._layout.home)
        self._page_asked.clear()
        assert self._opener is not None  # noqa: S101 - the first run had it
        await self._attempt_once(todo, self._opener)

    async def _show(self, screen: Screen, browser: Browser | None) -> None:
        try:
            await screen.start()
        except (ScreenError, OSError) as error:
            self._trouble(Trouble.SCREEN, f"{type(error).__name__}: {error}")
            return
        self._uplink.report(ReportKind.SCREEN_UP, {})
        self._tasks.spawn("joiner", Joiner(self._layout).run())
        if browser is not None:
            self._tasks.spawn("browser", self._browse(browser))
            self._tasks.spawn("proof", browser.prove(self._proved))
        ended = await screen.ended()
        if not self._stopped.is_set():
            self._trouble(Trouble.SCREEN, f"the X server ended with {ended}")

    async def _browse(self, browser: Browser) -> None:
        try:
            await browser.run()
        except (BrowserError, OSError) as error:
            self._trouble(Trouble.BROWSER, f"{type(error).__name__}: {error}")

    def _proved(self, seen: Sandbox) -> None:
        self._uplink.report(
            ReportKind.BROWSER_SANDBOX, {"ok": seen.ok, "renderers": seen.renderers, "detail": seen.detail}
        )

    def _open(self, url: str, host: str) -> None:
        if self._finished:
            return
        self._page_asked.set()
        self._uplink.report(ReportKind.PAGE_ASKED, {"host": host})
        if self._browser is not None:
            self._tasks.spawn("open", self._show_page(self._browser, url))

    async def _show_page(self, browser: Browser, url: str) -> None:
        await browser.open(url)
        # the page has a renderer of its own, which was not there when the first proof was made
        await browser.prove(lambda seen: None if seen.ok else self._proved(seen))

    async def _run_cli(self, cli: Cli, capture: Capture) -> None:
        self._tasks.spawn("started", self._tell_started(cli))
        try:
            code = await cli.run()
        except OSError as error:
            self._trouble(Trouble.CLI_NOT_FOUND, type(error).__name__)
            return
        finally:
            self._page_asked.set()  # nobody waits for a page of a CLI that has ended
        if self._finished:
            return
        capture.cli_ended()
        state = capture.look_again()
        if state is not None:
            body = {"attempt": self._attempt, "code": code, "lines": cli.output.lines(), "file": state.value}
            self._uplink.report(ReportKind.CLI_ENDED, body)

    async def _tell_started(self, cli: Cli) -> None:
        await cli.started.wait()
        self._uplink.report(ReportKind.STARTED, {"cli_pid_started": True})

    async def _expect_page(self, patience: float, cli: Cli) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while (left := until - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _QUIET_S / 3)):
                    await self._page_asked.wait()
                return
            if cli.asks and loop.time() - cli.heard_at >= _QUIET_S:
                # whoever answers it may take the session's own time
                self._uplink.report(ReportKind.TERMINAL_ASKS, {})
                return
        if not self._finished:
            self._trouble(Trouble.NO_PAGE, f"none in {patience:g} s")

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Stop the CLI and wipe its home, once; the screen stays as it is."""
        if not self._finished:
            self._finished = True
            self._view.close()
            self._page_asked.set()
            self._tasks.spawn("finish", self._wipe())

    async def _wipe(self) -> None:
        if self._capture is not None:
            self._capture.close()
        if self._cli is not None:
            await self._cli.stop(patience=_CLI_FINISHES_S)
        files.empty(self._layout.home)

    def _say(self, message: dict[str, Any]) -> None:
        self._uplink.say(message)

    def _trouble(self, what: Trouble, detail: str) -> None:
        if not self._stopped.is_set():
            self._uplink.report(ReportKind.TROUBLE, {"what": what.value, "detail": detail[:400]})

    async def _end(self) -> None:
        if self._capture is not None:
            self._capture.close()
        if self._work is not None:
            self._work.close()
        if self._opener is not None:
            self._opener.close()
        programs.kill_marked(MARK)
        if self._cli is not None:
            await self._cli.stop(patience=0)
        for part in (self._browser, self._screen):
            if part is not None:
                await part.stop()
        if self._egress is not None:
            await self._egress.close()
        await self._tasks.close()
