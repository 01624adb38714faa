"""The store as a whole: opened once, asked through its parts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select, text, update

from antechamber import __version__
from antechamber.errors import Code, OperatorError
from antechamber.model import IdPrefix, new_id
from antechamber.points import Point, point
from antechamber.store.access import Access
from antechamber.store.applications import Applications
from antechamber.store.attempts import Attempts
from antechamber.store.audit import Audit
from antechamber.store.audit_retention import AuditRetention
from antechamber.store.bindings import Bindings
from antechamber.store.changes import Changes
from antechamber.store.credentials import Credentials
from antechamber.store.database import Database, to_its_end, translated
from antechamber.store.destinations import Destinations
from antechamber.store.dialect import dialect_of
from antechamber.store.erasures import Erasures
from antechamber.store.line import Line
from antechamber.store.logins import Logins
from antechamber.store.machines import Machines
from antechamber.store.nodes import Nodes
from antechamber.store.openings import Openings
from antechamber.store.retention import Retention
from antechamber.store.revisions import Revisions, refuse_later, revisions
from antechamber.store.runs import Runs
from antechamber.store.schema import credentials, installation
from antechamber.store.sessions import Sessions
from antechamber.store.standing import Standing, standing
from antechamber.store.statuses import Statuses
from antechamber.store.write_backs import WriteBacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.observer import Observer


@dataclass(frozen=True, slots=True)
class About:
    """Which database it is."""

    kind: str
    """`sqlite` or `postgresql`."""
    revision: str
    """The last migration that it has had."""


class Store:
    """One database. The store never reads a clock: each time is passed in, aware."""

    def __init__(self, database: Database, changes: Changes, installation_id: str) -> None:
        """Wrap an opened database; see `open`."""
        self._database: Final = database
        self.changes: Final = changes
        """Hints told in this process after each commit; topics `session:ID`, `sessions`, `machines`, `credentials`,
        `erasures`, `run:ID`, `runs`."""
        self.installation: Final = installation_id
        """The id of this installation, `ins_…`."""
        self.sessions: Final = Sessions(database)
        self.attempts: Final = Attempts(database)
        self.machines: Final = Machines(database)
        self.line: Final = Line(database)
        self.nodes: Final = Nodes(database)
        self.credentials: Final = Credentials(database)
        self.openings: Final = Openings(database)
        self.statuses: Final = Statuses(database)
        self.access: Final = Access(database)
        self.logins: Final = Logins(database)
        self.bindings: Final = Bindings(database)
        self.applications: Final = Applications(database)
        self.destinations: Final = Destinations(database)
        self.retention: Final = Retention(database)
        self.erasures: Final = Erasures(database)
        self.audit: Final = Audit(database)
        self.audit_retention: Final = AuditRetention(database)
        self.runs: Final = Runs(database)
        self.write_backs: Final = WriteBacks(database)

    @classmethod
    @to_its_end
    async def open(cls, url: str, *, world: str, observer: Observer | None = None) -> Store:
        """Open a database, made or upgraded to this release's tables first.

        OperatorError SCHEMA_TOO_NEW, WRONG_WORLD (it belongs to another world; nothing was changed), STORE_UNAVAILABLE
        or MISCONFIGURED. Several may open one database at once. `observer` is told what is committed through this one.
        """
        dialect = dialect_of(url)
        with _opening():
            async with dialect.migrating() as connection:
                await connection.run_sync(_upgraded)
                installation_id = await _installation(connection, world)
                point(Point.MIGRATING)
        point(Point.MIGRATED)
        changes = Changes()
        database = Database(dialect, changes, observer)
        database.listen()
        return cls(database, changes, installation_id)

    @classmethod
    @to_its_end
    async def look(cls, url: str, *, world: str) -> str:
        """Say in a sentence how a database is found, and change nothing; raises OperatorError as `open` does."""
        dialect = dialect_of(url)
        if not dialect.exists:
            return f"{dialect.place} is made at the first start"
        dialect.require_writable()
        engine = dialect.engine()
        try:
            with _opening():
                async with dialect.reading(engine) as connection:
                    if not await dialect.has_tables(connection):
                        return f"{dialect.place}: can be opened, its tables are made at the first start"
                    await connection.run_sync(refuse_later)
                    belongs = (await connection.execute(select(installation.c.world))).scalar_one_or_none()
                    if belongs not in {world, None}:
                        raise _wrong_world(belongs, world)
        finally:
            await engine.dispose()
        return f"{dialect.place}: can be opened"

    @classmethod
    @to_its_end
    async def ways_to_change_audit(cls, url: str) -> Sequence[str] | None:
        """Return in words how the role of that URL could change the audit; None where there are no roles, or no tables.

        Raises OperatorError as `open` does.
        """
        dialect = dialect_of(url)
        if not dialect.exists:
            return None
        engine = dialect.engine()
        try:
            with _opening():
                async with dialect.reading(engine) as connection:
                    found = (
                        await dialect.has_tables(connection) and (await connection.run_sync(revisions)).pending == ()
                    )
                    return await dialect.ways_to_change_audit(connection) if found else None
        finally:
            await engine.dispose()

    @classmethod
    @to_its_end
    async def revisions(cls, url: str) -> Revisions | None:
        """Say where a database is and what an upgrade would do; None where there is none. Changes nothing."""
        dialect = dialect_of(url)
        if not dialect.exists:
            return None
        engine = dialect.engine()
        try:
            with _opening():
                async with dialect.reading(engine) as connection:
                    return await connection.run_sync(revisions)
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    @to_its_end
    async def standing(self) -> Standing:
        """Count the live sessions and the machines that have not ended, of this service and of every other."""
        async with self._database.read() as connection:
            return await standing(connection)

    @to_its_end
    async def key_id(self) -> str | None:
        """Return the id of the key that credentials are sealed with, or None before there is one."""
        async with self._database.read() as connection:
            known: str | None = (await connection.execute(select(installation.c.key_id))).scalar_one()
        return known

    @to_its_end
    async def set_key_id(self, key_id: str) -> None:
        """Remember the key's id, once; OperatorError KEY_MISMATCH when another is known already."""
        async with self._database.write() as write:
            await write.connection.execute(
                update(installation).where(installation.c.key_id.is_(None)).values(key_id=key_id)
            )
            known = (await write.connection.execute(select(installation.c.key_id))).scalar_one()
            if known != key_id:
                raise OperatorError(Code.KEY_MISMATCH, detail=f"the database knows {known}, not {key_id}")

    @to_its_end
    async def promote_key(self, before: str, after: str) -> bool:
        """Have another key seal from now on; False when it was not that one until now."""
        async with self._database.write() as write:
            changed = await write.connection.execute(
                update(installation).where(installation.c.key_id == before).values(key_id=after)
            )
            return changed.rowcount == 1

    @to_its_end
    async def scrub(self) -> None:
        """Have nothing of what was replaced be left in the database's files, where that can be done."""
        await self._database.scrub()

    @to_its_end
    async def about(self) -> About:
        """Say which database this is, by asking it."""
        async with self._database.read() as connection:
            revision = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
            return About(kind=connection.dialect.name, revision=str(revision))

    @to_its_end
    async def has_sealed_rows(self) -> bool:
        """Tell whether any credential is sealed here."""
        wanted = select(credentials.c.id).where(credentials.c.deleted_at.is_(None)).limit(1)
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).one_or_none() is not None


