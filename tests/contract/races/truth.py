"""What must hold of a database at any moment, told by its rows alone: read by plain SQL, with none of our own code.

`Truth.look` reads everything and raises `BrokenError` with all that is wrong. It also remembers what it saw, so that
what may never change is compared with what it was.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

TERMINAL = {"completed", "failed", "cancelled", "expired"}
ENDED = {"gone", "lost"}
TABLES = {
    "auth_sessions": "id",
    "machines": "id",
    "provider_credentials": "id",
    "credential_versions": "credential_id, version",
    "events": "seq",
    "access": "secret_hash",
    "runs": "id",
    "leases": "id",
}
FROZEN = (
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
)
"""What of a session is what it was once it is terminal."""
MANY = {"cli_gave_up", "started_again"}
"""The notes that a session may have once for each run of its tool."""


class BrokenError(AssertionError):
    """A property does not hold."""


class Rows:
    """Reads the tables of one database, by a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sqlite: sqlite3.Connection | None = None
        self._postgres: psycopg.Connection[Row] | None = None
        if url.startswith("sqlite"):
            self._sqlite = sqlite3.connect(url.partition(":///")[2], isolation_level=None, timeout=10)
            self._sqlite.row_factory = sqlite3.Row
            # what hangs on a deleted row goes with it
            self._sqlite.execute("PRAGMA foreign_keys = ON")
        else:
            self._postgres = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        with closing(self._sqlite or self._postgres):
            pass

    def run(self, statement: str) -> list[Row]:
        """Run a statement of the tests' own words."""
        if self._sqlite is not None:
            return [_plain(dict(row)) for row in self._sqlite.execute(statement)]
        cursor = self._postgres.execute(statement)  # type: ignore[union-attr, call-overload]
        return [_plain(row) for row in cursor.fetchall()] if cursor.description else []

    def all(self) -> dict[str, list[Row]]:
        return {name: self.run(f"SELECT * FROM {name} ORDER BY {key}") for name, key in TABLES.items()}  # noqa: S608


def _plain(row: Row) -> Row:
    for name, value in row.items():
        if isinstance(value, str) and (name.endswith("_at") or name in {"at", "claimed_until", "claimed_expiry"}):
            row[name] = datetime.fromisoformat(value)
        elif isinstance(value, str) and name in {"fields", "handle"}:
            row[name] = json.loads(value)
        elif isinstance(value, datetime):
            row[name] = value.astimezone(UTC)
    return row


