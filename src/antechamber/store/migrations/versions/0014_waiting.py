"""A reason more: no machine became free in time.

SQLite cannot change a CHECK, and to copy `events` whole for one word would take long on a large file. Nothing that lies
in the tables changes, so the text that says what they are is changed in place, as SQLite's own manual does it
(lang_altertable.html, section 7: changes that do not affect the content on disk).
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLES: Final = ("auth_sessions", "events")
WORD: Final = "'no_machine_free'"
NEXT: Final = "'nobody_came'"
"""The word before which it stands; the list is in the order of the alphabet."""


def upgrade() -> None:
    """Let both tables take it."""
    if op.get_bind().dialect.name == "sqlite":
        _change_text()
    else:
        _change_checks()


def _change_text() -> None:
    bind = op.get_bind()
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    for table in TABLES:
        changed = bind.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
                " WHERE type = 'table' AND name = :name AND sql LIKE '%' || :before || '%'"
            ),
            {"name": table, "before": NEXT, "after": f"{WORD}, {NEXT}"},
        )
        if changed.rowcount != 1:
            message = f"the table {table} is not as revision {down_revision} left it"
            raise RuntimeError(message)
    # without it this connection and every other one would go on with what they have read
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = OFF"))


def _change_checks() -> None:
    for table in TABLES:
        name = f"ck_{table}_reason"
        op.drop_constraint(op.f(name), table, type_="check")
        op.create_check_constraint(op.f(name), table, f"reason IN {REASONS}")


REASONS: Final = (
    "('cancelled_by_caller', 'cancelled_by_person', 'cli_ended', 'cli_never_opened_page', 'credential_unusable', "
    "'guest_protocol', 'guest_version', 'machine_broken', 'machine_did_not_start', 'machine_ended', 'no_machine_free', "
    "'nobody_came', 'other_account', 'provider_unavailable', 'sandbox_off', 'sign_in_timed_out', 'superseded')"
)
