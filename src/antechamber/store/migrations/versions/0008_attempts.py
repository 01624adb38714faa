"""Runs of the CLI: which one it is, that it gave up, and what it said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIME = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the columns; the sessions that there are had one run."""
    op.add_column("auth_sessions", sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("auth_sessions", sa.Column("gave_up_at", _TIME, nullable=True))
    op.add_column("auth_sessions", sa.Column("cli_said", sa.String(), nullable=False, server_default=""))
