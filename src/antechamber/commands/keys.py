"""`antechamber keys`: the vault's keys, and their rotation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from antechamber.commands.asking import AsJson, World, ask, carried_out, err, out, table
from antechamber.errors import CallerError, Code, OperatorError

if TYPE_CHECKING:
    from rich.progress import TaskID

keys_cli = typer.Typer(no_args_is_help=True, help="The vault's keys: which there are, and their rotation.")


@keys_cli.command("list")
def keys_list(*, world: World = "serve", as_json: AsJson = False) -> None:
    """Show the keys: where each is, which one seals, and how many credentials need each."""
    table(carried_out(ask(world, "keys.list")), as_json=as_json)


@keys_cli.command("add")
def keys_add(*, world: World = "serve") -> None:
    """Add a key that seals nothing yet, so that the key file can be copied to every service before the rotation."""
    added = carried_out(ask(world, "keys.add"))
    out.print(added["id"])
    file = " Back the key file up, and copy it to the other services." if added["root"] == "file" else ""
    err.print(f"It seals from `antechamber keys rotate` on.{file}")


@keys_cli.command("rotate")
def keys_rotate(
    *,
    world: World = "serve",
    go_on: Annotated[bool, typer.Option("--continue", help="Only go on with a rotation that was interrupted.")] = False,
) -> None:
    """Seal with another key from now on, and wrap the data key of every credential with it.

    Services go on meanwhile, and so does what was begun when it is called again with --continue. The old key stays
    where it is until it is retired: backups from before need it.
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
    """Take a key that no credential needs away; older backups of a key file open with the copy of it of then."""
    if not yes:
        typer.confirm(f"Take {key} away for ever?", abort=True, err=True)
    carried_out(ask(world, "keys.retire", id=key))
    out.print(f"{key} is retired.")


@keys_cli.command("make")
def keys_make(
    file: Path,
    *,
    add: Annotated[bool, typer.Option("--add", help="Add a key to the file that there is.")] = False,
    without: Annotated[str | None, typer.Option(help="Take that key out of the file that there is.")] = None,
) -> None:
    """Make a key file, or change one, for services that get its text in ANTECHAMBER_KEYS; no service is asked.

    Its text is the root key: it is written to the file, 0600, and shown nowhere.
    """
    from antechamber.vault import KeyFile, Vault  # noqa: PLC0415 - see `cli`

    changed = add or without is not None
    if file.exists() != changed or (add and without is not None):
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"There is {'a' if file.exists() else 'no'} file {file}.",
            next_step="Name a new file; or one that there is, with either --add or --without.",
        )
    root = KeyFile(file)
    if without is None:
        out.print(root.add(first=not add))
        return
    if without not in (held := Vault.read(file).key_ids):
        raise CallerError(Code.KEY_UNKNOWN, next_step=f"The file has {', '.join(held)}.")
    if len(held) == 1:
        raise CallerError(Code.KEY_NEEDED, message="It is the only key.", next_step="Add another one first.")
    root.remove(without)
    out.print(f"{without} is no longer in {file}.")
