"""Brings a database to this release's tables, in-process and in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

from antechamber import __version__
from antechamber.errors import Code, OperatorError
from antechamber.store.schema import installation, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """Return the packaged migrations."""
    config = Config()
    # ConfigParser interpolates: a percent sign in the path must be doubled
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


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
    return revision in {one.revision for one in scripts().walk_revisions()}


def release_of(revision: str) -> str:
    """Return the first release that has that migration."""
    line = [one.revision for one in reversed(list(scripts().walk_revisions()))]
    for release, last in RELEASED.items():
        if line.index(revision) <= line.index(last):
            return release
    return __version__


def revisions(connection: Connection) -> Revisions:
    """Say where the database is; changes nothing."""
    directory = scripts()
    line = [one.revision for one in reversed(list(directory.walk_revisions()))]
    (at,) = MigrationContext.configure(connection).get_current_heads() or (None,)
    known = at is None or at in line
    pending = tuple(line[line.index(at) + 1 if at else 0 :]) if known else ()
    return Revisions(at, line[-1], pending, _release(connection), not known)


def _release(connection: Connection) -> str | None:
    look = inspect(connection)
    name = installation.name
    if not look.has_table(name) or "release" not in {column["name"] for column in look.get_columns(name)}:
        return None
    return connection.execute(select(installation.c.release)).scalar_one_or_none()


def refuse_later(connection: Connection) -> None:
    """Raise OperatorError SCHEMA_TOO_NEW when a later release was here."""
    found = revisions(connection)
    if found.too_new:
        needed = f"release {found.release}" if found.release else "the release that upgraded it"
        raise OperatorError(
            Code.SCHEMA_TOO_NEW,
            next_step=f"Run {needed} or a later one, or restore a backup from before the upgrade.",
            detail=f"the database is at revision {found.at}, release {__version__} knows none after {found.head}",
        )


def migrate(connection: Connection, to: str = "head") -> None:
    """Upgrade within the caller's transaction; OperatorError SCHEMA_TOO_NEW when a later release was here."""
    refuse_later(connection)
    directory = scripts()
    config = Config()
    config.attributes["connection"] = connection

    def upgrade(revision: object, _context: object) -> object:
        return directory._upgrade_revs(to, revision)  # type: ignore[arg-type]  # noqa: SLF001 - Alembic's own commands do this

    with EnvironmentContext(config, directory, fn=upgrade) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()
