"""Where a database is on the line of migrations; without Alembic, which only an upgrade needs and loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, select
from sqlalchemy.sql import column, table

from antechamber import __version__
from antechamber.errors import Code, OperatorError
from antechamber.store.schema import installation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LINE: Final = tuple(sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""Every migration of this release in its order: a file's name begins with its revision, which is four digits."""
_AT: Final = table("alembic_version", column("version_num"))


@dataclass(frozen=True, slots=True)
class Revisions:
    """Where a database is, and what this release would have it be."""

    at: str | None
    """The last migration that it has had; None before the first."""
    head: str
    """The last one that this release has."""
    pending: tuple[str, ...]
    """Those that are to come, in their order."""
    release: str | None
    """The release that upgraded it last, where that is written down."""
    too_new: bool
    """Whether a later release was here: this one neither reads nor writes it."""


RELEASED: Final[Mapping[str, str]] = {}
"""Each release that is out, with the last migration that it has; the one in the making has them all."""


def knows(revision: str) -> bool:
    """Tell whether this release has that migration."""
    return revision in LINE


def release_of(revision: str) -> str:
    """Return the first release that has that migration."""
    for release, last in RELEASED.items():
        if LINE.index(revision) <= LINE.index(last):
            return release
    return __version__


def revisions(connection: Connection) -> Revisions:
    """Say where the database is; changes nothing."""
    at = connection.execute(select(_AT)).scalar_one_or_none() if inspect(connection).has_table(_AT.name) else None
    known = at is None or at in LINE
    pending = LINE[LINE.index(at) + 1 if at else 0 :] if known else ()
    return Revisions(at, LINE[-1], pending, _release(connection), not known)


def _release(connection: Connection) -> str | None:
    look = inspect(connection)
    name = installation.name
    if not look.has_table(name) or "release" not in {found["name"] for found in look.get_columns(name)}:
        return None
    return connection.execute(select(installation.c.release)).scalar_one_or_none()


def refuse_later(connection: Connection) -> Revisions:
    """Return where the database is; raises OperatorError SCHEMA_TOO_NEW when a later release was here."""
    found = revisions(connection)
    if found.too_new:
        needed = f"release {found.release}" if found.release else "the release that upgraded it"
        raise OperatorError(
            Code.SCHEMA_TOO_NEW,
            next_step=f"Run {needed} or a later one, or restore a backup from before the upgrade.",
            detail=f"the database is at revision {found.at}, release {__version__} knows none after {found.head}",
        )
    return found
