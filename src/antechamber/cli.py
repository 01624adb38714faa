"""The command line: `antechamber serve | demo | doctor | providers | sessions | credentials`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from antechamber import __version__, app, control, log, operations
from antechamber.egress import real_world
from antechamber.errors import AntechamberError, Code, OperatorError
from antechamber.places import place, prepare
from antechamber.providers import Providers, install
from antechamber.settings import Settings
from antechamber.signin import SignIn

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from antechamber.machine import Check
    from antechamber.providers import ProviderSpec

T = TypeVar("T")
out: Final = Console(soft_wrap=True)
err: Final = Console(stderr=True, soft_wrap=True)

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A sign-in broker for command-line tools.",
)
providers_cli = typer.Typer(no_args_is_help=True, help="The vendors' command-line tools.")
sessions_cli = typer.Typer(no_args_is_help=True, help="Sign-ins, live and ended.")
credentials_cli = typer.Typer(no_args_is_help=True, help="Stored credentials: metadata, never the secret.")
cli.add_typer(providers_cli, name="providers")
cli.add_typer(sessions_cli, name="sessions")
cli.add_typer(credentials_cli, name="credentials")

Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
World = Annotated[str, typer.Option(help="Which installation is meant: serve or demo.")]


def main() -> None:
    """Run the command line; an error of ours becomes its sentence, its next step and exit code 1."""
    try:
        cli()
    except AntechamberError as error:
        err.print(f"[bold red]{escape(error.message)}[/]")
        err.print(f"  {escape(error.next)}  [dim]({error.code})[/]")
        if error.detail:
            err.print(f"  [dim]{escape(error.detail)}[/]")
        sys.exit(1)


def _settings(world: str, **changes: Any) -> Settings:
    if world not in {"serve", "demo"}:
        raise typer.BadParameter("serve or demo", param_hint="--world")
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return Settings.model_validate({"world": world, **given})
    except ValueError as error:
        faults = [
            f"ANTECHAMBER_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}"
            for fault in error.errors()  # type: ignore[attr-defined] # pydantic's ValidationError is a ValueError
        ]
        raise OperatorError(
            Code.MISCONFIGURED, message="Settings are not valid: " + "; ".join(faults), next_step="Correct them."
        ) from error


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner() as runner:
        return runner.run(work)


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer's callback
    if wanted:
        out.print(f"antechamber {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Broker sign-ins of command-line tools."""


# -- the service -----------------------------------------------------------------------------------------------------


def _announce(ready: app.Ready) -> None:
    out.print()
    out.print(f"  [bold]Antechamber[/] {__version__}, {'the practice world' if ready.world == 'demo' else 'serving'}")
    out.print(f"  Dashboard (this link opens once):  [bold]{escape(ready.dashboard_link)}[/]")
    out.print(f"  Sign-in pages:  {ready.sign_in_url}    API token in {escape(str(ready.places.token))}")
    for provider, why in ready.unavailable.items():
        out.print(f"  [yellow]{provider} cannot be used here: {escape(why)}[/]")
    again = f"antechamber link --world {ready.world}"
    out.print(f"  [dim]Ready in {ready.seconds:.1f} s. Another dashboard link: {again}. Stop with Ctrl-C.[/]")
    out.print()


@cli.command()
def serve(port: Port = None, bind: Annotated[str | None, typer.Option(help="Address to listen on.")] = None) -> None:
    """Serve the real world."""
    settings = _settings("serve", port=port, bind=bind)
    log.configure(settings.log_level)
    _run(app.run(settings, real_world(), _announce))


@cli.command()
def demo(
    providers: Annotated[
        list[str] | None, typer.Argument(help="With --headless: which providers; default all.")
    ] = None,
    *,
    port: Port = None,
    headless: Annotated[bool, typer.Option(help="Let a robot do the person's part, and exit.")] = False,
    as_json: AsJson = False,
    screens: Annotated[
        Path | None, typer.Option(help="With --headless: where to save the last picture of a failure.")
    ] = None,
) -> None:
    """Serve the practice world: real machines, real command-line tools, and a stand-in for the vendors."""
    from antechamber import demo as practice  # noqa: PLC0415 - what only the demo needs is not loaded to serve

    if headless:
        specs = Providers.load()
        chosen = [specs.get(name).id for name in providers] if providers else [spec.id for spec in specs.all()]
        log.configure("WARNING" if as_json else "INFO")
        sys.exit(_run(practice.headless(chosen, as_json=as_json, screens=screens, console=out)))
    if providers or as_json:
        raise typer.BadParameter("providers and --json go with --headless")
    settings = _settings("demo", port=port)
    log.configure(settings.log_level, pretty=sys.stderr.isatty())
    _run(practice.serve(settings, _announce))


@cli.command()
def link(world: World = "serve") -> None:
    """Print a fresh one-time link to the running service's dashboard."""
    answer = _run(control.Client(place(_settings(world)).control).call("dashboard.link"))
    out.print(answer["url"])


@cli.command()
def doctor(world: World = "serve") -> None:
    """Look at everything that the service needs, by trying it; print the remedy for what is missing."""
    checks = _run(_doctor(_settings(world)))
    for check in checks:
        mark = "[green]ok  [/]" if check.ok else "[bold red]FAIL[/]" if check.fatal else "[yellow]note[/]"
        out.print(f"{mark} {escape(check.name)}: {escape(check.message)}")
        if not check.ok and check.remedy:
            out.print(f"       [bold]{escape(check.remedy)}[/]")
    if any(check.fatal and not check.ok for check in checks):
        raise typer.Exit(1)


