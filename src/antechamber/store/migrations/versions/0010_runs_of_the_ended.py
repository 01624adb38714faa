"""Which run of the CLI it was, that it gave up and what it said, stay as they are once a session has ended."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TERMINAL: Final = "('cancelled', 'completed', 'expired', 'failed')"
TRIGGERS: Final = {
    "sqlite": (
        "DROP TRIGGER terminal_session",
        (
            f"CREATE TRIGGER terminal_session BEFORE UPDATE ON auth_sessions WHEN (OLD.status IN {TERMINAL}) AND "
            "(NEW.status IS NOT OLD.status OR NEW.reason IS NOT OLD.reason OR NEW.detail IS NOT OLD.detail OR "
            "NEW.status_at IS NOT OLD.status_at OR NEW.expires_at IS NOT OLD.expires_at OR NEW.ended_at IS NOT "
            "OLD.ended_at OR NEW.captured_credential_id IS NOT OLD.captured_credential_id OR NEW.captured_version"
            " IS NOT OLD.captured_version OR NEW.attempt IS NOT OLD.attempt OR NEW.gave_up_at IS NOT "
            "OLD.gave_up_at OR NEW.cli_said IS NOT OLD.cli_said) BEGIN SELECT RAISE(ABORT, 'a terminal session "
            "does not change'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE OR REPLACE FUNCTION terminal_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
            f"(OLD.status IN {TERMINAL}) AND (NEW.status IS DISTINCT FROM OLD.status OR NEW.reason IS DISTINCT FROM "
            "OLD.reason OR NEW.detail IS DISTINCT FROM OLD.detail OR NEW.status_at IS DISTINCT FROM OLD.status_at"
            " OR NEW.expires_at IS DISTINCT FROM OLD.expires_at OR NEW.ended_at IS DISTINCT FROM OLD.ended_at OR "
            "NEW.captured_credential_id IS DISTINCT FROM OLD.captured_credential_id OR NEW.captured_version IS "
            "DISTINCT FROM OLD.captured_version OR NEW.attempt IS DISTINCT FROM OLD.attempt OR NEW.gave_up_at IS "
            "DISTINCT FROM OLD.gave_up_at OR NEW.cli_said IS DISTINCT FROM OLD.cli_said) THEN RAISE EXCEPTION "
            "'a terminal session does not change' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = "
            "TG_NAME; END IF; RETURN NEW; END $$"
        ),
    ),
}


def upgrade() -> None:
    """Make the trigger anew, with the three columns that 0008 added."""
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)
