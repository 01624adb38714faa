"""One run of the CLI with a stored credential: its streams, its end, and what becomes of its file."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antechamber.guest import files, programs
from antechamber.guest.capture import Capture
from antechamber.guest.cli import MARK, heed_signals, take_terminal
from antechamber.guest.files import WholeFile
from antechamber.guest.output import Output, Redactor, secrets_of
from antechamber.guest.protocol import RUN_PIECE, RUN_SIGNALS, TERMINAL_SIDES, UNSTORED, WHOLE, FileState, ReportKind
from antechamber.guest.pty import Pty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from antechamber.guest.job import Job
    from antechamber.guest.layout import Layout
    from antechamber.guest.tasks import Tasks

_OUT, _ERRORS = 1, 2
_FINISHES_S = 3.0
"""A CLI that is asked to end may write its file first; then it is ended."""
_LAST_PIECES = 64


class Run:
    """One run, from its CLI's start until nothing of it is left."""

    def __init__(
        self,
        todo: Job,
        layout: Layout,
        variables: Mapping[str, str],
        *,
        report: Callable[[ReportKind, dict[str, Any]], str],
        send_again: Callable[[str], bool],
        say: Callable[[dict[str, Any]], None],
        tasks: Tasks,
    ) -> None:
        """Prepare, with the CLI's files in place; raises OSError when they cannot be watched."""
        self._todo = todo
        self._layout = layout
        self._variables = variables
        self._report = report
        self._say = say
        self._tasks = tasks
        self._process: asyncio.subprocess.Process | None = None
        self._asked_to_finish = False
        self._open_reports: set[str] = set()
        self._last_report = ""
        self._is_stored = True
        """Whether the host has taken the last file that it was told of."""
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.output = Output(say, held=todo.streams.held, on_room=self._listen_again)
        self._redactors = {stream: Redactor() for stream in (_OUT, _ERRORS)}
        self._paused: dict[int, Callable[[], None]] = {}
        self._pty: Pty | None = None
        self._folder = layout.project if todo.folder is None else Path(todo.folder)
        self._size: tuple[int, int] | None = None
        self._stdin: int | None = None
        self._typed = bytearray(todo.streams.given or b"")
        self._input_ends = todo.streams.given is not None
        self._owes = False
        """Whether the host waits to hear that its last piece of input was taken."""
        watched = todo.files["credential"]
        planted = files.look(layout.in_home(watched.path), watched)
        if isinstance(planted, WholeFile):
            self._hide(planted.content)
        self._capture = Capture(
            todo,
            layout,
            report=self._report_file,
            send_again=send_again,
            planted=True,
        )

    # -- the course --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the CLI to its end; raises OSError when it cannot be started."""
        watching = self._tasks.spawn("write-back", self._capture.run())
        try:
            code = await self._run_cli()
        finally:
            watching.cancel()
        self._capture.cli_ended()
        found = self._capture.look_again()
        # nothing of a renewal may be only here when the host is told that nothing is here
        await self._none_open.wait()
        self._capture.close()
        files.empty(self._layout.home)
        self.output.ended()
        self._report(
            ReportKind.RUN_ENDED,
            {
                "code": code,
                "file": self._state(found),
                "redacted": any(redactor.found for redactor in self._redactors.values()),
            },
        )

    def _state(self, found: FileState | None) -> str:
        """Return what became of the file, by what the last look at it said."""
        # one that is as it was is none that the CLI left half
        if found is None or found is FileState.STALE:
            return WHOLE if self._is_stored else UNSTORED
        return str(found.value)

    def close(self) -> None:
        """Stop watching; nothing is reported after that."""
        self._capture.close()

    def settled(self, report_id: str, *, is_stored: bool) -> None:
        """Take it that the host has a report, or does not want it."""
        if report_id == self._last_report:
            self._is_stored = is_stored
        self._open_reports.discard(report_id)
        if not self._open_reports:
            self._none_open.set()

    def look_again(self) -> bool:
        """Report the file now where the host has not what is in it; tell whether there is anything to report."""
        return self._capture.look_again() is None and bool(self._open_reports)

    def _report_file(self, body: dict[str, Any]) -> str:
        self._hide(base64.b64decode(body["files"]["credential"]["content"]))
        report_id = self._report(ReportKind.CREDENTIAL, body)
        self._open_reports.add(report_id)
        self._last_report = report_id
        self._none_open.clear()
        return report_id

    def _hide(self, content: bytes) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            secrets = secrets_of(json.loads(content))
            for redactor in self._redactors.values():
                redactor.add(secrets)

    # -- the CLI -----------------------------------------------------------------------------------------------------

    async def _run_cli(self) -> int:
        end = await (self._on_terminal() if self._todo.streams.terminal else self._on_pipes())
        assert self._process is not None  # noqa: S101 - either has started it
        self._report(ReportKind.STARTED, {"cli_pid_started": True})
        if self._asked_to_finish:
            self._stop_cli(self._process)
        code = await self._process.wait()
        # what it started and left would write on, and into its file
        programs.kill_marked(MARK)
        await end()
        return code

    async def _on_terminal(self) -> Callable[[], Any]:
        self._pty = pty = Pty()
        if self._size is not None:
            pty.resize(*self._size)
        try:
            self._process = await programs.start(
                self._todo.argv,
                self._variables,
                stdin=pty.theirs,
                output=pty.theirs,
                cwd=self._folder,
                before=take_terminal,
            )
        finally:
            os.close(pty.theirs)
        last = self._listen(_OUT, pty.ours)
        pty.type(bytes(self._typed))

        async def end() -> None:
            await last()
            self._pty = None
            pty.close()

        return end

    async def _on_pipes(self) -> Callable[[], Any]:
        pairs = {stream: os.pipe() for stream in (_OUT, _ERRORS)}
        read, self._stdin = os.pipe()
        try:
            self._process = await programs.start(
                self._todo.argv,
                self._variables,
                stdin=read,
                output=pairs[_OUT][1],
                errors=pairs[_ERRORS][1],
                cwd=self._folder,
                before=heed_signals,
            )
        finally:
            os.close(read)
            for _, theirs in pairs.values():
                os.close(theirs)
        os.set_blocking(self._stdin, False)
        self._pour()
        lasts = [(self._listen(stream, ours), ours) for stream, (ours, _) in pairs.items()]

        async def end() -> None:
            for last, ours in lasts:
                await last()
                os.close(ours)
            self._close_input()

        return end

    def _stop_cli(self, process: asyncio.subprocess.Process) -> None:
        self._tasks.spawn("stop", programs.stop(process, patience=_FINISHES_S))

    def _listen(self, stream: int, ours: int) -> Callable[[], Any]:
        """Read what comes there as long as there is room; return what reads the rest at the end."""
        os.set_blocking(ours, False)
        loop = asyncio.get_running_loop()
        redactor = self._redactors[stream]

        def read() -> bool:
            try:
                piece = os.read(ours, 64 * 1024)
            except BlockingIOError:
                return False
            except OSError:  # EIO: the last program has closed the terminal
                piece = b""
            self.output.wrote(stream, redactor.feed(piece, last=not piece))
            if not piece:
                loop.remove_reader(ours)
            elif self.output.full:
                loop.remove_reader(ours)
                self._paused[stream] = lambda: loop.add_reader(ours, read)
            return bool(piece)

        loop.add_reader(ours, read)

        async def last() -> None:
            loop.remove_reader(ours)
            self._paused.pop(stream, None)
            for _ in range(_LAST_PIECES):
                if not read():
                    break
            loop.remove_reader(ours)
            self._paused.pop(stream, None)
            self.output.wrote(stream, redactor.feed(b"", last=True))

        return last

    def _listen_again(self) -> None:
        paused, self._paused = self._paused, {}
        for listen in paused.values():
            listen()

    # -- what the host says ------------------------------------------------------------------------------------------

    def take(self, message: dict[str, Any]) -> None:
        """Do what the host asks; what is not of the protocol is ignored."""
        match message["type"]:
            case "run_finish" if not self._asked_to_finish:
                self._asked_to_finish = True
                if self._process is not None:
                    self._stop_cli(self._process)
            case "run_input":
                self._type(message)
            case "run_signal" if message.get("signal") in RUN_SIGNALS and self._process is not None:
                if self._process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._process.pid, getattr(signal, f"SIG{message['signal']}"))
            case "run_size":
                self._resize(message.get("columns"), message.get("rows"))
            case _:
                self.output.take(message)

    def _resize(self, columns: Any, rows: Any) -> None:
        least, most = TERMINAL_SIDES
        if all(type(side) is int and least <= side <= most for side in (columns, rows)):
            self._size = columns, rows
            if self._pty is not None:
                self._pty.resize(columns, rows)

    def _type(self, message: dict[str, Any]) -> None:
        try:
            typed = base64.b64decode(str(message.get("input")), validate=True)[:RUN_PIECE]
        except (ValueError, binascii.Error):
            return
        self._owes = True
        if self._todo.streams.terminal:
            if self._pty is None:
                self._typed += typed if self._process is None else b""
            else:
                self._pty.type(typed)
            self._taken()
            return
        self._typed += typed
        self._input_ends = self._input_ends or message.get("end") is True
        if self._process is not None:
            self._pour()

    def _pour(self) -> None:
        """Write what was typed as far as the CLI reads it, and ask for more when all is written."""
        if self._stdin is None:  # it has closed its input, or ended
            self._typed.clear()
            self._taken()
            return
        loop = asyncio.get_running_loop()
        try:
            while self._typed:
                del self._typed[: os.write(self._stdin, self._typed)]
        except BlockingIOError:
            loop.add_writer(self._stdin, self._pour)
            return
        except OSError:  # EPIPE
            self._close_input()
        else:
            loop.remove_writer(self._stdin)
            if self._input_ends:
                self._close_input()
        self._taken()

    def _taken(self) -> None:
        if self._owes:
            self._owes = False
            self._say({"type": "run_input_taken"})

    def _close_input(self) -> None:
        if self._stdin is not None:
            asyncio.get_running_loop().remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None
        self._typed.clear()
