"""The SQL of a run, recorded as it goes to the database's driver and played again by that driver alone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event

Transaction = list[tuple[str, Any]]


@contextmanager
def recorded(store) -> Iterator[list[Transaction]]:
    """Give the list of transactions that the store commits while the block runs, in the order of their commits."""
    done: list[Transaction] = []
    under_way: dict[int, Transaction] = {}
    engine = store._database._engine.sync_engine

    def asked(connection, _cursor, statement, parameters, _context, _many) -> None:
        under_way.setdefault(id(connection), []).append((statement, parameters))

    def ended(connection) -> None:
        if transaction := under_way.pop(id(connection), None):
            done.append(transaction)

    def forgotten(connection) -> None:
        under_way.pop(id(connection), None)

    heard = (("before_cursor_execute", asked), ("commit", ended), ("rollback", forgotten))
    for name, listener in heard:
        event.listen(engine, name, listener)
    try:
        yield done
    finally:
        for name, listener in heard:
            event.remove(engine, name, listener)


def play_sqlite(path: Path, transactions: list[Transaction]) -> float:
    """Play transactions on a fresh SQLite file with the store's own pragmas; return the seconds."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        begun = time.monotonic()
        for transaction in transactions:
            for statement, parameters in transaction:
                connection.execute(statement, parameters).fetchall()
            connection.execute("COMMIT")
        return time.monotonic() - begun


def play_postgres(url: str, transactions: list[Transaction]) -> float:
    """Play transactions on a fresh PostgreSQL database; return the seconds."""
    with psycopg.connect(url) as connection:
        begun = time.monotonic()
        for transaction in transactions:
            for statement, parameters in transaction:
                cursor = connection.execute(statement, parameters)
                if cursor.description:
                    cursor.fetchall()
            connection.commit()
        return time.monotonic() - begun
