"""The two state machines as total tables: what each fact does in each state.

Pure: no clock, no asyncio, no input or output. A *fact* comes in; `decide_session` and `decide_machine` say whether it
*moves* the state, is only *noted* (an event, no move) or is *refused* (the sender is told), and which *commands* go
out. Commands are performed by the reconciler, which derives them again from the database after a restart, so a lost
command is never a lost effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from antechamber.errors import Code
from antechamber.model import MachineState, Reason, SessionStatus


class SessionFact(StrEnum):
    """What can happen to a session."""

    MACHINE_BOOTING = "machine_booting"
    SCREEN_UP = "screen_up"
    PAGE_ASKED = "page_asked"
    """The CLI asked for its sign-in page."""
    TERMINAL_ASKS = "terminal_asks"
    """The CLI waits for an answer at its terminal, which the browser cannot give."""
    BROWSER_CONFINED = "browser_confined"
    """Chromium's own sandbox was seen to be on."""
    MACHINE_READY = "machine_ready"
    SENT_TO_BIND = "sent_to_bind"
    """A browser opened the link and was sent to the application, which is to say who sits there."""
    BIND_OTHER_PERSON = "bind_other_person"
    """The application said that somebody else than the session's owner sits there."""
    BIND_BAD_CHALLENGE = "bind_bad_challenge"
    """The application brought a challenge that is used up, too old or not of this session."""
    BIND_OTHER_BROWSER = "bind_other_browser"
    """Another browser than the one that was sent came back."""
    BOUND = "bound"
    """The application said that the session's owner sits there."""
    OPENED = "opened"
    CONSENTED = "consented"
    SCREEN_SEEN = "screen_seen"
    CAPTURED = "captured"
    SIGN_IN_FAILED = "sign_in_failed"
    """The guest or the provider's checks say that this sign-in cannot succeed; carries its reason."""
    CLI_GAVE_UP = "cli_gave_up"
    """The CLI ended without a credential while its person was there: they may have it started again."""
    STARTED_AGAIN = "started_again"
    """The person had the CLI started again, in the same machine."""
    MACHINE_ENDED = "machine_ended"
    START_FAILED = "start_failed"
    NOBODY_CAME = "nobody_came"
    """The deadline passed and no screen was ever seen."""
    TIME_RAN_OUT = "time_ran_out"
    """The deadline passed otherwise."""
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    SUCCESS_SHOWN = "success_shown"
    REJECTED = "rejected"
    """The person said that the captured account is not theirs."""


class MachineFact(StrEnum):
    """What can happen to a machine."""

    BOOT_BEGAN = "boot_began"
    READY = "ready"
    STOP_ASKED = "stop_asked"
    TIME_RAN_OUT = "time_ran_out"
    ENDED = "ended"


class Command(StrEnum):
    """What the reconciler is asked to do."""

    START_MACHINE = "start_machine"
    STOP_MACHINE_NOW = "stop_machine_now"
    STOP_MACHINE_AFTER_GRACE = "stop_machine_after_grace"
    END_INPUT = "end_input"
    TELL_WATCHERS = "tell_watchers"


class Act(StrEnum):
    """What the table says of a fact in a state."""

    MOVE = "move"
    NOTE = "note"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class SessionRule:
    """One cell of the session's table."""

    act: Act
    to: SessionStatus | None = None
    commands: tuple[Command, ...] = ()
    reason: Reason | None = None
    """The reason when the fact does not carry one."""
    error: Code | None = None
    """What the sender of a refused fact is told."""


@dataclass(frozen=True, slots=True)
class MachineRule:
    """One cell of the machine's table."""

    act: Act
    to: MachineState | None = None
    commands: tuple[Command, ...] = ()


S, SF, C = SessionStatus, SessionFact, Command


def _move(to: SessionStatus, *commands: Command, reason: Reason | None = None) -> SessionRule:
    return SessionRule(Act.MOVE, to, (*commands, C.TELL_WATCHERS), reason)


