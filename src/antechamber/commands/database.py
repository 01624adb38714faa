"""`antechamber database`, `backup` and `restore`: where the database is, the way on and back, and its copies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from antechamber import __version__
from antechamber.commands.asking import AsJson, World, carried_out, err, out, settings_of
from antechamber.errors import Code, OperatorError
from antechamber.places import DataLock, Places, place, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from antechamber.settings import Settings
    from antechamber.store.copies import Within
    from antechamber.store.postgres_roles import Roles

database_cli = typer.Typer(no_args_is_help=True, help="The database: its schema, the way on and the way back.")

DatabaseFile = Annotated[Path | None, typer.Option("--database", help="The file for the database.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="The file for the key, in another place.")]
_AT_ONCE: Final = timedelta(seconds=1)


@database_cli.command("status")
def database_status(*, world: World = "serve", as_json: AsJson = False) -> None:
    """Say which schema the database has, which this release reads, and what there is to go back to."""
    told = carried_out(_status(settings_of(world)))
    if as_json:
        out.print_json(json.dumps(told))
        return
    for name, value in told.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        if shown:
            out.print(f"{name:>12}  {escape(str(shown))}")


@database_cli.command("upgrade")
def database_upgrade(
    *,
    world: World = "serve",
    backed_up: Annotated[
        bool, typer.Option("--backed-up", help="PostgreSQL: there is a dump from before, to go back to.")
    ] = False,
) -> None:
    """Bring the database to this release's schema while no service runs; a SQLite file is copied first.

    A service does the same when it starts.
    """
    told = carried_out(_upgraded(settings_of(world), backed_up=backed_up))
    out.print(f"The database is at revision {told['revision']}.")
    if told["copies"]:
        out.print(f"To go back: antechamber database rollback ({escape(told['copies'][0])})")


@database_cli.command("roles")
def database_roles(
    role: Annotated[str, typer.Argument(help="The role by which the service connects.")],
    *,
    world: World = "serve",
    apply: Annotated[bool, typer.Option("--apply", help="Give it these rights, instead of printing them.")] = False,
) -> None:
    """PostgreSQL: the rights of a role that may append to the audit and not change it; again after each upgrade.

    It is done by the owner: ANTECHAMBER_DATABASE_OWNER_URL. The exit code is 1 where the role could change the audit.
    """
    told = carried_out(_roles(settings_of(world), role, apply=apply))
    if not apply:
        for statement in told.statements:
            # not by rich: names stand in it as they are
            typer.echo(f"{statement};")
        return
    for way in told.ways:
        err.print(f"[bold red]It can change the audit:[/] {escape(way)}.")
    if told.ways:
        raise typer.Exit(1)
    out.print(f"{escape(role)} may append to the audit and not change it.")


@database_cli.command("rollback")
def database_rollback(
    *, world: World = "serve", yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Put back the SQLite file from before the last upgrade, for the release from before; no service may run.

    Whatever happened since the upgrade is lost: sign-ins, credentials and deletions.
    """
    settings = settings_of(world)
    if not yes:
        err.print("What happened since the upgrade is lost: sign-ins, credentials and deletions.")
        typer.confirm("Put the database from before it back?", abort=True, err=True)
    revision = carried_out(_rolled_back(settings))
    out.print(f"The database is at revision {revision} again. Start the release from before, and not {__version__}.")


def backup(database: DatabaseFile = None, key: KeyFile = None, *, world: World = "serve") -> None:
    """Copy database and key, each to its own place, while the service runs; one place for both is refused.

    Whoever has both has every credential. On PostgreSQL the database is dumped by pg_dump: give --key alone.
    """
    if database is None and key is None:
        raise typer.BadParameter("give --database, --key or both")
    places, settings = place(settings_of(world)), settings_of(world)
    if key is not None:
        _refuse_no_file(settings)
    source = carried_out(_source(settings, places)) if database is not None else None
    for target in filter(None, (database, key)):
        _refuse_within(target, places)
    if database is not None and key is not None:
        refuse_one_place(database, key)
    if key is not None:
        # before the database's copy is replaced, which the key there may belong to
        _refuse_other_keys(places.key, key)
    if database is not None and source is not None:
        from antechamber.store import copies  # noqa: PLC0415 - see `cli`

        copies.copy(source, database)
        found = copies.within(database)
        _fits(found, settings, places)
        out.print(f"The database is at {escape(str(database))}.")
        if key is None:
            needed = ", ".join(sorted(found.keys | ({found.key_id} if found.key_id else set())))
            whose = "a backup of the key file has to have that" if _in_a_file(settings) else "see that it is kept"
            out.print(f"It opens with {needed}: {whose}.")
    if key is not None:
        _copy_key(places.key, key)
        out.print(f"The key is at {escape(str(key))}.")
    if database is not None and key is not None and on_one_disk(database, key):
        out.print("Both are on one file system: take them different ways from here.")
    out.print(
        "What was deleted before now is in older backups until they are destroyed; what is deleted later, in this."
    )


