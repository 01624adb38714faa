"""The command line: `antechamber serve | demo | doctor | link | texts`, and the groups of commands.

A group with more to say has a file in `commands`. What only some commands need is imported by them: the web framework
and the database take a second to load.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from antechamber import __version__, control, debian, log, tasks
from antechamber.commands.applications import api_keys_cli, applications_cli
from antechamber.commands.asking import AsJson, OfApplication, World, ask, carried_out, err, out, settings_of, table
from antechamber.commands.audit import audit_cli
from antechamber.commands.database import backup, database_cli, restore
from antechamber.commands.keys import keys_cli
from antechamber.commands.owners import owners_cli
from antechamber.commands.reveal import credentials_reveal, providers_reveal
from antechamber.commands.run import run
from antechamber.commands.sessions import sessions_cli
from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.places import place, prepare
from antechamber.providers import Providers, install
from antechamber.settings import Settings
from antechamber.texts import as_toml, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.app import Ready
    from antechamber.machine import Check
    from antechamber.places import Places
    from antechamber.providers import ProviderSpec

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A sign-in broker for command-line tools.",
)
providers_cli = typer.Typer(no_args_is_help=True, help="The vendors' command-line tools.")
credentials_cli = typer.Typer(no_args_is_help=True, help="Stored credentials.")
nodes_cli = typer.Typer(no_args_is_help=True, help="The services that share one database.")
cli.command()(run)
cli.add_typer(providers_cli, name="providers")
cli.add_typer(sessions_cli, name="sessions")
cli.add_typer(credentials_cli, name="credentials")
cli.add_typer(nodes_cli, name="nodes")
cli.add_typer(owners_cli, name="owners")
cli.add_typer(applications_cli, name="applications")
cli.add_typer(api_keys_cli, name="api-keys")
cli.add_typer(audit_cli, name="audit")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(database_cli, name="database")

Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")]
Marks = Annotated[Literal["revoked", "vendor-refused"], typer.Argument(help="What is known of it.")]


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


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer's callback
    if wanted:
        out.print(f"antechamber {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Broker sign-ins of command-line tools."""
    # for the commands that do one thing; standard output is theirs alone
    log.configure("WARNING")


# -- the service -----------------------------------------------------------------------------------------------------


def _program() -> str:
    """Return how this program can be started again from where it was: by its name alone where that finds it."""
    name = Path(sys.argv[0]).name
    found = shutil.which(name)
    return name if found and Path(found).samefile(sys.argv[0]) else sys.argv[0]


def _announce(ready: Ready) -> None:
    out.print()
    out.print(f"  [bold]Antechamber[/] {__version__}, {'the practice world' if ready.world == 'demo' else 'serving'}")
    out.print(f"  Dashboard (this link opens once):  [bold]{escape(ready.dashboard_link)}[/]")
    out.print(f"  Sign-in pages:  {ready.sign_in_url}    API token in {escape(str(ready.places.token))}")
    out.print(
        f"  [dim]Metrics:  {escape(ready.metrics_url)}    their token in {escape(str(ready.places.metrics_token))}[/]"
    )
    for provider, why in ready.unavailable.items():
        out.print(f"  [yellow]{provider} cannot be used here: {escape(why)}[/]")
    again = escape(ready.link_command)
    out.print(f"  [dim]Ready in {ready.seconds:.1f} s. Another dashboard link: {again}. Stop with Ctrl-C.[/]")
    out.print()


def _stays(pid: int | None) -> None:
    ends = "" if pid is None else f" `kill {pid}` ends it now."
    out.print(
        f"  [dim]The stand-in vendor goes on, for machines that still run and for a demo that is started again. It ends"
        f" when nobody has asked it anything for an hour.{ends}[/]"
    )


@cli.command()
def serve(port: Port = None, bind: Annotated[str | None, typer.Option(help="Address to listen on.")] = None) -> None:
    """Serve the real world."""
    from antechamber import app  # noqa: PLC0415 - see above
    from antechamber.egress import real_world  # noqa: PLC0415 - see above

    settings = settings_of("serve", port=port, bind=bind)
    log.configure(settings.log_level, pretty=log.is_pretty(settings.log_format))
    log.take_crashes()
    tasks.run(app.run(settings, real_world(), _announce, program=_program()))


