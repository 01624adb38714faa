"""Brings a database to this release's tables, in-process and in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from antechamber.store.revisions import MIGRATIONS, refuse_later
from antechamber.store.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection


def scripts() -> ScriptDirectory:
    """Return the packaged migrations."""
    config = Config()
    # ConfigParser interpolates: a percent sign in the path must be doubled
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


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
