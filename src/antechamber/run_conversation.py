"""`antechamber run` at the service's end: a conversation on the control socket, whose caller is the run's one reader.

The service says, one object a line: `{"run": {...}}` once it is created; `{"waits": PLACE}` while another run has its
credential; `{"begun": true}` once its machine listens; `{"stream": 1 or 2, "output": BASE64, "lost": BYTES}`;
`{"taken": true}` when the next input may come; at last `{"end": {...}}`, with the run as it is then.
The caller says `{"input": BASE64, "end": BOOL}`, one at a time, `{"signal": WORD}` and `{"size": [COLUMNS, ROWS]}`. A
signal before the run has begun cancels it. The run ends with the connection.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import AntechamberError, CallerError, Code, MachineError
from antechamber.guest.protocol import RUN_SIGNALS, TERMINAL_SIDES
from antechamber.log import get_logger
from antechamber.model import DEFAULT_APPLICATION, Actor, Owner
from antechamber.operations import run_view
from antechamber.reconciler.reading import Over, RunReader, Waits
from antechamber.runs import RunRequest
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from antechamber.control import Channel, Conversation
    from antechamber.reconciler import Live
    from antechamber.runs import Runs
    from antechamber.signin import SignIn

_log = get_logger("run")
_SHOWN: Final = 5
_NOT_OURS: Final = ConnectionError, MachineError
"""A caller that has gone, which is heard, and a machine that does not listen, which its attendant ends."""
_SIGNALS: Final = 8
"""Signals that wait at most for a machine that is spoken with again by and by."""


def of(runs: Runs, signin: SignIn, live: Live) -> dict[str, Conversation]:
    """Return the conversation over these use cases."""

    async def run(arguments: Mapping[str, Any], channel: Channel) -> None:
        request = await _request(arguments, signin)
        made = await runs.start(request)
        reader = RunReader(runs, live, made.id)
        hearing: asyncio.Task[Exception | None] | None = None
        try:
            if isinstance(size := arguments.get("size"), list):
                await _resize(reader, size)
            await channel.send(run=run_view(made))
            caller = _Caller(channel, reader, runs, made.id)
            hearing = spawn("caller", _ended_by(caller.hear))
            telling = spawn("run told", _ended_by(partial(_tell, channel, reader)))
            try:
                # a caller that has gone ends it; one that says what it may not is told so
                await _first(telling, hearing)
            finally:
                await cancel_and_wait(telling)
        finally:
            await cancel_and_wait(hearing)
            await reader.close()
            await _leave(runs, made.id)

    return {"run": run}


async def _ended_by(speak: Callable[[], Awaitable[None]]) -> Exception | None:
    """Speak to the end, and return by what that was: what callers do, and when they go, is no fault of a task's."""
    try:
        await speak()
    except (AntechamberError, ConnectionError) as error:
        return error
    return None


