"""`antechamber audit`: who did what to whose credential."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

import typer

from antechamber.commands.asking import AsJson, OfApplication, World, ask, carried_out, err, out, settings_of, table
from antechamber.control import plain
from antechamber.model import Actor

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
            if line["operator"]:
                line["actor"] += f" {line['operator']['subject']}"
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


@audit_cli.command("cuts")
def audit_cuts(*, world: World = "serve", as_json: AsJson = False) -> None:
    """Show which months have been deleted, with a digest of their lines to hold an export against."""
    table(carried_out(ask(world, "audit.cuts")), as_json=as_json)


@audit_cli.command("exported")
def audit_exported(
    seq: Annotated[int | None, typer.Argument(min=0, help="The `seq` of the last line that lies elsewhere.")] = None,
    *,
    world: World = "serve",
) -> None:
    """Say up to which line the audit lies elsewhere too, or show what was said; it is never taken back."""
    out.print(carried_out(ask(world, "audit.exported", up_to=seq))["up_to"])


@audit_cli.command("prune")
def audit_prune(
    *,
    world: World = "serve",
    before: Annotated[
        str | None, typer.Option(help="The first month that is kept, such as 2026-01; default as the settings say.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the audit's lines from before a month, for ever; that they were deleted stays as a line.

    With ANTECHAMBER_DATABASE_OWNER_URL it is done by that role, whether a service runs or not.
    """
    if not yes:
        what = f"before {before}" if before else "that are past their time"
        typer.confirm(f"Delete the lines of the months {what} for ever?", abort=True, err=True)
    done = carried_out(_pruned(world, before))
    if done["cut"] is None:
        out.print("There was nothing to delete." if not done["lines"] else f"{done['lines']} lines are deleted.")
        return
    cut = done["cut"]
    out.print(f"{done['lines']} lines are deleted, up to {cut['last_seq']}. Their digest: {cut['digest']}")


async def _pruned(world: str, before: str | None) -> Any:
    settings = settings_of(world)
    if settings.database_owner_url is None:
        return await ask(world, "audit.prune", before=before)
    from antechamber.auditing import Auditing  # noqa: PLC0415 - see `cli`
    from antechamber.operations import shortened_view  # noqa: PLC0415 - see `cli`
    from antechamber.signin import now  # noqa: PLC0415 - see `cli`
    from antechamber.store import Store  # noqa: PLC0415 - see `cli`

    store = await Store.open(settings.database_owner_url, world=settings.world)
    try:
        done = await Auditing(store, settings, now).prune(by=Actor.COMMAND_LINE, before=before)
    finally:
        await store.close()
    return plain(shortened_view(done))


async def _export(world: str, after: int, *, follow: bool) -> None:
    missed = [cut for cut in await ask(world, "audit.cuts") if after and cut["last_seq"] > after]
    if missed:
        err.print(f"Lines between {after} and {missed[0]['last_seq']} have been deleted: `antechamber audit cuts`.")
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
