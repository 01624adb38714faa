"""The tables, as SQLAlchemy metadata; the migrations lead to exactly this, and a test compares them.

What only a trigger can hold is in `rules`. CHECKs are made from the enums of `model`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

from antechamber.credential_life import REASONS
from antechamber.lifecycle import Act
from antechamber.model import (
    LIVE_STATUSES,
    TERMINAL_STATUSES,
    AccessKind,
    Actor,
    AuditAction,
    AuditOutcome,
    CredentialReason,
    CredentialStatus,
    MachineKind,
    MachineState,
    Purpose,
    Reason,
    RunReason,
    RunStatus,
    SessionStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import StrEnum

ENDED_STATES: Final = frozenset(state for state in MachineState if state.ended)
RUNNING_STATES: Final = frozenset(MachineState) - ENDED_STATES - {MachineState.REQUESTED}
DASHBOARD_KINDS: Final = frozenset(
    {AccessKind.DASHBOARD_LINK, AccessKind.DASHBOARD_COOKIE, AccessKind.LOGIN, AccessKind.RUN_TICKET}
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """An aware time: TIMESTAMPTZ in PostgreSQL, elsewhere text.

    The text is `2026-01-31T12:00:00.000000Z`: it sorts, and a person can read it.
    """

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of that database."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what the database keeps of a time; ValueError when it is naive."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = "the store takes aware times only"
            raise ValueError(message)
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the aware time."""
        if value is None:
            return None
        return (value if isinstance(value, datetime) else datetime.fromisoformat(value)).astimezone(UTC)


def storable(text: str) -> str:
    """Return a text of ours without what a database does not take: NUL (PostgreSQL), halves of characters (any).

    For what we say ourselves. A caller's text with such a character is refused instead.
    """
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


class Said(TypeDecorator[str]):
    """A text that we say ourselves, of whatever a program said: stored in any case, see `storable`."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return what the database takes."""
        return None if value is None else storable(value)


# a collation of the C library changes with its release, and with it the order that an index relies on, unique ones too
WORD: Final = String().with_variant(String(collation="C"), "postgresql")
HASH: Final = String(64).with_variant(String(64, collation="C"), "postgresql")
UID: Final = Integer().with_variant(BigInteger(), "postgresql")
COUNT: Final = UID
"""SQLite's INTEGER has 64 bits; a uid has 32 without a sign."""
FIELDS: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def words(values: Iterable[StrEnum]) -> str:
    """Return the words of an enum, or of a part of it, as an SQL list in a stable order."""
    return "(" + ", ".join(f"'{value}'" for value in sorted(values)) + ")"


def _one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN {words(values)}", name=column)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


ENDING_STATUSES: Final = frozenset({CredentialStatus.ACTIVE, CredentialStatus.EXPIRING})
"""The statuses that time alone can move on."""

STATUS_WITH_REASON: Final = " OR ".join(
    f"(status = '{status}' AND status_reason IN {words(REASONS[status])})" for status in CredentialStatus
)

installation: Final = Table(
    "installation",
    metadata,
    Column("singleton", Integer, primary_key=True, autoincrement=False),
    Column("id", WORD, nullable=False),
    Column("world", WORD, nullable=False),
    Column("key_id", WORD),
    # so that an earlier release can say which one is needed
    Column("release", WORD),
    # the last line of the audit of which the operator says that it lies elsewhere too
    Column("audit_taken", COUNT),
    CheckConstraint("singleton = 1", name="singleton"),
)

