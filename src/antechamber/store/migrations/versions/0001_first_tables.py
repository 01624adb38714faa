"""The first tables.

The words are written out and not taken from the enums: a migration stays what it was when it was released.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATUSES: Final = "('awaiting_sign_in', 'cancelled', 'completed', 'expired', 'failed', 'pending', 'starting')"
LIVE: Final = "('awaiting_sign_in', 'pending', 'starting')"
TERMINAL: Final = "('cancelled', 'completed', 'expired', 'failed')"
BAD_ENDS: Final = "('cancelled', 'expired', 'failed')"
REASONS: Final = (
    "('cancelled_by_caller', 'cancelled_by_person', 'cli_ended', 'cli_never_opened_page', "
    "'credential_unusable', 'guest_protocol', 'guest_version', 'machine_broken', 'machine_did_not_start',"
    " 'machine_ended', 'nobody_came', 'provider_unavailable', 'sandbox_off', 'sign_in_timed_out', "
    "'superseded')"
)
STATES: Final = "('booting', 'gone', 'lost', 'ready', 'requested', 'stopping')"
ENDED: Final = "('gone', 'lost')"
TIME: Final = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
WORD: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
HASH: Final = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
NUMBER: Final = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
FIELDS: Final = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

TRIGGERS: Final = {
    "sqlite": (
        (
            f"CREATE TRIGGER terminal_session BEFORE UPDATE ON auth_sessions WHEN (OLD.status IN {TERMINAL}) AND "
            "(NEW.status IS NOT OLD.status OR NEW.reason IS NOT OLD.reason OR NEW.detail IS NOT OLD.detail OR "
            "NEW.status_at IS NOT OLD.status_at OR NEW.expires_at IS NOT OLD.expires_at OR NEW.ended_at IS NOT "
            "OLD.ended_at OR NEW.captured_credential_id IS NOT OLD.captured_credential_id OR NEW.captured_version"
            " IS NOT OLD.captured_version) BEGIN SELECT RAISE(ABORT, 'a terminal session does not change'); END"
        ),
        (
            "CREATE TRIGGER session_identity BEFORE UPDATE ON auth_sessions WHEN NEW.id IS NOT OLD.id OR "
            "NEW.application IS NOT OLD.application OR NEW.user_id IS NOT OLD.user_id OR NEW.provider IS NOT "
            "OLD.provider OR NEW.machine_id IS NOT OLD.machine_id OR NEW.created_at IS NOT OLD.created_at BEGIN "
            "SELECT RAISE(ABORT, 'a session stays whose it is'); END"
        ),
        (
            "CREATE TRIGGER completed_by_its_own_capture BEFORE UPDATE ON auth_sessions WHEN NEW.status = "
            "'completed' AND OLD.status <> 'completed' AND NOT EXISTS (SELECT 1 FROM credential_versions WHERE "
            "credential_id = NEW.captured_credential_id AND version = NEW.captured_version AND session_id = "
            "NEW.id) BEGIN SELECT RAISE(ABORT, 'a session is completed by the version that it stored'); END"
        ),
        (
            "CREATE TRIGGER session_begins_pending BEFORE INSERT ON auth_sessions WHEN NEW.status <> 'pending' "
            "BEGIN SELECT RAISE(ABORT, 'a session begins as pending'); END"
        ),
        (
            "CREATE TRIGGER session_not_replaced BEFORE INSERT ON auth_sessions WHEN EXISTS (SELECT 1 FROM "
            "auth_sessions WHERE id = NEW.id OR machine_id = NEW.machine_id) BEGIN SELECT RAISE(ABORT, 'a session"
            " is not replaced'); END"
        ),
        (
            f"CREATE TRIGGER live_session_kept BEFORE DELETE ON auth_sessions WHEN OLD.status NOT IN {TERMINAL} "
            "BEGIN SELECT RAISE(ABORT, 'a live session is not deleted'); END"
        ),
        (
            f"CREATE TRIGGER ended_machine BEFORE UPDATE ON machines WHEN (OLD.state IN {ENDED}) AND (NEW.state IS"
            " NOT OLD.state OR NEW.state_at IS NOT OLD.state_at OR NEW.ended_at IS NOT OLD.ended_at OR "
            "NEW.exit_code IS NOT OLD.exit_code OR NEW.handle IS NOT OLD.handle OR NEW.host_uid IS NOT "
            "OLD.host_uid) BEGIN SELECT RAISE(ABORT, 'an ended machine does not change'); END"
        ),
        (
            "CREATE TRIGGER machine_identity BEFORE UPDATE ON machines WHEN NEW.id IS NOT OLD.id OR NEW.kind IS "
            "NOT OLD.kind OR NEW.session_id IS NOT OLD.session_id OR NEW.driver IS NOT OLD.driver OR "
            "NEW.incarnation IS NOT OLD.incarnation BEGIN SELECT RAISE(ABORT, 'a machine stays which it is'); END"
        ),
        (
            f"CREATE TRIGGER running_machine_kept BEFORE DELETE ON machines WHEN OLD.state NOT IN {ENDED} BEGIN "
            "SELECT RAISE(ABORT, 'a machine that has not ended is not deleted'); END"
        ),
        (
            "CREATE TRIGGER credential_identity BEFORE UPDATE ON provider_credentials WHEN NEW.id IS NOT OLD.id "
            "OR NEW.application IS NOT OLD.application OR NEW.user_id IS NOT OLD.user_id OR NEW.provider IS NOT "
            "OLD.provider OR NEW.created_at IS NOT OLD.created_at BEGIN SELECT RAISE(ABORT, 'a credential stays "
            "whose it is'); END"
        ),
        (
            "CREATE TRIGGER tombstone BEFORE UPDATE ON provider_credentials WHEN OLD.deleted_at IS NOT NULL BEGIN"
            " SELECT RAISE(ABORT, 'a deleted credential does not change'); END"
        ),
        (
            "CREATE TRIGGER version_grows BEFORE UPDATE ON provider_credentials WHEN NEW.version NOT IN "
            "(OLD.version, OLD.version + 1) BEGIN SELECT RAISE(ABORT, 'a credential version grows by one'); END"
        ),
        (
            "CREATE TRIGGER event_kept BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'an event does not "
            "change'); END"
        ),
        (
            "CREATE TRIGGER version_kept BEFORE UPDATE ON credential_versions BEGIN SELECT RAISE(ABORT, 'a stored"
            " version does not change'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION terminal_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (OLD.status IN "
            f"{TERMINAL}) AND (NEW.status IS DISTINCT FROM OLD.status OR NEW.reason IS DISTINCT FROM OLD.reason OR"
            " NEW.detail IS DISTINCT FROM OLD.detail OR NEW.status_at IS DISTINCT FROM OLD.status_at OR "
            "NEW.expires_at IS DISTINCT FROM OLD.expires_at OR NEW.ended_at IS DISTINCT FROM OLD.ended_at OR "
            "NEW.captured_credential_id IS DISTINCT FROM OLD.captured_credential_id OR NEW.captured_version IS "
            "DISTINCT FROM OLD.captured_version) THEN RAISE EXCEPTION 'a terminal session does not change' USING "
            "ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER terminal_session BEFORE UPDATE ON auth_sessions FOR EACH ROW EXECUTE FUNCTION "
            "terminal_session()"
        ),
        (
            "CREATE FUNCTION session_identity() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id IS "
            "DISTINCT FROM OLD.id OR NEW.application IS DISTINCT FROM OLD.application OR NEW.user_id IS DISTINCT "
            "FROM OLD.user_id OR NEW.provider IS DISTINCT FROM OLD.provider OR NEW.machine_id IS DISTINCT FROM "
            "OLD.machine_id OR NEW.created_at IS DISTINCT FROM OLD.created_at THEN RAISE EXCEPTION 'a session "
            "stays whose it is' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; "
            "RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER session_identity BEFORE UPDATE ON auth_sessions FOR EACH ROW EXECUTE FUNCTION "
            "session_identity()"
        ),
        (
            "CREATE FUNCTION completed_by_its_own_capture() RETURNS trigger LANGUAGE plpgsql SET search_path FROM"
            " CURRENT AS $$ BEGIN IF NEW.status = 'completed' AND OLD.status <> 'completed' AND NOT EXISTS "
            "(SELECT 1 FROM credential_versions WHERE credential_id = NEW.captured_credential_id AND version = "
            "NEW.captured_version AND session_id = NEW.id) THEN RAISE EXCEPTION 'a session is completed by the "
            "version that it stored' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END "
            "IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER completed_by_its_own_capture BEFORE UPDATE ON auth_sessions FOR EACH ROW EXECUTE "
            "FUNCTION completed_by_its_own_capture()"
        ),
        (
            "CREATE FUNCTION session_begins_pending() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.status "
            "<> 'pending' THEN RAISE EXCEPTION 'a session begins as pending' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER session_begins_pending BEFORE INSERT ON auth_sessions FOR EACH ROW EXECUTE FUNCTION "
            "session_begins_pending()"
        ),
        (
            "CREATE FUNCTION session_not_replaced() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT"
            " AS $$ BEGIN IF EXISTS (SELECT 1 FROM auth_sessions WHERE id = NEW.id OR machine_id = "
            "NEW.machine_id) THEN RAISE EXCEPTION 'a session is not replaced' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER session_not_replaced BEFORE INSERT ON auth_sessions FOR EACH ROW EXECUTE FUNCTION "
            "session_not_replaced()"
        ),
        (
            "CREATE FUNCTION live_session_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.status NOT "
            f"IN {TERMINAL} THEN RAISE EXCEPTION 'a live session is not deleted' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN OLD; END $$"
        ),
        (
            "CREATE TRIGGER live_session_kept BEFORE DELETE ON auth_sessions FOR EACH ROW EXECUTE FUNCTION "
            "live_session_kept()"
        ),
        (
            "CREATE FUNCTION live_session_kept_whole() RETURNS trigger LANGUAGE plpgsql SET search_path FROM "
            "CURRENT AS $$ BEGIN IF EXISTS (SELECT 1 FROM auth_sessions AS kept WHERE kept.status NOT IN "
            f"{TERMINAL}) THEN RAISE EXCEPTION 'a live session is not deleted' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NULL; END $$"
        ),
        (
            "CREATE TRIGGER live_session_kept_whole BEFORE TRUNCATE ON auth_sessions EXECUTE FUNCTION "
            "live_session_kept_whole()"
        ),
        (
            "CREATE FUNCTION ended_machine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (OLD.state IN "
            f"{ENDED}) AND (NEW.state IS DISTINCT FROM OLD.state OR NEW.state_at IS DISTINCT FROM OLD.state_at OR "
            "NEW.ended_at IS DISTINCT FROM OLD.ended_at OR NEW.exit_code IS DISTINCT FROM OLD.exit_code OR "
            "NEW.handle IS DISTINCT FROM OLD.handle OR NEW.host_uid IS DISTINCT FROM OLD.host_uid) THEN RAISE "
            "EXCEPTION 'an ended machine does not change' USING ERRCODE = 'integrity_constraint_violation', "
            "CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        ("CREATE TRIGGER ended_machine BEFORE UPDATE ON machines FOR EACH ROW EXECUTE FUNCTION ended_machine()"),
        (
            "CREATE FUNCTION machine_identity() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id IS "
            "DISTINCT FROM OLD.id OR NEW.kind IS DISTINCT FROM OLD.kind OR NEW.session_id IS DISTINCT FROM "
            "OLD.session_id OR NEW.driver IS DISTINCT FROM OLD.driver OR NEW.incarnation IS DISTINCT FROM "
            "OLD.incarnation THEN RAISE EXCEPTION 'a machine stays which it is' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        ("CREATE TRIGGER machine_identity BEFORE UPDATE ON machines FOR EACH ROW EXECUTE FUNCTION machine_identity()"),
        (
            "CREATE FUNCTION running_machine_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.state NOT"
            f" IN {ENDED} THEN RAISE EXCEPTION 'a machine that has not ended is not deleted' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN OLD; END $$"
        ),
        (
            "CREATE TRIGGER running_machine_kept BEFORE DELETE ON machines FOR EACH ROW EXECUTE FUNCTION "
            "running_machine_kept()"
        ),
        (
            "CREATE FUNCTION running_machine_kept_whole() RETURNS trigger LANGUAGE plpgsql SET search_path FROM "
            f"CURRENT AS $$ BEGIN IF EXISTS (SELECT 1 FROM machines AS kept WHERE kept.state NOT IN {ENDED}) THEN "
            "RAISE EXCEPTION 'a machine that has not ended is not deleted' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NULL; END $$"
        ),
        (
            "CREATE TRIGGER running_machine_kept_whole BEFORE TRUNCATE ON machines EXECUTE FUNCTION "
            "running_machine_kept_whole()"
        ),
        (
            "CREATE FUNCTION credential_identity() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id IS "
            "DISTINCT FROM OLD.id OR NEW.application IS DISTINCT FROM OLD.application OR NEW.user_id IS DISTINCT "
            "FROM OLD.user_id OR NEW.provider IS DISTINCT FROM OLD.provider OR NEW.created_at IS DISTINCT FROM "
            "OLD.created_at THEN RAISE EXCEPTION 'a credential stays whose it is' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER credential_identity BEFORE UPDATE ON provider_credentials FOR EACH ROW EXECUTE "
            "FUNCTION credential_identity()"
        ),
        (
            "CREATE FUNCTION tombstone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.deleted_at IS NOT "
            "NULL THEN RAISE EXCEPTION 'a deleted credential does not change' USING ERRCODE = "
            "'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        ("CREATE TRIGGER tombstone BEFORE UPDATE ON provider_credentials FOR EACH ROW EXECUTE FUNCTION tombstone()"),
        (
            "CREATE FUNCTION version_grows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.version NOT IN "
            "(OLD.version, OLD.version + 1) THEN RAISE EXCEPTION 'a credential version grows by one' USING "
            "ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER version_grows BEFORE UPDATE ON provider_credentials FOR EACH ROW EXECUTE FUNCTION "
            "version_grows()"
        ),
        (
            "CREATE FUNCTION event_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'an event "
            "does not change' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME; END $$"
        ),
        ("CREATE TRIGGER event_kept BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION event_kept()"),
        (
            "CREATE FUNCTION version_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a "
            "stored version does not change' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = "
            "TG_NAME; END $$"
        ),
        (
            "CREATE TRIGGER version_kept BEFORE UPDATE ON credential_versions FOR EACH ROW EXECUTE FUNCTION "
            "version_kept()"
        ),
    ),
}


def upgrade() -> None:
    """Make every table."""
    _installation()
    _provider_credentials()
    _credential_versions()
    _auth_sessions()
    _access()
    _destinations()
    _events()
    _idempotency_keys()
    _machines()
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))


def _installation() -> None:
    op.create_table(
        "installation",
        sa.Column("singleton", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", WORD, nullable=False),
        sa.Column("world", WORD, nullable=False),
        sa.Column("key_id", WORD, nullable=True),
        sa.CheckConstraint("singleton = 1", name=op.f("ck_installation_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_installation")),
    )


def _provider_credentials() -> None:
    op.create_table(
        "provider_credentials",
        sa.Column("id", WORD, nullable=False),
        sa.Column("application", WORD, nullable=False),
        sa.Column("user_id", WORD, nullable=False),
        sa.Column("provider", WORD, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("session_id", WORD, nullable=False),
        sa.Column("account", WORD, nullable=True),
        sa.Column("plan", WORD, nullable=True),
        sa.Column("claimed_expiry", TIME, nullable=True),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("key_id", WORD, nullable=True),
        sa.Column("format_version", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("stored_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (ciphertext IS NOT NULL AND wrapped_key IS NOT NULL"
            " AND key_id IS NOT NULL AND format_version IS NOT NULL)",
            name=op.f("ck_provider_credentials_live_is_sealed"),
        ),
        sa.CheckConstraint(
            "deleted_at IS NULL OR (ciphertext IS NULL AND wrapped_key IS NULL AND account IS NULL"
            " AND plan IS NULL AND claimed_expiry IS NULL)",
            name=op.f("ck_provider_credentials_tombstone_is_empty"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_provider_credentials_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_credentials")),
    )
    op.create_index(
        "one_live_credential",
        "provider_credentials",
        ["application", "user_id", "provider"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _credential_versions() -> None:
    op.create_table(
        "credential_versions",
        sa.Column("credential_id", WORD, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stored_at", TIME, nullable=False),
        sa.Column("session_id", WORD, nullable=False),
        sa.Column("report_id", WORD, nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["provider_credentials.id"],
            name=op.f("fk_credential_versions_credential_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("credential_id", "version", name=op.f("pk_credential_versions")),
    )


def _auth_sessions() -> None:
    op.create_table(
        "auth_sessions",
        sa.Column("id", WORD, nullable=False),
        sa.Column("application", WORD, nullable=False),
        sa.Column("user_id", WORD, nullable=False),
        sa.Column("provider", WORD, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("display_name", WORD, nullable=True),
        sa.Column("purpose", WORD, nullable=True),
        sa.Column("return_url", WORD, nullable=True),
        sa.Column("machine_id", WORD, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("status_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("opened_at", TIME, nullable=True),
        sa.Column("consented_at", TIME, nullable=True),
        sa.Column("screen_seen_at", TIME, nullable=True),
        sa.Column("success_shown_at", TIME, nullable=True),
        sa.Column("rejected_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("captured_credential_id", WORD, nullable=True),
        sa.Column("captured_version", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(status = 'completed') = (captured_credential_id IS NOT NULL AND captured_version IS NOT NULL)",
            name=op.f("ck_auth_sessions_completed_is_captured"),
        ),
        sa.CheckConstraint(
            f"(status IN {LIVE}) = (expires_at IS NOT NULL)", name=op.f("ck_auth_sessions_live_has_deadline")
        ),
        sa.CheckConstraint(
            f"(status IN {TERMINAL}) = (ended_at IS NOT NULL)", name=op.f("ck_auth_sessions_ended_when_terminal")
        ),
        sa.CheckConstraint(
            f"(status IN {BAD_ENDS}) = (reason IS NOT NULL)", name=op.f("ck_auth_sessions_bad_end_has_reason")
        ),
        sa.CheckConstraint(f"reason IN {REASONS}", name=op.f("ck_auth_sessions_reason")),
        sa.CheckConstraint(f"status IN {STATUSES}", name=op.f("ck_auth_sessions_status")),
        sa.CheckConstraint(
            "(captured_credential_id IS NULL) = (captured_version IS NULL)",
            name=op.f("ck_auth_sessions_captured_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["captured_credential_id", "captured_version"],
            ["credential_versions.credential_id", "credential_versions.version"],
            name=op.f("fk_auth_sessions_captured_credential_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_auth_sessions")),
        sa.UniqueConstraint("machine_id", name=op.f("uq_auth_sessions_machine_id")),
    )
    op.create_index(
        "one_live_session",
        "auth_sessions",
        ["application", "user_id", "provider"],
        unique=True,
        sqlite_where=sa.text(f"status IN {LIVE}"),
        postgresql_where=sa.text(f"status IN {LIVE}"),
    )
    op.create_index(
        "sessions_due",
        "auth_sessions",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("sessions_newest", "auth_sessions", ["created_at", "id"], unique=False)


def _access() -> None:
    op.create_table(
        "access",
        sa.Column("secret_hash", HASH, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("session_id", WORD, nullable=True),
        sa.Column("granted_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(kind IN ('dashboard_cookie', 'dashboard_link')) = (session_id IS NULL)",
            name=op.f("ck_access_session_or_dashboard"),
        ),
        sa.CheckConstraint(
            "kind IN ('dashboard_cookie', 'dashboard_link', 'link', 'session_cookie', 'ticket')",
            name=op.f("ck_access_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["auth_sessions.id"], name=op.f("fk_access_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_access")),
    )
    op.create_index("access_of_session", "access", ["session_id", "kind"], unique=False)
    op.create_index("access_old", "access", ["expires_at"], unique=False)


def _destinations() -> None:
    op.create_table(
        "destinations",
        sa.Column("session_id", WORD, nullable=False),
        sa.Column("name", WORD, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("verdict", WORD, nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("connections", NUMBER, nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["auth_sessions.id"], name=op.f("fk_destinations_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", "name", "port", "verdict", name=op.f("pk_destinations")),
    )
    op.create_index("destinations_old", "destinations", ["last_at"], unique=False)


def _events() -> None:
    op.create_table(
        "events",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=True), nullable=False
        ),
        sa.Column("id", WORD, nullable=False),
        sa.Column("session_id", WORD, nullable=True),
        sa.Column("machine_id", WORD, nullable=True),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("act", WORD, nullable=False),
        sa.Column("before", WORD, nullable=True),
        sa.Column("after", WORD, nullable=True),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("fields", FIELDS, nullable=False),
        sa.CheckConstraint("act IN ('move', 'note', 'refuse')", name=op.f("ck_events_act")),
        sa.CheckConstraint(f"reason IN {REASONS}", name=op.f("ck_events_reason")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["auth_sessions.id"], name=op.f("fk_events_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("events_of_session", "events", ["session_id", "seq"], unique=False)


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", WORD, nullable=False),
        sa.Column("key", WORD, nullable=False),
        sa.Column("body_hash", WORD, nullable=False),
        sa.Column("session_id", WORD, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["auth_sessions.id"], name=op.f("fk_idempotency_keys_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("idempotency_keys_old", "idempotency_keys", ["created_at"], unique=False)


def _machines() -> None:
    op.create_table(
        "machines",
        sa.Column("id", WORD, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("session_id", WORD, nullable=True),
        sa.Column("state", WORD, nullable=False),
        sa.Column("driver", WORD, nullable=False),
        sa.Column("incarnation", WORD, nullable=False),
        sa.Column("handle", FIELDS, nullable=True),
        sa.Column("host_uid", NUMBER, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("state_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("end_detail", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint(
            "(kind = 'sign_in') = (session_id IS NOT NULL)", name=op.f("ck_machines_sign_in_has_session")
        ),
        sa.CheckConstraint(f"(state IN {ENDED}) = (ended_at IS NOT NULL)", name=op.f("ck_machines_ended_has_time")),
        sa.CheckConstraint(f"(state IN {ENDED}) = (expires_at IS NULL)", name=op.f("ck_machines_running_has_deadline")),
        sa.CheckConstraint("kind IN ('check', 'sign_in')", name=op.f("ck_machines_kind")),
        sa.CheckConstraint(f"state IN {STATES}", name=op.f("ck_machines_state")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["auth_sessions.id"], name=op.f("fk_machines_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machines")),
        sa.UniqueConstraint("session_id", name=op.f("uq_machines_session_id")),
    )
    op.create_index(
        "machines_due",
        "machines",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("machines_newest", "machines", ["created_at", "id"], unique=False)
    op.create_index(
        "one_machine_of_uid",
        "machines",
        ["host_uid"],
        unique=True,
        sqlite_where=sa.text(f"state NOT IN {ENDED}"),
        postgresql_where=sa.text(f"state NOT IN {ENDED}"),
    )
