"""Applications and their keys, and sessions that open only to the browser that their application has named.

SQLite cannot change a CHECK; as in revision 0014 the text that says what the tables are is changed in place, for
nothing that lies in them changes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
HASH: Final = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
REFUSED: Final = "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME"

CHECKS: Final = {
    ("access", "kind"): (
        "kind IN ('dashboard_cookie', 'dashboard_link', 'link', 'session_cookie', 'ticket')",
        (
            "kind IN ('binding_cookie', 'challenge', 'dashboard_cookie', 'dashboard_link', 'link', 'return', "
            "'session_cookie', 'ticket')"
        ),
    ),
    ("audit", "actor"): (
        "actor IN ('command_line', 'dashboard', 'operator_token', 'person')",
        "actor IN ('application', 'command_line', 'dashboard', 'operator_token', 'person')",
    ),
    ("erasures", "asked_by"): (
        "asked_by IN ('command_line', 'dashboard', 'operator_token')",
        "asked_by IN ('application', 'command_line', 'dashboard', 'operator_token')",
    ),
}
"""Each CHECK by its table and column, as it was and as it is from here on."""

KEY_IDENTITY: Final = ("id", "application", "secret_hash", "scopes", "created_at", "expires_at")
BOUND: Final = (
    "NEW.binds AND NEW.opened_at IS NULL AND (NEW.consented_at IS NOT NULL OR NEW.screen_seen_at IS NOT NULL)"
)
UPDATES: Final = (
    (
        "session_binding",
        "auth_sessions",
        "whether a session binds its browser is settled when it begins",
        "",
        ("binds",),
    ),
    ("bound_before_consent", "auth_sessions", "a session opens to nobody before its browser is bound", BOUND, ()),
    ("api_key_identity", "api_keys", "a key stays what it is", "", KEY_IDENTITY),
    ("api_key_stays_revoked", "api_keys", "a revoked key stays revoked", "OLD.revoked_at IS NOT NULL", ("revoked_at",)),
)
"""Triggers before an UPDATE: name, table, what they say, when they refuse, and the columns that stay then."""
KEPT: Final = (
    ("application_kept", "applications", "an application is kept, for what is its own names it"),
    ("api_key_kept", "api_keys", "a key is kept, also a revoked one"),
)
NOT_REPLACED: Final = "EXISTS (SELECT 1 FROM api_keys WHERE id = NEW.id OR secret_hash = NEW.secret_hash)"


def upgrade() -> None:
    """Make the tables, the column and the triggers, and let the words in."""
    op.create_table(
        "applications",
        sa.Column("id", WORD, nullable=False),
        sa.Column("name", WORD, nullable=False),
        sa.Column("bind_url", WORD, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applications")),
        sa.UniqueConstraint("name", name=op.f("uq_applications_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", WORD, nullable=False),
        sa.Column("application", WORD, nullable=False),
        sa.Column("name", WORD, nullable=False),
        sa.Column("secret_hash", HASH, nullable=False),
        sa.Column("scopes", WORD, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["application"], ["applications.id"], name=op.f("fk_api_keys_application")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    op.create_index("keys_of_application", "api_keys", ["application", "created_at"])
    op.add_column("auth_sessions", sa.Column("binds", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("sessions_of_application", "auth_sessions", ["application", "created_at", "id"])
    op.add_column("audit", sa.Column("api_key", WORD, nullable=True))
    op.add_column("erasures", sa.Column("api_key", WORD, nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _change_text()
        statements = _sqlite()
    else:
        for (table, column), (_, after) in CHECKS.items():
            op.drop_constraint(op.f(f"ck_{table}_{column}"), table, type_="check")
            op.create_check_constraint(op.f(f"ck_{table}_{column}"), table, after)
        statements = _postgresql()
    for statement in statements:
        op.execute(sa.text(statement))


def _change_text() -> None:
    bind = op.get_bind()
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    for (table, _), (before, after) in CHECKS.items():
        changed = bind.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
                " WHERE type = 'table' AND name = :name AND sql LIKE '%' || :before || '%'"
            ),
            {"name": table, "before": before, "after": after},
        )
        if changed.rowcount != 1:
            message = f"the table {table} is not as revision {down_revision} left it"
            raise RuntimeError(message)
    # without it this connection and every other one would go on with what they have read
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = OFF"))


def _when(when: str, columns: tuple[str, ...], changed: str) -> str:
    changes = " OR ".join(f"NEW.{column} {changed} OLD.{column}" for column in columns)
    return f"({when}) AND ({changes})" if when and changes else when or changes


def _sqlite() -> list[str]:
    made = [
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} WHEN {_when(when, columns, 'IS NOT')} BEGIN SELECT "
        f"RAISE(ABORT, '{said}'); END"
        for name, table, said, when, columns in UPDATES
    ]
    made += [
        f"CREATE TRIGGER {name} BEFORE DELETE ON {table} WHEN OLD.id IS NOT NULL BEGIN SELECT RAISE(ABORT, '{said}'); "
        "END"
        for name, table, said in KEPT
    ]
    replaced = (
        f"CREATE TRIGGER api_key_not_replaced BEFORE INSERT ON api_keys WHEN {NOT_REPLACED} BEGIN SELECT "
        "RAISE(ABORT, 'a key is not replaced'); END"
    )
    return [*made, replaced]


def _postgresql() -> list[str]:
    made = []
    for name, table, said, when, columns in UPDATES:
        refused = f"RAISE EXCEPTION '{said}' {REFUSED}"
        refuses = _when(when, columns, "IS DISTINCT FROM")
        made += [
            _function(name, f"BEGIN IF {refuses} THEN {refused}; END IF; RETURN NEW; END"),
            f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    for row, table, said in KEPT:
        whole, refused = f"{row}_whole", f"RAISE EXCEPTION '{said}' {REFUSED}"
        some = f"EXISTS (SELECT 1 FROM {table} AS kept WHERE kept.id IS NOT NULL)"
        made += [
            _function(row, f"BEGIN IF OLD.id IS NOT NULL THEN {refused}; END IF; RETURN OLD; END"),
            f"CREATE TRIGGER {row} BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {row}()",
            _function(
                whole, f"BEGIN IF {some} THEN {refused}; END IF; RETURN NULL; END", " SET search_path FROM CURRENT"
            ),
            f"CREATE TRIGGER {whole} BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {whole}()",
        ]
    new, refused = "api_key_not_replaced", f"RAISE EXCEPTION 'a key is not replaced' {REFUSED}"
    body = f"BEGIN IF {NOT_REPLACED} THEN {refused}; END IF; RETURN NEW; END"
    return [
        *made,
        _function(new, body, " SET search_path FROM CURRENT"),
        f"CREATE TRIGGER {new} BEFORE INSERT ON api_keys FOR EACH ROW EXECUTE FUNCTION {new}()",
    ]


def _function(name: str, body: str, setting: str = "") -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql{setting} AS $$ {body} $$"
