"""The seam between the store and one kind of database: everything that is not portable SQL is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from antechamber.errors import Code, OperatorError
from antechamber.store.sqlite import SqliteDialect

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from antechamber.store.changes import Changes


class StoreDialect(Protocol):
    """What the store needs of a kind of database beyond portable SQL."""

    @property
    def place(self) -> str:
        """Where the database is, for the operator: without any secret."""

    @property
    def exists(self) -> bool:
        """Whether there is something to look at; what only a connection can tell is taken for there."""

    async def in_order(self, connection: AsyncConnection) -> None:
        """Let no other transaction pass here until the commit: what is numbered from here on is in its order."""

    async def ways_to_change_audit(self, connection: AsyncConnection) -> Sequence[str] | None:
        """Return in words how this service's role could change a line of the audit; None where there are no roles."""

    async def may_cut(self, connection: AsyncConnection) -> bool:
        """Tell whether the database's rights let this service delete lines of the audit, where its rules do."""

    def require_writable(self) -> None:
        """Raise OperatorError STORE_UNAVAILABLE, with the path, where a file of it is there and cannot be written."""

    @property
    def triggers(self) -> Mapping[str, str]:
        """The statements that make the triggers, by name; the migrations lead to exactly these."""

    def engine(self) -> AsyncEngine:
        """Return an engine whose every connection is set up; pooled."""

    def reading(self, engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
        """Give a connection in a transaction that sees one state of the database and writes nothing."""

    def writing(self, engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
        """Give a connection in a transaction that may write; committed at the block's end, rolled back on an error."""

    def migrating(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Give a connection of its own in a transaction that excludes every other writer and may change tables."""

    def upsert(
        self, table: Table, row: Mapping[str, Any], key: Sequence[str], add: Sequence[str], take: Sequence[str]
    ) -> Any:
        """Return a statement that inserts the row, or adds to some columns and takes others where the key exists."""

    async def scrub(self, engine: AsyncEngine) -> None:
        """Remove what was deleted from the database's logs too, as far as that is possible now."""

    async def has_tables(self, connection: AsyncConnection) -> bool:
        """Tell whether our tables are there; OperatorError MISCONFIGURED when the database cannot hold them."""

    async def announce(self, connection: AsyncConnection, topics: Sequence[str], sender: str) -> None:
        """Tell the other services of this database, with the commit of the connection's transaction."""

    def listening(self, engine: AsyncEngine, changes: Changes, sender: str) -> Coroutine[Any, Any, None] | None:
        """Return what tells `changes` of what other services announce, for ever; None where there is no other."""


def file_url(path: Path) -> str:
    """Return the URL of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def dialect_of(url: str) -> StoreDialect:
    """Return the dialect of a database URL; OperatorError MISCONFIGURED when there is none for it."""
    try:
        parsed = make_url(url)
        # what was not written as %40 makes the rest of a password a host, which errors would name
        well_formed = "@" not in (parsed.host or "") and "\0" not in url
    except (ArgumentError, ValueError):
        well_formed = False
    if not well_formed:
        # not "from": the library's errors have pieces of the URL in them
        raise OperatorError(
            Code.MISCONFIGURED,
            message="The database URL is not well-formed.",
            next_step="Let ANTECHAMBER_DATABASE_URL be sqlite:///PATH or postgresql://ROLE@HOST/NAME; write %40 for"
            " an @ in a password, and so on.",
        )
    if parsed.get_backend_name() == "sqlite":
        return SqliteDialect(parsed)
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        from antechamber.store.postgres import PostgresDialect  # noqa: PLC0415 - whoever uses SQLite loads no libpq

        return PostgresDialect(parsed)
    raise OperatorError(
        Code.MISCONFIGURED,
        message=f"There is no store for {parsed.get_backend_name()} databases.",
        next_step="Use a sqlite:/// or a postgresql:// URL.",
    )
