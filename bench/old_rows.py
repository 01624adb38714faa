"""Fills a database with sessions of the past, in the shape that a year of sign-ins leaves.

Rules and indexes are set aside while the rows are made, and put back as they were: a million sessions in a minute. Ids
are as spread as random ones, so that what comes later falls between them.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from string import Template

import psycopg
from psycopg import sql

_YEAR_S = 31_536_000
_SESSIONS_OF_OWNER = 5
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

# `past` holds what all the tables have in common, worked out once; a completed session leaves about five events
_SQL = Template("""
CREATE TEMP TABLE past (i BIGINT PRIMARY KEY, id TEXT, owner TEXT, at $time, ended $time, how INTEGER);

WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $count)
INSERT INTO past
SELECT i, $letters || $number16, $owner20, $began, $ended, i % 10
FROM n;

INSERT INTO provider_credentials (id, application, user_id, provider, version, session_id, account, plan,
    ciphertext, wrapped_key, key_id, format_version, created_at, stored_at, status, status_reason, status_at)
SELECT 'cred_' || owner, 'default', 'user-' || i, 'codex', $each, 'ses_' || id, 'user-' || i || '@example.test',
    'plus', $ciphertext, $key, 'key_00000001', 1, at, at, 'active', 'signed_in', at
FROM past WHERE i < $owners;

INSERT INTO credential_versions (credential_id, version, stored_at, session_id, report_id)
SELECT 'cred_' || owner, i / $owners + 1, ended, 'ses_' || id, 'rep_' || id
FROM past WHERE how < 7;

INSERT INTO auth_sessions (id, application, user_id, provider, status, reason, detail, display_name, purpose,
    machine_id, created_at, status_at, opened_at, consented_at, screen_seen_at, ended_at, captured_credential_id,
    captured_version)
SELECT 'ses_' || id, 'default', 'user-' || (i % $owners), 'codex',
    CASE how WHEN 7 THEN 'expired' WHEN 8 THEN 'failed' WHEN 9 THEN 'cancelled' ELSE 'completed' END,
    CASE how WHEN 7 THEN 'nobody_came' WHEN 8 THEN 'cli_ended' WHEN 9 THEN 'cancelled_by_person' END,
    '', 'Some Person', 'To run a tool', 'mac_' || id, at, ended, at, at, at, ended,
    CASE WHEN how < 7 THEN 'cred_' || owner END, CASE WHEN how < 7 THEN i / $owners + 1 END
FROM past;

INSERT INTO machines (id, kind, session_id, state, driver, incarnation, handle, host_uid, created_at, state_at,
    ended_at, exit_code, end_detail)
SELECT 'mac_' || id, 'sign_in', 'ses_' || id, 'gone', 'scripted', 'inc_' || id, $handle,
    200001 + i % 200, at, ended, ended, 137, 'stopped'
FROM past;

WITH e(k, kind) AS (VALUES (0, 'created'), (1, 'machine_booting'), (2, 'opened'), (3, 'machine_ready'), (4, 'captured'))
INSERT INTO events (id, session_id, kind, act, "before", "after", at, fields)
SELECT 'evt_' || id || k, 'ses_' || id, kind, 'move', 'starting', 'awaiting_sign_in', at, $nothing
FROM past CROSS JOIN e;

INSERT INTO access (secret_hash, kind, session_id, granted_at, expires_at)
SELECT $hash, 'session_cookie', 'ses_' || id, at, ended
FROM past WHERE i >= $last_day;

INSERT INTO destinations (session_id, name, port, verdict, bytes_out, bytes_in, connections, first_at, last_at)
SELECT 'ses_' || id, 'auth.openai.com', 443, 'allowed', 9000, 70000, 4, at, ended
FROM past WHERE i >= $last_day;

INSERT INTO idempotency_keys (caller, key, body_hash, session_id, created_at)
SELECT 'bench', 'key-' || i, $hash, 'ses_' || id, at
FROM past WHERE i >= $last_day;

DROP TABLE past;
""")


_SQLITE = {
    "time": "TEXT",
    "number16": "printf('%016d', i)",
    "owner20": "printf('%020d', i % $owners)",
    "hash": "printf('%064d', i)",
    "began": "strftime('%Y-%m-%dT%H:%M:%S.000000Z', $first + i * $step, 'unixepoch')",
    "ended": "strftime('%Y-%m-%dT%H:%M:%S.000000Z', $first + i * $step + 95, 'unixepoch')",
    "ciphertext": "zeroblob(900)",
    "key": "zeroblob(160)",
    "handle": """'{"driver": "scripted", "uid": null}'""",
    "nothing": "'{}'",
}
_POSTGRES = {
    "time": "TIMESTAMPTZ",
    "number16": "lpad(CAST(i AS TEXT), 16, '0')",
    "owner20": "lpad(CAST(i % $owners AS TEXT), 20, '0')",
    "hash": "lpad(CAST(i AS TEXT), 64, '0')",
    "began": "to_timestamp($first + i * $step)",
    "ended": "to_timestamp($first + i * $step + 95)",
    "ciphertext": "decode(repeat('00', 900), 'hex')",
    "key": "decode(repeat('00', 160), 'hex')",
    "handle": """CAST('{"driver": "scripted", "uid": null}' AS jsonb)""",
    "nothing": "CAST('{}' AS jsonb)",
}


def statements(count: int, words: dict[str, str]) -> list[str]:
    """Return what makes so many sessions of the past with all that hangs on them, in one database's words."""
    letters = " || ".join(
        f"substr('{_ALPHABET}', CAST(1 + (((i * 1048576 / {count}) >> {bits}) & 31) AS INTEGER), 1)"
        for bits in (15, 10, 5, 0)
    )
    numbers = {
        "count": count,
        "owners": max(1, count // _SESSIONS_OF_OWNER),
        "each": _SESSIONS_OF_OWNER,
        "first": 1_735_689_600,  # 2025-01-01
        "step": max(1, _YEAR_S // count),
        "last_day": count - max(1, count // 365),
    }
    spelt = {name: Template(word).substitute(numbers) for name, word in words.items()}
    script = _SQL.substitute(numbers, letters=letters, **spelt)
    return [statement for statement in map(str.strip, script.split(";")) if statement]


def fill_sqlite(path: Path, count: int) -> None:
    """Fill a SQLite file that nobody has open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "foreign_keys = OFF", "cache_size = -500000"):
            connection.execute(f"PRAGMA {pragma}")
        set_aside = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
        ).fetchall()
        connection.execute("BEGIN")
        for kind, name, _ in set_aside:
            connection.execute(f"DROP {kind} {name}")
        for statement in statements(count, _SQLITE):
            connection.execute(statement)
        for kind in ("index", "trigger"):
            for made, _, sql in set_aside:
                if made == kind:
                    connection.execute(sql)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        broken = connection.execute("PRAGMA foreign_key_check").fetchmany(3)
        if broken:
            raise AssertionError(f"old rows that point at nothing: {broken}")
    os.sync()  # else the kernel writes it all while others are measured


def fill_postgres(url: str, count: int) -> None:
    """Fill a PostgreSQL database as its superuser, and let it look at what there is, as its autovacuum does."""
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # no triggers, no foreign keys
        set_aside = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        ).fetchall()
        for name, _ in set_aside:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        for statement in statements(count, _POSTGRES):
            connection.execute(statement)
        for _, definition in set_aside:
            connection.execute(definition)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    os.sync()