async def _first(*tasks: asyncio.Task[Exception | None]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if (error := task.result()) is not None:
            raise error


async def _leave(runs: Runs, run_id: str) -> None:
    try:
        await runs.caller_gone(run_id)
    except AntechamberError as error:
        # it is seen to be unread by and by
        _log.warning("a run whose caller has gone is not ended yet", run=run_id, code=error.code)


async def _tell(channel: Channel, reader: RunReader) -> None:
    at = 0
    async for told in reader.told():
        match told:
            case Waits(position):
                await channel.send(waits=position)
            case Over(run):
                await channel.send(end=run_view(run))
            case piece:
                output = base64.b64encode(piece.output).decode()
                await channel.send(stream=piece.stream, output=output, lost=max(0, piece.at - at))
                at = piece.end


class _Caller:
    """What one caller says. Nothing of it is waited for where it is heard: that they have gone must be seen at once."""

    def __init__(self, channel: Channel, reader: RunReader, runs: Runs, run_id: str) -> None:
        """Hear on that channel what is for that run."""
        self._channel = channel
        self._reader = reader
        self._runs = runs
        self._run_id = run_id
        self._has_begun = False
        self._typing: asyncio.Task[None] | None = None
        self._signals: asyncio.Queue[str] = asyncio.Queue(_SIGNALS)

    async def hear(self) -> None:
        """Do what the caller says until they go away; raises CallerError for what they may not say."""
        beginning, signalling = spawn("begun", self._begin()), spawn("signals", self._signal())
        try:
            while (message := await self._channel.receive()) is not None:
                await self._take(message)
        finally:
            await cancel_and_wait(beginning, signalling, self._typing)

    async def _take(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"input": str(encoded)}:
                self._type(encoded, end=message.get("end") is True)
            case {"signal": str(name)} if name in RUN_SIGNALS:
                if not self._has_begun:
                    with contextlib.suppress(CallerError):  # it has ended
                        await self._runs.cancel(self._run_id)
                elif self._signals.full():
                    raise CallerError(Code.BAD_REQUEST, message="These are too many signals at once.")
                else:
                    self._signals.put_nowait(name)
            case {"size": list(size)}:
                await _resize(self._reader, size)
            case _:
                raise CallerError(Code.BAD_REQUEST, message="A caller says `input`, `signal` or `size`.")

    def _type(self, encoded: str, *, end: bool) -> None:
        if self._typing is not None and not self._typing.done():
            raise CallerError(Code.BAD_REQUEST, message="Before the next `input` the service says `taken`.")
        try:
            typed = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raise CallerError(Code.BAD_REQUEST, message="`input` is base64.") from None
        self._typing = spawn("typed", self._pass_on(typed, end=end))

    async def _pass_on(self, typed: bytes, *, end: bool) -> None:
        with contextlib.suppress(*_NOT_OURS):
            await self._reader.type(typed, end=end)
            await self._channel.send(taken=True)

    async def _signal(self) -> None:
        while True:
            name = await self._signals.get()
            with contextlib.suppress(*_NOT_OURS):
                await self._reader.signal(name)

    async def _begin(self) -> None:
        await self._reader.there()
        self._has_begun = True
        with contextlib.suppress(*_NOT_OURS):
            await self._channel.send(begun=True)


async def _resize(reader: RunReader, size: list[Any]) -> None:
    match size:
        case [int(columns), int(rows)]:
            least, most = TERMINAL_SIDES
            await reader.resize(max(least, min(columns, most)), max(least, min(rows, most)))
        case _:
            raise CallerError(Code.BAD_REQUEST, message="`size` is columns and rows.")


async def _request(arguments: Mapping[str, Any], signin: SignIn) -> RunRequest:
    given = arguments.get("arguments", [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise CallerError(Code.BAD_REQUEST, message="`arguments` is a list of texts.")
    provider, seconds = arguments.get("provider"), arguments.get("seconds")
    if not isinstance(provider, str) or not (seconds is None or type(seconds) is int):
        raise CallerError(Code.BAD_REQUEST, message="`provider` is a text, and `seconds` a whole number.")
    workspace = arguments.get("workspace")
    if not (workspace is None or isinstance(workspace, str)):
        raise CallerError(Code.BAD_REQUEST, message="`workspace` is a text.")
    return RunRequest(
        owner=await _owner(arguments, provider, signin),
        provider=provider,
        arguments=tuple(given),
        terminal=arguments.get("terminal") is True,
        held=True,
        by=Actor.COMMAND_LINE,
        seconds=seconds,
        workspace=workspace,
    )


async def _owner(arguments: Mapping[str, Any], provider: str, signin: SignIn) -> Owner:
    application = arguments.get("application") or DEFAULT_APPLICATION
    if (user_id := arguments.get("user_id")) is not None:
        return Owner(str(user_id), str(application))
    spec = signin.provider(provider)
    users = [
        stored.owner.user_id
        for stored in await signin.credentials(application=str(application))
        if stored.provider == spec.id
    ]
    if not users:
        raise CallerError(
            Code.CREDENTIAL_NOT_FOUND,
            message=f"Nobody has signed in with {spec.name} here.",
            next_step="Sign in on the dashboard first.",
        )
    if len(users) > 1:
        more = "" if len(users) <= _SHOWN else ", …"
        raise CallerError(
            Code.BAD_REQUEST,
            message=f"Several have signed in with {spec.name}: {', '.join(users[:_SHOWN])}{more}.",
            next_step="Say whose sign-in is meant with --user.",
        )
    return Owner(users[0], str(application))
