"""`Scrape`: what is looked at only when somebody asks, and the page with all of it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from antechamber.errors import AntechamberError
from antechamber.log import get_logger
from antechamber.metrics import table
from antechamber.model import LIVE_STATUSES, CredentialStatus, MachineState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from prometheus_client import Metric as Family

    from antechamber.metrics.collect import Metrics
    from antechamber.metrics.table import Metric
    from antechamber.store import Standing

_log = get_logger("metrics")
_STORED: Final = tuple(status for status in CredentialStatus if status is not CredentialStatus.DELETED)
_RUNNING: Final = tuple(state for state in MachineState if not state.ended)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What does not change while the service runs, and the one thing that hardly does."""

    build: Mapping[str, str] = field(default_factory=dict)
    """The labels of `antechamber_build_info`."""
    key_id: Callable[[], str] = str
    """The key that seals now: a rotation changes it."""
    checks: Mapping[str, bool] = field(default_factory=dict)
    """The driver's checks and whether each was well."""
    providers: Mapping[str, bool] = field(default_factory=dict)
    """The providers and whether each can be used."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Folders whose room is shown, by the word for it."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one scrape saw."""

    standing: Standing | None
    ready: bool
    room: Mapping[str, tuple[int, int]]
    at: datetime


class Scrape:
    """Makes the page; several may be asked for at once, each of them is whole."""

    def __init__(
        self,
        metrics: Metrics,
        standing: Callable[[], Awaitable[Standing]],
        faults: Callable[[], Awaitable[Sequence[str]]],
        fixed: Fixed | None = None,
    ) -> None:
        """Look by `standing` at the database and by `faults` at what keeps the service from being ready."""
        self._metrics = metrics
        self._standing = standing
        self._faults = faults
        self._fixed = fixed or Fixed()
        self._host = CollectorRegistry()
        ProcessCollector(registry=self._host)
        PlatformCollector(registry=self._host)
        GCCollector(registry=self._host)

    async def page(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type, in the form that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        seen = await self._look()
        whole = CollectorRegistry()
        for part in (_Counted(self._metrics.registry), self._host, _Now(seen, self._fixed)):
            whole.register(part)
        return encode(whole), content_type

    async def _look(self) -> _Seen:
        standing = None
        try:
            standing = await self._standing()
        except AntechamberError as error:
            _log.warning("the database did not answer a scrape", code=str(error.code), detail=error.detail)
        ready = standing is not None and not await self._faults()
        room = await asyncio.to_thread(_room, self._fixed.folders)
        return _Seen(standing, ready, room, datetime.now(UTC))


def _room(folders: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    found = {}
    for word, folder in folders.items():
        try:
            said = os.statvfs(folder)
        except OSError as error:
            _log.warning("the room in a folder cannot be told", folder=word, detail=str(error))
            continue
        found[word] = (said.f_bavail * said.f_frsize, said.f_blocks * said.f_frsize)
    return found


class _Counted:
    """What was counted, without the library's `…_created` series: twice the lines, and nothing here asks for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _Now:
    """The gauges of one scrape; what could not be looked at has no series, rather than an old one."""

    def __init__(self, seen: _Seen, fixed: Fixed) -> None:
        self._seen = seen
        self._fixed = fixed

    def collect(self) -> Iterator[Family]:
        seen, fixed = self._seen, self._fixed
        yield _gauge(table.STORE_UP, [((), float(seen.standing is not None))])
        yield _gauge(table.READY, [((), float(seen.ready))])
        yield _gauge(table.DRIVER_CHECK, [((check,), float(ok)) for check, ok in fixed.checks.items()])
        yield _gauge(table.PROVIDER_AVAILABLE, [((name,), float(ok)) for name, ok in fixed.providers.items()])
        yield _gauge(table.BUILD, [(tuple(fixed.build.get(label, "") for label in table.BUILD.labels), 1.0)])
        yield _gauge(table.KEY, [((fixed.key_id(),), 1.0)])
        yield _gauge(table.DISK_FREE, [((word,), float(free)) for word, (free, _) in seen.room.items()])
        yield _gauge(table.DISK_SIZE, [((word,), float(size)) for word, (_, size) in seen.room.items()])
        yield from self._live()

    def _live(self) -> Iterator[Family]:
        standing = self._seen.standing
        sessions: dict[tuple[str, ...], float] = {}
        machines: dict[tuple[str, ...], float] = {}
        longest: dict[tuple[str, ...], float] = {}
        stored: dict[tuple[str, ...], float] = {}
        if standing is not None:
            stored = {(name, status): 0.0 for name in self._fixed.providers for status in _STORED}
            stored |= {key: float(count) for key, count in standing.credentials.items()}
            sessions = {(name, status): 0.0 for name in self._fixed.providers for status in LIVE_STATUSES}
            sessions |= {key: float(count) for key, count in standing.sessions.items()}
            machines = {(state,): 0.0 for state in _RUNNING}
            longest = dict(machines)
            for state, (count, since) in standing.machines.items():
                machines[(state,)] = float(count)
                longest[(state,)] = max(0.0, (self._seen.at - since).total_seconds())
        yield _gauge(table.SESSIONS, sessions.items())
        yield _gauge(table.MACHINES, machines.items())
        yield _gauge(table.MACHINE_LONGEST, longest.items())
        yield _gauge(table.CREDENTIALS, stored.items())


def _gauge(metric: Metric, values: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family
