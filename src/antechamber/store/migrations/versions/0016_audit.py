"""The audit: who did what to whose credential, appended and never changed.

What was done before is not made up afterwards: it begins with the upgrade.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
REFUSED: Final = "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME"
OF_OWNER: Final = sa.text("owner IS NOT NULL")

CHECKS: Final = {
    "actor": "actor IN ('command_line', 'dashboard', 'operator_token', 'person')",
    "action": (
        "action IN ('credential_deleted', 'credential_opened', 'credential_rejected', 'credential_stored', "
        "'owner_erased')"
    ),
    "outcome": "outcome IN ('denied', 'granted')",
    "purpose": "purpose IN ('check', 'rotation')",
    "denied_has_code": "(outcome = 'denied') = (refused IS NOT NULL)",
    "opened_has_purpose": "(action = 'credential_opened') = (purpose IS NOT NULL)",
    "erased_names_nobody": "action <> 'owner_erased' OR owner IS NULL",
}

TRIGGERS: Final = {
    "sqlite": (
        (
            "CREATE TRIGGER audit_line_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'a line of the audit does "
            "not change'); END"
        ),
        (
            "CREATE TRIGGER audit_line_not_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq "
            "= NEW.seq OR id = NEW.id) BEGIN SELECT RAISE(ABORT, 'a line of the audit is not replaced'); END"
        ),
        (
            "CREATE TRIGGER audit_kept BEFORE DELETE ON audit WHEN OLD.id IS NOT NULL BEGIN SELECT RAISE(ABORT, "
            "'a line of the audit is kept'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_line_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a line of "
            f"the audit does not change' {REFUSED}; END $$"
        ),
        "CREATE TRIGGER audit_line_kept BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_line_kept()",
        (
            "CREATE FUNCTION audit_line_not_replaced() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT "
            "AS $$ BEGIN IF EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq OR id = NEW.id) THEN RAISE EXCEPTION "
            f"'a line of the audit is not replaced' {REFUSED}; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER audit_line_not_replaced BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION "
            "audit_line_not_replaced()"
        ),
        (
            "CREATE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id IS NOT NULL THEN "
            f"RAISE EXCEPTION 'a line of the audit is kept' {REFUSED}; END IF; RETURN OLD; END $$"
        ),
        "CREATE TRIGGER audit_kept BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_kept()",
        (
            "CREATE FUNCTION audit_kept_whole() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ "
            "BEGIN IF EXISTS (SELECT 1 FROM audit AS kept WHERE kept.id IS NOT NULL) THEN RAISE EXCEPTION "
            f"'a line of the audit is kept' {REFUSED}; END IF; RETURN NULL; END $$"
        ),
        "CREATE TRIGGER audit_kept_whole BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_kept_whole()",
    ),
}


def upgrade() -> None:
    """Make the tables and the triggers."""
    op.create_table(
        "audit",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=True), primary_key=True
        ),
        sa.Column("id", WORD, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", WORD, nullable=False),
        sa.Column("action", WORD, nullable=False),
        sa.Column("outcome", WORD, nullable=False),
        sa.Column("owner", WORD, nullable=True),
        sa.Column("purpose", WORD, nullable=True),
        sa.Column("provider", WORD, nullable=True),
        sa.Column("credential_id", WORD, nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("session_id", WORD, nullable=True),
        sa.Column("refused", WORD, nullable=True),
        *(sa.CheckConstraint(said, name=op.f(f"ck_audit_{name}")) for name, said in CHECKS.items()),
        sa.UniqueConstraint("id", name=op.f("uq_audit_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_of_owner", "audit", ["owner", "seq"], sqlite_where=OF_OWNER, postgresql_where=OF_OWNER)
    op.create_table(
        "audit_keys",
        sa.Column("application", WORD, nullable=False),
        sa.Column("user_id", WORD, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("application", "user_id", name=op.f("pk_audit_keys")),
    )
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))
