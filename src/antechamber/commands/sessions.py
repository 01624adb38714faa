"""`antechamber sessions`: sign-ins listed, and one told: each move, its reason, the machine's end, what it printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from antechamber.commands.asking import AsJson, OfApplication, World, ask, carried_out, err, out, table
from antechamber.model import Reason
from antechamber.texts import english

sessions_cli = typer.Typer(no_args_is_help=True, help="Sign-ins, live and ended.")

_AWAY: Final = timedelta(seconds=30)
_HEAD: Final = (
    "id",
    "user_id",
    "display_name",
    "purpose",
    "provider",
    "status",
    "created_at",
    "expires_at",
    "ended_at",
)


@sessions_cli.command("list")
def sessions_list(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    *,
    application: OfApplication = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    world: World = "serve",
    as_json: AsJson = False,
) -> None:
    """List sessions, newest first."""
    rows = carried_out(ask(world, "sessions.list", user_id=user, application=application, limit=limit))
    table(rows, as_json=as_json, only=("id", "application", "user_id", "provider", "status", "reason", "created_at"))


@sessions_cli.command("show")
def sessions_show(session_id: str, *, world: World = "serve", as_json: AsJson = False) -> None:
    """Tell one session's story: each move, its reason, how long it took, and the machine's end."""
    found = carried_out(ask(world, "sessions.show", id=session_id))
    if as_json:
        out.print_json(json.dumps(found))
        return
    for line in story(found, now=datetime.now(UTC)):
        out.print(line)
    log = carried_out(ask(world, "sessions.logs", id=session_id))
    if log["path"]:
        out.print(f"\nWhat its machine printed is kept: antechamber sessions logs {session_id}")
        out.print(f"  [dim]{escape(log['path'])}[/]")


@sessions_cli.command("logs")
def sessions_logs(session_id: str, *, world: World = "serve", as_json: AsJson = False) -> None:
    """Print what a failed session's machine and its keeper printed last, without what could be a secret."""
    log = carried_out(ask(world, "sessions.logs", id=session_id))
    if as_json:
        out.print_json(json.dumps(log))
        return
    for line in log["lines"]:
        out.print(escape(line))
    if log["path"]:
        err.print(f"[dim]{escape(log['path'])}[/]")
    elif not log["here"]:
        err.print(f"Nothing is kept here: its machine ran on another node, {escape(str(log['node']))}. Ask there.")
    else:
        err.print(
            "Nothing is kept: a machine's log is kept when it ended by itself or its sign-in failed, for a while."
        )


def story(found: Mapping[str, Any], *, now: datetime) -> list[str]:
    """Return the story of a session in lines of marked-up text."""
    lines = [f"{name:>14}  {escape(str(found[name]))}" for name in _HEAD if found.get(name) not in {None, ""}]
    if found["reason"]:
        told = english().reasons[Reason(found["reason"])]
        lines += [
            f"{'reason':>14}  [bold]{found['reason']}[/]: {escape(told.message)}",
            f"{'':>14}  {escape(told.next)}",
        ]
    if found["detail"]:
        lines.append(f"{'detail':>14}  {escape(found['detail'])}")
    if found["credential_id"]:
        lines.append(f"{'credential':>14}  {found['credential_id']}, version {found['credential_version']}")
    lines += [f"{'it said last' if n == 0 else '':>14}  {escape(line)}" for n, line in enumerate(found["cli_said"])]
    counts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in found["destinations"].items())
    lines.append(f"{'connections':>14}  {counts or 'none are kept'}")
    lines.append(f"{'machine':>14}  {escape(machine_said(found['machine'], now))}")
    return [*lines, "", *_moves(found["events"])]


def machine_said(machine: Mapping[str, Any] | None, now: datetime) -> str:
    """Say in a sentence how a machine stands; the host, the machine and what ran in it are told apart."""
    if machine is None:
        return "nothing is kept of it any more"
    code = "" if machine["exit_code"] is None else f", exit code {machine['exit_code']}"
    detail = f": {machine['detail']}" if machine["detail"] else ""
    name = f"{machine['id']}, {machine['driver']}"
    match machine["state"]:
        case "gone":
            return f"{name}: destroyed as it was asked to be{code}{detail}"
        case "lost":
            return f"{name}: the machine ended by itself, while its computer and its service went on{code}{detail}"
        case "requested":
            return f"{name}: no service has begun it yet"
    seen = machine["node_seen_at"]
    if seen is not None and now - datetime.fromisoformat(seen) > _AWAY:
        where = f"its computer {machine['node_name']}, or the service there"
        return f"{name}: {machine['state']}; {where}, is silent since {seen}"
    return f"{name}: {machine['state']} on {machine['node_name']}"


def _moves(events: list[Mapping[str, Any]]) -> list[str]:
    pages = english().pages["dashboard"]
    lines, before = [], None
    for event in events:
        at = datetime.fromisoformat(event["at"])
        after = f"+{(at - before).total_seconds():.1f} s" if before else ""
        words = pages["machineFacts" if event["about"] == "machine" else "facts"].get(event["kind"], event["kind"])
        moved = f"  [bold]{event['after']}[/]" if event["after"] and event["after"] != event["before"] else ""
        refused = "  [yellow]refused[/]" if event["fields"].get("refused") else ""
        code = event["fields"].get("exit_code", event["fields"].get("cli_exit_code"))
        ended = f" Exit code {code}." if code is not None else ""
        said = f"{escape(str(words))}{ended}{refused}{moved}"
        lines.append(f"{at:%H:%M:%S}  {after:>10}  {event['about']:<8} {event['kind']:<18} {said}")
        before = at
    return lines
