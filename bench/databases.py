"""The databases that sessions are measured on: fresh ones, filled ones, and their drivers without the store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

from tests import postgres

from antechamber.store import Store, file_url
from bench.old_rows import fill_postgres, fill_sqlite
from bench.statements import Transaction, play_postgres, play_sqlite

_AS_IN_SERVICE = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "wal_level": "replica",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}


class Database(Protocol):
    """One kind of database."""

    name: str

    async def fresh(self) -> str:
        """Make an empty database with this release's tables and return its URL."""

    def play(self, url: str, transactions: list[Transaction]) -> float:
        """Play transactions on a fresh database by its driver alone; return the seconds."""

    def fill(self, url: str, number: int) -> None:
        """Fill a fresh database with so many old sessions."""


class Sqlite:
    """SQLite files in a folder."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    async def fresh(self) -> str:
        url = file_url(self._folder / f"{next(self._numbers)}.db")
        await (await Store.open(url, world="demo")).close()
        return url

    def play(self, url: str, transactions: list[Transaction]) -> float:
        return play_sqlite(_path(url), transactions)

    def fill(self, url: str, number: int) -> None:
        fill_sqlite(_path(url), number)


class Postgres:
    """Databases of a server of our own, which writes as safely as one in service does."""

    name = "PostgreSQL"

    def __init__(self, server: postgres.Server) -> None:
        self._server = server

    async def fresh(self) -> str:
        url = self._server.url(self._server.create())
        await (await Store.open(url, world="demo")).close()
        return url

    def play(self, url: str, transactions: list[Transaction]) -> float:
        return play_postgres(url, transactions)

    def fill(self, url: str, number: int) -> None:
        fill_postgres(url, number)


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@contextlib.contextmanager
def databases() -> Iterator[list[Database]]:
    """Give each database that this computer has; all is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ac-bench-", dir="/tmp") as folder, contextlib.ExitStack() as stack:
        found: list[Database] = [Sqlite(Path(folder))]
        if (programs := postgres.programs()) is not None:
            server = postgres.Server(programs, **_AS_IN_SERVICE)
            stack.callback(server.close)
            found.append(Postgres(server))
        yield found
