"""Erasures: that everything of an owner is to be removed, and the record that it was."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
IDENTITY: Final = ("id", "application", "asked_by", "asked_at")
REFUSED: Final = "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME"

TRIGGERS: Final = {
    "sqlite": (
        (
            "CREATE TRIGGER finished_erasure BEFORE UPDATE ON erasures WHEN OLD.finished_at IS NOT NULL BEGIN SELECT "
            "RAISE(ABORT, 'a finished erasure does not change'); END"
        ),
        (
            "CREATE TRIGGER erasure_identity BEFORE UPDATE ON erasures WHEN "
            + " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in IDENTITY)
            + " BEGIN SELECT RAISE(ABORT, 'an erasure stays whose it is'); END"
        ),
        (
            "CREATE TRIGGER erasure_kept BEFORE DELETE ON erasures WHEN OLD.id IS NOT NULL BEGIN SELECT "
            "RAISE(ABORT, 'the record of an erasure is kept'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION finished_erasure() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.finished_at IS NOT "
            f"NULL THEN RAISE EXCEPTION 'a finished erasure does not change' {REFUSED}; END IF; RETURN NEW; END $$"
        ),
        "CREATE TRIGGER finished_erasure BEFORE UPDATE ON erasures FOR EACH ROW EXECUTE FUNCTION finished_erasure()",
        (
            "CREATE FUNCTION erasure_identity() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
            + " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in IDENTITY)
            + f" THEN RAISE EXCEPTION 'an erasure stays whose it is' {REFUSED}; END IF; RETURN NEW; END $$"
        ),
        "CREATE TRIGGER erasure_identity BEFORE UPDATE ON erasures FOR EACH ROW EXECUTE FUNCTION erasure_identity()",
        (
            "CREATE FUNCTION erasure_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id IS NOT NULL THEN "
            f"RAISE EXCEPTION 'the record of an erasure is kept' {REFUSED}; END IF; RETURN OLD; END $$"
        ),
        "CREATE TRIGGER erasure_kept BEFORE DELETE ON erasures FOR EACH ROW EXECUTE FUNCTION erasure_kept()",
        (
            "CREATE FUNCTION erasure_kept_whole() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ "
            "BEGIN IF EXISTS (SELECT 1 FROM erasures AS kept WHERE kept.id IS NOT NULL) THEN RAISE EXCEPTION "
            f"'the record of an erasure is kept' {REFUSED}; END IF; RETURN NULL; END $$"
        ),
        "CREATE TRIGGER erasure_kept_whole BEFORE TRUNCATE ON erasures EXECUTE FUNCTION erasure_kept_whole()",
    ),
}


def upgrade() -> None:
    """Make the table and its triggers."""
    op.create_table(
        "erasures",
        sa.Column("id", WORD, nullable=False),
        sa.Column("application", WORD, nullable=False),
        sa.Column("user_id", WORD, nullable=True),
        sa.Column("asked_by", WORD, nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("sessions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("machines", sa.Integer(), server_default="0", nullable=False),
        sa.Column("credentials", sa.Integer(), server_default="0", nullable=False),
        sa.Column("events", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "asked_by IN ('command_line', 'dashboard', 'operator_token')", name=op.f("ck_erasures_asked_by")
        ),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (user_id IS NOT NULL)", name=op.f("ck_erasures_names_nobody_when_finished")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    where = sa.text("finished_at IS NULL")
    op.create_index(
        "one_erasure_of_owner",
        "erasures",
        ["application", "user_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))
