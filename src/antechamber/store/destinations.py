"""Where a session's machine connected to, added up by name, port and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from antechamber.errors import CallerError, Code
from antechamber.model import Destination
from antechamber.store.database import to_its_end
from antechamber.store.rows import destination_of
from antechamber.store.schema import destinations, sessions

if TYPE_CHECKING:
    from datetime import datetime

    from antechamber.store.database import Database


class Destinations:
    """The destinations of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def record(
        self,
        session_id: str,
        name: str,
        port: int,
        verdict: str,
        *,
        bytes_out: int,
        bytes_in: int,
        connections: int,
        at: datetime,
    ) -> None:
        """Add a use to what is known of that destination; CallerError SESSION_NOT_FOUND."""
        row = {
            "session_id": session_id,
            "name": name,
            "port": port,
            "verdict": verdict,
            "bytes_out": bytes_out,
            "bytes_in": bytes_in,
            "connections": connections,
            "first_at": at,
            "last_at": at,
        }
        statement = self._database.dialect.upsert(
            destinations,
            row,
            key=("session_id", "name", "port", "verdict"),
            add=("bytes_out", "bytes_in", "connections"),
            take=("last_at",),
        )
        async with self._database.write() as write:
            known = await write.connection.execute(select(sessions.c.id).where(sessions.c.id == session_id))
            if known.one_or_none() is None:
                raise CallerError(Code.SESSION_NOT_FOUND)
            await write.connection.execute(statement)

    @to_its_end
    async def list(self, session_id: str) -> list[Destination]:
        """Return a session's destinations, in the order in which they were first asked for."""
        wanted = (
            select(destinations)
            .where(destinations.c.session_id == session_id)
            .order_by(destinations.c.first_at, destinations.c.name, destinations.c.port, destinations.c.verdict)
        )
        async with self._database.read() as connection:
            return [destination_of(row) for row in await connection.execute(wanted)]
