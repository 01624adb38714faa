"""Runs of the CLI in one session's machine: how one ended, and that the person had the next one started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code
from antechamber.lifecycle import Act, SessionDecision, SessionFact, decide_session
from antechamber.model import Reason
from antechamber.store.changes import MACHINES, SESSIONS, session_topic
from antechamber.store.database import to_its_end
from antechamber.store.events import record, recorded
from antechamber.store.moves import Given, Moved, apply_fact, change, locked, refuse

if TYPE_CHECKING:
    from datetime import datetime

    from antechamber.model import AuthSession, Event
    from antechamber.store.database import Database, Write

MOST: Final = 4
"""Runs of the CLI in one session: the first, and three more that the person asked for."""


@dataclass(frozen=True, slots=True)
class CliEnded:
    """How one run of the CLI ended; `said` are its last lines, cleaned, `reason` and `detail` are for a failure."""

    attempt: int
    said: str
    reason: Reason
    detail: str
    code: int


class Attempts:
    """The runs of the CLI, of all sessions."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def ended(self, session_id: str, ended: CliEnded, *, at: datetime, expires_at: datetime) -> AuthSession:
        """Note that a run gave up, where another may follow until `expires_at`; else fail the session.

        Another may follow where the session's person has seen the screen, the tool simply ended, and it has not been
        run MOST times. A run that is not the present one, or has ended already, changes nothing. CallerError
        SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            if session.attempt != ended.attempt or session.gave_up_at is not None:
                return session
            fields = {"cli_exit_code": ended.code, "attempt": ended.attempt}
            decision = decide_session(session.status, SessionFact.CLI_GAVE_UP)
            may_follow = ended.reason is Reason.CLI_ENDED and ended.attempt < MOST
            if session.status.terminal or not may_follow or not session.screen_seen_at or decision.act is not Act.NOTE:
                given = Given(
                    fact=SessionFact.SIGN_IN_FAILED, at=at, reason=ended.reason, detail=ended.detail, fields=fields
                )
                return (await apply_fact(write, session, given)).session
            until = min(expires_at, session.expires_at or expires_at)
            values = {"gave_up_at": at, "cli_said": ended.said, "detail": ended.detail, "expires_at": until}
            noted = await change(write.connection, session, values)
            given = Given(fact=SessionFact.CLI_GAVE_UP, at=at, fields=fields)
            await _record(write, decision, given, session_id)
            return noted

    @to_its_end
    async def again(self, session_id: str, attempt: int, *, at: datetime, expires_at: datetime) -> Moved:
        """Begin the next run after that one gave up, with a new deadline; a repetition changes nothing.

        A refusal is in the decision, not an exception. CallerError SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            fact = SessionFact.STARTED_AGAIN
            decision = decide_session(session.status, fact)
            given = Given(fact=fact, at=at, fields={"attempt": attempt + 1})
            if decision.act is not Act.REFUSE and session.attempt == attempt + 1:
                repeated = await recorded(write.connection, session_id, fact, refused_in=None)
                if repeated is not None:
                    return Moved(session, decision, repeated)
            if decision.act is not Act.REFUSE and (session.attempt != attempt or session.gave_up_at is None):
                decision = replace(decision, act=Act.REFUSE, error=Code.CLI_RUNS)
            if decision.act is Act.REFUSE:
                return await refuse(write, session, decision, given)
            begun = {"attempt": attempt + 1, "gave_up_at": None, "cli_said": "", "detail": "", "expires_at": expires_at}
            noted = await change(write.connection, session, begun)
            return Moved(noted, decision, await _record(write, decision, given, session_id))


async def _record(write: Write, decision: SessionDecision, given: Given, session_id: str) -> Event:
    write.tell(session_topic(session_id), SESSIONS, MACHINES)
    return await record(
        write.connection,
        given.fact,
        at=given.at,
        act=decision.act,
        session_id=session_id,
        before=decision.before,
        after=decision.after,
        fields=given.fields,
    )