_NOTE: Final = SessionRule(Act.NOTE)
_ENDED: Final = SessionRule(Act.REFUSE, error=Code.SESSION_ENDED)
_LATE: Final = SessionRule(Act.REFUSE, error=Code.CAPTURE_REFUSED)
_TOO_SOON: Final = SessionRule(Act.REFUSE, error=Code.SCREEN_NOT_READY)
_NOT_CAPTURED: Final = SessionRule(Act.REFUSE, error=Code.NOT_REJECTABLE)
_RUNS: Final = SessionRule(Act.REFUSE, error=Code.CLI_RUNS)

_STEPS: Final = dict.fromkeys((SF.SCREEN_UP, SF.PAGE_ASKED, SF.TERMINAL_ASKS, SF.BROWSER_CONFINED), _NOTE)
_BINDING: Final = dict.fromkeys(
    (SF.SENT_TO_BIND, SF.BIND_OTHER_PERSON, SF.BIND_BAD_CHALLENGE, SF.BIND_OTHER_BROWSER, SF.BOUND), _NOTE
)
_NO_MACHINE_YET: Final[dict[SessionFact, SessionRule]] = {
    **_STEPS,
    **_BINDING,
    SF.OPENED: _NOTE,
    SF.CONSENTED: _NOTE,
    SF.SCREEN_SEEN: _TOO_SOON,
    SF.SUCCESS_SHOWN: _NOT_CAPTURED,
    SF.REJECTED: _NOT_CAPTURED,
    SF.CANCELLED: _move(S.CANCELLED, C.STOP_MACHINE_NOW, reason=Reason.CANCELLED_BY_CALLER),
    SF.SUPERSEDED: _move(S.CANCELLED, C.STOP_MACHINE_NOW, reason=Reason.SUPERSEDED),
    SF.START_FAILED: _move(S.FAILED, C.STOP_MACHINE_NOW, reason=Reason.MACHINE_DID_NOT_START),
    SF.MACHINE_ENDED: _move(S.FAILED, reason=Reason.MACHINE_DID_NOT_START),
    SF.NOBODY_CAME: _move(S.FAILED, C.STOP_MACHINE_NOW, reason=Reason.MACHINE_DID_NOT_START),
    SF.TIME_RAN_OUT: _move(S.FAILED, C.STOP_MACHINE_NOW, reason=Reason.MACHINE_DID_NOT_START),
    SF.SIGN_IN_FAILED: _move(S.FAILED, C.STOP_MACHINE_AFTER_GRACE, reason=Reason.CLI_ENDED),
    # nobody can have it started again before they see it
    SF.CLI_GAVE_UP: _move(S.FAILED, C.STOP_MACHINE_AFTER_GRACE, reason=Reason.CLI_ENDED),
    SF.STARTED_AGAIN: _RUNS,
}
_TERMINAL: Final[dict[SessionFact, SessionRule]] = {
    **dict.fromkeys(SF, _NOTE),
    SF.CAPTURED: _LATE,
    SF.OPENED: _ENDED,
    SF.CONSENTED: _ENDED,
    SF.SCREEN_SEEN: _ENDED,
    SF.CANCELLED: _ENDED,
    SF.SUPERSEDED: _ENDED,
    SF.STARTED_AGAIN: _ENDED,
    SF.SUCCESS_SHOWN: _NOT_CAPTURED,
    SF.REJECTED: _NOT_CAPTURED,
}

