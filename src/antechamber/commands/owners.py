"""`antechamber owners`: what is kept of one person, and the removal of all of it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from antechamber import control
from antechamber.commands.asking import AsJson, OfApplication, World, ask, carried_out, err, out, settings_of
from antechamber.errors import Code, OperatorError
from antechamber.places import place

owners_cli = typer.Typer(no_args_is_help=True, help="People: what is kept of one, and its erasure.")

_LOOK_S: Final = 1.0
_REMAINS: Final = (
    "The vendors do not learn of it and may still hold a grant: revoke each on the vendor's own page.",
    "Backups hold it until they are destroyed, and so do logs that were kept.",
)


@owners_cli.command("show")
def owners_show(
    user: str, *, application: OfApplication = None, world: World = "serve", as_json: AsJson = False
) -> None:
    """Count what is kept of a person, and say how far its erasure is."""
    found = carried_out(ask(world, "owners.show", user_id=user, application=application))
    if as_json:
        out.print_json(json.dumps(found))
        return
    for name in ("application", "user_id", "sessions", "live_sessions", "machines", "credentials", "tombstones"):
        out.print(f"{name:>14}  {escape(str(found[name]))}")
    if found["erasing"]:
        out.print(f"{'erasing':>14}  {_told(found['erasing'])}")


@owners_cli.command("delete")
def owners_delete(
    user: str,
    *,
    application: OfApplication = None,
    world: World = "serve",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until nothing is left; else it goes on by itself.")] = True,
    as_json: AsJson = False,
) -> None:
    """Remove everything of a person: machines, sessions, credentials, events; a record without a name stays.

    Vendors may still hold a grant, and backups hold it until they are destroyed. What was begun goes on by itself,
    also after this command was interrupted.
    """
    found = carried_out(ask(world, "owners.show", user_id=user, application=application))
    if not yes:
        err.print(
            f"{found['sessions']} sign-ins, {found['credentials']} credentials and {found['tombstones']} deleted ones."
        )
        typer.confirm(f"Remove everything of {user}?", abort=True, err=True)
    progress = carried_out(_erased(world, user, application, wait=wait))
    if as_json:
        out.print_json(json.dumps(progress))
        return
    out.print(_told(progress))
    for line in _REMAINS:
        out.print(f"  {line}")


async def _erased(world: str, user: str, application: str | None, *, wait: bool) -> dict[str, Any]:
    progress: dict[str, Any] = await ask(world, "owners.delete", user_id=user, application=application)
    told = ""
    while wait and progress["finished_at"] is None:
        if (now := _told(progress)) != told:
            told = now
            err.print(f"[dim]{told}[/]")
        if not await control.Client(place(settings_of(world)).control).running():
            raise OperatorError(
                Code.SERVICE_NOT_RUNNING,
                message=f"{len(progress['waits_for'])} machines have not ended, and no service runs to stop them.",
                next_step="Start it: the erasure goes on by itself. None of the credentials opens any more.",
            )
        await asyncio.sleep(_LOOK_S)
        progress = await ask(world, "owners.erasure", id=progress["id"])
    return progress


def _told(progress: dict[str, Any]) -> str:
    counts = ", ".join(f"{progress[name]} {name}" for name in ("sessions", "machines", "credentials", "events"))
    if progress["finished_at"] is not None:
        return f"Removed: {counts}. Its record is {progress['id']}."
    if progress["waits_for"]:
        waited = ", ".join(escape(f"{one['id']} ({one['state']})") for one in progress["waits_for"])
        return f"Waiting for machines to end: {waited}. Removed until now: {counts}."
    return f"Under way: {counts} removed until now."
