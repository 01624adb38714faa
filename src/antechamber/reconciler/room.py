"""How many machines more this node may begin now: the operator's number, host uids, memory, and the processors' load.

A machine that waits for its person takes hardly any processor time, but its start takes one or two seconds of one, and
from then on it takes memory: see docs/performance.md for the figures that the default is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from antechamber.host import Host
from antechamber.log import get_logger
from antechamber.model import MachineState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from antechamber.machine import Driver
    from antechamber.model import MachineRow
    from antechamber.settings import Settings

_log = get_logger("room")

MACHINES_A_PROCESSOR: Final = 16
"""As many waited on one processor without one being slow to its person: 25 were measured on two."""
OF_THE_SERVICE: Final = 2**30
"""Bytes that the default leaves to the system and the service itself."""
PRESSED: Final = 80.0
"""Percent of time in which programs waited for a processor, from which machines are begun one after another."""
SETTLED_AFTER: Final = timedelta(seconds=5)
"""Time after which a start no longer loads the processors."""


@dataclass(frozen=True, slots=True)
class Left:
    """How many more may begin, and what keeps it from being more: `machines`, `uids`, `memory` or `processors`."""

    count: int
    by: str


class Room:
    """What there is room for on one node."""

    def __init__(self, settings: Settings, driver: Driver, host: Host | None = None) -> None:
        """Count machines of that driver; `host` is where memory and processors are looked at."""
        self._driver = driver
        self._host = host or Host()
        self._least = settings.least_memory_mb * 2**20
        self._short = ""
        self.most: Final = settings.machines or self._derived()
        """The most machines of this node at once."""

    def _derived(self) -> int:
        needs = self._driver.capabilities.memory_bytes
        by_processors = MACHINES_A_PROCESSOR * self._host.processors()
        memory = self._host.memory()
        if not needs or memory is None:
            return by_processors if needs else 1000
        return max(1, min(by_processors, (memory.total - OF_THE_SERVICE) // needs))

    def left(self, rows: Sequence[MachineRow], at: datetime) -> Left:
        """Return how many machines more may begin beside those of this node that have not ended, claimed ones too."""
        found = [Left(self.most - len(rows), "machines")]
        if uids := self._driver.host_uids():
            taken = sum(row.host_uid is not None or row.state is MachineState.REQUESTED for row in rows)
            # one is kept for the check of a credential, which waits in no line
            found.append(Left(len(uids) - taken - (1 if len(uids) > 1 else 0), "uids"))
        if self._driver.capabilities.memory_bytes:
            found += self._of_host(rows, at)
        least = min(found, key=lambda one: one.count)
        return Left(max(0, least.count), least.by)

    def _of_host(self, rows: Sequence[MachineRow], at: datetime) -> list[Left]:
        found = []
        needs = self._driver.capabilities.memory_bytes
        # what is starting has not taken yet what it will take
        starting = sum(row.state in {MachineState.REQUESTED, MachineState.BOOTING} for row in rows)
        if (memory := self._host.memory()) is not None:
            found.append(Left((memory.available - self._least) // needs - starting, "memory"))
        if self._host.pressure() >= PRESSED:
            fresh = any(
                row.state is MachineState.REQUESTED
                or (row.state is MachineState.BOOTING and at - row.state_at < SETTLED_AFTER)
                for row in rows
            )
            found.append(Left(0 if fresh else 1, "processors"))
        return found

    def tell(self, left: Left, waiting: int) -> None:
        """Log what machines wait for, once when they begin to, and once when they no longer do."""
        short = left.by if waiting and not left.count else ""
        if short and short != self._short:
            _log.warning("machines wait", short=short, waiting=waiting, most=self.most)
        if self._short and not waiting:
            _log.info("no machine waits any more")
        self._short = short if waiting else ""
