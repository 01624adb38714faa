"""`antechamber audit`: who did what to whose credential."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

import typer

from antechamber.commands.asking import AsJson, OfApplication, World, ask, carried_out, table

audit_cli = typer.Typer(no_args_is_help=True, help="The audit: who did what to whose credential.")

_PAGE: Final = 500
_LOOK_S: Final = 1.0
_WHAT: Final = ("purpose", "provider", "credential_id", "refused", "api_key", "reason", "fields")

After = Annotated[int, typer.Option(min=0, help="Only lines after that one: the last `seq` that you have.")]
User = Annotated[str | None, typer.Option("--user", help="Only lines about that person.")]


@audit_cli.command("list")
def audit_list(
    *,
    world: World = "serve",
    user: User = None,
    application: OfApplication = None,
    after: After = 0,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show lines of the audit, the oldest first."""
    asked: dict[str, Any] = {"after": after, "limit": limit, "user_id": user, "application": application}
    lines = carried_out(ask(world, "audit.list", **asked))
    if not as_json:
        for line in lines:
            line["what"] = " ".join(str(line[name]) for name in _WHAT if line[name])
    table(lines, as_json=as_json, only=("seq", "at", "actor", "action", "outcome", "owner", "what"))


@audit_cli.command("export")
def audit_export(
    *,
    world: World = "serve",
    after: After = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with each line as it comes, until Ctrl-C.")] = False,
) -> None:
    """Write all lines to standard output, one JSON object a line, for a place that this computer cannot change.

    Begin the next time with `--after` and the `seq` of the last one.
    """
    carried_out(_export(world, after, follow=follow))


async def _export(world: str, after: int, *, follow: bool) -> None:
    while True:
        lines = await ask(world, "audit.list", after=after, limit=_PAGE)
        for line in lines:
            # not by rich, which would wrap it
            typer.echo(json.dumps(line))
            after = line["seq"]
        if not lines and not follow:
            return
        if not lines:
            await asyncio.sleep(_LOOK_S)
