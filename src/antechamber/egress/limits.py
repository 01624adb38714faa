"""How much of the way out one session gets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antechamber.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one session's egress."""

    connections: int = 256
    """Requests and connections at once."""
    names: int = 4096
    """Different names asked for."""
    total_bytes: int = 4 * 2**30
    """Bytes moved, both ways together."""
    rate: int = 100
    """Requests a second, on average over ten seconds."""
    lines: int = 5
    """Lines a second in the operator's log, on average over ten seconds; the destinations count all."""
    lookups: int = 8
    """Names being resolved at once."""
    addresses: int = 32
    """Addresses of one name that are looked at, its families in turn; a name's owner can give it thousands."""
    uniform: timedelta = timedelta(milliseconds=500)
    """Every `no` is answered at a multiple of this after its request, so that its time does not tell its cause."""
    lookup: timedelta = timedelta(seconds=8)
    """Time for one look-up."""
    connect: timedelta = timedelta(seconds=15)
    """Time for one connection over all addresses of its name."""
    request: timedelta = timedelta(seconds=10)
    """Time for the guest to say what it wants."""
    silent: timedelta = timedelta(seconds=60)
    """Time for which a client may say nothing on a connection to port 443; Chromium closes one that it does not use
    after ten seconds."""
    hello: timedelta = timedelta(seconds=10)
    """Time for a client's whole ClientHello, from its first byte on."""

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that the settings ask for."""
        return cls(
            connections=settings.egress_connections,
            names=settings.egress_names,
            total_bytes=settings.egress_bytes,
            rate=settings.egress_rate,
        )


class Rate:
    """A bucket that holds ten seconds' worth of requests and refills steadily."""

    SPAN = 10.0

    def __init__(self, per_second: int, now: float) -> None:
        """Begin with a full bucket."""
        self._per_second = per_second
        self._left = per_second * self.SPAN
        self._at = now

    def take(self, now: float) -> bool:
        """Take one; False when there is none."""
        self._left = min(self._per_second * self.SPAN, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