@contextmanager
def _opening() -> Iterator[None]:
    """Translate errors for whoever starts a service: it is not the database's users who wait."""
    try:
        with translated():
            yield
    except OperatorError as error:
        if error.code is not Code.STORE_UNAVAILABLE:
            raise
        raise OperatorError(
            error.code,
            message="The database cannot be opened.",
            next_step="Mend what is named above, or name another database by ANTECHAMBER_DATABASE_URL.",
            detail=error.detail,
        ) from error


def _upgraded(connection: Connection) -> None:
    if refuse_later(connection).pending:
        # Alembic is a good part of a start, and most have nothing to upgrade
        from antechamber.store.migrate import migrate  # noqa: PLC0415

        migrate(connection)


async def _installation(connection: AsyncConnection, world: str) -> str:
    row = (await connection.execute(select(installation))).one_or_none()
    if row is not None and row.world == world and row.release != __version__:
        await connection.execute(update(installation).values(release=__version__))
    if row is None:
        row = (
            await connection.execute(
                insert(installation)
                .values(singleton=1, id=new_id(IdPrefix.INSTALLATION), world=world, release=__version__)
                .returning(*installation.c)
            )
        ).one()
    if row.world != world:
        raise _wrong_world(row.world, world)
    return str(row.id)


def _wrong_world(belongs: str, world: str) -> OperatorError:
    return OperatorError(Code.WRONG_WORLD, detail=f"the database belongs to {belongs}, this is {world}")
