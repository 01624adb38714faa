"""Brings a database to this release's tables, in-process and in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from antechamber.errors import Code, OperatorError
from antechamber.store.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """Return the packaged migrations."""
    config = Config()
    # ConfigParser interpolates: a percent sign in the path must be doubled
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def refuse_later(connection: Connection) -> None:
    """Raise OperatorError SCHEMA_TOO_NEW when a later release was here."""
    directory = scripts()
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            known = directory.get_revision(revision)
        except CommandError:
            known = None
        if known is None:
            raise OperatorError(Code.SCHEMA_TOO_NEW, detail=f"the database is at revision {revision}")


def migrate(connection: Connection) -> None:
    """Upgrade within the caller's transaction; OperatorError SCHEMA_TOO_NEW when a later release was here."""
    refuse_later(connection)
    directory = scripts()
    config = Config()
    config.attributes["connection"] = connection

    def upgrade(revision: object, _context: object) -> object:
        return directory._upgrade_revs("head", revision)  # type: ignore[arg-type]  # noqa: SLF001 - Alembic's own commands do this

    with EnvironmentContext(config, directory, fn=upgrade) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()
