"""What the database refuses by itself, also at a SQL prompt, where a CHECK cannot say it: declared once.

Each dialect makes its triggers from these. A condition names the rows `OLD` and `NEW`, and is SQL that every database
understands: no comparison of values that may be NULL but `IS NULL`, `IN` and `=`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from antechamber.model import TERMINAL_STATUSES
from antechamber.store.schema import ENDED_STATES, RUNNING_STATES, words


class Occasion(StrEnum):
    """What somebody is about to do to a row."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Rule:
    """One refusal: the trigger's name, when it refuses, and what it says."""

    name: str
    table: str
    occasion: Occasion
    message: str
    when: str = ""
    """The condition; empty: always."""
    frozen: tuple[str, ...] = ()
    """Of an UPDATE: refuse only when the value of one of these columns changes."""


RULES: Final = (
    Rule(
        "terminal_session",
        "auth_sessions",
        Occasion.UPDATE,
        "a terminal session does not change",
        when=f"OLD.status IN {words(TERMINAL_STATUSES)}",
        frozen=(
            "status",
            "reason",
            "detail",
            "status_at",
            "expires_at",
            "ended_at",
            "captured_credential_id",
            "captured_version",
            "attempt",
            "gave_up_at",
            "cli_said",
        ),
    ),
    Rule(
        "session_identity",
        "auth_sessions",
        Occasion.UPDATE,
        "a session stays whose it is",
        frozen=("id", "application", "user_id", "provider", "machine_id", "created_at"),
    ),
    Rule(
        "completed_by_its_own_capture",
        "auth_sessions",
        Occasion.UPDATE,
        "a session is completed by the version that it stored",
        when="NEW.status = 'completed' AND OLD.status <> 'completed' AND NOT EXISTS (SELECT 1 FROM credential_versions"
        " WHERE credential_id = NEW.captured_credential_id AND version = NEW.captured_version"
        " AND session_id = NEW.id)",
    ),
    Rule(
        "session_begins_pending",
        "auth_sessions",
        Occasion.INSERT,
        "a session begins as pending",
        when="NEW.status <> 'pending'",
    ),
    # SQLite's REPLACE deletes and inserts, which no update trigger sees
    Rule(
        "session_not_replaced",
        "auth_sessions",
        Occasion.INSERT,
        "a session is not replaced",
        when="EXISTS (SELECT 1 FROM auth_sessions WHERE id = NEW.id OR machine_id = NEW.machine_id)",
    ),
    Rule(
        "live_session_kept",
        "auth_sessions",
        Occasion.DELETE,
        "a live session is not deleted",
        when=f"OLD.status NOT IN {words(TERMINAL_STATUSES)}",
    ),
    Rule(
        "ended_machine",
        "machines",
        Occasion.UPDATE,
        "an ended machine does not change",
        when=f"OLD.state IN {words(ENDED_STATES)}",
        frozen=("state", "state_at", "ended_at", "exit_code", "handle", "host_uid"),
    ),
    Rule(
        "machine_identity",
        "machines",
        Occasion.UPDATE,
        "a machine stays which it is",
        frozen=("id", "kind", "session_id", "driver", "incarnation"),
    ),
    # what is started is some node's, and stays that node's: only there can be told what becomes of it
    Rule(
        "begun_by_a_node",
        "machines",
        Occasion.UPDATE,
        "a machine is begun by a node",
        when=f"OLD.state = 'requested' AND NEW.state IN {words(RUNNING_STATES)} AND NEW.node IS NULL",
    ),
    Rule(
        "machine_stays_on_its_node",
        "machines",
        Occasion.UPDATE,
        "a machine stays on its node",
        when="OLD.state <> 'requested' AND OLD.node IS NOT NULL",
        frozen=("node",),
    ),
    Rule(
        "claim_of_what_is_requested",
        "machines",
        Occasion.UPDATE,
        "only a requested machine is claimed",
        when="NEW.claimed_until IS NOT NULL AND (NEW.state <> 'requested' OR NEW.node IS NULL)",
    ),
    Rule(
        "running_machine_kept",
        "machines",
        Occasion.DELETE,
        "a machine that has not ended is not deleted",
        when=f"OLD.state NOT IN {words(ENDED_STATES)}",
    ),
    Rule("machine_of_its_run", "machines", Occasion.UPDATE, "a machine stays which it is", frozen=("run_id",)),
    Rule(
        "ended_run",
        "runs",
        Occasion.UPDATE,
        "a run that has ended does not change",
        when="OLD.status = 'ended'",
    ),
    Rule(
        "run_identity",
        "runs",
        Occasion.UPDATE,
        "a run stays whose it is",
        frozen=("id", "application", "user_id", "provider", "credential_id", "asked_by", "created_at"),
    ),
    Rule("run_begins_waiting", "runs", Occasion.INSERT, "a run begins as waiting", when="NEW.status <> 'waiting'"),
    Rule("live_run_kept", "runs", Occasion.DELETE, "a live run is not deleted", when="OLD.status <> 'ended'"),
    # a tool is begun with a credential only by whoever is its one live copy
    Rule(
        "run_begins_with_its_lease",
        "runs",
        Occasion.UPDATE,
        "a run begins with its lease",
        when="OLD.status = 'waiting' AND NEW.status IN ('starting', 'running') AND NOT EXISTS (SELECT 1 FROM leases"
        " WHERE run_id = NEW.id AND credential_id = NEW.credential_id AND ended_at IS NULL)",
    ),
    Rule(
        "ended_lease",
        "leases",
        Occasion.UPDATE,
        "a lease that has ended does not change",
        when="OLD.ended_at IS NOT NULL",
    ),
    Rule(
        "lease_identity",
        "leases",
        Occasion.UPDATE,
        "a lease stays whose it is",
        frozen=("id", "credential_id", "run_id", "granted_at"),
    ),
    Rule("live_lease_kept", "leases", Occasion.DELETE, "a live lease is not deleted", when="OLD.ended_at IS NULL"),
    Rule(
        "credential_identity",
        "provider_credentials",
        Occasion.UPDATE,
        "a credential stays whose it is",
        frozen=("id", "application", "user_id", "provider", "created_at"),
    ),
    Rule(
        "tombstone",
        "provider_credentials",
        Occasion.UPDATE,
        "a deleted credential does not change",
        when="OLD.deleted_at IS NOT NULL",
    ),
    Rule(
        "version_grows",
        "provider_credentials",
        Occasion.UPDATE,
        "a credential version grows by one",
        when="NEW.version NOT IN (OLD.version, OLD.version + 1)",
    ),
    Rule(
        "finished_erasure",
        "erasures",
        Occasion.UPDATE,
        "a finished erasure does not change",
        when="OLD.finished_at IS NOT NULL",
    ),
    Rule(
        "erasure_identity",
        "erasures",
        Occasion.UPDATE,
        "an erasure stays whose it is",
        frozen=("id", "application", "asked_by", "asked_at"),
    ),
    Rule(
        "erasure_kept",
        "erasures",
        Occasion.DELETE,
        "the record of an erasure is kept",
        when="OLD.id IS NOT NULL",
    ),
    Rule(
        "credential_begins_active",
        "provider_credentials",
        Occasion.INSERT,
        "a credential begins as active",
        when="NEW.status <> 'active'",
    ),
    Rule(
        "sign_in_makes_active",
        "provider_credentials",
        Occasion.UPDATE,
        "a new version of a credential is active",
        when="NEW.version <> OLD.version AND NEW.status <> 'active'",
    ),
    # only a sign-in, which makes a new version, makes a revoked credential work again
    Rule(
        "revoked_until_a_sign_in",
        "provider_credentials",
        Occasion.UPDATE,
        "a revoked credential stays revoked until a sign-in",
        when="OLD.status = 'revoked' AND NEW.version = OLD.version AND NEW.status NOT IN ('deleted', 'revoked')",
    ),
    # what was true when its person agreed stays true
    Rule(
        "agreed_account",
        "auth_sessions",
        Occasion.UPDATE,
        "whether another account may replace the stored one is settled when the person agrees",
        when="OLD.consented_at IS NOT NULL",
        frozen=("replace_account",),
    ),
    Rule(
        "session_binding",
        "auth_sessions",
        Occasion.UPDATE,
        "whether a session binds its browser is settled when it begins",
        frozen=("binds",),
    ),
    Rule(
        "bound_before_consent",
        "auth_sessions",
        Occasion.UPDATE,
        "a session opens to nobody before its browser is bound",
        when="NEW.binds AND NEW.opened_at IS NULL AND (NEW.consented_at IS NOT NULL OR NEW.screen_seen_at IS NOT NULL)",
    ),
    # a key that was revoked, or whose scopes are known to somebody, is never another one afterwards
    Rule(
        "api_key_identity",
        "api_keys",
        Occasion.UPDATE,
        "a key stays what it is",
        frozen=("id", "application", "secret_hash", "scopes", "created_at", "expires_at"),
    ),
    Rule(
        "api_key_stays_revoked",
        "api_keys",
        Occasion.UPDATE,
        "a revoked key stays revoked",
        when="OLD.revoked_at IS NOT NULL",
        frozen=("revoked_at",),
    ),
    # SQLite's REPLACE deletes and inserts, which no update trigger sees
    Rule(
        "api_key_not_replaced",
        "api_keys",
        Occasion.INSERT,
        "a key is not replaced",
        when="EXISTS (SELECT 1 FROM api_keys WHERE id = NEW.id OR secret_hash = NEW.secret_hash)",
    ),
    Rule("api_key_kept", "api_keys", Occasion.DELETE, "a key is kept, also a revoked one", when="OLD.id IS NOT NULL"),
    Rule(
        "application_kept",
        "applications",
        Occasion.DELETE,
        "an application is kept, for what is its own names it",
        when="OLD.id IS NOT NULL",
    ),
    Rule("credential_event_kept", "credential_events", Occasion.UPDATE, "an event of a credential does not change"),
    Rule("audit_line_kept", "audit", Occasion.UPDATE, "a line of the audit does not change"),
    # SQLite's REPLACE deletes and inserts, which no other trigger sees
    Rule(
        "audit_line_not_replaced",
        "audit",
        Occasion.INSERT,
        "a line of the audit is not replaced",
        when="EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq OR id = NEW.id)",
    ),
    Rule(
        "audit_kept",
        "audit",
        Occasion.DELETE,
        "a line of the audit is kept",
        when="NOT EXISTS (SELECT 1 FROM audit_cuts WHERE OLD.at < until AND OLD.seq <= last_seq)",
    ),
    # a cut is what lets lines go: so it takes the oldest, all of them, and tells how many
    Rule(
        "cut_tells_what_it_takes",
        "audit_cuts",
        Occasion.INSERT,
        "a cut of the audit takes every line of its months and tells how many",
        when="NEW.lines < 1"
        " OR NEW.lines <> (SELECT count(*) FROM audit WHERE at < NEW.until AND seq <= NEW.last_seq)"
        " OR EXISTS (SELECT 1 FROM audit WHERE at < NEW.until AND seq > NEW.last_seq)"
        " OR NOT EXISTS (SELECT 1 FROM audit WHERE at < NEW.until AND seq = NEW.last_seq)"
        " OR NEW.first_seq <> (SELECT min(seq) FROM audit WHERE at < NEW.until)"
        " OR EXISTS (SELECT 1 FROM audit_cuts WHERE until >= NEW.until)",
    ),
    Rule("cut_stays", "audit_cuts", Occasion.UPDATE, "a cut of the audit does not change"),
    Rule("cut_kept", "audit_cuts", Occasion.DELETE, "a cut of the audit is kept", when="OLD.until IS NOT NULL"),
    Rule("reason_stays", "audit_reasons", Occasion.UPDATE, "a reason does not change"),
    Rule(
        "reason_not_replaced",
        "audit_reasons",
        Occasion.INSERT,
        "a reason is not replaced",
        when="EXISTS (SELECT 1 FROM audit_reasons WHERE id = NEW.id)",
    ),
    Rule(
        "reason_kept",
        "audit_reasons",
        Occasion.DELETE,
        "a reason is kept as long as its line and its owner",
        when="EXISTS (SELECT 1 FROM audit WHERE id = OLD.id) AND EXISTS"
        " (SELECT 1 FROM audit_keys WHERE application = OLD.application AND user_id = OLD.user_id)",
    ),
    Rule("event_kept", "events", Occasion.UPDATE, "an event does not change"),
    Rule("version_kept", "credential_versions", Occasion.UPDATE, "a stored version does not change"),
)


def condition(rule: Rule, changed: str) -> str:
    """Return when a rule refuses, or "" for always; `changed` compares NEW with OLD values in the database's words."""
    changes = " OR ".join(f"NEW.{column} {changed} OLD.{column}" for column in rule.frozen)
    return f"({rule.when}) AND ({changes})" if rule.when and changes else rule.when or changes
