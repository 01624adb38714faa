"""The store's contract: each database of `DATABASES` runs every test here."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import AuthSession, Claims, Fields, IdPrefix, MachineRow, Owner, Reason, Sealed, new_id
from antechamber.store import Captured, Created, NewSession, Store, file_url

DATABASES = ("sqlite",)
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class SqlitePrompt:
    """Somebody with a SQL prompt on the file, who knows nothing of our code."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = file_url(path)

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows

    def refusal(self, statement: str, *values: object) -> str:
        with pytest.raises(sqlite3.IntegrityError) as refused:
            self.run(statement, *values)
        return str(refused.value)

    def refused_change(self, table: str, assignment: str, row_id: str) -> str:
        return self.refusal(f"UPDATE {table} SET {assignment} WHERE id = ?", row_id)  # noqa: S608 - the tests' words

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.path.parent.iterdir()))


@pytest.fixture(params=DATABASES)
def prompt(request, tmp_path) -> SqlitePrompt:
    return SqlitePrompt(tmp_path / "antechamber.db")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """A new database to copy: making its tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("store") / "antechamber.db"

    async def make() -> None:
        await (await Store.open(file_url(path), world="demo")).close()

    asyncio.run(make())
    return path


@pytest.fixture
async def store(prompt, migrated) -> AsyncIterator[Store]:
    shutil.copy(migrated, prompt.path)
    opened = await Store.open(prompt.url, world="demo")
    yield opened
    await opened.close()


@dataclass
class Steps:
    """What the tests bring a store to."""

    store: Store

    def new(self, user: str = "ada", provider: str = "codex", seconds: float = 60) -> NewSession:
        return NewSession(Owner(user), provider, Fields(display_name="Ada"), "scripted", later(seconds))

    async def create(self, user: str = "ada", provider: str = "codex", at: datetime = NOON, **wishes: Any) -> Created:
        return await self.store.sessions.create(self.new(user, provider), at=at, **wishes)

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

    async def begin(self, row: MachineRow, host_uid: int | None = None, handle: Any = None) -> MachineRow | None:
        return await self.store.machines.begin(
            row.id,
            incarnation=row.incarnation,
            handle=handle or {"machine_id": row.id},
            host_uid=host_uid,
            expires_at=later(60),
            at=NOON,
        )

    async def check_machine(self) -> MachineRow:
        return await self.store.machines.create_check(driver="scripted", at=NOON, expires_at=later(60))

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
