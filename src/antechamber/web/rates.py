"""How often something may be asked in a short time: far above what a sign-in needs, and below what hurts others.

Each service counts for itself, in memory and by its own monotonic clock: a restart forgets, and several services allow
several times as much. How many sign-ins there may be is another matter, and the database's (`store.limits`).

Two kinds are told apart. What somebody with a right asks (`take`) is counted by their session or key. A secret that is
wrong (`Guesses`) is counted by the address that it came from, where that is known: through a proxy everybody has one
address, and there nobody is refused for what others guess; of 256 bits none is guessed.

The library `limits` was looked at: what it keeps in memory has no bound but time, and goes by the wall clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code
from antechamber.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

_log = get_logger("rates")

MOST: Final = 10_000
"""Keys that are remembered, a hundred bytes each; of more the one that was asked for longest ago is forgotten."""
SAID_EVERY_S: Final = 60.0
"""A limit that is reached is a line in the log so often at most, with how many were refused since the last."""
EVERYBODY: Final = ""
"""The address of whoever comes through a proxy."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then one more in each so many seconds."""

    word: str
    """What the log calls it."""
    burst: int
    every_s: float


OPENINGS: Final = Rate("link_openings", 300, 0.2)
"""Wrong codes, ways back and cookies at the exchange that opens a session's page."""
LOGINS: Final = Rate("dashboard_openings", 30, 2.0)
"""Wrong codes of the dashboard's link."""
BEARERS: Final = Rate("bearers", 120, 0.5)
"""Wrong tokens and API keys."""
CHALLENGES: Final = Rate("challenges", 60, 1.0)
"""Challenges that one session's browser asks for."""
BINDINGS: Final = Rate("bindings", 60, 1.0)
"""What an application says of one session's browser."""
TICKETS: Final = Rate("tickets", 120, 0.5)
"""Tickets of one session, for screen and terminal each, and of one run's terminal."""
SOCKETS: Final = Rate("sockets", 120, 0.5)
"""WebSockets of one session, for screen and terminal each, and of one run's terminal."""
STREAMS: Final = Rate("streams", 120, 0.5)
"""Event streams of one session that its browser, or one caller, opens, and those of what one run writes."""
HINTS: Final = Rate("hints", 600, 0.1)
"""Streams of hints that dashboards open, all of them together."""


class Rates:
    """What was asked of one service lately."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """Begin with nothing; `clock` gives seconds and never goes back, by default the event loop's."""
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        # when as many would be allowed again as ever: the only number that a rate needs (GCRA, ITU-T I.371)
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._refused: dict[str, int] = {}
        self._said_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._full_at)

    def take(self, rate: Rate, key: str) -> None:
        """Count one; raises CallerError too_often, and when one more is allowed, where it would be too many."""
        self.require(rate, key)
        now = self._clock()
        at = rate.word, key
        self._full_at[at] = max(self._full_at.get(at, now), now) + rate.every_s
        self._full_at.move_to_end(at)
        if len(self._full_at) > MOST:
            self._full_at.popitem(last=False)

    def require(self, rate: Rate, key: str) -> None:
        """Raise CallerError too_often where one more would be too many; counts nothing."""
        now = self._clock()
        full_at = self._full_at.get((rate.word, key), now)
        wait = full_at - now - (rate.burst - 1) * rate.every_s
        # a sum of fractions is no more exact than that
        if wait > 1e-6:
            self._say(rate, now)
            raise CallerError(Code.TOO_OFTEN, retry_after=timedelta(seconds=wait))

    def _say(self, rate: Rate, now: float) -> None:
        self._refused[rate.word] = self._refused.get(rate.word, 0) + 1
        if now - self._said_at.get(rate.word, -SAID_EVERY_S) >= SAID_EVERY_S:
            self._said_at[rate.word] = now
            _log.warning("asked too often", limit=rate.word, refused=self._refused.pop(rate.word))


class Guesses:
    """Wrong secrets, by where they came from."""

    def __init__(self, rates: Rates, *, behind_proxy: bool) -> None:
        """Count in `rates`; with `behind_proxy` a request's address is the proxy's, and says nothing."""
        self._rates = rates
        self._behind_proxy = behind_proxy

    def may_try(self, rate: Rate, scope: Scope) -> None:
        """Raise CallerError too_often, before anything is looked up, for an address that has guessed too much."""
        address = self._address(scope)
        if address != EVERYBODY:
            self._rates.require(rate, address)

    def wrong(self, rate: Rate, scope: Scope, of: str = "") -> None:
        """Count a wrong secret; raises CallerError too_often in the place of what says that it is wrong.

        `of` is whose secret was meant where that is known: through a proxy it is counted by that.
        """
        address = self._address(scope)
        self._rates.take(rate, address if address != EVERYBODY else f"of {of}")

    def _address(self, scope: Scope) -> str:
        client = scope.get("client")
        return EVERYBODY if self._behind_proxy or client is None else address_of(client[0])


def address_of(peer: str) -> str:
    """Return what stands for one network access: an IPv4 address, or the /64 that each IPv6 access has of its own.

    A peer on this computer is a proxy as well as anybody.
    """
    try:
        address = ip_address(peer)
    except ValueError:
        return EVERYBODY
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return EVERYBODY if address.is_loopback else str(ip_network((address.packed, 64), strict=False))
        address = address.ipv4_mapped
    return EVERYBODY if address.is_loopback else str(address)
