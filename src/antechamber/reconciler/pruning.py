"""Deletes what is past its time, at the service's start and every ten minutes, beside everything else."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from antechamber.errors import AntechamberError
from antechamber.log import get_logger
from antechamber.signin import now
from antechamber.store import Kept

if TYPE_CHECKING:
    from antechamber.settings import Settings
    from antechamber.store import Pruned, Store

EVERY: Final = timedelta(minutes=10)
_log = get_logger("retention")


async def prune(store: Store, settings: Settings) -> Pruned:
    """Delete what is past its time now; every service may, at the same time too."""
    kept = Kept(
        idempotency_keys=settings.duration("idempotency_kept"),
        destinations=settings.duration("destinations_kept"),
        events=settings.duration("events_kept"),
    )
    return await store.retention.prune(now(), kept)


async def go_on(store: Store, settings: Settings, *, every: timedelta = EVERY) -> None:
    """Prune for ever; what is not to be had of the database now is deleted the next time."""
    while True:
        try:
            if pruned := await prune(store, settings):
                counts = {name: count for name, count in asdict(pruned).items() if count}
                _log.info("what was past its time is deleted", counts=counts)
        except AntechamberError as error:
            _log.warning("what is past its time could not be deleted", code=error.code, detail=error.detail)
        await asyncio.sleep(every.total_seconds())
