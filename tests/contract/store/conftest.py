"""The store's contract: each database of `DATABASES` runs every test here."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString, Protocol, cast

import psycopg
import pytest
from psycopg import sql
from tests.postgres import OWNER, SERVICE, Server

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import (
    DEFAULT_APPLICATION,
    AuthSession,
    Claims,
    Fields,
    IdPrefix,
    MachineRow,
    Owner,
    Reason,
    Sealed,
    new_id,
)
from antechamber.store import Captured, Created, Kept, NewSession, Store, file_url

DATABASES = ("sqlite", "postgres")
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NODE = "nod_00000000000000000000"
OTHER_NODE = "nod_00000000000000000001"
DAY = Kept(timedelta(hours=24), timedelta(hours=24), timedelta(hours=24))
"""Everything is kept for a day."""


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Prompt(Protocol):
    """Somebody with a SQL prompt on the database, who knows nothing of our code. `?` stands for a value."""

    kind: str
    url: str
    """How a store connects."""
    owner_url: str
    """How whoever is at the prompt does, and may do more."""

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own."""

    def transaction(self) -> AbstractContextManager[Any]:
        """A connection in a transaction that may write; rolled back at the end."""

    def refusal(self, statement: str, *values: object) -> str:
        """Run what the database must refuse, and return why in SQLite's words."""

    def refused_change(self, table: str, assignment: str, row_id: str) -> str:
        """Try to change a row, and return why not."""

    def bytes_on_disk(self) -> bytes:
        """What the database's files hold."""

    def content(self) -> object:
        """What tells whether anything was changed."""


class SqlitePrompt:
    """A prompt on a file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = self.owner_url = file_url(path)

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def refusal(self, statement: str, *values: object) -> str:
        with pytest.raises(sqlite3.IntegrityError) as refused:
            self.run(statement, *values)
        return str(refused.value)

    def refused_change(self, table: str, assignment: str, row_id: str) -> str:
        return self.refusal(f"UPDATE {table} SET {assignment} WHERE id = ?", row_id)  # noqa: S608 - the tests' words

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.path.parent.iterdir()))

    def content(self) -> object:
        return self.bytes_on_disk()


class PostgresPrompt:
    """A prompt on a database of PostgreSQL."""

    kind = "postgres"

    def __init__(self, server: Server, name: str, *, role: str = OWNER) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name, role)
        self.owner_url = server.url(name)

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url) as connection:
            cursor = connection.execute(cast("LiteralString", statement.replace("?", "%s")), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with closing(psycopg.connect(self.owner_url)) as connection:
            yield connection

    def refusal(self, statement: str, *values: object) -> str:
        with pytest.raises(psycopg.IntegrityError) as refused:
            self.run(statement, *values)
        said = refused.value.diag
        kind = {
            psycopg.errors.CheckViolation: "CHECK constraint failed",
            psycopg.errors.UniqueViolation: "UNIQUE constraint failed",
            psycopg.errors.ForeignKeyViolation: "FOREIGN KEY constraint failed",
        }.get(type(refused.value))
        return f"{kind}: {said.constraint_name}" if kind else str(said.message_primary)

    def refused_change(self, table: str, assignment: str, row_id: str) -> str:
        return self.refusal(f"UPDATE {table} SET {assignment} WHERE id = ?", row_id)  # noqa: S608 - the tests' words

    def bytes_on_disk(self) -> bytes:
        self.server.run(sql.SQL("CHECKPOINT"))
        ((oid,),) = self.run("SELECT oid::int FROM pg_database WHERE datname = current_database()")
        data = self.server.folder / "data"
        files = [*(data / "base" / str(oid)).iterdir(), *(data / "pg_wal").glob("[0-9A-F]*")]
        return b"".join(path.read_bytes() for path in sorted(files))

    def content(self) -> object:
        tables = self.run("SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid")
        named = self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = {name: self.run(f"SELECT xmin, t::text FROM {name} AS t") for (name,) in named}  # noqa: S608 - our tables
        return tables, rows


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the databases that it is about."""
    if "prompt" in metafunc.fixturenames:
        alone = [name for name in DATABASES if f"{name}_only" in metafunc.fixturenames]
        metafunc.parametrize("prompt", alone or DATABASES, indirect=True)


@pytest.fixture
def prompt(request, tmp_path) -> Iterator[SqlitePrompt | PostgresPrompt]:
    """A database: with this release's tables where the test asks for a store, with nothing otherwise."""
    filled = "store" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "antechamber.db"
        if filled:
            shutil.copy(request.getfixturevalue("migrated"), path)
        yield SqlitePrompt(path)
        return
    server: Server = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template") if filled else "template0")
    # the tables are somebody else's, as they should be where there is an audit in them
    yield PostgresPrompt(server, name, role=SERVICE if filled else OWNER)
    server.drop(name)