@cli.command()
def demo(
    providers: Annotated[
        list[str] | None, typer.Argument(help="With --headless: which providers; default all.")
    ] = None,
    *,
    port: Port = None,
    install_missing: Annotated[
        bool, typer.Option("--install", help="First install the vendors' tools that are missing.")
    ] = False,
    headless: Annotated[bool, typer.Option("--headless", help="Let a robot do the person's part, and exit.")] = False,
    as_json: AsJson = False,
    screens: Annotated[
        Path | None, typer.Option(help="With --headless: where to save the last picture of a failure.")
    ] = None,
) -> None:
    """Serve the practice world: real machines, real command-line tools, and a stand-in for the vendors."""
    from antechamber import demo as practice  # noqa: PLC0415 - see above

    if install_missing:
        places = place(settings_of("demo"))
        prepare(places)
        for spec in Providers.load().all():
            # whether each byte of one that is there is as it was, the service looks when it starts
            if not install.cli_folder(spec, places.shared).exists():
                _install(spec, places)
    if headless:
        # the stand-in plays the vendors that are shipped, and the robot knows their pages
        chosen = [spec.id for spec in _chosen(providers, Providers.load())]
        settings = settings_of("demo")
        # the timeline says what an INFO line would; a level that was asked for is another matter
        log.configure(settings.log_level if "log_level" in settings.model_fields_set else "WARNING")
        sys.exit(tasks.run(practice.headless(chosen, as_json=as_json, screens=screens, console=out)))
    if providers or as_json or screens:
        raise typer.BadParameter("providers, --json and --screens go with --headless")
    settings = settings_of("demo", port=port)
    log.configure(settings.log_level, pretty=log.is_pretty(settings.log_format))
    log.take_crashes()
    tasks.run(practice.serve(settings, _announce, stays=_stays, program=_program()))


@cli.command()
def link(world: World = "serve") -> None:
    """Print a fresh one-time link to the running service's dashboard."""
    answer = carried_out(control.Client(place(settings_of(world)).control).call("dashboard.link"))
    out.print(answer["url"])


@cli.command()
def texts() -> None:
    """Print every text that people read, in English: the file that a translation is made from."""
    specs = Providers.of(settings_of("serve")).all()
    said = {spec.id: {"notices": list(spec.notices), "captures": list(spec.captures)} for spec in specs}
    sys.stdout.write(as_toml(whole(said)))


@cli.command()
def doctor(
    *,
    world: World = "serve",
    as_json: AsJson = False,
    install_missing: Annotated[
        bool, typer.Option("--install", help="First install the Debian packages that are missing, after asking.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --install: do not ask.")] = False,
    isolation: Annotated[
        bool, typer.Option("--isolation", help="Instead: try to get out of a real machine, in every way we know.")
    ] = False,
) -> None:
    """Look at everything that the service needs, by trying it; print the remedy for what is missing.

    The exit code is 1 when something is missing without which no sign-in can work, or an attempt to get out of a
    machine was not refused.
    """
    if isolation:
        if install_missing:
            raise typer.BadParameter("--isolation and --install exclude each other")
        _prove(settings_of(world), as_json=as_json)
        return
    if yes and not install_missing:
        raise typer.BadParameter("--yes goes with --install")
    if install_missing:
        _install_missing(yes=yes)
    checks = carried_out(_doctor(settings_of(world)))
    if as_json:
        out.print_json(json.dumps([{**asdict(check), "remedy": "" if check.ok else check.remedy} for check in checks]))
    for check in () if as_json else checks:
        mark = "[green]ok  [/]" if check.ok else "[bold red]FAIL[/]" if check.fatal else "[yellow]note[/]"
        out.print(f"{mark} {escape(check.name)}: {escape(check.message)}")
        if not check.ok and check.remedy:
            out.print(f"       [bold]{escape(check.remedy)}[/]")
    if any(check.fatal and not check.ok for check in checks):
        raise typer.Exit(1)


def _prove(settings: Settings, *, as_json: bool) -> None:
    from antechamber import doctor as examination  # noqa: PLC0415 - see above

    driver, found = carried_out(examination.isolation(settings))
    through = [one for one in found if not one.refused]
    if as_json:
        out.print_json(json.dumps([asdict(one) for one in found]))
    else:
        for one in found:
            mark = "[green]refused[/]" if one.refused else "[bold red]NOT REFUSED[/]"
            out.print(f"{mark} {escape(one.wall)}: {escape(one.attempt)} [dim]{escape(one.saw)}[/]")
        err.print(f"{len(found)} attempts in a machine of the driver {driver}: {len(through)} were not refused.")
    if through:
        raise typer.Exit(1)


def _install_missing(*, yes: bool) -> None:
    names = debian.missing()
    if not names:
        err.print("No package of Debian's is missing.")
        return
    err.print(f"Missing: {', '.join(names)}.")
    if not yes:
        err.print(f"  {debian.command(names)}")
        if not sys.stdin.isatty():
            raise OperatorError(
                Code.MISCONFIGURED,
                message="Nobody can be asked here, so nothing was installed.",
                next_step="Run the line above, or use --yes.",
            )
        if not typer.confirm("Install them with this line?", err=True):
            raise typer.Exit(1)
    debian.install(names)


async def _doctor(settings: Settings) -> Sequence[Check]:
    from antechamber import doctor as examination  # noqa: PLC0415 - see above

    return await examination.examine(settings)


cli.command()(backup)
cli.command()(restore)
providers_cli.command("reveal")(providers_reveal)
credentials_cli.command("reveal")(credentials_reveal)


# -- providers -------------------------------------------------------------------------------------------------------


