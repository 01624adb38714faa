"""What is kept for a while only: Idempotency-Keys, destinations, expired rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete

from antechamber.store.schema import access, destinations, idempotency_keys

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from antechamber.store.database import Database


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a pruning deleted."""

    idempotency_keys: int
    destinations: int
    access: int


async def prune(
    database: Database, at: datetime, *, idempotency_kept: timedelta, destinations_kept: timedelta
) -> Pruned:
    """Delete what is past its time: keys by their first use, destinations by their last, rights by their expiry."""
    async with database.write() as write:
        keys = await write.connection.execute(
            delete(idempotency_keys).where(idempotency_keys.c.created_at <= at - idempotency_kept)
        )
        places = await write.connection.execute(
            delete(destinations).where(destinations.c.last_at <= at - destinations_kept)
        )
        rights = await write.connection.execute(delete(access).where(access.c.expires_at <= at))
        return Pruned(keys.rowcount, places.rowcount, rights.rowcount)
