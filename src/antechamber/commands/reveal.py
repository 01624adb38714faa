"""`antechamber providers reveal` and `credentials reveal`: plain text, where the operator allows it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from antechamber.commands.asking import AsJson, World, ask, carried_out, err, out, table
from antechamber.errors import Code, OperatorError

_WARNING = (
    "From then on whoever has an API key with the scope credentials:reveal can have each credential of their"
    " application's users for this provider in plain text. Whether the vendor's terms let you do that is yours to read."
)


def providers_reveal(
    provider: Annotated[str | None, typer.Argument(help="Which; without it, show for which it is allowed.")] = None,
    *,
    terms_read_on: Annotated[
        str | None, typer.Option(help="Allow it: the day on which you read the vendor's terms, YYYY-MM-DD.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Forbid it again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    world: World = "serve",
    as_json: AsJson = False,
) -> None:
    """Allow that what is stored for a provider is given out in plain text, or forbid it again; it is off by default."""
    if (terms_read_on is not None) is off and (off or provider is not None):
        raise typer.BadParameter("give either --terms-read-on or --off with a provider")
    if provider is None and (off or terms_read_on is not None):
        raise typer.BadParameter("name the provider")
    if provider is not None and off:
        done = carried_out(ask(world, "providers.forbid", provider=provider))
        out.print("It is forbidden." if done["changed"] else "It was not allowed.")
        return
    if provider is not None and not yes:
        err.print(_WARNING)
        typer.confirm("Allow it?", abort=True, err=True)
    rows = carried_out(ask(world, "providers.reveal", provider=provider, terms_read_on=terms_read_on))
    table(rows, as_json=as_json)


def credentials_reveal(
    credential_id: str,
    *,
    reason: Annotated[str, typer.Option(help="What it is for; its owner reads that.")] = "",
    to: Annotated[Path | None, typer.Option(help="A new file for it, which you alone can read.")] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print it.")] = False,
    world: World = "serve",
) -> None:
    """Give out one credential in plain text, as JSON, where that is allowed for its provider; it is on record."""
    if (to is None) is not stdout:
        raise typer.BadParameter("give either --to or --stdout")
    # before it is asked for: what cannot be written would have been given out for nothing
    descriptor = None if to is None else _new_file(to)
    try:
        given = carried_out(ask(world, "credentials.reveal", id=credential_id, reason=reason))
    except BaseException:
        if to is not None and descriptor is not None:
            os.close(descriptor)
            to.unlink()
        raise
    _write(descriptor, given)
    if to is not None:
        err.print("Delete it when it has served.")


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"The file cannot be made: {error.strerror}.",
            next_step="Name a file that does not exist, in a folder that you can write.",
            detail=str(error),
        ) from error


def _write(descriptor: int | None, given: Any) -> None:
    text = json.dumps(given, indent=2)
    if descriptor is None:
        # not by rich, which would wrap it
        typer.echo(text)
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
