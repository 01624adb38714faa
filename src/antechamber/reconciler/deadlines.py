"""Deadlines by the time that has passed, beside those by the time of day.

A deadline is a time of day, in the database, so that a restart keeps it and several services agree on it. Where the
clock goes back an hour it would be an hour away again; so a service also remembers, by the monotonic clock, when it was
to come, and never takes one for farther away than the longest that there is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta


class Deadlines:
    """What one service remembers of the deadlines of what is live."""

    def __init__(self, longest: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none; `longest` is how far away any deadline can be."""
        self._longest = longest
        self._clock = clock
        self._seen: dict[str, tuple[datetime, float]] = {}

    def passed(self, live: Iterable[tuple[str, datetime]], at: datetime) -> dict[str, datetime]:
        """Take the ids of all that is live with their deadlines, at that time of day; return which have passed."""
        now = self._clock()
        seen = {}
        for subject, deadline in live:
            due = now + min(deadline - at, self._longest).total_seconds()
            before = self._seen.get(subject)
            if before is not None and before[0] == deadline:
                due = min(due, before[1])
            seen[subject] = (deadline, due)
        self._seen = seen
        return {subject: deadline for subject, (deadline, due) in seen.items() if due <= now}