SESSION_TABLE: Final[dict[SessionStatus, dict[SessionFact, SessionRule]]] = {
    S.PENDING: {
        **_NO_MACHINE_YET,
        SF.MACHINE_BOOTING: _move(S.STARTING),
        # it waited in the line for a machine, which no node began
        SF.NOBODY_CAME: _move(S.FAILED, C.STOP_MACHINE_NOW, reason=Reason.NO_MACHINE_FREE),
        SF.TIME_RAN_OUT: _move(S.FAILED, C.STOP_MACHINE_NOW, reason=Reason.NO_MACHINE_FREE),
        SF.MACHINE_READY: SessionRule(Act.REFUSE, error=Code.GUEST_PROTOCOL),
        SF.CAPTURED: SessionRule(Act.REFUSE, error=Code.GUEST_PROTOCOL),
    },
    S.STARTING: {
        **_NO_MACHINE_YET,
        SF.MACHINE_BOOTING: _NOTE,
        SF.MACHINE_READY: _move(S.AWAITING_SIGN_IN),
        # single sign-on can be quicker than the first painted frame
        SF.CAPTURED: _move(S.COMPLETED, C.END_INPUT, C.STOP_MACHINE_AFTER_GRACE),
    },
    S.AWAITING_SIGN_IN: {
        **_STEPS,
        **_BINDING,
        SF.MACHINE_BOOTING: _NOTE,
        SF.MACHINE_READY: _NOTE,
        SF.OPENED: _NOTE,
        SF.CONSENTED: _NOTE,
        SF.SCREEN_SEEN: _NOTE,
        SF.CAPTURED: _move(S.COMPLETED, C.END_INPUT, C.STOP_MACHINE_AFTER_GRACE),
        SF.SIGN_IN_FAILED: _move(S.FAILED, C.END_INPUT, C.STOP_MACHINE_AFTER_GRACE, reason=Reason.CLI_ENDED),
        SF.CLI_GAVE_UP: _NOTE,
        SF.STARTED_AGAIN: _NOTE,
        SF.MACHINE_ENDED: _move(S.FAILED, reason=Reason.MACHINE_ENDED),
        SF.START_FAILED: _NOTE,
        SF.NOBODY_CAME: _move(S.EXPIRED, C.STOP_MACHINE_NOW, reason=Reason.NOBODY_CAME),
        SF.TIME_RAN_OUT: _move(S.EXPIRED, C.STOP_MACHINE_NOW, reason=Reason.SIGN_IN_TIMED_OUT),
        SF.CANCELLED: _move(S.CANCELLED, C.STOP_MACHINE_NOW, reason=Reason.CANCELLED_BY_CALLER),
        SF.SUPERSEDED: _move(S.CANCELLED, C.STOP_MACHINE_NOW, reason=Reason.SUPERSEDED),
        SF.SUCCESS_SHOWN: _NOT_CAPTURED,
        SF.REJECTED: _NOT_CAPTURED,
    },
    S.COMPLETED: {
        **_TERMINAL,
        # a report sent twice is acknowledged and changes nothing; the store tells it from another session's
        SF.CAPTURED: _NOTE,
        SF.OPENED: _NOTE,
        SF.SUCCESS_SHOWN: SessionRule(Act.NOTE, commands=(C.STOP_MACHINE_NOW,)),
        SF.REJECTED: SessionRule(Act.NOTE, commands=(C.STOP_MACHINE_NOW, C.TELL_WATCHERS)),
    },
    S.FAILED: _TERMINAL,
    S.CANCELLED: _TERMINAL,
    S.EXPIRED: _TERMINAL,
}

M, MF = MachineState, MachineFact
_M_NOTE: Final = MachineRule(Act.NOTE)
_M_REFUSE: Final = MachineRule(Act.REFUSE)
_STOP: Final = MachineRule(Act.MOVE, M.STOPPING, (C.STOP_MACHINE_NOW,))
_M_ENDED: Final[dict[MachineFact, MachineRule]] = {
    MF.BOOT_BEGAN: _M_REFUSE,
    MF.READY: _M_REFUSE,
    MF.STOP_ASKED: _M_NOTE,
    MF.TIME_RAN_OUT: _M_NOTE,
    MF.ENDED: _M_NOTE,
}

