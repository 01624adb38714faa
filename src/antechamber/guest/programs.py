"""Programs that the agent starts: X server, window manager, browser, CLI."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LINES = 20
LINE_LENGTH = 2000
LAST_WORDS = 300
"""Characters of a program's end that its trouble is told with."""
MARK = "ANTECHAMBER_PART"
"""A variable by which all that a program started is found again, also when it left its process group."""


class LastLines:
    """Keeps the last lines of an output that comes in pieces; the host cleans and redacts them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: deque[str] = deque(maxlen=LINES)
        self._open = ""

    def feed(self, text: str) -> None:
        """Take the next piece."""
        *whole, rest = (self._open + text).replace("\r", "\n").split("\n")
        self._lines += [line[:LINE_LENGTH] for line in whole if line.strip()]
        self._open = rest[-LINE_LENGTH:]

    @property
    def waits(self) -> bool:
        """Whether what came last is the beginning of a line, as a question is."""
        return bool(self._open.strip())

    def lines(self) -> list[str]:
        """Return what came last, at most LINES lines."""
        return [*self._lines, *([self._open] if self._open.strip() else [])][-LINES:]


class Heard:
    """What a program printed last, in a pipe of our own: asyncio's would stay open with a child that it left behind."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines = LastLines()
        self._ours: int | None = None

    async def start(
        self, argv: Sequence[str], environment: Mapping[str, str], *, keep: Sequence[int] = ()
    ) -> asyncio.subprocess.Process:
        """Start a program and listen to it, and no more to one before; raises OSError when it cannot be started."""
        ours, theirs = os.pipe()
        try:
            process = await start(argv, environment, output=theirs, keep=keep)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.close()
        self._ours = ours
        os.set_blocking(ours, False)
        asyncio.get_running_loop().add_reader(ours, self._hear, ours)
        return process

    def last_words(self) -> str:
        """Return the end of what was printed, in one line; the host cleans and redacts it."""
        if self._ours is not None:
            self._hear(self._ours)
        return " | ".join(line.strip() for line in self._lines.lines())[-LAST_WORDS:]

    def close(self) -> None:
        """Listen no more; what was heard is kept."""
        if self._ours is not None:
            asyncio.get_running_loop().remove_reader(self._ours)
            os.close(self._ours)
            self._ours = None

    def _hear(self, ours: int) -> None:
        try:
            received = os.read(ours, 65536)
        except BlockingIOError:
            return
        if received:
            self._lines.feed(received.decode(errors="replace"))
        else:
            self.close()


async def start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
    output: int = asyncio.subprocess.DEVNULL,
    errors: int | None = None,
    keep: Sequence[int] = (),
    cwd: Path | None = None,
    before: Callable[[], None] | None = None,
) -> asyncio.subprocess.Process:
    """Start a program in a session of its own, its errors where its output goes; raises OSError when it cannot be."""
    if errors is None:
        errors = asyncio.subprocess.STDOUT if output != asyncio.subprocess.DEVNULL else output
    return await asyncio.create_subprocess_exec(
        *argv,
        env=dict(environment),
        stdin=stdin,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        pass_fds=tuple(keep),
        cwd=cwd,
        preexec_fn=before,
        limit=1024 * 1024,
    )


async def stop(process: asyncio.subprocess.Process, *, patience: float) -> int:
    """End a program and its group: ask, wait at most so many seconds, then kill; return its code."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience if sign == signal.SIGTERM else None):
                await process.wait()
    return await process.wait()


def kill_marked(mark: str) -> int:
    """Kill every process that carries the mark in its environment; return how many there were."""
    wanted = f"{MARK}={mark}".encode()
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except OSError:
            continue  # ended meanwhile, or not ours
    return killed
