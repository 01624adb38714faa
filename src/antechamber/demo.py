"""The practice world as a command: the service beside a stand-in vendor, for a person or for the robot."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from antechamber import app, control
from antechamber.places import place, prepare
from antechamber.settings import Settings
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing import outcome as results
from antechamber.testing import robot
from antechamber.testing.practice import StandInClient, practice_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from antechamber.testing.outcome import Moment, Outcome

_STOPS_WITHIN: Final = 20.0
_ASKED_EVERY: Final = 600.0


async def serve(settings: Settings, announce: Callable[[app.Ready], None]) -> None:
    """Serve the practice world until asked to stop; a stand-in that runs already is found by its socket."""
    places = place(settings)
    prepare(places)
    standin = await StandInClient.start(places.data / "stand-in")
    asking = spawn("stand-in", _keep(standin))
    try:
        await app.run(settings, practice_world(standin), announce)
    finally:
        # it goes on for a while, as machines do: a demo that is started again finds it, and its CA
        await cancel_and_wait(asking)


async def _keep(standin: StandInClient) -> None:
    """Ask something now and then: a stand-in that nobody asks anything ends itself."""
    while True:
        await asyncio.sleep(_ASKED_EVERY)
        await standin.odd()


async def headless(providers: Sequence[str], *, as_json: bool, screens: Path | None, console: Console) -> int:
    """Let the robot sign in to each provider, in a data directory of its own; 0 only when all of it held."""
    folder = Path(tempfile.mkdtemp(prefix="antechamber-demo-"))
    try:
        settings = Settings(world="demo", data_dir=folder / "data", port=0)
        places = place(settings)
        prepare(places)
        standin = await StandInClient.start(places.data / "stand-in")
        try:
            world = practice_world(standin)
            started: asyncio.Future[app.Ready] = asyncio.get_running_loop().create_future()
            stop = asyncio.Event()
            service = spawn("service", app.run(settings, world, started.set_result, stop=stop, keep_machines=False))
            try:
                both: set[asyncio.Future[Any]] = {service, started}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if service.done():
                    service.result()
                    return 1
                outcomes = await _sign_in_to(
                    providers, started.result(), standin, screens, None if as_json else console
                )
            finally:
                stop.set()
                await asyncio.wait({service}, timeout=_STOPS_WITHIN)
                await cancel_and_wait(service)
        finally:
            await standin.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        console.print(results.as_json(outcomes), highlight=False, markup=False, soft_wrap=True)
    return 0 if outcomes and all(outcome.held for outcome in outcomes) else 1


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
