"""Operators' logins by OpenID Connect: whose a dashboard's cookie is, and which operator did what.

SQLite cannot change a CHECK; as in revision 0017 the text that says what the tables are is changed in place, for
nothing that lies in them changes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
HASH: Final = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")

NAMED: Final = (("operator_issuer", WORD), ("operator_subject", WORD))
COLUMNS: Final = {
    "access": (*NAMED, ("operator_name", WORD), ("operator_terms", HASH)),
    "audit": NAMED,
    "erasures": NAMED,
}
CHANGED: Final = {
    "kind": (
        (
            "kind IN ('binding_cookie', 'challenge', 'dashboard_cookie', 'dashboard_link', 'link', 'return', "
            "'session_cookie', 'ticket')"
        ),
        (
            "kind IN ('binding_cookie', 'challenge', 'dashboard_cookie', 'dashboard_link', 'link', 'login', 'return', "
            "'session_cookie', 'ticket')"
        ),
    ),
    "session_or_dashboard": (
        "(kind IN ('dashboard_cookie', 'dashboard_link')) = (session_id IS NULL)",
        "(kind IN ('dashboard_cookie', 'dashboard_link', 'login')) = (session_id IS NULL)",
    ),
}
"""CHECKs of `access`, as they were and as they are from here on."""
ADDED: Final = {
    "access": {
        "whole_operator": (
            "(operator_issuer IS NULL) = (operator_subject IS NULL) AND (operator_issuer IS NULL) = (operator_name IS "
            "NULL) AND (operator_issuer IS NULL) = (operator_terms IS NULL)"
        ),
        "operator_at_the_dashboard": "operator_issuer IS NULL OR kind = 'dashboard_cookie'",
    },
    "audit": {
        "operator_at_the_dashboard": (
            "(operator_issuer IS NULL) = (operator_subject IS NULL) AND (operator_issuer IS NULL OR actor = "
            "'dashboard')"
        ),
    },
    "erasures": {
        "operator_at_the_dashboard": (
            "(operator_issuer IS NULL) = (operator_subject IS NULL) AND (operator_issuer IS NULL OR asked_by = "
            "'dashboard')"
        ),
    },
}


def upgrade() -> None:
    """Add the columns, let the word in, and have a row name an operator whole or not at all."""
    for table, columns in COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _change_text()
        return
    for name, (_, after) in CHANGED.items():
        op.drop_constraint(op.f(f"ck_access_{name}"), "access", type_="check")
        op.create_check_constraint(op.f(f"ck_access_{name}"), "access", after)
    for table, checks in ADDED.items():
        for name, said in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, said)


def _change_text() -> None:
    bind = op.get_bind()
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    for table, checks in ADDED.items():
        wanted = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
        said: str = bind.execute(wanted, {"name": table}).scalar_one()
        for before, after in CHANGED.values() if table == "access" else ():
            if said.count(before) != 1:
                message = f"the table {table} is not as revision {down_revision} left it"
                raise RuntimeError(message)
            said = said.replace(before, after)
        more = "".join(f", CONSTRAINT ck_{table}_{name} CHECK ({check})" for name, check in checks.items())
        said = said.rstrip().removesuffix(")") + more + ")"
        changed = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name")
        bind.execute(changed, {"sql": said, "name": table})
    # without it this connection and every other one would go on with what they have read
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = OFF"))