credentials: Final = Table(
    "provider_credentials",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("application", WORD, nullable=False),
    Column("user_id", WORD, nullable=False),
    Column("provider", WORD, nullable=False),
    Column("version", Integer, nullable=False),
    # no foreign key: retention may delete the session, and the credential stays
    Column("session_id", WORD, nullable=False),
    Column("account", WORD),
    Column("plan", WORD),
    Column("claimed_expiry", UtcTime),
    Column("ciphertext", LargeBinary),
    Column("wrapped_key", LargeBinary),
    Column("key_id", WORD),
    Column("format_version", Integer),
    Column("created_at", UtcTime, nullable=False),
    Column("stored_at", UtcTime, nullable=False),
    Column("deleted_at", UtcTime),
    Column("status", WORD, nullable=False),
    Column("status_reason", WORD, nullable=False),
    Column("status_at", UtcTime, nullable=False),
    # NULL: an earlier release stored it, and did not look
    Column("renewable", Boolean),
    Column("ends_at", UtcTime),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint(STATUS_WITH_REASON, name="status_with_reason"),
    CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", name="deleted_is_tombstone"),
    CheckConstraint("deleted_at IS NULL OR (renewable IS NULL AND ends_at IS NULL)", name="tombstone_has_no_end"),
    CheckConstraint(
        "status_reason NOT IN ('expired', 'expiry_near') OR ends_at IS NOT NULL", name="expires_at_a_known_time"
    ),
    CheckConstraint(
        "(deleted_at IS NULL) = (ciphertext IS NOT NULL AND wrapped_key IS NOT NULL"
        " AND key_id IS NOT NULL AND format_version IS NOT NULL)",
        name="live_is_sealed",
    ),
    CheckConstraint(
        "deleted_at IS NULL OR (ciphertext IS NULL AND wrapped_key IS NULL AND account IS NULL"
        " AND plan IS NULL AND claimed_expiry IS NULL)",
        name="tombstone_is_empty",
    ),
    Index("one_live_credential", "application", "user_id", "provider", unique=True, **_where("deleted_at IS NULL")),
    Index("credentials_deleted", "deleted_at", **_where("deleted_at IS NOT NULL")),
    Index("credentials_ending", "ends_at", **_where(f"status IN {words(ENDING_STATUSES)}")),
    Index("credentials_by_status", "provider", "status", **_where("deleted_at IS NULL")),
)

credential_events: Final = Table(
    "credential_events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("credential_id", WORD, ForeignKey("provider_credentials.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("before", WORD),
    Column("after", WORD, nullable=False),
    Column("reason", WORD),
    Column("at", UtcTime, nullable=False),
    # no foreign key: retention may delete the session, and the credential's story stays
    Column("session_id", WORD),
    Column("fields", FIELDS, nullable=False),
    _one_of("before", CredentialStatus),
    _one_of("after", CredentialStatus),
    _one_of("reason", CredentialReason),
    Index("events_of_credential", "credential_id", "seq"),
    Index("credential_events_old", "at"),
    sqlite_autoincrement=True,
)

audit: Final = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("id", WORD, nullable=False, unique=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", WORD, nullable=False),
    Column("action", WORD, nullable=False),
    Column("outcome", WORD, nullable=False),
    Column("owner", WORD),
    Column("purpose", WORD),
    Column("provider", WORD),
    # no foreign keys: what it tells of goes, and the line stays
    Column("credential_id", WORD),
    Column("version", Integer),
    Column("session_id", WORD),
    Column("refused", WORD),
    Column("api_key", WORD),
    Column("fields", FIELDS),
    Column("operator_issuer", WORD),
    Column("operator_subject", WORD),
    _one_of("actor", Actor),
    _one_of("action", AuditAction),
    _one_of("outcome", AuditOutcome),
    _one_of("purpose", Purpose),
    CheckConstraint("(outcome = 'denied') = (refused IS NOT NULL)", name="denied_has_code"),
    CheckConstraint("(action = 'credential_opened') = (purpose IS NOT NULL)", name="opened_has_purpose"),
    CheckConstraint("action <> 'owner_erased' OR owner IS NULL", name="erased_names_nobody"),
    CheckConstraint(
        "(operator_issuer IS NULL) = (operator_subject IS NULL) AND (operator_issuer IS NULL OR actor = 'dashboard')",
        name="operator_at_the_dashboard",
    ),
    Index("audit_of_owner", "owner", "seq", **_where("owner IS NOT NULL")),
    Index("audit_openings", "purpose", "at", **_where("purpose IS NOT NULL")),
    Index("audit_old", "at"),
    sqlite_autoincrement=True,
)

