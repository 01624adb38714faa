"""`antechamber keys`: the vault's keys, and their rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from antechamber.commands.asking import AsJson, World, ask, carried_out, err, out, table

if TYPE_CHECKING:
    from rich.progress import TaskID

keys_cli = typer.Typer(no_args_is_help=True, help="The vault's keys: which there are, and their rotation.")


@keys_cli.command("list")
def keys_list(*, world: World = "serve", as_json: AsJson = False) -> None:
    """Show the keys of the key file: which one seals, and how many credentials need each."""
    table(carried_out(ask(world, "keys.list")), as_json=as_json)


@keys_cli.command("add")
def keys_add(*, world: World = "serve") -> None:
    """Add a key that seals nothing yet, so that the key file can be copied to every service before the rotation."""
    added = carried_out(ask(world, "keys.add"))["id"]
    out.print(added)
    err.print("It seals from `antechamber keys rotate` on. Back the key file up, and copy it to the other services.")


@keys_cli.command("rotate")
def keys_rotate(
    *,
    world: World = "serve",
    go_on: Annotated[bool, typer.Option("--continue", help="Only go on with a rotation that was interrupted.")] = False,
) -> None:
    """Seal with another key from now on, and wrap the data key of every credential with it.

    Services go on meanwhile, and so does what was begun when it is called again with --continue. The old key stays in
    the file until it is retired: backups from before need it.
    """
    carried_out(_rotate(world, go_on=go_on))


async def _rotate(world: str, *, go_on: bool) -> None:
    if not go_on:
        key_id = (await ask(world, "keys.rotate"))["id"]
        out.print(f"{key_id} seals from now on.")
    wanted = sum(row["credentials"] for row in await ask(world, "keys.list") if not row["seals"])
    bar = Progress(TextColumn("wrapping data keys"), BarColumn(), MofNCompleteColumn(), console=err, transient=True)
    with bar:
        await _wrapped(world, bar, bar.add_task("", total=wanted))
    left = [row for row in await ask(world, "keys.list") if not row["seals"]]
    if needed := sum(row["credentials"] for row in left):
        err.print(f"{needed} credentials still need another key: see the log, and do it again with --continue.")
        raise typer.Exit(1)
    out.print(f"Every credential's data key is wrapped with it ({wanted} were not).")
    for row in left:
        err.print(
            f"No credential needs {row['id']} any more; backups from before do. `antechamber keys retire` ends it."
        )


async def _wrapped(world: str, bar: Progress, task: TaskID) -> None:
    after = ""
    while True:
        step = await ask(world, "keys.rewrap", after=after)
        bar.advance(task, step["done"])
        after = step["after"]
        if not after:
            return


@keys_cli.command("retire")
def keys_retire(
    key: str,
    *,
    world: World = "serve",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a key that no credential needs out of the key file; older backups open with the copy of it of then."""
    if not yes:
        typer.confirm(f"Take {key} out of the key file?", abort=True, err=True)
    carried_out(ask(world, "keys.retire", id=key))
    out.print(f"{key} is retired.")
