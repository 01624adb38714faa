"""Copies of a SQLite file: made while it is in use, looked at, put back; and the one from before an upgrade.

A copy holds what the database held, deleted credentials of later among it. The one that an upgrade leaves beside the
database is there to go back for a few days: it is removed then, and as soon as somebody is erased.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import make_url

from antechamber.errors import Code, OperatorError
from antechamber.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

_BEFORE: Final = ".before-"
_BESIDE: Final = ("-wal", "-shm")


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite URL, or None for another database."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def copy(source: Path, target: Path) -> None:
    """Make a whole copy of a file that may be in use, mode 0600, on the disk and under its name in one moment.

    OperatorError STORE_UNAVAILABLE, with why, and then nothing is at the target that was not there before.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(descriptor)
        made = Path(name)
        try:
            with closing(_reading(source)) as here, closing(sqlite3.connect(made)) as there:
                here.backup(there)
                # a copy is one file: the log beside it would be forgotten
                there.execute("PRAGMA journal_mode = DELETE")
            look_through(made)
            with made.open("rb") as whole:
                os.fsync(whole.fileno())
            made.replace(target)
            _sync(target.parent)
        finally:
            made.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise OperatorError(
            Code.STORE_UNAVAILABLE,
            message=f"{source} cannot be copied to {target}.",
            next_step="Mend what is said of it here, and do it again.",
            detail=str(error),
        ) from error


def look_through(path: Path) -> None:
    """Have SQLite read every page of a file; sqlite3.DatabaseError when it is not whole."""
    with closing(_reading(path)) as connection:
        (said,) = connection.execute("PRAGMA quick_check").fetchone()
        if said != "ok":
            message = f"{path}: {said}"
            raise sqlite3.DatabaseError(message)


def put_back(copied: Path, database: Path) -> None:
    """Put a copy in the database's place, with nothing of the old one beside it; nobody may have it open.

    OperatorError STORE_UNAVAILABLE when the copy is not whole: then nothing was changed.
    """
    staged = database.with_name(f".{database.name}.restored")
    copy(copied, staged)
    try:
        for end in _BESIDE:
            # a log of another database is no part of this one
            database.with_name(database.name + end).unlink(missing_ok=True)
        staged.replace(database)
        _sync(database.parent)
    except OSError as error:
        raise OperatorError(Code.STORE_UNAVAILABLE, detail=f"{database}: {error}") from error


async def before_upgrade(url: str) -> Path | None:
    """Copy a database that is to be upgraded, beside it, and return the copy; None where there is nothing to copy."""
    database = file_of(url)
    if database is None or not database.exists():
        return None
    found = await Store.revisions(url)
    if found is None or found.at is None or not found.pending:
        return None
    kept = database.with_name(f"{database.name}{_BEFORE}{found.pending[0]}")
    copy(database, kept)
    return kept


def kept(url: str) -> Sequence[Path]:
    """Return the copies from before upgrades, the newest first."""
    database = file_of(url)
    if database is None or not database.parent.is_dir():
        return ()
    found = database.parent.glob(f"{database.name}{_BEFORE}[0-9][0-9][0-9][0-9]")
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def forget(url: str, *, made_before: datetime) -> int:
    """Remove the copies that were made before that time, and return how many."""
    gone = 0
    for path in kept(url):
        with suppress(FileNotFoundError):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) <= made_before:
                path.unlink()
                gone += 1
    return gone


@dataclass(frozen=True, slots=True)
class Within:
    """What a copy says of itself; each is None where it does not say."""

    revision: str | None
    world: str | None
    key_id: str | None
    sealed: int
    """How many credentials are sealed in it."""
    keys: frozenset[str]
    """The ids of the keys that these need."""


def within(path: Path) -> Within:
    """Look into a copy without writing to it; OperatorError STORE_UNAVAILABLE when it is no database of ours."""
    try:
        look_through(path)
        with closing(_reading(path)) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            world, key_id = connection.execute("SELECT world, key_id FROM installation").fetchone() or (None, None)
            needed = connection.execute(
                "SELECT key_id, count(*) FROM provider_credentials WHERE deleted_at IS NULL GROUP BY key_id"
            ).fetchall()
    except (sqlite3.Error, TypeError) as error:
        raise OperatorError(
            Code.STORE_UNAVAILABLE,
            message=f"{path} is no whole database of Antechamber.",
            next_step="Name the file that `antechamber backup` wrote.",
            detail=str(error),
        ) from error
    return Within(revision, world, key_id, sum(count for _, count in needed), frozenset(key for key, _ in needed))


def _reading(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.execute("PRAGMA busy_timeout = 10000")
    return connection


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