@providers_cli.command("list")
def providers_list(*, as_json: AsJson = False) -> None:
    """List the providers and what of theirs is installed."""
    settings = settings_of("serve")
    shared = place(settings).shared
    rows: list[dict[str, Any]] = []
    for spec in Providers.of(settings).all():
        try:
            installed = install.verify(spec, shared)
            state: dict[str, Any] = {"installed": True, "sha256": installed.sha256}
        except OperatorError as error:
            state = {"installed": False, "why": error.message}
        rows.append({"id": spec.id, "name": spec.name, "version": spec.version, **state})
    table(rows, as_json=as_json)


@providers_cli.command("install")
def providers_install(
    names: Annotated[list[str] | None, typer.Argument(help="Which; default all.")] = None,
    *,
    again: Annotated[bool, typer.Option("--again", help="Install anew what is there already.")] = False,
) -> None:
    """Install the vendors' tools at their pinned versions, by npm, checked against their integrity hashes."""
    settings = settings_of("serve")
    chosen = _chosen(names, Providers.of(settings))
    places = place(settings)
    prepare(places)
    for spec in chosen:
        if not again:
            with contextlib.suppress(OperatorError):
                install.verify(spec, places.shared)
                continue
        _install(spec, places, again=again)


def _install(spec: ProviderSpec, places: Places, *, again: bool = False) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=not err.is_terminal) as bar:
        task = bar.add_task(f"{spec.name} {spec.version}", total=None)

        def moved(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        done = install.install(spec, places.shared, moved, again=again)
    out.print(f"{spec.name} {done.version} installed, sha256 {done.sha256[:16]}…")


@providers_cli.command("check")
def providers_check(*, as_json: AsJson = False) -> None:
    """Read every definition and say all that is wrong with them."""
    names = [spec.id for spec in Providers.of(settings_of("serve")).all()]
    if as_json:
        out.print_json(json.dumps({"valid": names}))
    else:
        out.print(f"{len(names)} definitions are valid: " + ", ".join(names))


def _chosen(names: Sequence[str] | None, specs: Providers) -> Sequence[ProviderSpec]:
    """Return the providers of these ids or aliases, each once, or all."""
    known = {name: spec for spec in specs.all() for name in (spec.id, *spec.aliases)}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        message = f"There is no provider {', '.join(unknown)}; there are {', '.join(spec.id for spec in specs.all())}."
        raise CallerError(Code.UNKNOWN_PROVIDER, message=message, next_step="Choose one of these.")
    wanted = {known[name].id for name in names or known}
    return [spec for spec in specs.all() if spec.id in wanted]


# -- sessions and credentials ----------------------------------------------------------------------------------------


@credentials_cli.command("list")
def credentials_list(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    *,
    application: OfApplication = None,
    world: World = "serve",
    as_json: AsJson = False,
) -> None:
    """List stored credentials."""
    rows = carried_out(ask(world, "credentials.list", user_id=user, application=application))
    only = (
        "id",
        "application",
        "user_id",
        "provider",
        "status",
        "status_reason",
        "account",
        "plan",
        "version",
        "stored_at",
    )
    table(rows, as_json=as_json, only=only)


@credentials_cli.command("show")
def credentials_show(credential_id: str, *, world: World = "serve") -> None:
    """Show one credential's metadata, its status, and what happened to it."""
    out.print_json(json.dumps(carried_out(ask(world, "credentials.show", id=credential_id))))


@credentials_cli.command("mark")
def credentials_mark(credential_id: str, said: Marks, *, world: World = "serve") -> None:
    """Say what is known of a credential: its sign-in was ended at the vendor, or the vendor refused it."""
    found = carried_out(ask(world, "credentials.say", id=credential_id, said=said.replace("-", "_")))
    out.print(f"{found['status']} ({found['status_reason']})")


@credentials_cli.command("delete")
def credentials_delete(
    credential_id: str,
    *,
    world: World = "serve",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a credential: its ciphertext and key are gone; the vendor may still hold the grant."""
    found = carried_out(ask(world, "credentials.show", id=credential_id))
    if not yes:
        typer.confirm(f"Delete the credential of {found['user_id']} for {found['provider']}?", abort=True)
    carried_out(ask(world, "credentials.delete", id=credential_id))
    out.print("Deleted. The vendor may still hold the grant; revoke it on the vendor's own page too:")
    specs = Providers.of(settings_of(world)).all()
    out.print("\n".join(spec.revoke_url for spec in specs if spec.id == found["provider"]))


@nodes_cli.command("list")
def nodes_list(*, world: World = "serve", as_json: AsJson = False) -> None:
    """List the services that share this database, when each was last heard of, and how many machines it runs."""
    table(carried_out(ask(world, "nodes.list")), as_json=as_json)


@nodes_cli.command("forget")
def nodes_forget(
    node_id: str,
    *,
    world: World = "serve",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give up a node that will not come back: what it ran is taken to have ended, and live sign-ins there fail."""
    if not yes:
        typer.confirm(f"Is the host of {node_id} gone for good?", abort=True)
    ended = carried_out(ask(world, "nodes.forget", id=node_id))["machines"]
    out.print(f"Forgotten; {ended} of its machines had not ended.")
