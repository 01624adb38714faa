"""Which release upgraded the database last, for an earlier one that must refuse it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it is written at the end of each upgrade."""
    op.add_column(
        "installation", sa.Column("release", sa.String().with_variant(sa.String(collation="C"), "postgresql"))
    )
