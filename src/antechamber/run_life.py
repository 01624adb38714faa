"""A run's life as a total table: what each fact does to it. Pure, as `lifecycle`.

The lease of its credential is apart from it: a run that was cancelled has ended, and what its tool wrote is still
stored, until its machine is done with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from antechamber.errors import Code
from antechamber.lifecycle import Act, arrows
from antechamber.model import RunReason, RunStatus


class RunFact(StrEnum):
    """What can happen to a run."""

    GRANTED = "granted"
    """It is its turn: it has the lease, and a machine is asked for."""
    BEGUN = "begun"
    """Its tool runs."""
    EXITED = "exited"
    """Its tool has ended, and what it last wrote of its credential is stored."""
    CANCELLED = "cancelled"
    CALLER_GONE = "caller_gone"
    TIME_RAN_OUT = "time_ran_out"
    DID_NOT_START = "did_not_start"
    MACHINE_ENDED = "machine_ended"
    MACHINE_BROKEN = "machine_broken"
    CREDENTIAL_GONE = "credential_gone"


@dataclass(frozen=True, slots=True)
class RunRule:
    """One cell of the table."""

    act: Act
    to: RunStatus | None = None
    reason: RunReason | None = None
    error: Code | None = None
    """What the sender of a refused fact is told."""


@dataclass(frozen=True, slots=True)
class RunDecision:
    """What a fact does to a run."""

    act: Act
    before: RunStatus
    after: RunStatus
    reason: RunReason | None
    error: Code | None


S, F, R = RunStatus, RunFact, RunReason
_NOTE: Final = RunRule(Act.NOTE)
_NONSENSE: Final = RunRule(Act.REFUSE, error=Code.INTERNAL)


def _end(reason: RunReason) -> RunRule:
    return RunRule(Act.MOVE, S.ENDED, reason)


_LIVE: Final[dict[RunFact, RunRule]] = {
    F.CANCELLED: _end(R.CANCELLED),
    F.CALLER_GONE: _end(R.CALLER_GONE),
    F.CREDENTIAL_GONE: _end(R.CREDENTIAL_GONE),
    F.DID_NOT_START: _end(R.DID_NOT_START),
    F.MACHINE_ENDED: _end(R.MACHINE_ENDED),
    F.MACHINE_BROKEN: _end(R.MACHINE_BROKEN),
}

RUN_TABLE: Final[dict[RunStatus, dict[RunFact, RunRule]]] = {
    S.WAITING: {
        **_LIVE,
        F.GRANTED: RunRule(Act.MOVE, S.STARTING),
        F.BEGUN: _NONSENSE,
        F.EXITED: _NONSENSE,
        F.TIME_RAN_OUT: _end(R.NO_TURN),
        F.DID_NOT_START: _NONSENSE,
        F.MACHINE_ENDED: _NONSENSE,
        F.MACHINE_BROKEN: _NONSENSE,
    },
    S.STARTING: {
        **_LIVE,
        F.GRANTED: _NOTE,
        F.BEGUN: RunRule(Act.MOVE, S.RUNNING),
        # a tool that ends at once is told of by its end alone
        F.EXITED: _end(R.EXITED),
        F.TIME_RAN_OUT: _end(R.DID_NOT_START),
    },
    S.RUNNING: {
        **_LIVE,
        F.GRANTED: _NOTE,
        F.BEGUN: _NOTE,
        F.EXITED: _end(R.EXITED),
        F.TIME_RAN_OUT: _end(R.TIMED_OUT),
        F.DID_NOT_START: _NOTE,
    },
    S.ENDED: dict.fromkeys(RunFact, _NOTE) | {F.CANCELLED: RunRule(Act.REFUSE, error=Code.RUN_ENDED)},
}


def decide_run(status: RunStatus, fact: RunFact) -> RunDecision:
    """Say what the fact does to a run that is in that status."""
    rule = RUN_TABLE[status][fact]
    return RunDecision(rule.act, status, rule.to or status, rule.reason, rule.error)


def diagram() -> str:
    """Return the life of a run as a Mermaid diagram in Markdown, made from the table."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", "    [*] --> waiting"]
    for status, facts in RUN_TABLE.items():
        lines += arrows(str(status), [(str(rule.to), str(fact)) for fact, rule in facts.items() if rule.to])
    return "\n".join([*lines, "    ended --> [*]", "```", ""])
