"""Which stored credential a machine checks, so that its owner's erasure waits for it.

Of checks from before it is not known; whoever has one running ends it with the service that asked for it.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
CHECKS: Final = sa.text("credential_id IS NOT NULL")


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("machines", sa.Column("credential_id", WORD, nullable=True))
    op.create_index(
        "machines_of_credential", "machines", ["credential_id"], sqlite_where=CHECKS, postgresql_where=CHECKS
    )
