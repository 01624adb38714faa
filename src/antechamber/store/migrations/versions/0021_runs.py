"""Runs of a tool with a stored credential, the leases by which one of them at a time has it, and what they store.

SQLite cannot change a CHECK; as in revision 0014 the text that says what the tables are is changed in place, for
nothing that lies in them changes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
FIELDS: Final = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
REFUSED: Final = "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME"

ACTORS: Final = "('application', 'command_line', 'dashboard', 'operator_token', 'person', 'service')"
REASONS: Final = (
    "('check_accepted', 'check_refused', 'deleted', 'expired', 'expiry_near', 'rejected', 'said_revoked', "
    "'signed_in', 'vendor_refused')"
)
REASONS_NOW: Final = (
    "('check_accepted', 'check_refused', 'cut_short', 'deleted', 'expired', 'expiry_near', 'refreshed', 'rejected', "
    "'said_revoked', 'signed_in', 'vendor_refused')"
)
CHECKS: Final = {
    ("machines", "kind"): ("kind IN ('check', 'sign_in')", "kind IN ('check', 'run', 'sign_in')"),
    ("audit", "action"): (
        (
            "action IN ('audit_pruned', 'credential_deleted', 'credential_opened', 'credential_rejected', "
            "'credential_stored', 'owner_erased', 'reveal_allowed', 'reveal_forbidden')"
        ),
        (
            "action IN ('audit_pruned', 'credential_deleted', 'credential_opened', 'credential_refreshed', "
            "'credential_rejected', 'credential_stored', 'owner_erased', 'reveal_allowed', 'reveal_forbidden')"
        ),
    ),
    ("audit", "purpose"): (
        "purpose IN ('check', 'reveal', 'rotation')",
        "purpose IN ('check', 'reveal', 'rotation', 'run')",
    ),
    ("credential_events", "reason"): (f"reason IN {REASONS}", f"reason IN {REASONS_NOW}"),
    ("provider_credentials", "status_with_reason"): (
        (
            "(status = 'active' AND status_reason IN ('check_accepted', 'signed_in'))"
            " OR (status = 'expiring' AND status_reason IN ('expiry_near'))"
            " OR (status = 'needs_sign_in' AND status_reason IN ('check_refused', 'expired', 'vendor_refused'))"
        ),
        (
            "(status = 'active' AND status_reason IN ('check_accepted', 'refreshed', 'signed_in'))"
            " OR (status = 'expiring' AND status_reason IN ('expiry_near'))"
            " OR (status = 'needs_sign_in' AND status_reason IN ('check_refused', 'cut_short', 'expired', "
            "'vendor_refused'))"
        ),
    ),
}
"""Each CHECK by its table and name, as it was and as it is from here on; of a long one the part that changes."""
REST: Final = (
    " OR (status = 'revoked' AND status_reason IN ('said_revoked'))"
    " OR (status = 'deleted' AND status_reason IN ('deleted', 'rejected'))"
)
BESIDE: Final = "CONSTRAINT ck_machines_sign_in_has_session"
RUN_HAS_ITS_RUN: Final = "(kind = 'run') = (run_id IS NOT NULL)"

RUNS: Final = {
    "status": "status IN ('ended', 'running', 'starting', 'waiting')",
    "reason": (
        "reason IN ('caller_gone', 'cancelled', 'credential_gone', 'did_not_start', 'exited', 'machine_broken', "
        "'machine_ended', 'no_turn', 'timed_out')"
    ),
    "asked_by": f"asked_by IN {ACTORS}",
    "ended_has_time": "(status = 'ended') = (ended_at IS NOT NULL)",
    "ended_has_reason": "(status = 'ended') = (reason IS NOT NULL)",
    "live_has_deadline": "(status = 'ended') = (expires_at IS NULL)",
    "ended_forgets": "(status = 'ended') = (request IS NULL)",
    "code_of_the_tool": "exit_code IS NULL OR (reason IS NOT NULL AND reason = 'exited')",
    "begun_has_machine": "status NOT IN ('starting', 'running') OR machine_id IS NOT NULL",
}
LEASED: Final = (
    "OLD.status = 'waiting' AND NEW.status IN ('starting', 'running') AND NOT EXISTS (SELECT 1 FROM leases"
    " WHERE run_id = NEW.id AND credential_id = NEW.credential_id AND ended_at IS NULL)"
)
RUN_IDENTITY: Final = ("id", "application", "user_id", "provider", "credential_id", "asked_by", "created_at")
RULES: Final = (
    ("machine_of_its_run", "machines", "UPDATE", "a machine stays which it is", "", ("run_id",)),
    ("ended_run", "runs", "UPDATE", "a run that has ended does not change", "OLD.status = 'ended'", ()),
    ("run_identity", "runs", "UPDATE", "a run stays whose it is", "", RUN_IDENTITY),
    ("run_begins_waiting", "runs", "INSERT", "a run begins as waiting", "NEW.status <> 'waiting'", ()),
    ("live_run_kept", "runs", "DELETE", "a live run is not deleted", "OLD.status <> 'ended'", ()),
    ("run_begins_with_its_lease", "runs", "UPDATE", "a run begins with its lease", LEASED, ()),
    (
        "ended_lease",
        "leases",
        "UPDATE",
        "a lease that has ended does not change",
        "OLD.ended_at IS NOT NULL",
        (),
    ),
    (
        "lease_identity",
        "leases",
        "UPDATE",
        "a lease stays whose it is",
        "",
        ("id", "credential_id", "run_id", "granted_at"),
    ),
    ("live_lease_kept", "leases", "DELETE", "a live lease is not deleted", "OLD.ended_at IS NULL", ()),
)
"""Triggers: name, table, occasion, what they say, when they refuse, and the columns that stay then."""


def upgrade() -> None:
    """Make the tables, the columns and the triggers, and let the words in."""
    op.create_table(
        "runs",
        sa.Column("id", WORD, nullable=False),
        sa.Column("application", WORD, nullable=False),
        sa.Column("user_id", WORD, nullable=False),
        sa.Column("provider", WORD, nullable=False),
        sa.Column("credential_id", WORD, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("terminal", sa.Boolean(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("node", WORD, nullable=False),
        sa.Column("asked_by", WORD, nullable=False),
        sa.Column("api_key", WORD, nullable=True),
        sa.Column("request", FIELDS, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("status_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("redacted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("detail", sa.String(), nullable=False, server_default=""),
        sa.Column("machine_id", WORD, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        *(sa.CheckConstraint(said, name=op.f(f"ck_runs_{name}")) for name, said in RUNS.items()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    _index("runs_waiting", "runs", ["credential_id", "created_at", "id"], "status = 'waiting'")
    op.create_index("runs_of_owner", "runs", ["application", "user_id", "created_at", "id"])
    op.create_index("runs_newest", "runs", ["created_at", "id"])
    _index("runs_due", "runs", ["expires_at"], "expires_at IS NOT NULL")
    _index("runs_ended", "runs", ["ended_at"], "ended_at IS NOT NULL")
    op.create_table(
        "leases",
        sa.Column("id", WORD, nullable=False),
        sa.Column("credential_id", WORD, nullable=False),
        sa.Column("run_id", WORD, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("granted_at", TIME, nullable=False),
        sa.Column("renewing_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("ended_at IS NULL OR renewing_at IS NULL", name=op.f("ck_leases_ended_renews_nothing")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_leases_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
    )
    _index("one_live_lease", "leases", ["credential_id"], "ended_at IS NULL", unique=True)
    op.create_index("one_lease_of_run", "leases", ["run_id"], unique=True)
    op.add_column("credential_versions", sa.Column("run_id", WORD, nullable=True))
    op.add_column("machines", sa.Column("run_id", WORD, nullable=True))
    _index("one_machine_of_run", "machines", ["run_id"], "run_id IS NOT NULL", unique=True)
    if op.get_bind().dialect.name == "sqlite":
        _change_text()
        statements = _sqlite()
    else:
        for (table, name), (_, after) in CHECKS.items():
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
            whole = after + REST if name == "status_with_reason" else after
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, whole)
        op.create_check_constraint(op.f("ck_machines_run_has_its_run"), "machines", RUN_HAS_ITS_RUN)
        statements = _postgresql()
    for statement in statements:
        op.execute(sa.text(statement))


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _change_text() -> None:
    bind = op.get_bind()
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    changes = {
        **CHECKS,
        ("machines", "run_has_its_run"): (
            BESIDE,
            f"CONSTRAINT ck_machines_run_has_its_run CHECK ({RUN_HAS_ITS_RUN}), {BESIDE}",
        ),
    }
    for (table, _), (before, after) in changes.items():
        changed = bind.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
                " WHERE type = 'table' AND name = :name AND sql LIKE '%' || :before || '%'"
            ),
            {"name": table, "before": before, "after": after},
        )
        if changed.rowcount != 1:
            message = f"the table {table} is not as revision {down_revision} left it"
            raise RuntimeError(message)
    # without it this connection and every other one would go on with what they have read
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = OFF"))


def _when(when: str, columns: tuple[str, ...], changed: str) -> str:
    changes = " OR ".join(f"NEW.{column} {changed} OLD.{column}" for column in columns)
    return f"({when}) AND ({changes})" if when and changes else when or changes


def _sqlite() -> list[str]:
    return [
        f"CREATE TRIGGER {name} BEFORE {occasion} ON {table} WHEN {_when(when, columns, 'IS NOT')} BEGIN SELECT "
        f"RAISE(ABORT, '{said}'); END"
        for name, table, occasion, said, when, columns in RULES
    ]


def _postgresql() -> list[str]:
    made = []
    for name, table, occasion, said, when, columns in RULES:
        refused = f"RAISE EXCEPTION '{said}' {REFUSED};"
        row = "OLD" if occasion == "DELETE" else "NEW"
        refuses = _when(when, columns, "IS DISTINCT FROM")
        made += [
            _function(name, f"IF {refuses} THEN {refused} END IF; RETURN {row};"),
            f"CREATE TRIGGER {name} BEFORE {occasion} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
        if occasion == "DELETE":
            some = f"EXISTS (SELECT 1 FROM {table} AS kept WHERE {when.replace('OLD.', 'kept.')})"
            made += [
                _function(f"{name}_whole", f"IF {some} THEN {refused} END IF; RETURN NULL;"),
                f"CREATE TRIGGER {name}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {name}_whole()",
            ]
    return made


def _function(name: str, body: str) -> str:
    path = " SET search_path FROM CURRENT" if "SELECT" in body else ""
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql{path} AS $$ BEGIN {body} END $$"
