"""Carries out what was asked of owners: that everything of theirs be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.errors import AntechamberError
from antechamber.log import get_logger, told
from antechamber.store import ERASURES

if TYPE_CHECKING:
    from antechamber.owners import Owners
    from antechamber.store import Changes

_log = get_logger("owners")


async def go_on(owners: Owners, changes: Changes, sweep_s: float) -> None:
    """Go on with every erasure for ever, at a hint and at each sweep; the machines that it waits for end meanwhile."""
    with changes.watch(ERASURES) as asked:
        while True:
            try:
                await owners.go_on()
            except AntechamberError as error:
                _log.warning("an erasure waits", code=error.code, detail=error.detail)
            except Exception as error:  # noqa: BLE001 - the other erasures, and the next ones, go on
                _log.error("an erasure waits for a fault of ours", **told(error))
            await asked.wait(sweep_s)
