"""Credentials over time: their statuses and stories, and whether a sign-in may replace the account.

What is stored already is taken for active since its last sign-in; how long it lasts was not looked at then, and what is
sealed is not opened for it.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
FIELDS: Final = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

SESSION_REASONS: Final = (
    "('cancelled_by_caller', 'cancelled_by_person', 'cli_ended', 'cli_never_opened_page', "
    "'credential_unusable', 'guest_protocol', 'guest_version', 'machine_broken', 'machine_did_not_start', "
    "'machine_ended', 'nobody_came', 'other_account', 'provider_unavailable', 'sandbox_off', "
    "'sign_in_timed_out', 'superseded')"
)
STATUSES: Final = "('active', 'deleted', 'expiring', 'needs_sign_in', 'revoked')"
REASONS: Final = (
    "('check_accepted', 'check_refused', 'deleted', 'expired', 'expiry_near', 'rejected', 'said_revoked', "
    "'signed_in', 'vendor_refused')"
)
CHECKS: Final = {
    "status_with_reason": (
        "(status = 'active' AND status_reason IN ('check_accepted', 'signed_in'))"
        " OR (status = 'expiring' AND status_reason IN ('expiry_near'))"
        " OR (status = 'needs_sign_in' AND status_reason IN ('check_refused', 'expired', 'vendor_refused'))"
        " OR (status = 'revoked' AND status_reason IN ('said_revoked'))"
        " OR (status = 'deleted' AND status_reason IN ('deleted', 'rejected'))"
    ),
    "deleted_is_tombstone": "(status = 'deleted') = (deleted_at IS NOT NULL)",
    "tombstone_has_no_end": "deleted_at IS NULL OR (renewable IS NULL AND ends_at IS NULL)",
    "expires_at_a_known_time": "status_reason NOT IN ('expired', 'expiry_near') OR ends_at IS NOT NULL",
}
TOMBSTONE: Final = {
    "sqlite": (
        "CREATE TRIGGER tombstone BEFORE UPDATE ON provider_credentials WHEN OLD.deleted_at IS NOT NULL "
        "BEGIN SELECT RAISE(ABORT, 'a deleted credential does not change'); END"
    ),
    "postgresql": (
        "CREATE TRIGGER tombstone BEFORE UPDATE ON provider_credentials FOR EACH ROW EXECUTE FUNCTION tombstone()"
    ),
}

TRIGGERS: Final = {
    "sqlite": (
        (
            "CREATE TRIGGER credential_begins_active BEFORE INSERT ON provider_credentials WHEN NEW.status <> "
            "'active' BEGIN SELECT RAISE(ABORT, 'a credential begins as active'); END"
        ),
        (
            "CREATE TRIGGER sign_in_makes_active BEFORE UPDATE ON provider_credentials WHEN NEW.version <> "
            "OLD.version AND NEW.status <> 'active' BEGIN SELECT RAISE(ABORT, 'a new version of a credential is "
            "active'); END"
        ),
        (
            "CREATE TRIGGER revoked_until_a_sign_in BEFORE UPDATE ON provider_credentials WHEN OLD.status = 'revoked' "
            "AND NEW.version = OLD.version AND NEW.status NOT IN ('deleted', 'revoked') BEGIN SELECT RAISE(ABORT, 'a "
            "revoked credential stays revoked until a sign-in'); END"
        ),
        (
            "CREATE TRIGGER agreed_account BEFORE UPDATE ON auth_sessions WHEN (OLD.consented_at IS NOT NULL) AND "
            "(NEW.replace_account IS NOT OLD.replace_account) BEGIN SELECT RAISE(ABORT, 'whether another account may "
            "replace the stored one is settled when the person agrees'); END"
        ),
        (
            "CREATE TRIGGER credential_event_kept BEFORE UPDATE ON credential_events BEGIN SELECT RAISE(ABORT, 'an "
            "event of a credential does not change'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION credential_begins_active() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.status <> "
            "'active' THEN RAISE EXCEPTION 'a credential begins as active' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER credential_begins_active BEFORE INSERT ON provider_credentials FOR EACH ROW EXECUTE "
            "FUNCTION credential_begins_active()"
        ),
        (
            "CREATE FUNCTION sign_in_makes_active() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.version <> "
            "OLD.version AND NEW.status <> 'active' THEN RAISE EXCEPTION 'a new version of a credential is active' "
            "USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER sign_in_makes_active BEFORE UPDATE ON provider_credentials FOR EACH ROW EXECUTE FUNCTION "
            "sign_in_makes_active()"
        ),
        (
            "CREATE FUNCTION revoked_until_a_sign_in() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.status = "
            "'revoked' AND NEW.version = OLD.version AND NEW.status NOT IN ('deleted', 'revoked') THEN RAISE "
            "EXCEPTION 'a revoked credential stays revoked until a sign-in' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER revoked_until_a_sign_in BEFORE UPDATE ON provider_credentials FOR EACH ROW EXECUTE "
            "FUNCTION revoked_until_a_sign_in()"
        ),
        (
            "CREATE FUNCTION agreed_account() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (OLD.consented_at IS "
            "NOT NULL) AND (NEW.replace_account IS DISTINCT FROM OLD.replace_account) THEN RAISE EXCEPTION 'whether "
            "another account may replace the stored one is settled when the person agrees' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        ("CREATE TRIGGER agreed_account BEFORE UPDATE ON auth_sessions FOR EACH ROW EXECUTE FUNCTION agreed_account()"),
        (
            "CREATE FUNCTION credential_event_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'an "
            "event of a credential does not change' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = "
            "TG_NAME; END $$"
        ),
        (
            "CREATE TRIGGER credential_event_kept BEFORE UPDATE ON credential_events FOR EACH ROW EXECUTE FUNCTION "
            "credential_event_kept()"
        ),
    ),
}


def upgrade() -> None:
    """Add columns, the table of stories, and the word `other_account`."""
    dialect = op.get_bind().dialect.name
    op.add_column(
        "auth_sessions", sa.Column("replace_account", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    for name, kind in (
        ("status", WORD),
        ("status_reason", WORD),
        ("status_at", TIME),
        ("renewable", sa.Boolean()),
        ("ends_at", TIME),
    ):
        op.add_column("provider_credentials", sa.Column(name, kind, nullable=True))
    op.execute(sa.text("DROP TRIGGER tombstone" + (" ON provider_credentials" if dialect == "postgresql" else "")))
    op.execute(
        sa.text(
            "UPDATE provider_credentials SET"
            " status = CASE WHEN deleted_at IS NULL THEN 'active' ELSE 'deleted' END,"
            " status_reason = CASE WHEN deleted_at IS NULL THEN 'signed_in' ELSE 'deleted' END,"
            " status_at = CASE WHEN deleted_at IS NULL THEN stored_at ELSE deleted_at END"
        )
    )
    op.execute(sa.text(TOMBSTONE[dialect]))
    _make_stories()
    _make_indexes()
    (_change_sqlite if dialect == "sqlite" else _change_postgres)()
    for statement in TRIGGERS[dialect]:
        op.execute(sa.text(statement))


def _make_stories() -> None:
    op.create_table(
        "credential_events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=True),
            primary_key=True,
        ),
        sa.Column("credential_id", WORD, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("before", WORD, nullable=True),
        sa.Column("after", WORD, nullable=False),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("session_id", WORD, nullable=True),
        sa.Column("fields", FIELDS, nullable=False),
        sa.CheckConstraint(f"before IN {STATUSES}", name=op.f("ck_credential_events_before")),
        sa.CheckConstraint(f"after IN {STATUSES}", name=op.f("ck_credential_events_after")),
        sa.CheckConstraint(f"reason IN {REASONS}", name=op.f("ck_credential_events_reason")),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["provider_credentials.id"],
            name=op.f("fk_credential_events_credential_id"),
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("events_of_credential", "credential_events", ["credential_id", "seq"])
    op.create_index("credential_events_old", "credential_events", ["at"])


def _make_indexes() -> None:
    for name, columns, condition in (
        ("credentials_ending", ["ends_at"], "status IN ('active', 'expiring')"),
        ("credentials_by_status", ["provider", "status"], "deleted_at IS NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "provider_credentials", columns, sqlite_where=where, postgresql_where=where)


def _change_postgres() -> None:
    for name in ("status", "status_reason", "status_at"):
        op.alter_column("provider_credentials", name, nullable=False)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_provider_credentials_{name}"), "provider_credentials", condition)
    for table in ("auth_sessions", "events"):
        op.drop_constraint(op.f(f"ck_{table}_reason"), table)
        op.create_check_constraint(op.f(f"ck_{table}_reason"), table, f"reason IN {SESSION_REASONS}")


def _change_sqlite() -> None:
    """Change what the file says of its tables, as https://sqlite.org/lang_altertable.html has it for constraints.

    No row changes its form by it. Making the tables anew would drop every trigger that others have put on them.
    """
    checks = "".join(f", CONSTRAINT ck_provider_credentials_{name} CHECK ({said})" for name, said in CHECKS.items())
    _reword(
        "provider_credentials",
        ("status VARCHAR,", "status VARCHAR NOT NULL,"),
        ("status_reason VARCHAR,", "status_reason VARCHAR NOT NULL,"),
        ("status_at VARCHAR(27),", "status_at VARCHAR(27) NOT NULL,"),
        ("CHECK (version >= 1)", f"CHECK (version >= 1){checks}"),
    )
    for table in ("auth_sessions", "events"):
        _reword(table, ("'nobody_came', ", "'nobody_came', 'other_account', "))
    # with it the connection also reads anew what the file says
    op.execute(sa.text("PRAGMA writable_schema = RESET"))


def _reword(table: str, *changes: tuple[str, str]) -> None:
    connection = op.get_bind()
    wanted = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    said = connection.execute(wanted, {"name": table}).scalar_one()
    for old, new in changes:
        if said.count(old) != 1:
            message = f"the table {table} is not as it was made: {old!r} is there {said.count(old)} times"
            raise RuntimeError(message)
        said = said.replace(old, new)
    op.execute(sa.text("PRAGMA writable_schema = ON"))
    changed = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name")
    connection.execute(changed, {"sql": said, "name": table})
