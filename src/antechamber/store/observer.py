"""Whoever wants to know what the store has committed, and how long it took; the store works the same without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from antechamber.lifecycle import Act
    from antechamber.model import AuthSession, Event, MachineRow


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event that this service has just committed, each once; with the row that it is about as it is after it."""

    event: Event
    act: Act
    session: AuthSession | None = None
    """Of a session's event."""
    machine: MachineRow | None = None
    """Of a machine's."""
    since: datetime | None = None
    """When the state that the event ended, or was noted in, had begun."""


class Observer(Protocol):
    """Is told; it neither waits nor changes anything."""

    def committed(self, recorded: Recorded) -> None:
        """Take an event, after its commit."""

    def transacted(self, kind: Literal["read", "write"], seconds: float, *, unavailable: bool) -> None:
        """Take the time of a transaction, and whether it failed because the database was not to be had."""


class Several:
    """Observers, each of which is told."""

    def __init__(self, *observers: Observer) -> None:
        """Tell these, in their order."""
        self._observers = observers

    def committed(self, recorded: Recorded) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.committed(recorded)

    def transacted(self, kind: Literal["read", "write"], seconds: float, *, unavailable: bool) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.transacted(kind, seconds, unavailable=unavailable)


class Nobody:
    """Observes nothing."""

    def committed(self, recorded: Recorded) -> None:
        """Let it pass."""

    def transacted(self, kind: Literal["read", "write"], seconds: float, *, unavailable: bool) -> None:
        """Let it pass."""