def restore(
    database: DatabaseFile = None,
    key: KeyFile = None,
    *,
    world: World = "serve",
    replace: Annotated[
        bool, typer.Option("--replace", help="Put them in the place of the database and key that there are.")
    ] = False,
) -> None:
    """Put a backup's database and key back while no service runs; both are looked at first, and have to fit.

    Where the root key is in no file, --database alone.
    """
    in_a_file = _in_a_file(settings_of(world))
    if database is None or (key is None) == in_a_file:
        raise typer.BadParameter("give --database and --key" if in_a_file else "give --database, and no --key")
    revision = carried_out(_restored(settings_of(world), database, key, replace=replace))
    out.print(f"Restored, at revision {revision}. A credential that was deleted since the backup is there again.")


def refuse_one_place(database: Path, key: Path) -> None:
    """Raise OperatorError misconfigured where whoever takes the one takes the other too.

    One folder for both, or one within the other's. That two folders are on one disk is said and not refused: whether
    they go different ways from there nobody can see here.
    """
    one, other = database.absolute().parent.resolve(), key.absolute().parent.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="Database and key would lie in one place: whoever takes it has every credential.",
            next_step="Name a folder for the key that is neither the database's nor within it or around it.",
        )


def on_one_disk(database: Path, key: Path) -> bool:
    """Tell whether two files are on one file system."""
    return database.stat().st_dev == key.stat().st_dev


def _refuse_within(target: Path, places: Places) -> None:
    folder = target.absolute().parent.resolve()
    if not folder.is_dir():
        raise OperatorError(
            Code.MISCONFIGURED, message=f"There is no folder {folder}.", next_step="Make it, with mode 0700."
        )
    data = places.data.resolve()
    if folder == data or data in folder.parents:
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"{target} is within the data directory: lost with it, it is no backup.",
            next_step="Name a file elsewhere.",
        )


def _file(settings: Settings, places: Places, *, otherwise: str) -> Path:
    """Return the database's file; where PostgreSQL has it, `otherwise` says what is to be done."""
    from antechamber.app import database_url  # noqa: PLC0415 - see `cli`
    from antechamber.store import copies  # noqa: PLC0415 - see `cli`

    file = copies.file_of(database_url(settings, places))
    if file is None:
        raise OperatorError(Code.MISCONFIGURED, message="The database is PostgreSQL's.", next_step=otherwise)
    return file


async def _source(settings: Settings, places: Places) -> Path:
    otherwise = "Dump it by pg_dump, as docs/how-to/backup.md says, and give --key alone."
    source = _file(settings, places, otherwise=otherwise)
    if not source.exists():
        raise OperatorError(Code.STORE_UNAVAILABLE, message=f"There is no database at {source}.", next_step="Look.")
    return source


def _refuse_other_keys(key: Path, target: Path) -> None:
    """Raise OperatorError key_mismatch where a key that lies at the target is not among those that are copied."""
    from antechamber.vault import Vault  # noqa: PLC0415 - see `cli`

    if not target.exists():
        return
    try:
        Vault.read(key).require(Vault.read(target).key_ids)
    except OperatorError as error:
        raise OperatorError(
            Code.KEY_MISMATCH,
            message=f"At {target} is another key, which may open an older backup.",
            next_step="Name another file.",
            detail=error.detail,
        ) from error


def _in_a_file(settings: Settings) -> bool:
    return "file" in settings.roots


def _refuse_no_file(settings: Settings) -> None:
    if not _in_a_file(settings):
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"The root key is in no file: ANTECHAMBER_ROOTS is {','.join(settings.roots)}.",
            next_step="Give --database alone, and back the key up where it is kept.",
        )


def _copy_key(key: Path, target: Path) -> None:
    try:
        content = key.read_bytes()
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as made:
            os.fchmod(descriptor, 0o600)
            made.write(content)
            made.truncate()
            os.fsync(descriptor)
    except OSError as error:
        raise OperatorError(
            Code.KEY_UNREADABLE, message=f"The key cannot be copied: {error.strerror}.", detail=str(error)
        ) from error


def _fits(found: Within, settings: Settings, places: Places, key: Path | None = None) -> None:
    """Raise OperatorError key_mismatch, or another of the vault's, where that database does not open.

    It is tried with the key in that file, or with the roots that the settings name.
    """
    from antechamber import vault  # noqa: PLC0415 - see `cli`

    roots = vault.roots_of(settings, places.key) if key is None else [vault.KeyFile(key)]
    vault.Vault.of(roots, known_key_id=found.key_id, has_rows=True).require(found.keys)


