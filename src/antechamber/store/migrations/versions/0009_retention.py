"""Indexes by which what is past its time is found without reading the rest, and deleted without looking everywhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    for name, table, columns, condition in (
        ("credentials_deleted", "provider_credentials", ["deleted_at"], "deleted_at IS NOT NULL"),
        ("sessions_ended", "auth_sessions", ["ended_at"], "ended_at IS NOT NULL"),
        (
            "sessions_captured",
            "auth_sessions",
            ["captured_credential_id", "captured_version"],
            "captured_credential_id IS NOT NULL",
        ),
        ("machines_ended", "machines", ["ended_at"], "ended_at IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    op.create_index("events_old", "events", ["at"])
    op.create_index("idempotency_keys_of_session", "idempotency_keys", ["session_id"])
