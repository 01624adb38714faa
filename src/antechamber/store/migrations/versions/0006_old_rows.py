"""Indexes that keep a million ended sessions out of the way of the live ones.

The conditions are spelt out here, as of this revision: what a later release calls live is that release's matter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0001"
branch_labels = None
depends_on = None

_LIVE = sa.text("status IN ('awaiting_sign_in', 'pending', 'starting')")
_RUNNING = sa.text("state NOT IN ('gone', 'lost')")


def upgrade() -> None:
    """Make them."""
    op.create_index("sessions_of_owner", "auth_sessions", ["application", "user_id", "created_at", "id"])
    op.create_index("sessions_live", "auth_sessions", ["created_at", "id"], sqlite_where=_LIVE, postgresql_where=_LIVE)
    op.create_index(
        "machines_running", "machines", ["created_at", "id"], sqlite_where=_RUNNING, postgresql_where=_RUNNING
    )
