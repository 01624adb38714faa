"""What a trace says of one sign-in: its spans, from its rows and events alone. Pure; knows nothing of any collector.

    sign-in                 the whole, from Connect to the end of its machine
      pending               until its machine's turn
      starting              until the page is ready, and in it
        machine boot        from the machine's start until its screen is up
        page asked          from the machine's start until the vendor's tool asked for its page: beside the screen
        browser confined    from there until Chromium's sandbox was seen to be on
        page painted        from there until the page can be typed into
      awaiting              until the session ended, and in it
        first sight         until its person saw the screen
        person              what the person then did
      capture               from the whole file to its commit, and in it
        check               the file's way to the service, and its checks
        seal                sealing it
      machine stop          from the order to end until nothing runs

A span whose beginning or end never came is left out. No attribute holds a user, a name, an address or a secret.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import SessionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from antechamber.model import AuthSession, Event, MachineRow

ROOT: Final = "sign-in"
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of the caller's that a trace hangs on."""

    trace_id: int
    span_id: int
    sampled: bool

    def __str__(self) -> str:
        """Write it as the header's first version does, whatever a later one had behind that."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def parent_of(traceparent: str | None) -> Parent | None:
    """Return what a W3C traceparent header says, or None where it is not well-formed (then it is to be ignored).

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found[0].startswith("00") and len(found[0]) != 55):
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return Parent(trace_id, span_id, bool(int(found[3], 16) & _SAMPLED)) if trace_id and span_id else None


@dataclass(frozen=True, slots=True)
class Span:
    """One span; `parent` is the name of the span that it is in."""

    name: str
    parent: str | None
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Story:
    """One sign-in's trace."""

    session_id: str
    spans: Sequence[Span]
    """Each after the one that it is in; the first is the whole."""
    attributes: Mapping[str, str]
    """Of the whole."""
    failed: str | None
    """The reason of a failure."""
    parent: Parent | None = None
    notes: Mapping[str, datetime] = field(default_factory=dict)
    """What happened at one moment, in the whole."""

    @property
    def trace_id(self) -> int:
        """The caller's trace, or one that follows from the session's id alone."""
        return self.parent.trace_id if self.parent else _number(self.session_id, 16)

    def span_id(self, name: str) -> int:
        """Return a span's id: the same each time, so that a trace that is told twice is one."""
        return _number(f"{self.session_id} {name}", 8)

    @classmethod
    def of(cls, session: AuthSession, machine: MachineRow | None, events: Sequence[Event]) -> Story:
        """Tell the story of a session that has ended, with its machine's events among its own."""
        at = {event.kind: event.at for event in reversed(events) if not event.fields.get("refused")}
        said = next((event.fields for event in events if event.kind == SessionFact.CAPTURED), {})
        times = {name: datetime.fromisoformat(said[name]) for name in ("file_whole_at", "checked_at") if name in said}
        created = next((event.fields for event in events if event.kind == "created"), {})
        end = session.ended_at or session.status_at
        gone = machine.ended_at if machine is not None and machine.ended_at is not None else end
        ready, up, asked = (
            at.get(fact) for fact in (SessionFact.MACHINE_READY, SessionFact.SCREEN_UP, SessionFact.PAGE_ASKED)
        )
        booting = at.get(SessionFact.MACHINE_BOOTING)
        captured = at.get(SessionFact.CAPTURED) if session.status is SessionStatus.COMPLETED else None
        wanted = [
            (ROOT, None, session.created_at, max(end, gone)),
            ("pending", ROOT, session.created_at, booting or end),
            ("starting", ROOT, booting, ready or end),
            ("machine boot", "starting", at.get(MachineFact.BOOT_BEGAN), up),
            ("page asked", "starting", at.get(MachineFact.BOOT_BEGAN), asked),
            ("browser confined", "starting", asked, at.get(SessionFact.BROWSER_CONFINED)),
            ("page painted", "starting", asked, ready),
            ("awaiting", ROOT, ready, end),
            ("first sight", "awaiting", ready, session.screen_seen_at),
            ("person", "awaiting", session.screen_seen_at, end),
            ("capture", ROOT, times.get("file_whole_at"), captured),
            ("check", "capture", times.get("file_whole_at"), times.get("checked_at")),
            ("seal", "capture", times.get("checked_at"), captured),
            ("machine stop", ROOT, at.get(MachineFact.STOP_ASKED), gone),
        ]
        spans = [
            # a machine's own times may lie a little before or after ours
            Span(name, parent, began, max(began, ended))
            for name, parent, began, ended in wanted
            if began is not None and ended is not None
        ]
        known = {span.name for span in spans}
        return cls(
            session.id,
            [span for span in spans if span.parent is None or span.parent in known],
            {
                "antechamber.session": session.id,
                "antechamber.machine": session.machine_id,
                "antechamber.provider": session.provider,
                "antechamber.status": str(session.status),
                **({"antechamber.reason": str(session.reason)} if session.reason else {}),
                **({"antechamber.driver": machine.driver} if machine is not None else {}),
            },
            str(session.reason) if session.status is SessionStatus.FAILED else None,
            parent_of(created.get("traceparent")),
            {
                name: when
                for name, when in (("opened", session.opened_at), ("consented", session.consented_at))
                if when is not None
            },
        )


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1
