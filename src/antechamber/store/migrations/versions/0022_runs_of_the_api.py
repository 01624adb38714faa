"""Tickets to the terminals of runs, and Idempotency-Keys with which runs are asked for.

SQLite cannot change a CHECK; as in revision 0014 the text that says what the tables are is changed in place, for
nothing that lies in them changes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")

CHECKS: Final = {
    "kind": (
        (
            "kind IN ('binding_cookie', 'challenge', 'dashboard_cookie', 'dashboard_link', 'link', 'login', 'return', "
            "'session_cookie', 'ticket')"
        ),
        (
            "kind IN ('binding_cookie', 'challenge', 'dashboard_cookie', 'dashboard_link', 'link', 'login', 'return', "
            "'run_ticket', 'session_cookie', 'ticket')"
        ),
    ),
    "session_or_dashboard": (
        "(kind IN ('dashboard_cookie', 'dashboard_link', 'login')) = (session_id IS NULL)",
        "(kind IN ('dashboard_cookie', 'dashboard_link', 'login', 'run_ticket')) = (session_id IS NULL)",
    ),
}
"""Each CHECK of `access` by its name, as it was and as it is from here on."""


def upgrade() -> None:
    """Make the table, and let the word in."""
    op.create_table(
        "run_keys",
        sa.Column("caller", WORD, nullable=False),
        sa.Column("key", WORD, nullable=False),
        sa.Column("body_hash", WORD, nullable=False),
        sa.Column("run_id", WORD, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_keys_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_run_keys")),
    )
    op.create_index("run_keys_old", "run_keys", ["created_at"])
    op.create_index("run_keys_of_run", "run_keys", ["run_id"])
    if op.get_bind().dialect.name == "sqlite":
        _change_text()
        return
    for name, (_, after) in CHECKS.items():
        op.drop_constraint(op.f(f"ck_access_{name}"), "access", type_="check")
        op.create_check_constraint(op.f(f"ck_access_{name}"), "access", after)


def _change_text() -> None:
    bind = op.get_bind()
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    for before, after in CHECKS.values():
        changed = bind.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
                " WHERE type = 'table' AND name = 'access' AND sql LIKE '%' || :before || '%'"
            ),
            {"before": before, "after": after},
        )
        if changed.rowcount != 1:
            message = f"the table access is not as revision {down_revision} left it"
            raise RuntimeError(message)
    # without it this connection and every other one would go on with what they have read
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = OFF"))
