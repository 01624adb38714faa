"""`Metrics`: counts what happens in one service.

Each service has its own registry, nothing is global. What is told of sessions and machines comes from the store after
each commit and is computed from the times that were committed: the same whether or not the service was started anew in
between, and each event counts once, with the service that wrote it.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from antechamber.egress import Verdict
from antechamber.errors import Code
from antechamber.lifecycle import Act, MachineFact, SessionFact
from antechamber.metrics import table
from antechamber.model import MachineState, Reason, SessionStatus
from antechamber.store import CREATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from antechamber.metrics.table import Metric
    from antechamber.model import AuthSession
    from antechamber.store import Recorded

NO_REASON: Final = "none"
"""The reason of a completed session: to Prometheus an empty label would be no label."""

LAG_EVERY_S: Final = 0.25

_CANCELLED: Final = frozenset({Reason.CANCELLED_BY_PERSON, Reason.CANCELLED_BY_CALLER, Reason.SUPERSEDED})
_EXPIRED: Final = frozenset({Reason.NOBODY_CAME, Reason.SIGN_IN_TIMED_OUT})


def endings() -> list[tuple[SessionStatus, str]]:
    """Return every last status with each reason that it can have."""
    found = [(SessionStatus.COMPLETED, NO_REASON)]
    for reason in Reason:
        status = (
            SessionStatus.CANCELLED
            if reason in _CANCELLED
            else SessionStatus.EXPIRED
            if reason in _EXPIRED
            else SessionStatus.FAILED
        )
        found.append((status, str(reason)))
    return found


class Metrics:
    """The counters and durations of one service, and the registry that they are in."""

    def __init__(self, providers: Iterable[str] = ()) -> None:
        """Begin at nought, with a series for each provider and each word that a label can have."""
        self.registry: Final = CollectorRegistry()
        self._providers: Final = tuple(providers)
        self._created: Final = self._counter(table.SESSIONS_CREATED)
        self._ended: Final = self._counter(table.SESSIONS_ENDED)
        self._ready: Final = self._histogram(table.SESSION_READY)
        self._wait: Final = self._histogram(table.SESSION_WAIT)
        self._first_sight: Final = self._histogram(table.FIRST_SIGHT)
        self._sign_in: Final = self._histogram(table.SIGN_IN)
        self._stored: Final = self._histogram(table.CAPTURE_STORED)
        self._told: Final = self._histogram(table.CAPTURE_TOLD)
        self._machine_start: Final = self._histogram(table.MACHINE_START)
        self._machine_stop: Final = self._histogram(table.MACHINE_STOP)
        self._machines_ended: Final = self._counter(table.MACHINES_ENDED)
        self._transaction: Final = self._histogram(table.STORE_TRANSACTION)
        self._unavailable: Final = self._counter(table.STORE_UNAVAILABLE)
        self._refused: Final = self._counter(table.REFUSED)
        self._relayed: Final = self._counter(table.RELAY_BYTES)
        self._egress: Final = self._counter(table.EGRESS_REQUESTS)
        self._egress_bytes: Final = self._counter(table.EGRESS_BYTES)
        self._lag: Final = self._histogram(table.LOOP_LAG)
        self._streams: Final = self._gauge(table.STREAMS_OPEN)
        self._relays: Final = self._gauge(table.RELAYS_OPEN)
        self._attended: Final = self._gauge(table.ATTENDED)
        self._places: Final = self._gauge(table.PLACES)
        self._begin()

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry)

    def _begin(self) -> None:
        """Make every series, so that the first of its kind is an increase and not the beginning of a series."""
        words: list[tuple[Counter | Histogram, Iterable[tuple[str, ...]]]] = [
            (self._ended, [(name, *ending) for name in self._providers for ending in endings()]),
            (self._machine_start, [(MachineState.REQUESTED,), (MachineState.BOOTING,)]),
            (self._machines_ended, [(MachineState.GONE,), (MachineState.LOST,)]),
            (self._transaction, product(("read", "write"))),
            (self._unavailable, product(("read", "write"))),
            (self._refused, product(Code)),
            (self._relayed, product(("to_page", "to_machine"))),
            (self._egress, product(Verdict)),
            (self._egress_bytes, product(("out", "in"))),
        ]
        words += [
            (metric, product(self._providers))
            for metric in (self._created, self._wait, self._ready, self._first_sight, self._sign_in, self._stored)
        ]
        for metric, series in words:
            for labels in series:
                metric.labels(*labels)

    # -- what the store tells ----------------------------------------------------------------------------------------

    def committed(self, recorded: Recorded) -> None:
        """Take an event of a session or a machine, after its commit."""
        if recorded.act is Act.REFUSE:
            return
        if recorded.session is not None:
            self._session(recorded, recorded.session)
        elif recorded.machine is not None:
            self._machine(recorded, recorded.machine.state)

    def transacted(self, kind: Literal["read", "write"], seconds: float, *, unavailable: bool) -> None:
        """Take the time of a transaction, and whether it failed because the database was not to be had."""
        self._transaction.labels(kind).observe(seconds)
        if unavailable:
            self._unavailable.labels(kind).inc()

    def _session(self, recorded: Recorded, session: AuthSession) -> None:
        event, provider = recorded.event, session.provider
        if event.kind == CREATED:
            self._created.labels(provider).inc()
        if event.kind == SessionFact.SCREEN_SEEN:
            _observe(self._first_sight.labels(provider), recorded.since, event.at)
        if recorded.act is not Act.MOVE:
            return
        if session.status is SessionStatus.STARTING:
            _observe(self._wait.labels(provider), session.created_at, event.at)
        if session.status is SessionStatus.AWAITING_SIGN_IN:
            _observe(self._ready.labels(provider), session.created_at, event.at)
        if session.status.terminal:
            self._ended.labels(provider, session.status, session.reason or NO_REASON).inc()
        if session.status is SessionStatus.COMPLETED:
            _observe(self._sign_in.labels(provider), session.screen_seen_at, event.at)
            _observe(self._stored.labels(provider), whole_at(event.fields), event.at)

    def _machine(self, recorded: Recorded, after: MachineState) -> None:
        at = recorded.event.at
        if recorded.event.kind == MachineFact.BOOT_BEGAN:
            _observe(self._machine_start.labels(MachineState.REQUESTED), recorded.since, at)
        elif after is MachineState.READY:
            _observe(self._machine_start.labels(MachineState.BOOTING), recorded.since, at)
        if after.ended:
            self._machines_ended.labels(after).inc()
            if recorded.event.before == MachineState.STOPPING:
                _observe(self._machine_stop, recorded.since, at)

    # -- what the rest tells -----------------------------------------------------------------------------------------

    def capture_told(self, fields: Mapping[str, Any], at: datetime) -> None:
        """Take it that a stream has been told of a capture whose event has these fields."""
        _observe(self._told, whole_at(fields), at)

    def refused(self, code: Code) -> None:
        """Count an answer that is an error."""
        self._refused.labels(code).inc()

    def relayed(self, direction: Literal["to_page", "to_machine"], count: int) -> None:
        """Count bytes of a screen."""
        self._relayed.labels(direction).inc(count)

    def egress_judged(self, verdict: Verdict) -> None:
        """Count what became of one request of a machine."""
        self._egress.labels(verdict).inc()

    def egress_moved(self, *, bytes_out: int, bytes_in: int) -> None:
        """Count bytes between a machine and the hosts that it reached."""
        self._egress_bytes.labels("out").inc(bytes_out)
        self._egress_bytes.labels("in").inc(bytes_in)

    def late(self, seconds: float) -> None:
        """Take how late the event loop ran a timer."""
        self._lag.observe(seconds)

    def stream_open(self) -> contextlib.AbstractContextManager[None]:
        """Count an event stream as long as the block runs."""
        return _counted(self._streams)

    def relay_open(self) -> contextlib.AbstractContextManager[None]:
        """Count a watched screen as long as the block runs."""
        return _counted(self._relays)

    def places(self, most: int) -> None:
        """Take how many machines this service may have at once."""
        self._places.set(most)

    def attending(self) -> contextlib.AbstractContextManager[None]:
        """Count a machine as long as it is attended."""
        return _counted(self._attended)


async def watch_loop(metrics: Metrics) -> None:
    """Measure for ever how late the event loop runs a timer."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.late(max(0.0, loop.time() - due))


def whole_at(fields: Mapping[str, Any]) -> datetime | None:
    """Return when the captured file was whole, from the fields of the capture's event; None in a refusal's."""
    said = fields.get("file_whole_at")
    return None if said is None else datetime.fromisoformat(said)


def _observe(histogram: Histogram, since: datetime | None, at: datetime) -> None:
    if since is not None:
        # a clock that was set back, or a file's time that a machine made up, is no negative duration
        histogram.observe(max(0.0, (at - since).total_seconds()))


@contextlib.contextmanager
def _counted(gauge: Gauge) -> Iterator[None]:
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()
