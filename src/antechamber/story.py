"""What each recorded event means: who makes it, and what its `fields` hold. Read by the docs and by the tests.

A session's story is one event for each move, and one for each note and refusal the first time that it happens (of what
the tool asks for, the first time in each of its runs). Its machine's moves are events too, kept for the operator and
not part of the session's stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from antechamber.lifecycle import MachineFact, SessionFact


class Maker(StrEnum):
    """Whose doing an event is."""

    APPLICATION = "your program"
    PERSON = "the person's page"
    SERVICE = "the service"
    GUEST = "the machine's agent"


@dataclass(frozen=True, slots=True)
class Detail:
    """One value in an event's `fields`."""

    name: str
    kind: type
    meaning: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class Telling:
    """One kind of event."""

    makers: tuple[Maker, ...]
    meaning: str
    details: tuple[Detail, ...] = ()


CREATED: Final = "created"
DELETED: Final = "credential_deleted"

REFUSED: Final = Detail("refused", bool, "`true`: the fact was refused and changed nothing.", always=False)
"""May be among the fields of every event of a session."""

_CREDENTIAL: Final = Detail("credential_id", str, "The credential's id.")
_EXIT_CODE: Final = Detail(
    "exit_code", int, "With which code the machine ended; null where it is not known, and no verdict on the session."
)

SESSION_EVENTS: Final[dict[str, Telling]] = {
    CREATED: Telling(
        (Maker.APPLICATION,),
        "The session was made; nothing has been started.",
        (
            Detail(
                "traceparent", str, "The caller's span, where the request had one (W3C Trace Context).", always=False
            ),
        ),
    ),
    SessionFact.MACHINE_BOOTING: Telling((Maker.SERVICE,), "The machine is being started."),
    SessionFact.SCREEN_UP: Telling((Maker.GUEST,), "The machine's screen can be connected to."),
    SessionFact.PAGE_ASKED: Telling((Maker.GUEST,), "The tool asked for its sign-in page."),
    SessionFact.TERMINAL_ASKS: Telling(
        (Maker.GUEST,), "The tool waits for an answer at its terminal, and has asked for no page."
    ),
    SessionFact.BROWSER_CONFINED: Telling((Maker.GUEST,), "The browser's own sandbox was seen to be on."),
    SessionFact.MACHINE_READY: Telling((Maker.SERVICE,), "The sign-in page is painted; the person can begin."),
    SessionFact.SENT_TO_BIND: Telling(
        (Maker.PERSON,), "A browser opened the link, and was sent to the application that asked for the session."
    ),
    SessionFact.BOUND: Telling((Maker.APPLICATION,), "The application said that the owner sits at that browser."),
    SessionFact.BIND_OTHER_PERSON: Telling(
        (Maker.APPLICATION,), "The application said that somebody else sits at that browser; it was not let in."
    ),
    SessionFact.BIND_BAD_CHALLENGE: Telling(
        (Maker.APPLICATION,), "The application brought a challenge that is used up, too old or of another session."
    ),
    SessionFact.BIND_OTHER_BROWSER: Telling(
        (Maker.PERSON,), "Another browser than the one that was sent came back; it was not let in."
    ),
    SessionFact.OPENED: Telling(
        (Maker.PERSON,), "The session opened in its person's browser, by the session's cookie."
    ),
    SessionFact.CONSENTED: Telling((Maker.PERSON,), "The person agreed to what will be captured."),
    SessionFact.SCREEN_SEEN: Telling((Maker.SERVICE,), "The screen reached the person; the sign-in clock starts."),
    SessionFact.CAPTURED: Telling(
        (Maker.GUEST,),
        "The credential is sealed and stored, and the session completed: one transaction.",
        (
            _CREDENTIAL,
            Detail("version", int, "The version that this sign-in made."),
            Detail("report_id", str, "The machine's report that brought it."),
            Detail(
                "account",
                str,
                "How its account compares with that of the version before: `first` (there was none), `same`,"
                " `replaced`, or `unknown` where one of the two named none.",
            ),
            Detail(
                "file_whole_at",
                str,
                "When the tool had last written its file (ISO 8601, the machine's clock); not where that time lies"
                " outside of the session.",
                always=False,
            ),
            Detail("checked_at", str, "When the service had checked it (ISO 8601); sealing and storing follow."),
        ),
    ),
    SessionFact.SIGN_IN_FAILED: Telling(
        (Maker.GUEST, Maker.SERVICE),
        "This sign-in cannot succeed; `reason` says why.",
        (
            Detail("cli_exit_code", int, "Where the tool ended: with which code.", always=False),
            Detail("attempt", int, "Where the tool ended: which run of it that was.", always=False),
        ),
    ),
    SessionFact.CLI_GAVE_UP: Telling(
        (Maker.GUEST,),
        "The tool ended without a credential while its person was there; they may have it started again.",
        (
            Detail("cli_exit_code", int, "With which code the tool ended."),
            Detail("attempt", int, "Which run of the tool that was, from 1."),
        ),
    ),
    SessionFact.STARTED_AGAIN: Telling(
        (Maker.PERSON,),
        "The person had the tool started again, in the same machine.",
        (Detail("attempt", int, "Which run of the tool this is."),),
    ),
    SessionFact.MACHINE_ENDED: Telling(
        (Maker.SERVICE,),
        "The machine is no more. After the session's end this is no news.",
        (Detail("machine_state", str, "`gone`, or `lost` where nobody had asked it to end."), _EXIT_CODE),
    ),
    SessionFact.START_FAILED: Telling((Maker.SERVICE,), "The machine could not be started."),
    SessionFact.NOBODY_CAME: Telling((Maker.SERVICE,), "The deadline passed and no screen was ever seen."),
    SessionFact.TIME_RAN_OUT: Telling((Maker.SERVICE,), "The deadline passed otherwise."),
    SessionFact.CANCELLED: Telling((Maker.PERSON, Maker.APPLICATION), "The session was ended; `reason` says by whom."),
    SessionFact.SUPERSEDED: Telling((Maker.APPLICATION,), "A new session of this user and provider took its place."),
    SessionFact.SUCCESS_SHOWN: Telling((Maker.PERSON,), "The page has shown success; the machine need not wait."),
    SessionFact.REJECTED: Telling((Maker.PERSON,), "The person said that the account is not theirs."),
    DELETED: Telling(
        (Maker.APPLICATION, Maker.PERSON),
        "What this session stored was deleted; a tombstone stays.",
        (_CREDENTIAL, Detail("version", int, "The version that was deleted.")),
    ),
}
"""By kind: every event that a session's stream can carry."""

