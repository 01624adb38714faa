"""How many sign-ins an application may have open, and start within an hour; those that are there have no limit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for name in ("live", "starts_an_hour"):
        op.add_column("applications", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))