class Truth:
    """One database, looked at again and again."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._before: dict[str, dict[Any, Row]] = {}
        self.seen: Counter[str] = Counter()
        """How often each state and each end was found; of a session or machine counted once for each that it had."""

    def forget(self) -> None:
        """Begin anew: the database was emptied."""
        self._before = {}

    def look(self, *, latest: datetime, longest: timedelta, pruned: bool = False) -> dict[str, list[Row]]:
        """Raise BrokenError unless everything holds; return the rows.

        `latest` is the latest time that any clock said, `longest` the longest time that a state may last. What has
        ended may only be missing where it was `pruned`.
        """
        tables = self._rows.all()
        wrong = [
            *_captures(tables, pruned=pruned),
            *_sessions(tables),
            *_bindings(tables),
            *_machines(tables),
            *_credentials(tables),
            *_runs(tables),
            *_deadlines(tables, latest + longest),
            *_events(tables, pruned=pruned),
            *self._compared(tables, pruned=pruned),
        ]
        if wrong:
            raise BrokenError("\n".join(wrong))
        self._remember(tables)
        return tables

    def _compared(self, tables: dict[str, list[Row]], *, pruned: bool) -> Iterator[str]:
        now = {name: {_key(name, row): row for row in rows} for name, rows in tables.items()}
        for name, rows in self._before.items():
            for key, was in rows.items():
                yield from _change(name, key, was, now[name].get(key), pruned=pruned)
        numbers = {event["seq"] for event in self._before.get("events", {}).values()}
        last: dict[str, int] = defaultdict(int)
        for event in self._before.get("events", {}).values():
            last[event["session_id"]] = max(last[event["session_id"]], event["seq"])
        for event in tables["events"]:
            if event["seq"] not in numbers and event["seq"] <= last[event["session_id"]]:
                yield f"event {event['seq']} of {event['session_id']} came before one that had been seen"

    def _remember(self, tables: dict[str, list[Row]]) -> None:
        kinds = ("session", "auth_sessions", "status"), ("machine", "machines", "state"), ("run", "runs", "status")
        for kind, table, column in kinds:
            for row in tables[table]:
                was = self._before.get(table, {}).get(row["id"])
                if was is None or was[column] != row[column]:
                    self.seen[f"{kind} {row[column]}" + (f", {row['reason']}" if row.get("reason") else "")] += 1
        self._before = {name: {_key(name, row): row for row in rows} for name, rows in tables.items()}


def _key(table: str, row: Row) -> Any:
    key = tuple(row[column] for column in TABLES[table].split(", "))
    return key[0] if len(key) == 1 else key


def _change(table: str, key: Any, was: Row, row: Row | None, *, pruned: bool) -> Iterator[str]:
    if row is None:
        may = {
            "access": True,
            "auth_sessions": pruned and was.get("status") in TERMINAL,
            "machines": pruned and was.get("state") in ENDED,
            "provider_credentials": pruned and was.get("deleted_at") is not None,
            "runs": pruned and was.get("ended_at") is not None,
            "leases": pruned and was.get("ended_at") is not None,
        }
        if not may.get(table, pruned):
            yield f"{table} {key} has vanished"
        return
    yield from (f"{table} {key}: {what}" for what in _CHANGES[table](was, row))


def _of_a_session(was: Row, row: Row) -> Iterator[str]:
    if was["status"] in TERMINAL:
        yield from (f"it was terminal, and {name} has changed" for name in FROZEN if row[name] != was[name])
    noted = ("opened_at", "consented_at", "screen_seen_at", "success_shown_at", "rejected_at")
    yield from (f"{name} has changed" for name in noted if was[name] and row[name] != was[name])
    # several steps of a run may be one step of the test
    if row["attempt"] < was["attempt"]:
        yield f"run {was['attempt']} was followed by {row['attempt']}"


def _of_a_machine(was: Row, row: Row) -> Iterator[str]:
    if was["state"] in ENDED and row != was:
        yield "it had ended, and has changed"
    if was["state"] != "requested" and row["node"] != was["node"]:
        yield f"it went from {was['node']} to {row['node']}"


def _of_a_credential(was: Row, row: Row) -> Iterator[str]:
    if was["deleted_at"] is not None and row != was:
        yield "it was a tombstone, and has changed"
    if row["version"] < was["version"]:
        yield f"it went back from version {was['version']} to {row['version']}"


def _of_what_is_kept(was: Row, row: Row) -> Iterator[str]:
    if row != was:
        yield f"it has changed: {was} -> {row}"


def _of_a_right(was: Row, row: Row) -> Iterator[str]:
    if was["used_at"] is not None and row != was:
        yield "it was used, and has changed"


def _of_a_run(was: Row, row: Row) -> Iterator[str]:
    if was["status"] == "ended" and row != was:
        yield "it had ended, and has changed"
    order = ("waiting", "starting", "running", "ended")
    if order.index(row["status"]) < order.index(was["status"]):
        yield f"it went back from {was['status']} to {row['status']}"


def _of_a_lease(was: Row, row: Row) -> Iterator[str]:
    if was["ended_at"] is not None and row != was:
        yield "it had ended, and has changed"
    if row["version"] < was["version"]:
        yield f"it went back from version {was['version']} to {row['version']}"


_CHANGES = {
    "auth_sessions": _of_a_session,
    "machines": _of_a_machine,
    "provider_credentials": _of_a_credential,
    "credential_versions": _of_what_is_kept,
    "events": _of_what_is_kept,
    "access": _of_a_right,
    "runs": _of_a_run,
    "leases": _of_a_lease,
}


def _captures(tables: dict[str, list[Row]], *, pruned: bool) -> Iterator[str]:
    """Completed and stored together, in every direction."""
    stored = {
        (row["credential_id"], row["version"]): row["session_id"]
        for row in tables["credential_versions"]
        if row["run_id"] is None
    }
    credentials = {row["id"]: row for row in tables["provider_credentials"]}
    captured: dict[str, list[Any]] = defaultdict(list)
    for event in tables["events"]:
        if event["kind"] == "captured" and event["act"] == "move":
            captured[event["session_id"]].append((event["fields"]["credential_id"], event["fields"]["version"]))
    completed = {}
    for session in tables["auth_sessions"]:
        what, told = (session["captured_credential_id"], session["captured_version"]), captured[session["id"]]
        if session["status"] == "completed":
            completed[session["id"]] = what
            yield from _completed(session, stored.get(what), credentials.get(what[0], {}), [what] if pruned else told)
        elif what != (None, None) or told:
            yield f"session {session['id']} is {session['status']} and has captured"
    known = {row["id"] for row in tables["auth_sessions"]}
    for what, session_id in stored.items():
        if completed.get(session_id) != what and (session_id in known or not pruned):
            yield f"version {what} was stored, and its session {session_id} is not completed with it"


def _completed(session: Row, stored_by: str | None, credential: Row, told: Sequence[Any]) -> Iterator[str]:
    if stored_by != session["id"]:
        yield f"session {session['id']} is completed without its own stored version"
    if any(credential.get(name) != session[name] for name in ("application", "user_id", "provider")):
        yield f"session {session['id']} is completed, and its credential is not there or somebody else's"
    if told != [(session["captured_credential_id"], session["captured_version"])]:
        yield f"session {session['id']} is completed, and its story tells of {told}"


def _sessions(tables: dict[str, list[Row]]) -> Iterator[str]:
    live = Counter(
        (row["application"], row["user_id"], row["provider"])
        for row in tables["auth_sessions"]
        if row["status"] not in TERMINAL
    )
    yield from (f"{whose} has {count} live sessions" for whose, count in live.items() if count > 1)
    for session in tables["auth_sessions"]:
        if (session["status"] in TERMINAL) != (session["ended_at"] is not None):
            yield f"session {session['id']} is {session['status']}, ended at {session['ended_at']}"
        if (session["status"] in TERMINAL - {"completed"}) != (session["reason"] is not None):
            yield f"session {session['id']} is {session['status']} for the reason {session['reason']}"
    many = {"ticket", "challenge"}
    rights = Counter((row["session_id"], row["kind"]) for row in tables["access"] if row["kind"] not in many)
    yield from (f"session {whose} has {count} {kind}s" for (whose, kind), count in rights.items() if count > 1)


def _bindings(tables: dict[str, list[Row]]) -> Iterator[str]:
    """A session that binds opens, and is agreed to and seen, only after its owner was named for a challenge of it."""
    stories: dict[Any, list[str]] = defaultdict(list)
    for event in tables["events"]:
        if event["machine_id"] is None and event["act"] != "refuse":
            stories[event["session_id"]].append(event["kind"])
    rights: dict[Any, set[str]] = defaultdict(set)
    for row in tables["access"]:
        rights[row["session_id"]].add(row["kind"])
    for session in tables["auth_sessions"]:
        what = _bound if session["binds"] else _never_bound
        yield from (
            f"session {session['id']} {said}" for said in what(session, stories[session["id"]], rights[session["id"]])
        )


def _never_bound(_session: Row, _story: Sequence[str], rights: set[str]) -> Iterator[str]:
    if {"binding_cookie", "challenge", "return"} & rights:
        yield "does not bind, and a browser of it is to be bound"


def _bound(session: Row, story: Sequence[str], rights: set[str]) -> Iterator[str]:
    # a story that was pruned has none of them
    for first, then in (("sent_to_bind", "bound"), ("bound", "opened"), ("opened", "consented")):
        if then in story and first not in story[: story.index(then)]:
            yield f"was {then} before it was {first}: {story}"
    if session["opened_at"] is None:
        if session["consented_at"] is not None or session["screen_seen_at"] is not None or "ticket" in rights:
            yield "was agreed to or seen, and nobody was let in"
        # whoever was bound in time may see how it has ended
        if "session_cookie" in rights and session["status"] not in TERMINAL:
            yield "has a browser, and nobody was let in"


def _machines(tables: dict[str, list[Row]]) -> Iterator[str]:
    sessions = {row["id"]: row for row in tables["auth_sessions"]}
    uids = Counter(
        (row["node"], row["host_uid"])
        for row in tables["machines"]
        if row["host_uid"] is not None and row["state"] not in ENDED
    )
    yield from (f"{count} machines have {whose}" for whose, count in uids.items() if count > 1)
    for machine in tables["machines"]:
        session = sessions.get(machine["session_id"])
        if machine["kind"] == "sign_in" and (session is None or session["machine_id"] != machine["id"]):
            yield f"machine {machine['id']} is not its session's"
        if machine["state"] not in {"requested", *ENDED} and (machine["node"] is None or machine["handle"] is None):
            yield f"machine {machine['id']} is {machine['state']}, of no node or without a handle"
        if machine["claimed_until"] is not None and machine["state"] != "requested":
            yield f"machine {machine['id']} is {machine['state']} and claimed"


def _credentials(tables: dict[str, list[Row]]) -> Iterator[str]:
    versions: dict[str, list[int]] = defaultdict(list)
    for row in tables["credential_versions"]:
        versions[row["credential_id"]].append(row["version"])
    live = Counter(
        (row["application"], row["user_id"], row["provider"])
        for row in tables["provider_credentials"]
        if row["deleted_at"] is None
    )
    yield from (f"{whose} has {count} live credentials" for whose, count in live.items() if count > 1)
    for credential in tables["provider_credentials"]:
        known = versions[credential["id"]]
        if known != list(range(1, len(known) + 1)) or credential["version"] != len(known):
            yield f"credential {credential['id']} is at version {credential['version']}, stored were {known}"
        sealed = credential["ciphertext"] is not None and credential["wrapped_key"] is not None
        if sealed == (credential["deleted_at"] is not None):
            yield f"credential {credential['id']} is sealed: {sealed}, deleted at {credential['deleted_at']}"


def _runs(tables: dict[str, list[Row]]) -> Iterator[str]:
    """One live copy of each credential, which is of a run whose machine may still have it; nobody waits for nobody."""
    leases = {row["run_id"]: row for row in tables["leases"]}
    machines = {row["run_id"]: row for row in tables["machines"] if row["run_id"] is not None}
    live = Counter(row["credential_id"] for row in tables["leases"] if row["ended_at"] is None)
    yield from (f"credential {one} has {count} live leases" for one, count in live.items() if count > 1)
    for run in tables["runs"]:
        lease, machine = leases.get(run["id"]), machines.get(run["id"])
        if (run["status"] == "ended") != (run["reason"] is not None):
            yield f"run {run['id']} is {run['status']} for the reason {run['reason']}"
        if run["status"] == "waiting" and (lease is not None or not live[run["credential_id"]]):
            yield f"run {run['id']} waits, and nobody has its credential"
        if run["status"] in {"starting", "running"} and (lease is None or lease["ended_at"] is not None):
            yield f"run {run['id']} is {run['status']} without its lease"
        if lease is not None and lease["ended_at"] is None and (machine is None or machine["state"] in ENDED):
            yield f"the lease of run {run['id']} lives, and its machine does not"
    for version in tables["credential_versions"]:
        lease = leases.get(version["run_id"])
        if lease is not None and (
            lease["credential_id"] != version["credential_id"] or lease["version"] < version["version"]
        ):
            yield f"version {version['version']} of {version['credential_id']} is not of its run's lease"


def _deadlines(tables: dict[str, list[Row]], last: datetime) -> Iterator[str]:
    of = (("auth_sessions", "status", TERMINAL), ("machines", "state", ENDED), ("runs", "status", {"ended"}))
    for name, column, ends in of:
        for row in tables[name]:
            if row[column] in ends:
                if row["expires_at"] is not None:
                    yield f"{name} {row['id']} is {row[column]} and has a deadline"
            elif row["expires_at"] is None or row["expires_at"] > last:
                yield f"{name} {row['id']} may be {row[column]} until {row['expires_at']}"


def _events(tables: dict[str, list[Row]], *, pruned: bool) -> Iterator[str]:
    """Each session's and each machine's story is whole: nothing missing, nothing twice."""
    stories: dict[Any, list[Row]] = defaultdict(list)
    for event in tables["events"]:
        stories[event["machine_id"] or event["session_id"]].append(event)
    for session in tables["auth_sessions"]:
        story = stories[session["id"]]
        # one that stays for its credential stays without them; every other goes with them
        if pruned and session["status"] == "completed" and (not story or story[0]["kind"] != "created"):
            continue
        yield from _chain(f"session {session['id']}", story, "created", session["status"])
        yield from _once(session, story)
    for machine in tables["machines"]:
        if pruned and machine["state"] in ENDED:
            continue
        yield from _chain(f"machine {machine['id']}", stories[machine["id"]], None, machine["state"])


def _chain(whose: str, story: Sequence[Row], first: str | None, state: str) -> Iterator[str]:
    moves = [event for event in story if event["act"] == "move"]
    if first is not None and (not story or story[0]["kind"] != first):
        yield f"{whose}: its story does not begin with {first}"
    at: str | None = "requested" if first is None else None
    for move in moves:
        if move["before"] != at:
            yield f"{whose}: a move from {move['before']} follows {at}"
        at = move["after"]
    if at != state:
        yield f"{whose} is {state}, its story ends with {at}"


def _once(session: Row, story: Sequence[Row]) -> Iterator[str]:
    told = Counter(
        (event["kind"], event["fields"].get("attempt") if event["kind"] in MANY else None)
        for event in story
        if event["act"] != "refuse" and event["kind"] != "credential_deleted"
    )
    # a machine's end is noted of a session that had ended already, and a fact that moved it then is no note
    yield from (f"session {session['id']}: {kind} is told {n} times" for kind, n in told.items() if n > 1)
    refused = Counter((event["kind"], event["before"]) for event in story if event["act"] == "refuse")
    yield from (f"session {session['id']}: refusal {kind} is told {n} times" for kind, n in refused.items() if n > 1)
