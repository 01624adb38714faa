"""SQLite: one file, many connections, one writer at a time.

Read here before changing how a transaction begins: a deferred BEGIN that reads and then writes gets SQLITE_BUSY at
once, whatever the busy timeout, when somebody wrote in between. So what may write begins with BEGIN IMMEDIATE.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, Table, event, inspect
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool
from sqlalchemy.util import await_only

from antechamber.errors import Code, OperatorError
from antechamber.store.adding import adding
from antechamber.store.rules import RULES, Rule, condition
from antechamber.store.schema import installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from antechamber.store.changes import Changes

_BEGIN: Final = "antechamber_begin"
_BUSY_MS: Final = 10_000
_SCRUB_MS: Final = 500
_AGAIN_MS: Final = 20


def _trigger(rule: Rule) -> str:
    when = condition(rule, "IS NOT")
    occasion = f"BEFORE {rule.occasion} ON {rule.table}" + (f" WHEN {when}" if when else "")
    return f"CREATE TRIGGER {rule.name} {occasion} BEGIN SELECT RAISE(ABORT, '{rule.message}'); END"


TRIGGERS: Final = {rule.name: _trigger(rule) for rule in RULES}


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
        # the one that was used last first: each has a cache of pages of its own, which another's writing empties
        engine = create_async_engine(
            self._url, poolclass=AsyncAdaptedQueuePool, pool_size=4, max_overflow=4, pool_use_lifo=True
        )
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
        self.require_writable()
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
        return adding(insert(table).values(**row), table, key, add, take)

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

    @property
    def place(self) -> str:
        """The file's path."""
        return str(self._path)

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return self._path.exists()

    async def in_order(self, connection: AsyncConnection) -> None:
        """Do nothing: one transaction writes at a time."""

    async def ways_to_change_audit(self, connection: AsyncConnection) -> None:  # noqa: ARG002 - the seam's signature
        """Return None: a file has no roles, and whoever may write it can change it."""
        return

    async def may_cut(self, connection: AsyncConnection) -> bool:  # noqa: ARG002 - the seam's signature
        """Return True: a file has no roles."""
        return True

    def require_writable(self) -> None:
        """Raise OperatorError STORE_UNAVAILABLE where the file, one beside it, or the folder is read-only."""
        beside = (self._path.with_name(self._path.name + end) for end in ("", "-wal", "-shm"))
        for path in (self._path.parent, *beside):
            # SQLite itself names no file, and what lies beside one keeps the mode that it had
            if path.exists() and not os.access(path, os.W_OK):
                raise OperatorError(
                    Code.STORE_UNAVAILABLE,
                    detail=f"{path} is read-only for this account",
                )

    async def has_tables(self, connection: AsyncConnection) -> bool:
        """Tell whether the file holds our tables."""
        return await connection.run_sync(lambda plain: inspect(plain).has_table(installation.name))

    async def announce(self, connection: AsyncConnection, topics: Sequence[str], sender: str) -> None:
        """Tell nobody: one service has the file."""

    def listening(self, engine: AsyncEngine, changes: Changes, sender: str) -> None:  # noqa: ARG002 - the seam's signature
        """Return None: there is nobody to hear."""
        return


def _log_ahead(cursor: Any) -> None:
    """Have the file use a write-ahead log; of a new one several connections may want that at once.

    SQLite answers that change with "locked" at once, whatever the busy timeout (sqlite.org/pragma.html, journal_mode).
    """
    for _ in range(_BUSY_MS // _AGAIN_MS):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            await_only(asyncio.sleep(_AGAIN_MS / 1000))
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")


def _set_up(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # the driver must not begin transactions of its own: _begun does, in the way that the transaction needs
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        _log_ahead(cursor)
        for pragma in (
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