MACHINE_TABLE: Final[dict[MachineState, dict[MachineFact, MachineRule]]] = {
    # `booting` is written before anything is started, so of a requested machine nothing exists
    M.REQUESTED: {
        MF.BOOT_BEGAN: MachineRule(Act.MOVE, M.BOOTING, (C.START_MACHINE,)),
        MF.READY: _M_REFUSE,
        MF.STOP_ASKED: MachineRule(Act.MOVE, M.GONE),
        MF.TIME_RAN_OUT: MachineRule(Act.MOVE, M.GONE),
        MF.ENDED: MachineRule(Act.MOVE, M.GONE),
    },
    M.BOOTING: {
        MF.BOOT_BEGAN: _M_NOTE,
        MF.READY: MachineRule(Act.MOVE, M.READY),
        MF.STOP_ASKED: _STOP,
        MF.TIME_RAN_OUT: _STOP,
        MF.ENDED: MachineRule(Act.MOVE, M.LOST),
    },
    M.READY: {
        MF.BOOT_BEGAN: _M_REFUSE,
        MF.READY: _M_NOTE,
        MF.STOP_ASKED: _STOP,
        MF.TIME_RAN_OUT: _STOP,
        MF.ENDED: MachineRule(Act.MOVE, M.LOST),
    },
    M.STOPPING: {
        MF.BOOT_BEGAN: _M_REFUSE,
        MF.READY: _M_NOTE,
        MF.STOP_ASKED: _M_NOTE,
        MF.TIME_RAN_OUT: MachineRule(Act.NOTE, commands=(C.STOP_MACHINE_NOW,)),
        MF.ENDED: MachineRule(Act.MOVE, M.GONE),
    },
    M.GONE: _M_ENDED,
    M.LOST: _M_ENDED,
}


@dataclass(frozen=True, slots=True)
class SessionDecision:
    """What a fact does to a session."""

    act: Act
    before: SessionStatus
    after: SessionStatus
    reason: Reason | None
    commands: tuple[Command, ...]
    error: Code | None


@dataclass(frozen=True, slots=True)
class MachineDecision:
    """What a fact does to a machine."""

    act: Act
    before: MachineState
    after: MachineState
    commands: tuple[Command, ...]


def decide_session(status: SessionStatus, fact: SessionFact, reason: Reason | None = None) -> SessionDecision:
    """Say what the fact does; a reason that came with the fact wins over the table's."""
    rule = SESSION_TABLE[status][fact]
    if rule.act is not Act.MOVE or rule.to is None:
        return SessionDecision(rule.act, status, status, None, rule.commands, rule.error)
    verdict = None if rule.to is S.COMPLETED else reason or rule.reason
    return SessionDecision(Act.MOVE, status, rule.to, verdict, rule.commands, None)


def decide_machine(state: MachineState, fact: MachineFact) -> MachineDecision:
    """Say what the fact does to a machine in that state."""
    rule = MACHINE_TABLE[state][fact]
    return MachineDecision(rule.act, state, rule.to or state, rule.commands)


def diagrams() -> str:
    """Return both state machines as Mermaid diagrams in Markdown, made from the tables."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", "    [*] --> pending"]
    for status, facts in SESSION_TABLE.items():
        lines += arrows(str(status), [(str(rule.to), str(fact)) for fact, rule in facts.items() if rule.to])
        if status.terminal:
            lines.append(f"    {status} --> [*]")
    lines += ["```", "", "```mermaid", "stateDiagram-v2", "    direction LR", "    [*] --> requested"]
    for state, moves in MACHINE_TABLE.items():
        lines += arrows(str(state), [(str(rule.to), str(fact)) for fact, rule in moves.items() if rule.to])
        if state.ended:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, "```", ""])


def arrows(source: str, moves: list[tuple[str, str]]) -> list[str]:
    """Return the lines of a Mermaid diagram for the moves (to, fact) out of one state."""
    targets = sorted({to for to, _ in moves})
    return [f"    {source} --> {to}: {', '.join(fact for other, fact in moves if other == to)}" for to in targets]
