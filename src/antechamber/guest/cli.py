"""Runs the vendor's CLI: plain, in a terminal, or by the Agent Client Protocol."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import secrets
import signal
import termios
from typing import TYPE_CHECKING

from antechamber.guest import programs
from antechamber.guest.acp import Conversation, RefusedError
from antechamber.guest.programs import LastLines
from antechamber.guest.pty import Pty
from antechamber.guest.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from antechamber.guest.job import Drive, Job
    from antechamber.guest.layout import Layout
    from antechamber.guest.view import View

MARK = secrets.token_hex(8)
"""Of this run of the agent alone: what others started is never taken for the CLI's."""
_LAST_PIECES = 64
_AFTER_ACP_S = 5.0
"""A CLI that says by ACP that it is signed in has written its file by then."""


def environment(job: Job, layout: Layout, *, opener: str | None) -> dict[str, str]:
    """Return what the CLI finds in its environment."""
    path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    variables = {
        "HOME": str(layout.home),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "TERM": "xterm-256color",
        "PATH": f"{layout.commands}:{path}" if opener else path,
        programs.MARK: MARK,
    }
    if opener:
        variables["BROWSER"] = opener
    if job.screen:
        variables["DISPLAY"] = f":{layout.display}"
    if layout.anchors.exists():
        variables["SSL_CERT_FILE"] = str(layout.bundle)
        variables["NODE_EXTRA_CA_CERTS"] = str(layout.anchors)
    variables |= {name: value.replace("$HOME", str(layout.home)) for name, value in job.env.items()}
    return {name: value for name, value in variables.items() if name not in job.clear_env}


class Cli:
    """One run of the CLI."""

    def __init__(
        self,
        argv: Sequence[str],
        drive: Drive,
        variables: dict[str, str],
        layout: Layout,
        view: View | None = None,
    ) -> None:
        """Prepare; `run` starts it, and `view` gets what it writes."""
        self._view = view
        self._argv = argv
        self._drive = drive
        self._variables = variables
        self._layout = layout
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.output = LastLines()
        self.heard_at = 0.0
        """When it wrote last, by the loop's clock."""
        self.started = asyncio.Event()

    async def run(self) -> int:
        """Start the CLI and return its code once it has ended; raises OSError when it cannot be started."""
        match self._drive.how:
            case "pty":
                return await self._in_terminal()
            case "acp":
                return await self._by_acp()
            case _:
                return await self._plain()

    async def stop(self, *, patience: float) -> None:
        """Let the CLI end by itself for so many seconds, then end it with all that it started."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await process.wait()
            await programs.stop(process, patience=0.3)
        programs.kill_marked(MARK)

    @property
    def asks(self) -> bool:
        """Whether it has a terminal and has begun a line there, as a question is."""
        return self._drive.how == "pty" and self.output.waits

    async def _plain(self) -> int:
        # a pipe of our own: asyncio's would stay open with a child that the CLI left behind
        ours, theirs = os.pipe()
        if self._view is not None:
            self._view.began()
        try:
            return await self._run_with(ours, theirs, stdin=asyncio.subprocess.DEVNULL, hear=self.output.feed)
        finally:
            os.close(ours)

    async def _in_terminal(self) -> int:
        pty = Pty()
        terminal = Terminal(self._drive.answers)

        def hear(output: str) -> None:
            text, typed = terminal.feed(output)
            self.output.feed(text)
            pty.type(typed.encode())

        if self._view is not None:
            self._view.began(pty.type, pty.resize)
        try:
            return await self._run_with(pty.ours, pty.theirs, stdin=pty.theirs, hear=hear, before=take_terminal)
        finally:
            if self._view is not None:
                self._view.ended()
            pty.close()

    async def _run_with(
        self,
        ours: int,
        theirs: int,
        *,
        stdin: int,
        hear: Callable[[str], None],
        before: Callable[[], None] | None = None,
    ) -> int:
        """Run the CLI with its output at `theirs`; its own end is what counts, not its output's."""
        try:
            process = await programs.start(
                self._argv,
                self._variables,
                stdin=stdin,
                output=theirs,
                cwd=self._layout.home,
                before=before,
            )
        finally:
            os.close(theirs)
        self._process = process
        self.started.set()
        os.set_blocking(ours, False)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        loop = asyncio.get_running_loop()

        def read() -> bool:
            try:
                piece = os.read(ours, 64 * 1024)
            except BlockingIOError:
                return False
            except OSError:  # EIO: the last program has closed the terminal
                piece = b""
            self.heard_at = loop.time()
            if self._view is not None:
                self._view.wrote(piece)
            hear(decoder.decode(piece, final=not piece))
            if not piece:
                loop.remove_reader(ours)
            return bool(piece)

        loop.add_reader(ours, read)
        try:
            code = await process.wait()
            for _ in range(_LAST_PIECES):
                if not read():
                    break
            return code
        finally:
            loop.remove_reader(ours)

    async def _by_acp(self) -> int:
        process = await programs.start(
            self._argv,
            self._variables,
            stdin=asyncio.subprocess.PIPE,
            output=asyncio.subprocess.PIPE,
            cwd=self._layout.home,
        )
        self._process = process
        self.started.set()
        assert process.stdout is not None  # noqa: S101 - both were asked for
        assert process.stdin is not None  # noqa: S101
        conversation = Conversation(process.stdout, process.stdin, self.output.feed)
        try:
            await conversation.sign_in(self._drive.acp_method)
            # it never ends by itself; whoever got the file stops it before this
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AFTER_ACP_S):
                    await conversation.rest()
        except (RefusedError, EOFError, ConnectionError):
            pass  # what it said is in its last lines
        if self._stopping:
            return await process.wait()
        return await programs.stop(process, patience=1)


def take_terminal() -> None:
    """Make a program's input its terminal, as its first act."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    heed_signals()


def heed_signals() -> None:
    """Have a program heed what it is sent, as its first act: what whoever starts it ignores, it would ignore too.

    A service that a script has started in the background ignores the first two, and so does all that it starts.
    """
    for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(sign, signal.SIG_DFL)
