"""Plain text that the operator may allow, with the reasons for each; and whole months of the audit that may go.

SQLite cannot change a CHECK; as in revision 0014 the text that says what the tables are is changed in place, for
nothing that lies in them changes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
HASH: Final = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
COUNT: Final = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
FIELDS: Final = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
REFUSED: Final = "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME"

CHECKS: Final = {
    ("audit", "actor"): (
        "actor IN ('application', 'command_line', 'dashboard', 'operator_token', 'person')",
        "actor IN ('application', 'command_line', 'dashboard', 'operator_token', 'person', 'service')",
    ),
    ("audit", "action"): (
        (
            "action IN ('credential_deleted', 'credential_opened', 'credential_rejected', 'credential_stored', "
            "'owner_erased')"
        ),
        (
            "action IN ('audit_pruned', 'credential_deleted', 'credential_opened', 'credential_rejected', "
            "'credential_stored', 'owner_erased', 'reveal_allowed', 'reveal_forbidden')"
        ),
    ),
    ("audit", "purpose"): ("purpose IN ('check', 'rotation')", "purpose IN ('check', 'reveal', 'rotation')"),
}
"""Each CHECK by its table and column, as it was and as it is from here on."""

WHOLE_MONTHS: Final = {
    "sqlite": "until LIKE '____-__-01T00:00:00.000000Z'",
    "postgresql": "until = date_trunc('month', until AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
}
NOT_CUT: Final = "NOT EXISTS (SELECT 1 FROM audit_cuts WHERE {row}.at < until AND {row}.seq <= last_seq)"
CUT: Final = (
    "NEW.lines < 1 OR NEW.lines <> (SELECT count(*) FROM audit WHERE at < NEW.until AND seq <= NEW.last_seq) OR EXISTS "
    "(SELECT 1 FROM audit WHERE at < NEW.until AND seq > NEW.last_seq) OR NOT EXISTS (SELECT 1 FROM audit WHERE at < "
    "NEW.until AND seq = NEW.last_seq) OR NEW.first_seq <> (SELECT min(seq) FROM audit WHERE at < NEW.until) OR EXISTS "
    "(SELECT 1 FROM audit_cuts WHERE until >= NEW.until)"
)
IS_THERE: Final = "EXISTS (SELECT 1 FROM audit_reasons WHERE id = NEW.id)"
HAS_BOTH: Final = (
    "EXISTS (SELECT 1 FROM audit WHERE id = {row}.id) AND EXISTS (SELECT 1 FROM audit_keys WHERE application = "
    "{row}.application AND user_id = {row}.user_id)"
)
TAKES_ALL: Final = "a cut of the audit takes every line of its months and tells how many"
RULES: Final = (
    ("audit_kept", "audit", "DELETE", "a line of the audit is kept", NOT_CUT),
    ("cut_tells_what_it_takes", "audit_cuts", "INSERT", TAKES_ALL, CUT),
    ("cut_stays", "audit_cuts", "UPDATE", "a cut of the audit does not change", ""),
    ("cut_kept", "audit_cuts", "DELETE", "a cut of the audit is kept", "{row}.until IS NOT NULL"),
    ("reason_stays", "audit_reasons", "UPDATE", "a reason does not change", ""),
    ("reason_not_replaced", "audit_reasons", "INSERT", "a reason is not replaced", IS_THERE),
    ("reason_kept", "audit_reasons", "DELETE", "a reason is kept as long as its line and its owner", HAS_BOTH),
)
"""Triggers: name, table, before what, what they say, and when they refuse."""


def upgrade() -> None:
    """Make the tables, the columns and the triggers, and let the words in."""
    kind = op.get_bind().dialect.name
    op.create_table(
        "audit_reasons",
        sa.Column("id", WORD, nullable=False),
        sa.Column("application", WORD, nullable=False),
        sa.Column("user_id", WORD, nullable=False),
        sa.Column("reason", WORD, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_reasons")),
    )
    op.create_index("reasons_of_owner", "audit_reasons", ["application", "user_id"])
    op.create_table(
        "audit_cuts",
        sa.Column("until", TIME, nullable=False),
        sa.Column("lines", COUNT, nullable=False),
        sa.Column("first_seq", COUNT, nullable=False),
        sa.Column("last_seq", COUNT, nullable=False),
        sa.Column("digest", HASH, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.CheckConstraint("at >= until", name=op.f("ck_audit_cuts_month_is_over")),
        sa.CheckConstraint(WHOLE_MONTHS[kind], name=op.f("ck_audit_cuts_whole_months")),
        sa.PrimaryKeyConstraint("until", name=op.f("pk_audit_cuts")),
    )
    op.create_table(
        "reveals_allowed",
        sa.Column("provider", WORD, nullable=False),
        sa.Column("terms_read_on", sa.Date(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_reveals_allowed")),
    )
    op.add_column("audit", sa.Column("fields", FIELDS, nullable=True))
    op.add_column("installation", sa.Column("audit_taken", COUNT, nullable=True))
    some = sa.text("purpose IS NOT NULL")
    op.create_index("audit_openings", "audit", ["purpose", "at"], sqlite_where=some, postgresql_where=some)
    op.create_index("audit_old", "audit", ["at"])
    if kind == "sqlite":
        _change_text()
    else:
        for (table, column), (_, after) in CHECKS.items():
            op.drop_constraint(op.f(f"ck_{table}_{column}"), table, type_="check")
            op.create_check_constraint(op.f(f"ck_{table}_{column}"), table, after)
    for statement in _sqlite() if kind == "sqlite" else _postgresql():
        op.execute(sa.text(statement))


def _change_text() -> None:
    bind = op.get_bind()
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    for (table, _), (before, after) in CHECKS.items():
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


def _sqlite() -> list[str]:
    made = ["DROP TRIGGER audit_kept"]
    for name, table, occasion, said, when in RULES:
        refuses = f" WHEN {when.format(row='OLD')}" if when else ""
        made.append(
            f"CREATE TRIGGER {name} BEFORE {occasion} ON {table}{refuses} BEGIN SELECT RAISE(ABORT, '{said}'); END"
        )
    return made


def _postgresql() -> list[str]:
    made = [
        f"DROP {thing}"
        for name in ("audit_kept", "audit_kept_whole")
        for thing in (f"TRIGGER {name} ON audit", f"FUNCTION {name}()")
    ]
    for name, table, occasion, said, when in RULES:
        refused = f"RAISE EXCEPTION '{said}' {REFUSED};"
        row = "OLD" if occasion == "DELETE" else "NEW"
        body = f"IF {when.format(row='OLD')} THEN {refused} END IF; RETURN {row};" if when else refused
        made += [
            _function(name, body),
            f"CREATE TRIGGER {name} BEFORE {occasion} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
        if occasion == "DELETE":
            some = f"EXISTS (SELECT 1 FROM {table} AS kept WHERE {when.format(row='kept')})"
            made += [
                _function(f"{name}_whole", f"IF {some} THEN {refused} END IF; RETURN NULL;"),
                f"CREATE TRIGGER {name}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {name}_whole()",
            ]
    return made


def _function(name: str, body: str) -> str:
    path = " SET search_path FROM CURRENT" if "SELECT" in body else ""
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql{path} AS $$ BEGIN {body} END $$"
