"""`antechamber run`: a provider's tool at work with a stored sign-in, as if it ran here."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from antechamber import control
from antechamber.commands.asking import OfApplication, World, carried_out, err, settings_of
from antechamber.errors import Code, OperatorError
from antechamber.guest.protocol import RUN_PIECE
from antechamber.places import place
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.texts import english

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from antechamber.control import Channel

DID_NOT_RUN: Final = 125
"""The exit code of a run that ended otherwise than by its tool's own end, as other programs that run programs have."""
_SIGNALLED: Final = 128
_PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLUMNS: Final = 80
_ROWS: Final = 24
"""With `_COLUMNS` the size of a terminal that was never given one, as a serial line's."""
_INPUT_PIECE: Final = RUN_PIECE // 2
"""As base64 in a line it is far below what the control socket takes (`control.MAX_REQUEST`)."""


def run(
    provider: Annotated[str, typer.Argument(help="Which tool, such as claude_code.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What the tool is given; after --.")] = None,
    *,
    user: Annotated[
        str | None, typer.Option(help="Whose sign-in; needed only where several have signed in with the tool.")
    ] = None,
    application: OfApplication = None,
    timeout: Annotated[int | None, typer.Option(min=1, help="Seconds that it may take.")] = None,
    workspace: Annotated[
        str | None, typer.Option(help="The workspace in which it works, read-only; else an empty folder.")
    ] = None,
    world: World = "serve",
) -> None:
    """Run a provider's tool with a stored sign-in, in a machine of its own.

    Input, output and exit code are the tool's; at a terminal it has one. Whoever chooses what the tool is asked is
    trusted with the sign-in: a tool that can run a shell can read its own file.
    """
    code = carried_out(
        _run(
            world,
            {
                "provider": provider,
                "arguments": arguments or [],
                "user_id": user,
                "application": application,
                "seconds": timeout,
                "workspace": workspace,
            },
        )
    )
    raise typer.Exit(code)


async def _run(world: str, asked: Mapping[str, Any]) -> int:
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    client = control.Client(place(settings_of(world)).control)
    terminal = {"terminal": True, "size": _size()} if at_terminal else {}
    async with client.converse("run", **asked, **terminal) as channel:
        speaking: asyncio.Task[None] | None = None
        taken = asyncio.Event()
        end: Mapping[str, Any] | None = None
        with contextlib.ExitStack() as until_over:
            try:
                async for message in _messages(channel):
                    match message:
                        case {"begun": True}:
                            until_over.enter_context(_as_it_is(channel, at_terminal=at_terminal))
                            speaking = spawn("input", _speak(channel, taken))
                        case {"taken": True}:
                            taken.set()
                        case {"waits": int(position)}:
                            err.print(f"Another run has this sign-in; this one is number {position} in the line.")
                        case {"output": str(encoded), "stream": int(stream), "lost": int(lost)}:
                            if lost:
                                err.print(f"{lost} bytes of the output are missing here.")
                            try:
                                await asyncio.to_thread(_write, stream, base64.b64decode(encoded))
                            except BrokenPipeError:
                                # whoever read us has enough, as `head` has
                                return _SIGNALLED + signal.SIGPIPE
                        case {"end": dict(told)}:
                            end = told
                            break
            finally:
                await cancel_and_wait(speaking)
    if end is None:
        raise OperatorError(
            Code.SERVICE_NOT_RUNNING,
            message="The service stopped before the run had ended.",
            next_step="Start the service again, and then the run.",
        )
    return _told(end)


async def _messages(channel: Channel) -> AsyncIterator[Mapping[str, Any]]:
    while (message := await channel.receive()) is not None:
        if "error" in message:
            raise control.error_of(message["error"])
        yield message


def _told(end: Mapping[str, Any]) -> int:
    """Say what is to be said of a run's end, and return the exit code."""
    if end["redacted"]:
        err.print("[yellow]Something of the sign-in's own file stood in the output, and was replaced.[/]")
    code = end["exit_code"]
    if end["reason"] == "exited" and code is not None:
        return int(code) if code >= 0 else _SIGNALLED - int(code)
    reasons = english().pages["dashboard"]["run"]["reasons"]
    err.print(f"[red]{escape(reasons[end['reason']])}[/]")
    if end["detail"]:
        err.print(f"[dim]{escape(end['detail'])}[/]")
    return DID_NOT_RUN


def _write(stream: int, output: bytes) -> None:
    # past Python's own buffers: what the tool wrote is what is written
    while output:
        output = output[os.write(stream, output) :]


def _size() -> list[int]:
    # the terminal's own word: COLUMNS and LINES are what they were when somebody exported them
    columns, rows = os.get_terminal_size(0)
    return [columns or _COLUMNS, rows or _ROWS]


@contextlib.contextmanager
def _as_it_is(channel: Channel, *, at_terminal: bool) -> Iterator[None]:
    """Pass on each key, the window's size, and the signals, from which no terminal is to be left as it was made."""
    loop = asyncio.get_running_loop()
    told: set[asyncio.Task[None]] = set()

    def tell(**message: Any) -> Callable[[], None]:
        def send() -> None:
            task = spawn(
                "signal",
                channel.send(**{name: value() if callable(value) else value for name, value in message.items()}),
            )
            told.add(task)
            task.add_done_callback(told.discard)

        return send

    for number in _PASSED_ON:
        loop.add_signal_handler(number, tell(signal=number.name.removeprefix("SIG")))
    if at_terminal:
        before = termios.tcgetattr(0)
        loop.add_signal_handler(signal.SIGWINCH, tell(size=_size))
        tty.setraw(0)
    try:
        yield
    finally:
        if at_terminal:
            with contextlib.suppress(termios.error):  # it has hung up
                termios.tcsetattr(0, termios.TCSADRAIN, before)
            loop.remove_signal_handler(signal.SIGWINCH)
        for number in _PASSED_ON:
            loop.remove_signal_handler(number)


async def _speak(channel: Channel, taken: asyncio.Event) -> None:
    """Pass on what is typed or piped to us, and its end."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue(1)
    loop = asyncio.get_running_loop()

    def read() -> None:
        # in a thread: a file is never "ready", and a thread that waits for a key must not keep us from ending
        while True:
            try:
                piece = os.read(0, _INPUT_PIECE)
            except OSError:
                piece = b""
            try:
                asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()
            except (RuntimeError, asyncio.CancelledError):
                return  # the run is over
            if not piece:
                return

    threading.Thread(target=read, daemon=True, name="input").start()
    while piece := await pieces.get():
        await channel.send(input=base64.b64encode(piece).decode(), end=False)
        await taken.wait()
        taken.clear()
    await channel.send(input="", end=True)
