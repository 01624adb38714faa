"""What a machine asked for and moved, by name and port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from antechamber.egress.policy import PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BATCH: Final = timedelta(seconds=1)
OTHERS: Final = "(others)"
"""The row of all names that came after the limit of names."""


class Verdict(StrEnum):
    """What became of a name; where several apply to one, the last of this list is shown, and the first one apart."""

    WRONG_SERVER_NAME = "wrong_server_name"
    """A connection to port 443 was ended, because what came on it was not TLS for the name that was asked for."""
    UNKNOWN_NAME = "unknown_name"
    BACKGROUND = "background"
    REFUSED = "refused"
    ALLOWED = "allowed"


_RANK: Final = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Use:
    """Counters of one (name, port); to `on_use` the difference since the last call, in `uses()` the totals.

    A wrong server name has a row of its own beside the one of its (name, port): it is never hidden by what went well.

    Port 0 stands for a name that was looked up and not connected to.
    """

    name: str
    port: int
    verdict: Verdict
    bytes_out: int = 0
    """From the machine."""
    bytes_in: int = 0
    """To the machine."""
    connections: int = 0


_Row: TypeAlias = tuple[str, int, bool]


def _row_of(name: str, port: int, verdict: Verdict = Verdict.ALLOWED) -> _Row:
    return (name, port, verdict is Verdict.WRONG_SERVER_NAME)


def _reached(use: Use) -> bool:
    return use.port in PORTS and use.verdict in {Verdict.ALLOWED, Verdict.WRONG_SERVER_NAME}


def matches(name: str, hosts: Sequence[str]) -> bool:
    """Tell whether the name is one of the hosts; `*.x` stands for everything under x, not for x itself."""
    return any(name.endswith(host[1:]) if host.startswith("*.") else name == host for host in hosts)


def _sum(one: Use, other: Use) -> Use:
    return replace(
        one,
        verdict=max(one.verdict, other.verdict, key=_RANK.__getitem__),
        bytes_out=one.bytes_out + other.bytes_out,
        bytes_in=one.bytes_in + other.bytes_in,
        connections=one.connections + other.connections,
    )


class Ledger:
    """Adds up uses, tells them on in batches, and knows from whom bytes came back."""

    def __init__(self, on_use: Callable[[Use], None], most: int, batch: timedelta = _BATCH) -> None:
        """Begin empty; more than `most` rows are not told apart any more, but for those of a server that was reached.

        Whoever asks for one name at every port could else hide behind them where it goes then. Names are limited.
        """
        self._on_use = on_use
        self._most = most
        self._batch = batch.total_seconds()
        self._totals: dict[_Row, Use] = {}
        self._untold: dict[_Row, Use] = {}
        self._flush_at: asyncio.TimerHandle | None = None
        self._answered: set[str] = set()
        self._waiting: list[tuple[tuple[str, ...], asyncio.Future[None]]] = []

    def note(self, use: Use) -> None:
        """Add a use."""
        key = _row_of(use.name, use.port, use.verdict)
        if key not in self._totals and len(self._totals) >= self._most and not _reached(use):
            use = replace(use, name=OTHERS, port=0)
            key = _row_of(OTHERS, 0, use.verdict)
        looked_up = _row_of(use.name, 0)
        if use.port and self._totals.get(looked_up) == self._untold.get(looked_up):
            # the look-up of a connection that follows at once is no row of its own
            self._totals.pop(looked_up, None)
            self._untold.pop(looked_up, None)
        connected = (_row_of(use.name, port) for port in PORTS)
        if not use.port and use.verdict is Verdict.ALLOWED and any(row in self._totals for row in connected):
            return
        for rows in (self._totals, self._untold):
            rows[key] = _sum(rows[key], use) if key in rows else use
        if self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_later(self._batch, self.flush)
        if use.bytes_in and use.name not in self._answered:
            self._answered.add(use.name)
            for hosts, future in self._waiting:
                if matches(use.name, hosts) and not future.done():
                    future.set_result(None)
                    # a service that is started again learns of this only from what was told on
                    self.flush()

    def flush(self) -> None:
        """Tell on what has not been told."""
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        untold, self._untold = self._untold, {}
        for use in untold.values():
            self._on_use(use)

    def totals(self) -> list[Use]:
        """Return the totals in the order in which they were first asked for."""
        return list(self._totals.values())

    async def answered(self, hosts: Sequence[str]) -> None:
        """Wait until bytes came back from one of the hosts."""
        if any(matches(name, hosts) for name in self._answered):
            return
        entry = (tuple(hosts), asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            self._waiting.remove(entry)