@pytest.fixture
def sqlite_only(prompt) -> SqlitePrompt:
    """A file, for what is about SQLite alone."""
    assert isinstance(prompt, SqlitePrompt)
    return prompt


@pytest.fixture
def postgres_only(prompt) -> PostgresPrompt:
    """A database of PostgreSQL, for what is about that alone."""
    assert isinstance(prompt, PostgresPrompt)
    return prompt


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """A new database to copy: making its tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("store") / "antechamber.db"

    async def make() -> None:
        await (await Store.open(file_url(path), world="demo")).close()

    asyncio.run(make())
    return path


@pytest.fixture
async def store(prompt) -> AsyncIterator[Store]:
    opened = await Store.open(prompt.url, world="demo")
    yield opened
    await opened.close()


@dataclass
class Steps:
    """What the tests bring a store to."""

    store: Store

    def new(
        self, user: str = "ada", provider: str = "codex", seconds: float = 60, application: str = DEFAULT_APPLICATION
    ) -> NewSession:
        return NewSession(Owner(user, application), provider, Fields(display_name="Ada"), "scripted", later(seconds))

    async def create(
        self,
        user: str = "ada",
        provider: str = "codex",
        at: datetime = NOON,
        application: str = DEFAULT_APPLICATION,
        **wishes: Any,
    ) -> Created:
        new = self.new(user, provider, application=application)
        return await self.store.sessions.create(new, at=at, **wishes)

    async def pending(self, user: str = "ada", provider: str = "codex", at: datetime = NOON) -> AuthSession:
        return (await self.create(user, provider, at)).session

    async def starting(self, user: str = "ada", provider: str = "codex", at: datetime = NOON) -> AuthSession:
        session = await self.pending(user, provider, at)
        return (await self.store.sessions.apply(session.id, SessionFact.MACHINE_BOOTING, at=at)).session

    async def awaiting(self, user: str = "ada", provider: str = "codex", at: datetime = NOON) -> AuthSession:
        session = await self.starting(user, provider, at)
        moved = await self.store.sessions.apply(
            session.id, SessionFact.MACHINE_READY, at=at, expires_at=at + timedelta(seconds=600)
        )
        return moved.session

    async def cancelled(self, user: str = "ada", provider: str = "codex") -> AuthSession:
        session = await self.awaiting(user, provider)
        moved = await self.store.sessions.apply(
            session.id, SessionFact.CANCELLED, at=NOON, reason=Reason.CANCELLED_BY_PERSON
        )
        return moved.session

    async def capture(
        self, session: AuthSession, *, ciphertext: bytes = b"DUMMY ciphertext", at: datetime = NOON, **other: Any
    ) -> Captured:
        current = await self.store.credentials.current(session.owner, session.provider)
        given = {
            "credential_id": current.id if current else new_id(IdPrefix.CREDENTIAL),
            "expected_version": current.version if current else 0,
            "sealed": Sealed(ciphertext, b"DUMMY wrapped key", "key_00000001", 1),
            "claims": Claims("ada@example.test", "pro", later(3600)),
            "report_id": new_id(IdPrefix.REPORT),
        }
        return await self.store.credentials.capture(session.id, at=at, **(given | other))

    async def completed(self, user: str = "ada", provider: str = "codex", **other: Any) -> Captured:
        return await self.capture(await self.awaiting(user, provider), **other)

    async def machine(self, session: AuthSession) -> MachineRow:
        row = await self.store.machines.of_session(session.id)
        assert row is not None
        return row

    async def claim(self, node: str = NODE, at: datetime = NOON, **wishes: Any) -> list[MachineRow]:
        given = {"driver": "scripted", "until": at + timedelta(seconds=10)}
        return await self.store.machines.claim(node, at=at, **(given | wishes))

    async def begin(
        self, row: MachineRow, host_uid: int | None = None, handle: Any = None, node: str = NODE
    ) -> MachineRow | None:
        await self.claim(node, limit=100)
        return await self.store.machines.begin(
            row.id,
            incarnation=row.incarnation,
            node=node,
            handle=handle or {"machine_id": row.id},
            host_uid=host_uid,
            expires_at=later(60),
            at=NOON,
        )

    async def check_machine(self, node: str = NODE) -> MachineRow:
        return await self.store.machines.create_check(node=node, driver="scripted", at=NOON, expires_at=later(60))

    async def end_machine(self, row: MachineRow, at: datetime = NOON) -> MachineRow:
        ended, _ = await self.store.machines.apply(
            row.id, MachineFact.ENDED, incarnation=row.incarnation, at=at, exit_code=1
        )
        return ended


@pytest.fixture
def steps(store) -> Steps:
    return Steps(store)


@pytest.fixture
def noon() -> datetime:
    return NOON