async def _doctor(settings: Settings) -> Sequence[Check]:
    from antechamber import doctor as examination  # noqa: PLC0415 - only this command needs it

    return await examination.examine(settings)


# -- providers -------------------------------------------------------------------------------------------------------


@providers_cli.command("list")
def providers_list(*, as_json: AsJson = False) -> None:
    """List the providers and what of theirs is installed."""
    settings = _settings("serve")
    shared = place(settings).shared
    rows: list[dict[str, Any]] = []
    for spec in Providers.load().all():
        try:
            installed = install.verify(spec, shared)
            state: dict[str, Any] = {"installed": True, "sha256": installed.sha256}
        except OperatorError as error:
            state = {"installed": False, "why": error.message}
        rows.append({"id": spec.id, "name": spec.name, "version": spec.version, **state})
    _table(rows, as_json=as_json)


@providers_cli.command("install")
def providers_install(
    names: Annotated[list[str] | None, typer.Argument(help="Which; default all.")] = None,
    *,
    again: Annotated[bool, typer.Option(help="Install anew what is there already.")] = False,
) -> None:
    """Install the vendors' tools at their pinned versions, by npm, checked against their integrity hashes."""
    settings = _settings("serve")
    places = place(settings)
    prepare(places)
    specs = Providers.load()
    chosen: Sequence[ProviderSpec] = [specs.get(name) for name in names] if names else specs.all()
    for spec in chosen:
        if not again:
            with contextlib.suppress(OperatorError):
                install.verify(spec, places.shared)
                continue
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with Progress(*columns, console=err, transient=not err.is_terminal) as bar:
            task = bar.add_task(f"{spec.name} {spec.version}", total=None)

            def moved(done: int, total: int, *, bar: Progress = bar, task: Any = task) -> None:
                bar.update(task, completed=done, total=total)

            done = install.install(spec, places.shared, moved, again=again)
        out.print(f"{spec.name} {done.version} installed, sha256 {done.sha256[:16]}…")


@providers_cli.command("check")
def providers_check() -> None:
    """Read every definition and say all that is wrong with them."""
    specs = Providers.load()
    out.print(f"{len(specs.all())} definitions are valid: " + ", ".join(spec.id for spec in specs.all()))


# -- sessions and credentials ----------------------------------------------------------------------------------------


async def _ask(world: str, operation: str, **arguments: Any) -> Any:
    """Ask the running service, or do it on the store when none runs."""
    settings = _settings(world)
    places = place(settings)
    client = control.Client(places.control)
    if await client.running():
        return await client.call(operation, **arguments)
    async with app.open_store(settings, places) as (store, vault):
        specs = Providers.load()
        signin = SignIn(
            store=store, vault=vault, providers=specs, settings=settings, driver="none", require=lambda _: None
        )
        answer = await operations.of(signin, specs, lambda: {"running": False})[operation](arguments)
    return json.loads(json.dumps(answer, default=str))


@sessions_cli.command("list")
def sessions_list(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    world: World = "serve",
    as_json: AsJson = False,
) -> None:
    """List sessions, newest first."""
    rows = _run(_ask(world, "sessions.list", user_id=user, limit=limit))
    _table(rows, as_json=as_json, only=("id", "user_id", "provider", "status", "reason", "created_at"))


@sessions_cli.command("show")
def sessions_show(session_id: str, *, world: World = "serve", as_json: AsJson = False) -> None:
    """Tell one session's story: each move, its reason, and the machine's end."""
    found = _run(_ask(world, "sessions.show", id=session_id))
    if as_json:
        out.print_json(json.dumps(found))
        return
    events = found.pop("events")
    machine = found.pop("machine") or {}
    for name, value in found.items():
        if value not in (None, ""):
            out.print(f"{name:>20}  {escape(str(value))}")
    said = ", ".join(f"{key} {value}" for key, value in machine.items() if value not in (None, ""))
    out.print(f"{'machine':>20}  {escape(said)}")
    _table(events, as_json=False)


@credentials_cli.command("list")
def credentials_list(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    *,
    world: World = "serve",
    as_json: AsJson = False,
) -> None:
    """List stored credentials."""
    rows = _run(_ask(world, "credentials.list", user_id=user))
    only = ("id", "user_id", "provider", "account", "plan", "version", "stored_at")
    _table(rows, as_json=as_json, only=only)


@credentials_cli.command("show")
def credentials_show(credential_id: str, *, world: World = "serve") -> None:
    """Show one credential's metadata."""
    out.print_json(json.dumps(_run(_ask(world, "credentials.show", id=credential_id))))


@credentials_cli.command("delete")
def credentials_delete(
    credential_id: str,
    *,
    world: World = "serve",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a credential: its ciphertext and key are gone; the vendor may still hold the grant."""
    found = _run(_ask(world, "credentials.show", id=credential_id))
    if not yes:
        typer.confirm(f"Delete the credential of {found['user_id']} for {found['provider']}?", abort=True)
    _run(_ask(world, "credentials.delete", id=credential_id))
    out.print("Deleted. The vendor may still hold the grant; revoke it on the vendor's own page too:")
    out.print(Providers.load().get(found["provider"]).revoke_url)


def _table(rows: Sequence[Mapping[str, Any]], *, as_json: bool, only: Sequence[str] = ()) -> None:
    if as_json:
        out.print_json(json.dumps(list(rows)))
        return
    if not rows:
        out.print("none")
        return
    names = only or list(rows[0])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else escape(str(row[name])) for name in names))
    out.print(table)