@contextlib.asynccontextmanager
async def _alone(places: Places) -> AsyncIterator[None]:
    prepare(places)
    lock = await DataLock.take(places.data, within=_AT_ONCE)
    try:
        yield
    finally:
        lock.release()


async def _status(settings: Settings) -> dict[str, Any]:
    from antechamber.app import owner_url  # noqa: PLC0415 - see `cli`
    from antechamber.store import Store, copies, release_of  # noqa: PLC0415 - see `cli`
    from antechamber.store.dialect import dialect_of  # noqa: PLC0415 - see `cli`

    url = owner_url(settings, place(settings))
    found = await Store.revisions(url)
    state = "none" if found is None or found.at is None else "current"
    if found is not None and found.at is not None:
        state = "too new" if found.too_new else "behind" if found.pending else "current"
    return {
        "place": dialect_of(url).place,
        "state": state,
        "revision": found.at if found else None,
        "upgraded_by": found.release if found else None,
        "release": __version__,
        "wants": found.head if found else None,
        "pending": [f"{one} (since {release_of(one)})" for one in found.pending] if found and found.at else [],
        "copies": [str(path) for path in copies.kept(url)],
    }


async def _roles(settings: Settings, role: str, *, apply: bool) -> Roles:
    from antechamber.app import owner_url  # noqa: PLC0415 - see `cli`
    from antechamber.store.postgres_roles import roles  # noqa: PLC0415 - whoever uses SQLite loads no libpq

    return await roles(owner_url(settings, place(settings)), role, apply=apply)


async def _upgraded(settings: Settings, *, backed_up: bool) -> dict[str, Any]:
    from antechamber.app import owner_url  # noqa: PLC0415 - see `cli`
    from antechamber.store import Store, copies  # noqa: PLC0415 - see `cli`

    places = place(settings)
    url = owner_url(settings, places)
    async with _alone(places):
        found = await Store.revisions(url)
        is_file = copies.file_of(url) is not None
        if found is not None and found.at is not None and found.pending and not is_file and not backed_up:
            raise OperatorError(
                Code.MISCONFIGURED,
                message="Nothing but a dump from before leads back from an upgrade of PostgreSQL's database.",
                next_step="Dump it by pg_dump, as docs/how-to/upgrade.md says, and give --backed-up.",
            )
        await copies.before_upgrade(url)
        await (await Store.open(url, world=settings.world)).close()
    return await _status(settings)


async def _rolled_back(settings: Settings) -> str | None:
    from antechamber.app import database_url  # noqa: PLC0415 - see `cli`
    from antechamber.store import copies  # noqa: PLC0415 - see `cli`

    places = place(settings)
    url = database_url(settings, places)
    database, kept = copies.file_of(url), copies.kept(url)
    if database is None:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="The database is PostgreSQL's.",
            next_step="Restore the dump from before the upgrade, as docs/how-to/upgrade.md says.",
        )
    if not kept:
        raise OperatorError(
            Code.STORE_UNAVAILABLE,
            message="There is no copy from before an upgrade: its time is over, or somebody was erased since.",
            next_step="Restore a backup from before it, as docs/how-to/backup.md says.",
        )
    async with _alone(places):
        found = copies.within(kept[0])
        if places.key.exists() or not _in_a_file(settings):
            # a key that was retired since then may be what it needs
            _fits(found, settings, places)
        copies.put_back(kept[0], database)
        kept[0].unlink()
    return found.revision


async def _restored(settings: Settings, database: Path, key: Path | None, *, replace: bool) -> str | None:
    from antechamber.store import copies, knows  # noqa: PLC0415 - see `cli`

    places = place(settings)
    otherwise = "Restore it by pg_restore, as docs/how-to/backup.md says; the key by `install -m 600`."
    target = _file(settings, places, otherwise=otherwise)
    found = copies.within(database)
    if found.revision is None or not knows(found.revision):
        raise OperatorError(Code.SCHEMA_TOO_NEW, detail=f"the backup is at revision {found.revision}")
    if found.world != settings.world:
        raise OperatorError(Code.WRONG_WORLD, detail=f"the backup belongs to {found.world}, this is {settings.world}")
    _fits(found, settings, places, key)
    async with _alone(places):
        there = [path for path in (target, *([places.key] if key else [])) if path.exists()]
        if there and not replace:
            raise OperatorError(
                Code.MISCONFIGURED,
                message=f"There is {' and '.join(map(str, there))} already.",
                next_step="Move them away, or give --replace.",
            )
        copies.put_back(database, target)
        if key is not None and not (places.key.exists() and places.key.samefile(key)):
            staged = places.key.with_name(".key.restored")
            staged.unlink(missing_ok=True)
            _copy_key(key, staged)
            shutil.move(staged, places.key)
    return found.revision
