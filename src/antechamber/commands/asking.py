"""What every command needs: a console, the settings, the running service or else the store, and tables."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from antechamber import control
from antechamber.errors import Code, OperatorError
from antechamber.places import node_id, place
from antechamber.providers import Providers
from antechamber.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from antechamber.places import Places

T = TypeVar("T")
# what is no terminal has no width: a program that reads a table wants each row on one line
# rich's own highlighting would colour parts of versions, paths and links
out: Final = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 1000)
err: Final = Console(stderr=True, soft_wrap=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OfApplication = Annotated[
    str | None, typer.Option("--application", help="Whose: an application's id; a user is the operator's own without.")
]
World = Annotated[
    Literal["serve", "demo"],
    typer.Option(envvar="ANTECHAMBER_WORLD", help="Which installation is meant: serve or demo."),
]


def settings_of(world: str, **given: Any) -> Settings:
    """Return the settings of the environment, with the options that were given over them."""
    return read_settings(world=world, **{name: value for name, value in given.items() if value is not None})


def carried_out(work: Coroutine[Any, Any, T]) -> T:
    """Return what comes of some work."""
    with asyncio.Runner() as runner:
        return runner.run(work)


async def ask(world: str, operation: str, **arguments: Any) -> Any:
    """Ask the running service, or do it on the store when none runs."""
    settings = settings_of(world)
    places = place(settings)
    client = control.Client(places.control)
    if await client.running():
        return await client.call(operation, **arguments)
    if settings.database_url is None and not places.database.exists():
        other = "serve" if world == "demo" else "demo"
        raise OperatorError(
            Code.SERVICE_NOT_RUNNING,
            message=f"There is nothing in {places.data}: no service of the world {world} has run with it.",
            next_step=f"Try --world {other}, or run this as the account that runs the service.",
        )
    return await _do(settings, places, operation, arguments)


async def _do(settings: Settings, places: Places, operation: str, arguments: Mapping[str, Any]) -> Any:
    from antechamber import app, operations  # noqa: PLC0415 - see `cli`
    from antechamber.keys import Keys  # noqa: PLC0415 - see `cli`
    from antechamber.signin import SignIn  # noqa: PLC0415 - see `cli`

    async with app.open_store(settings, places) as (store, vault):
        specs = Providers.of(settings)
        signin = SignIn(
            store=store, vault=vault, providers=specs, settings=settings, driver="none", require=lambda _: None
        )
        offered = operations.of(signin, specs, lambda: {"running": False}) | operations.of_nodes(store)
        offered |= operations.of_owners(signin.owners, carry_out=True)
        offered |= operations.of_applications(signin.applications)
        offered |= operations.of_keys(Keys(store, vault, signin.clock))
        offered |= operations.of_logs(signin, app.machine_logs(settings, places), node_id(places.node))
        answer = await offered[operation](arguments)
    return control.plain(answer)


def said(fields: Mapping[str, Any]) -> str:
    """Return in one line what is known."""
    return ", ".join(f"{key} {value}" for key, value in fields.items() if value not in (None, ""))


def table(rows: Sequence[Mapping[str, Any]], *, as_json: bool, only: Sequence[str] = ()) -> None:
    """Print rows as a table or as JSON; `only` names the table's columns."""
    if as_json:
        out.print_json(json.dumps(list(rows)))
        return
    if not rows:
        out.print("none")
        return
    names = only or list(rows[0])
    made = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        # an id that is cut in two cannot be copied
        made.add_column(name, overflow="fold", no_wrap=name == "id")
    for row in rows:
        made.add_row(*("" if row.get(name) is None else escape(str(row[name])) for name in names))
    out.print(made)