audit_keys: Final = Table(
    "audit_keys",
    metadata,
    Column("application", WORD, primary_key=True),
    Column("user_id", WORD, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

# apart from the lines, which stay: words can name somebody, and go with them
audit_reasons: Final = Table(
    "audit_reasons",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("application", WORD, nullable=False),
    Column("user_id", WORD, nullable=False),
    Column("reason", WORD, nullable=False),
    Index("reasons_of_owner", "application", "user_id"),
)

audit_cuts: Final = Table(
    "audit_cuts",
    metadata,
    Column("until", UtcTime, primary_key=True),
    Column("lines", COUNT, nullable=False),
    Column("first_seq", COUNT, nullable=False),
    Column("last_seq", COUNT, nullable=False),
    Column("digest", HASH, nullable=False),
    Column("at", UtcTime, nullable=False),
    CheckConstraint("at >= until", name="month_is_over"),
    CheckConstraint("until LIKE '____-__-01T00:00:00.000000Z'", name="whole_months").ddl_if(dialect="sqlite"),
    CheckConstraint(
        "until = date_trunc('month', until AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'", name="whole_months"
    ).ddl_if(dialect="postgresql"),
)

reveals_allowed: Final = Table(
    "reveals_allowed",
    metadata,
    Column("provider", WORD, primary_key=True),
    Column("terms_read_on", Date, nullable=False),
    Column("since", UtcTime, nullable=False),
)

credential_versions: Final = Table(
    "credential_versions",
    metadata,
    Column("credential_id", WORD, ForeignKey("provider_credentials.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("stored_at", UtcTime, nullable=False),
    # of a version that a run stored: the session of the version that it began with
    Column("session_id", WORD, nullable=False),
    Column("report_id", WORD, nullable=False),
    Column("run_id", WORD),
)

sessions: Final = Table(
    "auth_sessions",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("application", WORD, nullable=False),
    Column("user_id", WORD, nullable=False),
    Column("provider", WORD, nullable=False),
    Column("status", WORD, nullable=False),
    Column("reason", WORD),
    Column("detail", Said, nullable=False, server_default=""),
    Column("display_name", WORD),
    Column("purpose", WORD),
    Column("return_url", WORD),
    # no foreign key: an ended machine's row may be forgotten before its session's
    Column("machine_id", WORD, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("status_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("opened_at", UtcTime),
    Column("consented_at", UtcTime),
    Column("screen_seen_at", UtcTime),
    Column("success_shown_at", UtcTime),
    Column("rejected_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("captured_credential_id", WORD),
    Column("captured_version", Integer),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("gave_up_at", UtcTime),
    Column("cli_said", String, nullable=False, server_default=""),
    Column("replace_account", Boolean, nullable=False, server_default=false()),
    Column("binds", Boolean, nullable=False, server_default=false()),
    ForeignKeyConstraint(
        ["captured_credential_id", "captured_version"],
        ["credential_versions.credential_id", "credential_versions.version"],
    ),
    UniqueConstraint("machine_id"),
    _one_of("status", SessionStatus),
    _one_of("reason", Reason),
    CheckConstraint(
        "(status = 'completed') = (captured_credential_id IS NOT NULL AND captured_version IS NOT NULL)",
        name="completed_is_captured",
    ),
    CheckConstraint(
        "(captured_credential_id IS NULL) = (captured_version IS NULL)",
        name="captured_whole",
    ),
    CheckConstraint(
        f"(status IN {words(TERMINAL_STATUSES - {SessionStatus.COMPLETED})}) = (reason IS NOT NULL)",
        name="bad_end_has_reason",
    ),
    CheckConstraint(f"(status IN {words(TERMINAL_STATUSES)}) = (ended_at IS NOT NULL)", name="ended_when_terminal"),
    CheckConstraint(f"(status IN {words(LIVE_STATUSES)}) = (expires_at IS NOT NULL)", name="live_has_deadline"),
    Index(
        "one_live_session",
        "application",
        "user_id",
        "provider",
        unique=True,
        **_where(f"status IN {words(LIVE_STATUSES)}"),
    ),
    Index("sessions_due", "expires_at", **_where("expires_at IS NOT NULL")),
    Index("sessions_newest", "created_at", "id"),
    Index("sessions_of_owner", "application", "user_id", "created_at", "id"),
    Index("sessions_of_application", "application", "created_at", "id"),
    Index("sessions_live", "created_at", "id", **_where(f"status IN {words(LIVE_STATUSES)}")),
    Index("sessions_ended", "ended_at", **_where("ended_at IS NOT NULL")),
    # what deletes a version looks here for whoever points at it
    Index(
        "sessions_captured",
        "captured_credential_id",
        "captured_version",
        **_where("captured_credential_id IS NOT NULL"),
    ),
)

machines: Final = Table(
    "machines",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("kind", WORD, nullable=False),
    Column("session_id", WORD, ForeignKey("auth_sessions.id", ondelete="CASCADE")),
    Column("state", WORD, nullable=False),
    Column("driver", WORD, nullable=False),
    Column("incarnation", WORD, nullable=False),
    Column("handle", FIELDS),
    Column("host_uid", UID),
    Column("created_at", UtcTime, nullable=False),
    Column("state_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("exit_code", Integer),
    Column("end_detail", Said, nullable=False, server_default=""),
    # no foreign key: a node may be forgotten, and the story of its machines stays
    Column("node", WORD),
    Column("claimed_until", UtcTime),
    # what a check or a run is about; no foreign key: an owner's erasure removes the row before the credential's
    Column("credential_id", WORD),
    # no foreign key: it stays until the machine's own row goes
    Column("run_id", WORD),
    UniqueConstraint("session_id"),
    _one_of("kind", MachineKind),
    _one_of("state", MachineState),
    CheckConstraint("(kind = 'sign_in') = (session_id IS NOT NULL)", name="sign_in_has_session"),
    CheckConstraint("(kind = 'run') = (run_id IS NOT NULL)", name="run_has_its_run"),
    CheckConstraint(f"(state IN {words(ENDED_STATES)}) = (ended_at IS NOT NULL)", name="ended_has_time"),
    CheckConstraint(f"(state IN {words(ENDED_STATES)}) = (expires_at IS NULL)", name="running_has_deadline"),
    Index("one_machine_of_uid", "node", "host_uid", unique=True, **_where(f"state NOT IN {words(ENDED_STATES)}")),
    Index("machines_requested", "created_at", **_where("state = 'requested'")),
    Index("machines_due", "expires_at", **_where("expires_at IS NOT NULL")),
    Index("machines_newest", "created_at", "id"),
    Index("machines_running", "created_at", "id", **_where(f"state NOT IN {words(ENDED_STATES)}")),
    Index("machines_of_credential", "credential_id", **_where("credential_id IS NOT NULL")),
    Index("machines_ended", "ended_at", **_where("ended_at IS NOT NULL")),
    Index("one_machine_of_run", "run_id", unique=True, **_where("run_id IS NOT NULL")),
)

runs: Final = Table(
    "runs",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("application", WORD, nullable=False),
    Column("user_id", WORD, nullable=False),
    Column("provider", WORD, nullable=False),
    # no foreign key: an owner's erasure removes the run once the credential's row has gone
    Column("credential_id", WORD, nullable=False),
    Column("status", WORD, nullable=False),
    Column("terminal", Boolean, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("seconds", Integer, nullable=False),
    Column("node", WORD, nullable=False),
    Column("asked_by", WORD, nullable=False),
    Column("api_key", WORD),
    # what somebody asks a model for is theirs: it goes when the run has ended
    Column("request", FIELDS),
    Column("created_at", UtcTime, nullable=False),
    Column("status_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("reason", WORD),
    Column("exit_code", Integer),
    Column("redacted", Boolean, nullable=False, server_default=false()),
    Column("detail", Said, nullable=False, server_default=""),
    Column("machine_id", WORD),
    Column("ended_at", UtcTime),
    _one_of("status", RunStatus),
    _one_of("reason", RunReason),
    _one_of("asked_by", Actor),
    CheckConstraint("(status = 'ended') = (ended_at IS NOT NULL)", name="ended_has_time"),
    CheckConstraint("(status = 'ended') = (reason IS NOT NULL)", name="ended_has_reason"),
    CheckConstraint("(status = 'ended') = (expires_at IS NULL)", name="live_has_deadline"),
    CheckConstraint("(status = 'ended') = (request IS NULL)", name="ended_forgets"),
    CheckConstraint("exit_code IS NULL OR (reason IS NOT NULL AND reason = 'exited')", name="code_of_the_tool"),
    CheckConstraint("status NOT IN ('starting', 'running') OR machine_id IS NOT NULL", name="begun_has_machine"),
    Index("runs_waiting", "credential_id", "created_at", "id", **_where("status = 'waiting'")),
    Index("runs_of_owner", "application", "user_id", "created_at", "id"),
    Index("runs_newest", "created_at", "id"),
    Index("runs_due", "expires_at", **_where("expires_at IS NOT NULL")),
    Index("runs_ended", "ended_at", **_where("ended_at IS NOT NULL")),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("credential_id", WORD, nullable=False),
    Column("run_id", WORD, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("granted_at", UtcTime, nullable=False),
    Column("renewing_at", UtcTime),
    Column("ended_at", UtcTime),
    CheckConstraint("ended_at IS NULL OR renewing_at IS NULL", name="ended_renews_nothing"),
    Index("one_live_lease", "credential_id", unique=True, **_where("ended_at IS NULL")),
    Index("one_lease_of_run", "run_id", unique=True),
)

nodes: Final = Table(
    "nodes",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("name", WORD, nullable=False),
    Column("url", WORD),
    Column("joined_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)

events: Final = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("id", WORD, nullable=False, unique=True),
    Column("session_id", WORD, ForeignKey("auth_sessions.id", ondelete="CASCADE")),
    # set for a machine's own moves; a session's events leave it empty
    Column("machine_id", WORD),
    Column("kind", WORD, nullable=False),
    Column("act", WORD, nullable=False),
    Column("before", WORD),
    Column("after", WORD),
    Column("reason", WORD),
    Column("at", UtcTime, nullable=False),
    Column("fields", FIELDS, nullable=False),
    _one_of("act", Act),
    _one_of("reason", Reason),
    Index("events_of_session", "session_id", "seq"),
    Index("events_old", "at"),
    # a sequence number that was once given is never given again, or a resumed stream would skip an event
    sqlite_autoincrement=True,
)

access: Final = Table(
    "access",
    metadata,
    Column("secret_hash", HASH, primary_key=True),
    Column("kind", WORD, nullable=False),
    Column("session_id", WORD, ForeignKey("auth_sessions.id", ondelete="CASCADE")),
    Column("granted_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("used_at", UtcTime),
    Column("operator_issuer", WORD),
    Column("operator_subject", WORD),
    Column("operator_name", WORD),
    Column("operator_terms", HASH),
    _one_of("kind", AccessKind),
    CheckConstraint(f"(kind IN {words(DASHBOARD_KINDS)}) = (session_id IS NULL)", name="session_or_dashboard"),
    CheckConstraint(
        "(operator_issuer IS NULL) = (operator_subject IS NULL) AND (operator_issuer IS NULL) = (operator_name IS NULL)"
        " AND (operator_issuer IS NULL) = (operator_terms IS NULL)",
        name="whole_operator",
    ),
    CheckConstraint("operator_issuer IS NULL OR kind = 'dashboard_cookie'", name="operator_at_the_dashboard"),
    Index("access_of_session", "session_id", "kind"),
    Index("access_old", "expires_at"),
)

applications: Final = Table(
    "applications",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("name", WORD, nullable=False, unique=True),
    Column("bind_url", WORD),
    Column("created_at", UtcTime, nullable=False),
    Column("disabled_at", UtcTime),
    # how many sign-ins it may have open, and start within an hour; 0: as many as the installation allows
    Column("live", Integer, nullable=False, server_default=text("0")),
    Column("starts_an_hour", Integer, nullable=False, server_default=text("0")),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("application", WORD, ForeignKey("applications.id"), nullable=False),
    Column("name", WORD, nullable=False),
    Column("secret_hash", HASH, nullable=False, unique=True),
    # as the words of `ApiScope`, with blanks between them
    Column("scopes", WORD, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
    Index("keys_of_application", "application", "created_at"),
)

destinations: Final = Table(
    "destinations",
    metadata,
    Column("session_id", WORD, ForeignKey("auth_sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("name", WORD, primary_key=True),
    Column("port", Integer, primary_key=True, autoincrement=False),
    Column("verdict", WORD, primary_key=True),
    Column("bytes_out", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("connections", COUNT, nullable=False),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Index("destinations_old", "last_at"),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("caller", WORD, primary_key=True),
    Column("key", WORD, primary_key=True),
    Column("body_hash", WORD, nullable=False),
    Column("session_id", WORD, ForeignKey("auth_sessions.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("idempotency_keys_old", "created_at"),
    Index("idempotency_keys_of_session", "session_id"),
)

run_keys: Final = Table(
    "run_keys",
    metadata,
    Column("caller", WORD, primary_key=True),
    Column("key", WORD, primary_key=True),
    Column("body_hash", WORD, nullable=False),
    Column("run_id", WORD, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("run_keys_old", "created_at"),
    Index("run_keys_of_run", "run_id"),
)

erasures: Final = Table(
    "erasures",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("application", WORD, nullable=False),
    Column("user_id", WORD),
    Column("asked_by", WORD, nullable=False),
    Column("api_key", WORD),
    Column("asked_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("sessions", Integer, nullable=False, server_default="0"),
    Column("machines", Integer, nullable=False, server_default="0"),
    Column("credentials", Integer, nullable=False, server_default="0"),
    Column("events", Integer, nullable=False, server_default="0"),
    Column("operator_issuer", WORD),
    Column("operator_subject", WORD),
    _one_of("asked_by", frozenset(Actor) - {Actor.PERSON, Actor.SERVICE}),
    CheckConstraint(
        "(operator_issuer IS NULL) = (operator_subject IS NULL)"
        " AND (operator_issuer IS NULL OR asked_by = 'dashboard')",
        name="operator_at_the_dashboard",
    ),
    CheckConstraint("(finished_at IS NULL) = (user_id IS NOT NULL)", name="names_nobody_when_finished"),
    Index("one_erasure_of_owner", "application", "user_id", unique=True, **_where("finished_at IS NULL")),
)


def is_live() -> ColumnElement[bool]:
    """Return the condition that a session is live.

    In literals, as the indexes over live rows alone have it: behind a parameter no database sees that they will do,
    and it reads every session that ever was.
    """
    return sessions.c.status.in_(_literals(LIVE_STATUSES))


def can_end_by_time() -> ColumnElement[bool]:
    """Return the condition that time alone can move a credential's status on, in literals as `is_live`."""
    return credentials.c.status.in_(_literals(ENDING_STATUSES))


def has_not_ended() -> ColumnElement[bool]:
    """Return the condition that a machine has not ended, in literals as `is_live`."""
    return machines.c.state.not_in(_literals(ENDED_STATES))


def _literals(values: Iterable[StrEnum]) -> BindParameter[Any]:
    return bindparam(None, sorted(map(str, values)), expanding=True, literal_execute=True)
