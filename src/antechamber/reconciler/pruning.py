"""Deletes what is past its time, at the service's start and every ten minutes, beside everything else."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from antechamber.auditing import Auditing
from antechamber.errors import AntechamberError
from antechamber.log import get_logger, told
from antechamber.model import Actor
from antechamber.store import ERASURES, Kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from antechamber.machine_logs import MachineLogs
    from antechamber.settings import Settings
    from antechamber.store import Pruned, Store

EVERY: Final = timedelta(minutes=10)
_log = get_logger("retention")


async def prune(store: Store, settings: Settings, at: datetime) -> Pruned:
    """Delete what is past its time then; every service may, at the same time too."""
    kept = Kept(
        idempotency_keys=settings.duration("idempotency_kept"),
        destinations=settings.duration("destinations_kept"),
        events=settings.duration("events_kept"),
    )
    return await store.retention.prune(at, kept)


async def prune_audit(store: Store, settings: Settings, at: datetime) -> None:
    """Delete the months of the audit that the settings do not keep."""
    await Auditing(store, settings, lambda: at).keep(by=Actor.SERVICE)


async def prune_logs(store: Store, logs: MachineLogs, at: datetime) -> int:
    """Delete what failed machines here printed, where its time is over or the machine is not known any more."""
    gone = await asyncio.to_thread(logs.prune, at)
    for machine_id in await asyncio.to_thread(logs.ids):
        if await store.machines.get(machine_id) is None:
            logs.forget(machine_id)
            gone += 1
    return gone


async def go_on(store: Store, settings: Settings, clock: Callable[[], datetime], logs: MachineLogs | None) -> None:
    """Prune for ever; what is not to be had of the database now is deleted the next time.

    Also when somebody has been erased, on whichever node: what their machines printed lies here.
    """
    with store.changes.watch(ERASURES) as erased:
        while True:
            await _prune_all(store, settings, clock(), logs)
            await erased.wait(EVERY.total_seconds())


async def _prune_all(store: Store, settings: Settings, at: datetime, logs: MachineLogs | None) -> None:
    try:
        if pruned := await prune(store, settings, at):
            counts = {name: count for name, count in asdict(pruned).items() if count}
            _log.info("what was past its time is deleted", counts=counts)
        await prune_audit(store, settings, at)
        if logs is not None and (gone := await prune_logs(store, logs, at)):
            _log.info("what machines printed is deleted", logs=gone)
    except AntechamberError as error:
        _log.warning("what is past its time could not be deleted", code=error.code, detail=error.detail)
    except OSError as error:
        _log.warning("what machines printed could not be deleted", detail=repr(error))
    except Exception as error:  # noqa: BLE001 - the next time may go well, and nothing else deletes
        _log.error("what is past its time could not be deleted by a fault of ours", **told(error))
