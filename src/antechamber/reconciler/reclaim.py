"""What a service does before it starts anything: it ends and removes its own machines that no row asks for.

In a fixed order: what a kill left half-made is cleared away by the driver as it looks (`Driver.found`); then, folder by
folder, each machine that nobody asks for is ended, and its folder, sockets and uid given back. Only what carries this
installation's mark and this node's is touched, and of what it cannot be told how it is nothing: "cannot tell" is never
"dead". It comes before the drivers' checks too, as what is left may be just what keeps a new machine from starting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from antechamber.errors import MachineError
from antechamber.log import get_logger
from antechamber.machine import MachineEnd
from antechamber.points import Point, point

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from antechamber.machine import Driver, Handle
    from antechamber.store import Store

_log = get_logger("reclaim")
_TRIES: Final = 3
"""Times the time to stop, for what ends an orphan: to attach, to stop, to reap."""


async def reclaim(store: Store, node: str, drivers: Sequence[Driver], *, stop_within: timedelta) -> list[Handle]:
    """Stop and remove machines of that node which no row asks for; return those that are left all the same."""
    left = []
    asked = {row.id: row.incarnation for row in await store.machines.not_ended(node)}
    for driver in drivers:
        for handle in await driver.found():
            if asked.get(str(handle["machine"])) == handle["incarnation"]:
                continue
            point(Point.ORPHAN_FOUND)
            if await end(driver, handle, stop_within=stop_within):
                point(Point.ORPHAN_REAPED)
                _log.info("orphan reclaimed", machine=handle["machine"])
            else:
                left.append(handle)
    return left


async def end(driver: Driver, handle: Handle, *, stop_within: timedelta) -> bool:
    """Stop a machine that was found and remove what it left; False where it cannot be told or will not end."""
    try:
        # a driver that does not answer must not keep the service from starting
        async with asyncio.timeout(_TRIES * stop_within.total_seconds()):
            found = await driver.attach(handle)
            if not isinstance(found, MachineEnd):
                try:
                    await found.stop(within=stop_within)
                finally:
                    await found.let_go()
            point(Point.ORPHAN_ENDED)
            await driver.reap(handle)
    except TimeoutError:
        _log.warning("a machine could not be ended", machine=handle["machine"], detail="no answer in time")
        return False
    except (MachineError, OSError) as error:
        # what cannot be removed now is no reason not to serve
        detail = error.detail if isinstance(error, MachineError) else repr(error)
        _log.warning("a machine could not be ended", machine=handle["machine"], detail=detail)
        return False
    return True
