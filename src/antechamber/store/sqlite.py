"""SQLite: one file, many connections, one writer at a time.

Read here before changing how a transaction begins: a deferred BEGIN that reads and then writes gets SQLITE_BUSY at
once, whatever the busy timeout, when somebody wrote in between. So what may write begins with BEGIN IMMEDIATE.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, Table, event, inspect
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from antechamber.errors import Code, OperatorError
from antechamber.model import TERMINAL_STATUSES
from antechamber.store.schema import ENDED_STATES, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_BEGIN: Final = "antechamber_begin"
_BUSY_MS: Final = 10_000
_SCRUB_MS: Final = 500


def _frozen(name: str, table: str, columns: Sequence[str], when: str, message: str) -> tuple[str, str]:
    changed = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in columns)
    condition = f"({when}) AND ({changed})" if when else changed
    return name, _trigger(name, f"BEFORE UPDATE ON {table}", condition, message)


def _refused(name: str, occasion: str, when: str, message: str) -> tuple[str, str]:
    return name, _trigger(name, occasion, when, message)


def _trigger(name: str, occasion: str, when: str, message: str) -> str:
    condition = f" WHEN {when}" if when else ""
    return f"CREATE TRIGGER {name} {occasion}{condition} BEGIN SELECT RAISE(ABORT, '{message}'); END"


TRIGGERS: Final[dict[str, str]] = dict(
    [
        _frozen(
            "terminal_session",
            "auth_sessions",
            (
                "status",
                "reason",
                "detail",
                "status_at",
                "expires_at",
                "ended_at",
                "captured_credential_id",
                "captured_version",
            ),
            f"OLD.status IN {words(TERMINAL_STATUSES)}",
            "a terminal session does not change",
        ),
        _frozen(
            "session_identity",
            "auth_sessions",
            ("id", "application", "user_id", "provider", "machine_id", "created_at"),
            "",
            "a session stays whose it is",
        ),
        _refused(
            "completed_by_its_own_capture",
            "BEFORE UPDATE ON auth_sessions",
            "NEW.status = 'completed' AND OLD.status <> 'completed' AND NOT EXISTS (SELECT 1 FROM credential_versions"
            " WHERE credential_id = NEW.captured_credential_id AND version = NEW.captured_version"
            " AND session_id = NEW.id)",
            "a session is completed by the version that it stored",
        ),
        _refused(
            "session_begins_pending",
            "BEFORE INSERT ON auth_sessions",
            "NEW.status <> 'pending'",
            "a session begins as pending",
        ),
        # REPLACE deletes and inserts, which no update trigger sees
        _refused(
            "session_not_replaced",
            "BEFORE INSERT ON auth_sessions",
            "EXISTS (SELECT 1 FROM auth_sessions WHERE id = NEW.id OR machine_id = NEW.machine_id)",
            "a session is not replaced",
        ),
        _refused(
            "live_session_kept",
            "BEFORE DELETE ON auth_sessions",
            f"OLD.status NOT IN {words(TERMINAL_STATUSES)}",
            "a live session is not deleted",
        ),
        _frozen(
            "ended_machine",
            "machines",
            ("state", "state_at", "ended_at", "exit_code", "handle", "host_uid"),
            f"OLD.state IN {words(ENDED_STATES)}",
            "an ended machine does not change",
        ),
        _frozen(
            "machine_identity",
            "machines",
            ("id", "kind", "session_id", "driver", "incarnation"),
            "",
            "a machine stays which it is",
        ),
        _refused(
            "running_machine_kept",
            "BEFORE DELETE ON machines",
            f"OLD.state NOT IN {words(ENDED_STATES)}",
            "a machine that has not ended is not deleted",
        ),
        _frozen(
            "credential_identity",
            "provider_credentials",
            ("id", "application", "user_id", "provider", "created_at"),
            "",
            "a credential stays whose it is",
        ),
        _refused(
            "tombstone",
            "BEFORE UPDATE ON provider_credentials",
            "OLD.deleted_at IS NOT NULL",
            "a deleted credential does not change",
        ),
        _refused(
            "version_grows",
            "BEFORE UPDATE ON provider_credentials",
            "NEW.version NOT IN (OLD.version, OLD.version + 1)",
            "a credential version grows by one",
        ),
        _refused("event_kept", "BEFORE UPDATE ON events", "", "an event does not change"),
        _refused("version_kept", "BEFORE UPDATE ON credential_versions", "", "a stored version does not change"),
    ]
)


class SqliteDialect:
    """One SQLite file."""

    triggers: Mapping[str, str] = TRIGGERS

    def __init__(self, url: URL) -> None:
        """Take the URL of a file; OperatorError MISCONFIGURED when it names none."""
        if not url.database or url.database == ":memory:" or url.query:
            raise OperatorError(
                Code.MISCONFIGURED, message="The database URL must name a file.", next_step="Use sqlite:///PATH."
            )
        self._path = Path(url.database)
        self._url = URL.create("sqlite+aiosqlite", database=url.database)
        # the busy handler of SQLite is not fair: within this process writers take turns in the order in which they came
        self._turn = asyncio.Lock()

    def engine(self) -> AsyncEngine:
        """Return an engine whose every connection has the pragmas set."""
        engine = create_async_engine(self._url, poolclass=AsyncAdaptedQueuePool, pool_size=4, max_overflow=4)
        _set_up(engine, foreign_keys=True)
        return engine

    @asynccontextmanager
    async def reading(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the file."""
        async with engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """Give a connection that holds the file's one right to write."""
        async with self._turn, engine.connect() as plain:
            connection = await plain.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that may rebuild tables: foreign keys are checked at its end instead of on the way."""
        try:
            # its WAL and shared memory files take their mode from it
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise OperatorError(Code.STORE_UNAVAILABLE, detail=f"{self._path}: {error}") from error
        engine = create_async_engine(self._url, poolclass=NullPool)
        _set_up(engine, foreign_keys=False)
        try:
            async with self.writing(engine) as connection:
                yield connection
                if broken := (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all():
                    message = f"{len(broken)} rows point at nothing"
                    raise OperatorError(Code.STORE_UNAVAILABLE, detail=message)
        finally:
            await engine.dispose()

    def upsert(
        self, table: Table, row: Mapping[str, Any], key: Sequence[str], add: Sequence[str], take: Sequence[str]
    ) -> Any:
        """Return the statement that inserts the row, or adds to it where the key exists."""
        statement = insert(table).values(**row)
        changes: dict[str, Any] = {name: table.c[name] + statement.excluded[name] for name in add}
        changes |= {name: statement.excluded[name] for name in take}
        return statement.on_conflict_do_update(index_elements=list(key), set_=changes)

    async def scrub(self, engine: AsyncEngine) -> None:
        """Move the write-ahead log into the file and empty it: secure_delete overwrites pages, not the log."""
        async with self._turn, engine.connect() as plain:
            connection = await plain.execution_options(**{_BEGIN: ""})
            # a reader elsewhere keeps the log from being emptied: that must not keep our own writers waiting for long
            await connection.exec_driver_sql(f"PRAGMA busy_timeout = {_SCRUB_MS}")
            try:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                await connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def has_tables(self, connection: Connection) -> bool:
        """Tell whether the file holds any table."""
        return bool(inspect(connection).get_table_names())


def _set_up(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # the driver must not begin transactions of its own: _begun does, in the way that the transaction needs
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {_BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            f"foreign_keys = {'ON' if foreign_keys else 'OFF'}",
            "secure_delete = ON",
            "trusted_schema = OFF",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        if statement := connection.get_execution_options().get(_BEGIN, "BEGIN"):
            connection.exec_driver_sql(statement)
