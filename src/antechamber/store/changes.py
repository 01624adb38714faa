"""Hints that something was committed: what waits looks at once instead of at its next sweep.

A hint is told in this process after the commit, and by PostgreSQL to other services on the same database. Nothing
depends on one being told: whoever waits also looks slowly, and what it finds in the database is the truth.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from antechamber.tasks import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSIONS: Final = "sessions"
"""The topic of every session's changes."""

MACHINES: Final = "machines"
"""The topic of every machine's changes."""

ERASURES: Final = "erasures"
"""The topic of owners who are to be erased, and of those who have been."""


CREDENTIALS: Final = "credentials"
"""The topic of every credential's changes."""

RUNS: Final = "runs"
"""The topic of every run's changes."""


def session_topic(session_id: str) -> str:
    """Return the topic of one session and its machine: `session:ID`."""
    return f"session:{session_id}"


def run_topic(run_id: str) -> str:
    """Return the topic of one run and its machine: `run:ID`."""
    return f"run:{run_id}"


class Changes:
    """Who waits for which topic."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._watchers: defaultdict[str, set[Signal]] = defaultdict(set)

    @contextmanager
    def watch(self, *topics: str) -> Iterator[Signal]:
        """Give a signal that wakes after each commit about one of the topics, as long as the block runs."""
        signal = Signal()
        for topic in topics:
            self._watchers[topic].add(signal)
        try:
            yield signal
        finally:
            for topic in topics:
                watchers = self._watchers[topic]
                watchers.discard(signal)
                if not watchers:
                    del self._watchers[topic]

    def tell(self, *topics: str) -> None:
        """Wake whoever watches one of the topics."""
        for topic in topics:
            for signal in self._watchers.get(topic, ()):
                signal.wake()

    def tell_all(self) -> None:
        """Wake everybody: something may have been missed."""
        self.tell(*self._watchers)
