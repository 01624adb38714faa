"""The practice world as a command: the service beside a stand-in vendor, for a person or for the robot."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from rich.markup import escape

from antechamber import app, control
from antechamber.errors import Code, OperatorError
from antechamber.places import place, prepare
from antechamber.settings import Settings, read_settings
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing import outcome as results
from antechamber.testing import robot
from antechamber.testing.practice import StandInClient, practice_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from rich.console import Console

    from antechamber.testing.outcome import Moment, Outcome

T = TypeVar("T")
_STOPS_WITHIN: Final = 20.0
_ASKED_EVERY: Final = 600.0
_ASKS_TO_STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def serve(
    settings: Settings,
    announce: Callable[[app.Ready], None],
    *,
    stays: Callable[[int | None], None] = lambda _: None,
    program: str = app.PROGRAM,
) -> None:
    """Serve the practice world until asked to stop; a stand-in that runs already is found by its socket.

    `stays` is told the stand-in's process at the end, as that goes on.
    """
    places = place(settings)
    prepare(places)
    folder = places.data / "stand-in"
    found = await StandInClient.find(folder)
    standin = found or await StandInClient.start(folder)
    asking = spawn("stand-in", _keep(standin))
    served = False

    def ready(said: app.Ready) -> None:
        nonlocal served
        served = True
        announce(said)

    try:
        await app.run(settings, practice_world(standin), ready, program=program)
    finally:
        # it goes on for a while, as machines do: a demo that is started again finds it, and its CA
        await cancel_and_wait(asking)
        if served:
            stays(standin.pid)
        elif found is None:
            await standin.stop()


async def _keep(standin: StandInClient) -> None:
    """Ask something now and then: a stand-in that nobody asks anything ends itself."""
    while True:
        await asyncio.sleep(_ASKED_EVERY)
        await standin.odd()


async def headless(providers: Sequence[str], *, as_json: bool, screens: Path | None, console: Console) -> int:
    """Let the robot sign in to each provider, in a data directory of its own; 0 only when all of it held.

    Interrupted by a signal it clears everything away first and returns 128 + the signal's number.
    """
    with _Interrupted() as interrupted:
        try:
            outcomes = await _all_of_it(providers, screens, None if as_json else console)
        except asyncio.CancelledError:
            if interrupted.by is None:
                raise
            return 128 + interrupted.by
    if as_json:
        console.print(results.as_json(outcomes), highlight=False, markup=False, soft_wrap=True)
    return 0 if outcomes and all(outcome.held for outcome in outcomes) else 1


class _Interrupted:
    """Turns the first signal that asks to stop into the cancellation of the task; later ones change nothing."""

    def __init__(self) -> None:
        self.by: int | None = None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    def _interrupt(self, number: int) -> None:
        if self.by is None and self._task is not None:
            self.by = number
            self._task.cancel()

    def __enter__(self) -> Self:
        for number in _ASKS_TO_STOP:
            self._loop.add_signal_handler(number, self._interrupt, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _ASKS_TO_STOP:
            self._loop.remove_signal_handler(number)


async def _all_of_it(providers: Sequence[str], screens: Path | None, console: Console | None) -> list[Outcome]:
    with tempfile.TemporaryDirectory(prefix="antechamber-demo-", ignore_cleanup_errors=True) as folder:
        # what the environment says of an installation of the operator's own is not for this one
        settings = read_settings(
            world="demo",
            data_dir=Path(folder) / "data",
            port=0,
            bind="127.0.0.1",
            database_url=None,
            providers_dir=None,
            dashboard_url=None,
            sign_in_url=None,
            metrics_bind=None,
            otlp_endpoint=None,
        )
        places = place(settings)
        prepare(places)
        async with _standin(places.data / "stand-in") as standin, _service(settings, standin) as ready:
            return await _sign_in_to(providers, ready, standin, screens, console)


@contextlib.asynccontextmanager
async def _standin(folder: Path) -> AsyncIterator[StandInClient]:
    starting = spawn("stand-in", _caught(StandInClient.start(folder)))
    try:
        standin = await asyncio.shield(starting)
        if isinstance(standin, OperatorError):
            raise standin
        yield standin
    finally:
        # it outlives whoever starts it: a start that has begun is seen through, so that there is something to end
        standin = await starting
        if not isinstance(standin, OperatorError):
            await standin.stop()


@contextlib.asynccontextmanager
async def _service(settings: Settings, standin: StandInClient) -> AsyncIterator[app.Ready]:
    """Run the service beside the robot; its machines end with it."""
    started: asyncio.Future[app.Ready] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    running = app.run(settings, practice_world(standin), started.set_result, stop=stop, keep_machines=False)
    service = spawn("service", _caught(running))
    try:
        both: set[asyncio.Future[Any]] = {service, started}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            raise service.result() or OperatorError(Code.INTERNAL, message="The service ended before it was ready.")
        yield started.result()
    finally:
        stop.set()
        await asyncio.wait({service}, timeout=_STOPS_WITHIN)
        await cancel_and_wait(service)


async def _caught(work: Coroutine[Any, Any, T]) -> T | OperatorError:
    """Return the operator's fault instead of raising it: in a task of its own it would be logged as a bug."""
    try:
        return await work
    except OperatorError as error:
        return error


async def _sign_in_to(
    providers: Sequence[str], ready: app.Ready, standin: StandInClient, screens: Path | None, console: Console | None
) -> list[Outcome]:
    outcomes = []
    for provider in providers:
        outcome = await robot.sign_in(
            provider,
            base=ready.dashboard_url,
            sign_in_base=ready.sign_in_url,
            token=ready.token,
            standin=standin,
            control=control.Client(ready.places.control),
            screens=screens,
            on_moment=None if console is None else lambda moment: _say(console, moment),
        )
        outcomes.append(outcome)
        if console is not None:
            results.show(console, outcome)
    return outcomes


def _say(console: Console, moment: Moment) -> None:
    console.print(f"  [dim]{moment.ms:>7} ms[/]  {escape(moment.what)}")