MACHINE_EVENTS: Final[dict[str, Telling]] = {
    MachineFact.BOOT_BEGAN: Telling((Maker.SERVICE,), "Its handle is written down; it is started next."),
    MachineFact.READY: Telling((Maker.SERVICE,), "The sign-in page is painted in it."),
    MachineFact.STOP_ASKED: Telling((Maker.SERVICE,), "It is stopped next."),
    MachineFact.TIME_RAN_OUT: Telling((Maker.SERVICE,), "It took too long and is stopped, or again."),
    MachineFact.ENDED: Telling(
        (Maker.SERVICE,),
        "It is no more.",
        (Detail("exit_code", int, "With which code, where that is known.", always=False),),
    ),
}
"""By kind: the moves of a machine."""


def odd(kind: str, fields: dict[str, object], *, of_machine: bool = False) -> list[str]:
    """Say what about an event's fields is not as written down here; nothing when all is."""
    telling = (MACHINE_EVENTS if of_machine else SESSION_EVENTS).get(kind)
    if telling is None:
        return [f"there is no event {kind}"]
    known = {detail.name: detail for detail in (*telling.details, *(() if of_machine else (REFUSED,)))}
    said = [f"{kind} has a field {name} that is not described" for name in fields if name not in known]
    said += [
        f"{kind}.{name} is no {known[name].kind.__name__}"
        for name, value in fields.items()
        if name in known and value is not None and type(value) is not known[name].kind
    ]
    if not fields.get("refused"):
        said += [f"{kind} lacks {one.name}" for one in telling.details if one.always and one.name not in fields]
    return said
