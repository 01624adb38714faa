"""Nodes: several services on one database, and the machines of each.

Whatever runs at the time of the upgrade has no node yet: the service that joins first takes it, for until now there
was one.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ENDED: Final = "('gone', 'lost')"
RUNNING: Final = "('booting', 'ready', 'stopping')"
TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")

TRIGGERS: Final = {
    "sqlite": (
        (
            f"CREATE TRIGGER begun_by_a_node BEFORE UPDATE ON machines WHEN OLD.state = 'requested' AND NEW.state IN "
            f"{RUNNING} AND NEW.node IS NULL BEGIN SELECT RAISE(ABORT, 'a machine is begun by a node'); END"
        ),
        (
            "CREATE TRIGGER machine_stays_on_its_node BEFORE UPDATE ON machines WHEN (OLD.state <> 'requested' AND "
            "OLD.node IS NOT NULL) AND (NEW.node IS NOT OLD.node) BEGIN SELECT RAISE(ABORT, 'a machine stays on its "
            "node'); END"
        ),
        (
            "CREATE TRIGGER claim_of_what_is_requested BEFORE UPDATE ON machines WHEN NEW.claimed_until IS NOT NULL "
            "AND (NEW.state <> 'requested' OR NEW.node IS NULL) BEGIN SELECT RAISE(ABORT, 'only a requested machine "
            "is claimed'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION begun_by_a_node() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.state = 'requested' "
            f"AND NEW.state IN {RUNNING} AND NEW.node IS NULL THEN RAISE EXCEPTION 'a machine is begun by a node' "
            "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        "CREATE TRIGGER begun_by_a_node BEFORE UPDATE ON machines FOR EACH ROW EXECUTE FUNCTION begun_by_a_node()",
        (
            "CREATE FUNCTION machine_stays_on_its_node() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (OLD.state <> "
            "'requested' AND OLD.node IS NOT NULL) AND (NEW.node IS DISTINCT FROM OLD.node) THEN RAISE EXCEPTION "
            "'a machine stays on its node' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; "
            "END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER machine_stays_on_its_node BEFORE UPDATE ON machines FOR EACH ROW EXECUTE FUNCTION "
            "machine_stays_on_its_node()"
        ),
        (
            "CREATE FUNCTION claim_of_what_is_requested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
            "NEW.claimed_until IS NOT NULL AND (NEW.state <> 'requested' OR NEW.node IS NULL) THEN RAISE EXCEPTION "
            "'only a requested machine is claimed' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = "
            "TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER claim_of_what_is_requested BEFORE UPDATE ON machines FOR EACH ROW EXECUTE FUNCTION "
            "claim_of_what_is_requested()"
        ),
    ),
}


def upgrade() -> None:
    """Make the table of nodes, and give machines their node and claim."""
    op.create_table(
        "nodes",
        sa.Column("id", WORD, nullable=False),
        sa.Column("name", WORD, nullable=False),
        sa.Column("url", WORD, nullable=True),
        sa.Column("joined_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
    )
    op.add_column("machines", sa.Column("node", WORD, nullable=True))
    op.add_column("machines", sa.Column("claimed_until", TIME, nullable=True))
    op.drop_index("one_machine_of_uid", "machines")
    op.create_index(
        "one_machine_of_uid",
        "machines",
        ["node", "host_uid"],
        unique=True,
        sqlite_where=sa.text(f"state NOT IN {ENDED}"),
        postgresql_where=sa.text(f"state NOT IN {ENDED}"),
    )
    op.create_index(
        "machines_requested",
        "machines",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("state = 'requested'"),
        postgresql_where=sa.text("state = 'requested'"),
    )
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))
