"""What only the operator is shown: a session's story, machines, a credential's versions, and how the service stands."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from antechamber.model import MachineKind, MachineState, Reason, clean_text
from antechamber.store import AWAY_AFTER
from antechamber.web.views import CredentialView, DriverView, Explanation, SessionView, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antechamber.machine import Check
    from antechamber.model import Event, MachineRow, NodeRow
    from antechamber.store import Version

_DETAIL_LIMIT: Final = 400
_SHORT: Final = 8


class MachineDetailView(View):
    """A machine, as the operator sees it."""

    id: str
    kind: MachineKind
    session_id: str | None
    run_id: str | None
    state: MachineState
    ended: bool
    driver: str
    node: str | None
    """The name of the computer that it runs on; null before it runs."""
    silent_since: datetime | None
    """When its computer, or the service there, was last heard of, where it is silent while the machine runs."""
    incarnation: str
    """The beginning of which life of the machine this is: enough to find it in a log."""
    host_uid: int | None
    exit_code: int | None
    """Of its first program, once it has ended; says nothing about the session."""
    detail: str
    """How it ended, cleaned of whatever could be a secret."""
    created_at: datetime
    state_at: datetime
    expires_at: datetime | None
    """Deadline of the present state; null once it has ended."""
    ended_at: datetime | None

    @classmethod
    def of(cls, row: MachineRow, nodes: Mapping[str, NodeRow], now: datetime) -> MachineDetailView:
        """Show a machine's row; `nodes` has the services by their ids."""
        node = nodes.get(row.node or "")
        silent = node is not None and not row.state.ended and now - node.seen_at > AWAY_AFTER
        return cls(
            id=row.id,
            kind=row.kind,
            session_id=row.session_id,
            run_id=row.run_id,
            state=row.state,
            ended=row.state.ended,
            driver=row.driver,
            node=node.name if node else row.node,
            silent_since=node.seen_at if node and silent else None,
            incarnation=row.incarnation.partition("_")[2][:_SHORT],
            host_uid=row.host_uid,
            exit_code=row.exit_code,
            detail=cleaned(row.end_detail),
            created_at=row.created_at,
            state_at=row.state_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
        )


class MachineList(View):
    """The machines that have not ended, oldest first, then those that ended last."""

    machines: list[MachineDetailView]
    now: datetime


class Move(View):
    """One line of a story: a move of the session or of its machine, something noted, or a fact that was refused."""

    seq: int
    at: datetime
    after_s: float
    """Seconds since the line before; 0 for the first."""
    about: Literal["session", "machine"]
    act: Literal["move", "note", "refused"]
    kind: str
    before: str | None
    after: str | None
    reason: Reason | None
    explanation: Explanation | None
    exit_code: int | None

    @classmethod
    def of(cls, row: Event, previous: Event | None) -> Move:
        """Show an event's row; the rest of its fields (sizes, ids of reports) is not for people."""
        act: Literal["move", "note"] = "move" if row.after and row.before != row.after else "note"
        code: Any = row.fields.get("exit_code")
        return cls(
            seq=row.seq,
            at=row.at,
            after_s=max(0.0, (row.at - previous.at).total_seconds()) if previous else 0.0,
            about="machine" if row.machine_id else "session",
            act="refused" if row.fields.get("refused") else act,
            kind=row.kind,
            before=row.before,
            after=row.after,
            reason=row.reason,
            explanation=Explanation.of(row.reason),
            exit_code=code if isinstance(code, int) else None,
        )


class StoryView(View):
    """A session with everything that happened to it and to its machine, in order; never where the machine went."""

    session: SessionView
    detail: str
    """Why it ended, for the operator, cleaned of whatever could be a secret."""
    machine: MachineDetailView | None
    """Null once it is forgotten."""
    moves: list[Move]
    connections: dict[str, int]
    """How many the machine made or asked for, by what the way out said of them."""
    cli_said: list[str]
    """The last lines of a tool that gave up, cleaned."""


class VersionView(View):
    """One version of a credential; of older ones nothing else is left."""

    version: int
    stored_at: datetime
    session_id: str

    @classmethod
    def of(cls, row: Version) -> VersionView:
        """Show a version's row."""
        return cls(version=row.version, stored_at=row.stored_at, session_id=row.session_id)


class VersionList(View):
    """A credential's versions, the newest first."""

    versions: list[VersionView]


class TombstoneList(View):
    """Credentials that were deleted, the last first: without account, plan or secret."""

    credentials: list[CredentialView]


class CheckView(View):
    """Something that was looked at by trying it."""

    name: str
    ok: bool
    fatal: bool
    """Whether nothing works without it."""
    by_nature: bool
    """Whether it is a limit of the driver, which nobody can mend here."""
    message: str
    remedy: str
    """What to do when it is not ok."""

    @classmethod
    def of(cls, check: Check) -> CheckView:
        """Show one of the driver's checks."""
        return cls(
            name=check.name,
            ok=check.ok,
            fatal=check.fatal,
            by_nature=check.by_nature,
            message=check.message,
            remedy=check.remedy,
        )


class FolderView(View):
    """A folder of the service and the room on its disk, in bytes."""

    name: Literal["data", "machines", "shared"]
    path: str
    free: int
    total: int
    ok: bool
    """Whether there is room enough for what the service writes."""


class DatabaseView(View):
    """The database."""

    reachable: bool
    kind: str | None
    """`sqlite` or `postgresql`."""
    revision: str | None
    """The last migration that it has had."""


class NodeView(View):
    """One service of the installation."""

    name: str
    seen_at: datetime
    """When it last said that it lives."""
    machines: int
    """Those that have not ended."""


class StatusView(View):
    """How the service stands."""

    version: str
    world: str
    practice: bool
    ready: bool
    faults: list[str]
    """What keeps it from being ready, in sentences."""
    started_at: datetime
    now: datetime
    node: str | None
    """What the computer is called."""
    nodes: list[NodeView]
    """Every service on this database, this one too."""
    driver: DriverView
    database: DatabaseView
    key_id: str | None
    """Which key seals credentials; never the key."""
    root: str | None
    """Where that key is: `file`, `environment`, `transit`, `kms`; that its service is away is one of the faults."""
    folders: list[FolderView]
    checks: list[CheckView]
    """The driver's, from the service's start."""
    live_sessions: int
    """500 at most."""
    machines: int
    """Those that have not ended."""


def cleaned(detail: str) -> str:
    """Return a detail for the operator's log as it may be shown in a page."""
    return clean_text(detail, _DETAIL_LIMIT)
