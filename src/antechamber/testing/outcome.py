"""What one try of the robot came to: the outcome, its timeline, and how both are printed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from antechamber.model import MachineState, SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that the robot did or saw."""

    ms: int
    """Milliseconds since Connect."""
    what: str


class Timeline:
    """The moments of one try, counted from its first."""

    def __init__(self, on_moment: Callable[[Moment], None] | None = None) -> None:
        """Begin with the first moment; `on_moment` is called with each as it comes."""
        self._begun: float | None = None
        self._on_moment = on_moment
        self.moments: list[Moment] = []

    def mark(self, what: str, *, at: float | None = None) -> int:
        """Record a moment, now or at that monotonic time, and return its milliseconds."""
        now = time.monotonic() if at is None else at
        self._begun = now if self._begun is None else self._begun
        moment = Moment(round((now - self._begun) * 1000), what)
        self.moments.append(moment)
        if self._on_moment is not None:
            self._on_moment(moment)
        return moment.ms


@dataclass(slots=True)
class Outcome:
    """What one provider's sign-in came to, as far as it got."""

    provider: str
    session_id: str | None = None
    status: str | None = None
    reason: str | None = None
    status_after_machine_gone: str | None = None
    machine_state: str | None = None
    machine_exit: int | None = None
    """The machine's recorded exit code; no verdict, an expected end may have any."""
    credential_accepted_by: str | None = None
    connect_to_painted_ms: int | None = None
    file_whole_to_ready_ms: int | None = None
    trouble: str | None = None
    """Why it did not hold; None when nothing went wrong."""
    last_screen: Path | None = None
    """Where the last picture was saved after trouble."""
    destinations: list[dict[str, Any]] = field(default_factory=list)
    """What the machine asked for: name, port and verdict."""
    timeline: list[Moment] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all that a sign-in promises was seen to hold."""
        return (
            self.trouble is None
            and self.status == SessionStatus.COMPLETED
            and self.status_after_machine_gone == SessionStatus.COMPLETED
            and self.machine_state == MachineState.GONE
            and self.credential_accepted_by is not None
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "held": self.held,
            "session_id": self.session_id,
            "status": self.status,
            "reason": self.reason,
            "status_after_machine_gone": self.status_after_machine_gone,
            "machine_state": self.machine_state,
            "machine_exit": self.machine_exit,
            "credential_accepted_by": self.credential_accepted_by,
            "connect_to_painted_ms": self.connect_to_painted_ms,
            "file_whole_to_ready_ms": self.file_whole_to_ready_ms,
            "trouble": self.trouble,
            "last_screen": str(self.last_screen) if self.last_screen else None,
            "destinations": self.destinations,
            "timeline": [{"ms": moment.ms, "what": moment.what} for moment in self.timeline],
        }


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return one JSON object with an entry for each provider."""
    return json.dumps({outcome.provider: outcome.as_json() for outcome in outcomes}, indent=2)


def show(console: Console, outcome: Outcome) -> None:
    """Print one outcome for a person."""
    table = Table(
        title=f"{escape(outcome.provider)}: {'all held' if outcome.held else 'DID NOT HOLD'}", title_style="bold"
    )
    table.add_column("ms", justify="right")
    table.add_column("+", justify="right", style="dim")
    table.add_column("what")
    before = 0
    for moment in outcome.timeline:
        table.add_row(str(moment.ms), str(moment.ms - before), escape(moment.what))
        before = moment.ms
    console.print(table)
    for name in ("status", "status_after_machine_gone", "machine_exit", "credential_accepted_by"):
        console.print(f"  {name}: {escape(str(getattr(outcome, name)))}")
    for name in ("connect_to_painted_ms", "file_whole_to_ready_ms"):
        console.print(f"  {name}: {getattr(outcome, name)}")
    if outcome.trouble:
        console.print(f"  [bold red]{escape(outcome.trouble)}[/]")
    if outcome.last_screen:
        console.print(f"  the last picture: {escape(str(outcome.last_screen))}")
