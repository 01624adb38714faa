"""`antechamber applications` and `antechamber api-keys`: who may ask for sign-ins of its own users."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from antechamber.commands.asking import AsJson, World, ask, carried_out, err, out, table
from antechamber.model import ApiScope

applications_cli = typer.Typer(no_args_is_help=True, help="Applications, which ask for sign-ins of their own users.")
api_keys_cli = typer.Typer(no_args_is_help=True, help="The applications' keys.")

BindUrl = Annotated[
    str | None,
    typer.Option(help="Where the application says who sits at a browser; without it the operator opens its links."),
]
Live = Annotated[
    int | None,
    typer.Option(min=0, help="Sign-ins that it may have open at once; 0: as many as the installation allows."),
]
StartsAnHour = Annotated[
    int | None,
    typer.Option(min=0, help="Sign-ins that it may start within an hour; 0: as many as the installation allows."),
]
_SHOWN = ("id", "name", "bind_url", "created_at", "disabled_at", "live", "starts_an_hour")
_SHOWN_KEYS = ("id", "application", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")


@applications_cli.command("list")
def applications_list(*, world: World = "serve", as_json: AsJson = False) -> None:
    """List the applications, by name."""
    table(carried_out(ask(world, "applications.list")), as_json=as_json, only=_SHOWN)


@applications_cli.command("add")
def applications_add(
    name: str,
    *,
    world: World = "serve",
    bind_url: BindUrl = None,
    live: Live = None,
    starts_an_hour: StartsAnHour = None,
) -> None:
    """Add an application and print its id; people see its name before they agree to a sign-in."""
    limits = _limits(live, starts_an_hour)
    out.print(carried_out(ask(world, "applications.add", name=name, bind_url=bind_url, **limits))["id"])
    err.print("`antechamber api-keys add` makes a key for it.")


@applications_cli.command("change")
def applications_change(
    application: str,
    *,
    world: World = "serve",
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    bind_url: BindUrl = None,
    no_bind_url: Annotated[bool, typer.Option("--no-bind-url", help="The operator opens its links.")] = False,
    disable: Annotated[bool, typer.Option("--disable", help="Have its keys open nothing.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Have its keys open what they did.")] = False,
    live: Live = None,
    starts_an_hour: StartsAnHour = None,
) -> None:
    """Change an application: its name, its address, its limits, or whether its keys open anything."""
    if (bind_url is not None and no_bind_url) or (disable and enable):
        raise typer.BadParameter("--bind-url and --no-bind-url, --disable and --enable exclude each other")
    changes: dict[str, Any] = _limits(live, starts_an_hour) | ({} if name is None else {"name": name})
    if bind_url is not None or no_bind_url:
        changes["bind_url"] = bind_url
    if disable or enable:
        changes["disabled"] = disable
    table([carried_out(ask(world, "applications.change", id=application, **changes))], as_json=False, only=_SHOWN)


def _limits(live: int | None, starts_an_hour: int | None) -> dict[str, Any]:
    given = {"live": live, "starts_an_hour": starts_an_hour}
    return {name: number for name, number in given.items() if number is not None}


@api_keys_cli.command("list")
def api_keys_list(
    application: Annotated[str | None, typer.Argument(help="Only this application's.")] = None,
    *,
    world: World = "serve",
    as_json: AsJson = False,
) -> None:
    """List keys, with when each was last used; none of them is shown again."""
    rows = carried_out(ask(world, "api_keys.list", id=application))
    if not as_json:
        for row in rows:
            row["scopes"] = " ".join(row["scopes"])
    table(rows, as_json=as_json, only=_SHOWN_KEYS)


@api_keys_cli.command("add")
def api_keys_add(
    application: str,
    *,
    scope: Annotated[list[ApiScope], typer.Option(help="What it may do; give it several times for several.")],
    name: Annotated[str, typer.Option(help="What you call it, to tell it from others.")] = "key",
    days: Annotated[int | None, typer.Option(min=1, help="After so many days it opens nothing.")] = None,
    world: World = "serve",
) -> None:
    """Make a key of an application and print it: this once, as only a hash of it is kept."""
    scopes = [str(one) for one in scope]
    made = carried_out(ask(world, "api_keys.add", id=application, name=name, scopes=scopes, days=days))
    # not by rich, which would wrap it
    typer.echo(made["secret"])
    err.print(f"{made['id']}: keep it where your application reads its secrets; it is not shown again.")


@api_keys_cli.command("revoke")
def api_keys_revoke(key: str, *, world: World = "serve") -> None:
    """Have a key open nothing from now on."""
    carried_out(ask(world, "api_keys.revoke", id=key))
    out.print(f"{key} opens nothing any more.")
