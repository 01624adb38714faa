"""What must be true of an installation whatever was done to it: `broken` returns a sentence for each thing that is not.

It looks from outside, at the rows, the key file and the host, and asks the code for nothing but how a row is typed and
how a credential is opened. `settled` says that everything is over: each session has ended and nothing may be left.

    assert not await invariants.broken(url, key=data / "vault.key", run=run_folder)
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from antechamber.drivers import locks
from antechamber.drivers.keepers import KeptFolder
from antechamber.errors import AntechamberError
from antechamber.model import TERMINAL_STATUSES, MachineState, Owner, SealIdentity
from antechamber.store.dialect import dialect_of
from antechamber.store.rows import credential_of, sealed_of
from antechamber.store.schema import (
    audit,
    credential_versions,
    credentials,
    events,
    installation,
    leases,
    machines,
    runs,
    sessions,
)
from antechamber.vault import Vault

OF_THE_DATA_FOLDER = re.compile(
    r"antechamber\.db(-wal|-shm|-journal)?|control\.sock|lock|metrics-token|node|operator-token|stand-in|key|vault\.key"
    # what failed machines printed is kept for a while
    r"|machine-logs"
)


_GONE = "credential_deleted", "credential_rejected"
_STORED = "credential_stored", "credential_refreshed"
"""By whether a run stored it."""


@dataclass(frozen=True)
class Rows:
    """Everything that a database holds of sign-ins."""

    installation: str
    key_id: str | None
    sessions: Mapping[str, Any]
    machines: Mapping[str, Any]
    credentials: Mapping[str, Any]
    versions: Collection[Any]
    events: Collection[Any]
    audit: Collection[Any]
    runs: Mapping[str, Any]
    leases: Mapping[str, Any]
    """By the run that has or had it."""

    def told_of(self, session_id: str, *, machine: bool) -> list[Any]:
        """Return the session's own events in their order, or its machine's."""
        return [one for one in self.events if one.session_id == session_id and (one.machine_id is not None) == machine]


async def read(url: str) -> Rows:
    """Read a database, in one transaction."""
    dialect = dialect_of(url)
    engine = dialect.engine()
    try:
        async with dialect.reading(engine) as connection:

            async def all_of(table: Any, *order: Any) -> list[Any]:
                return list(await connection.execute(select(table).order_by(*order)))

            (own,) = await all_of(installation)
            return Rows(
                own.id,
                own.key_id,
                {row.id: row for row in await all_of(sessions, sessions.c.created_at)},
                {row.id: row for row in await all_of(machines, machines.c.created_at)},
                {row.id: row for row in await all_of(credentials)},
                await all_of(credential_versions, credential_versions.c.version),
                await all_of(events, events.c.seq),
                await all_of(audit, audit.c.seq),
                {row.id: row for row in await all_of(runs, runs.c.created_at)},
                {row.run_id: row for row in await all_of(leases)},
            )
    finally:
        await engine.dispose()


async def broken(
    url: str,
    *,
    key: Path | None = None,
    run: Path | None = None,
    data: Path | None = None,
    settled: bool = True,
    true_ends: Mapping[str, Collection[str]] | None = None,
    pruned: bool = False,
) -> list[str]:
    """Return what is not as it must be; nothing when all is well.

    `key` is the vault's key file, `run` the folder of the machines' folders (of this installation alone), `data` the
    data directory. `true_ends` says of sessions by which ends they may have ended: a status, or the reason of one.
    `pruned` says that retention has deleted events: those of a completed session that stays for its credential may be
    gone.
    """
    rows = await read(url)
    faults = [*_of_captures(rows), *_of_the_audit(rows), *_of_events(rows, pruned=pruned)]
    faults += [*_of_bindings(rows), *_of_runs(rows)]
    if key is not None:
        faults += _of_the_vault(rows, key)
    if settled:
        faults += _of_the_end(rows)
        if run is not None:
            faults += left_on_the_host(rows.machines.values(), run)
        if data is not None:
            faults += [f"{path} is left" for path in data.iterdir() if not OF_THE_DATA_FOLDER.fullmatch(path.name)]
    for session_id, ends in (true_ends or {}).items():
        if (row := rows.sessions.get(session_id)) is None:
            faults.append(f"{session_id} was acknowledged and is not there")
        elif row.status in TERMINAL_STATUSES and not {row.status, row.reason} & set(ends):
            faults.append(f"{session_id} ended as {row.status} {row.reason} ({row.detail!r}), which is not so: {ends}")
    return faults


# -- whoever was let in was named -------------------------------------------------------------------------------------


def _of_bindings(rows: Rows) -> list[str]:
    faults = []
    for session in rows.sessions.values():
        told = [one.kind for one in rows.told_of(session.id, machine=False) if one.act != "refuse"]
        if not session.binds or not told:
            continue
        if session.consented_at is not None and session.opened_at is None:
            faults.append(f"{session.id} binds, and was agreed to by a browser that was not let in")
        if session.opened_at is not None and "bound" not in told[: told.index("opened")]:
            faults.append(f"{session.id} binds, and was opened before its owner was named: {told}")
    return faults


# -- what was done is on record ---------------------------------------------------------------------------------------


def _of_the_audit(rows: Rows) -> list[str]:
    told = Counter((line.action, line.credential_id, line.version) for line in rows.audit if line.outcome == "granted")
    faults = [
        f"{stored.credential_id} v{stored.version} is stored, and {times} lines say so"
        for stored in rows.versions
        if (times := told[_STORED[stored.run_id is not None], stored.credential_id, stored.version]) != 1
    ]
    faults += [
        f"{credential.id} is {credential.status}, and {times} lines say that it is gone"
        for credential in rows.credentials.values()
        if (times := sum(told[action, credential.id, credential.version] for action in _GONE))
        != int(credential.deleted_at is not None)
    ]
    return faults


# -- completed and its credential -----------------------------------------------------------------------------------


def _of_captures(rows: Rows) -> list[str]:
    faults = []
    versions = defaultdict(list)
    for stored in rows.versions:
        versions[stored.credential_id].append(stored)
    # of what runs stored see `_of_runs`
    captures = [stored for stored in rows.versions if stored.run_id is None]
    for stored in captures:
        session = rows.sessions.get(stored.session_id)
        if session is not None and session.status != "completed":
            faults.append(f"{stored.credential_id} v{stored.version} is stored, and {session.id} is {session.status}")
        elif session is not None and (session.captured_credential_id, session.captured_version) != (
            stored.credential_id,
            stored.version,
        ):
            faults.append(f"{session.id} does not point at its own capture")
    of_session = Counter(stored.session_id for stored in captures)
    faults += [f"{session} captured {number} times" for session, number in of_session.items() if number > 1]
    faults += _of_what_is_completed(rows, versions)
    for credential in rows.credentials.values():
        numbers = [one.version for one in versions[credential.id]]
        if numbers != list(range(1, credential.version + 1)):
            faults.append(f"{credential.id} is at version {credential.version}, and has {numbers}")
        if credential.deleted_at is not None and credential.ciphertext is not None:
            faults.append(f"{credential.id} is deleted and not empty")
    return faults


def _of_what_is_completed(rows: Rows, versions: Mapping[str, list[Any]]) -> Iterator[str]:
    for session in rows.sessions.values():
        if session.status != "completed":
            continue
        credential = rows.credentials.get(session.captured_credential_id)
        stored = [one.version for one in versions.get(session.captured_credential_id, [])]
        if credential is None or session.captured_version not in stored:
            yield f"{session.id} is completed without its credential"


# -- runs, and the one live copy --------------------------------------------------------------------------------------


def _of_runs(rows: Rows) -> list[str]:
    faults = [
        f"{run.id} is {run.status} with the reason {run.reason}"
        for run in rows.runs.values()
        if (run.status == "ended") != (run.reason is not None)
    ]
    machine_of = {row.run_id: row for row in rows.machines.values() if row.run_id is not None}
    for lease in rows.leases.values():
        machine = machine_of.get(lease.run_id)
        if lease.ended_at is None and (machine is None or machine.ended_at is not None):
            faults.append(f"the lease of {lease.run_id} lives, and its machine does not")
    live = Counter(lease.credential_id for lease in rows.leases.values() if lease.ended_at is None)
    faults += [f"{credential} has {number} live leases" for credential, number in live.items() if number > 1]
    before: dict[str, Any] = {}
    for stored in rows.versions:  # in their order
        last, before[stored.credential_id] = before.get(stored.credential_id), stored
        if stored.run_id is None:
            continue
        lease = rows.leases.get(stored.run_id)
        if last is None or last.session_id != stored.session_id:
            faults.append(f"{stored.credential_id} v{stored.version} is no renewal of the one before")
        elif lease is not None and (lease.credential_id != stored.credential_id or lease.version < stored.version):
            faults.append(f"{stored.credential_id} v{stored.version} is not of the lease of {stored.run_id}")
    return faults


def _of_the_vault(rows: Rows, key: Path) -> list[str]:
    living = [row for row in rows.credentials.values() if row.deleted_at is None]
    try:
        vault = Vault.open(key, known_key_id=rows.key_id, has_rows=bool(living))
    except AntechamberError as error:
        return [f"the vault does not open: {error.code} {error.detail}"]
    faults = []
    for row in living:
        owner: Owner = credential_of(row).owner
        identity = SealIdentity.of(rows.installation, owner, row.provider, row.id, row.version)
        try:
            if not vault.unseal(sealed_of(row), identity):
                faults.append(f"{row.id} is empty")
        except AntechamberError as error:
            faults.append(f"{row.id} does not open: {error.code} {error.detail}")
    return faults


# -- events ---------------------------------------------------------------------------------------------------------


def _of_events(rows: Rows, *, pruned: bool) -> list[str]:
    faults = [f"{one} was recorded twice" for one, n in Counter(one.id for one in rows.events).items() if n > 1]
    without: set[str] = set()
    for session in rows.sessions.values():
        told = rows.told_of(session.id, machine=False)
        if pruned and session.status == "completed" and (not told or told[0].kind != "created"):
            without.add(session.id)
            continue
        faults += [f"{session.id}: {fault}" for fault in _of_one_session(session, told)]
    for machine in rows.machines.values():
        if machine.session_id is not None and machine.session_id not in without:
            told = rows.told_of(machine.session_id, machine=True)
            faults += [f"{machine.id}: {fault}" for fault in _of_one_machine(machine, told)]
    return faults


def _of_one_session(session: Any, told: list[Any]) -> list[str]:
    faults, state, ends = [], None, 0
    seen: Counter[tuple[Any, ...]] = Counter()
    for event in told:
        if (event.before, event.act) != (state, "move") and event.kind == "created":
            faults.append("it was created after something else")
        # what became of its credential later is told of no state
        if event.before != state and (event.before is not None or event.kind == "created"):
            faults.append(f"{event.kind} left {event.before}, and it was {state}")
        if event.act == "move":
            state = event.after
            ends += state in TERMINAL_STATUSES
            if state in TERMINAL_STATUSES and event.reason != session.reason:
                faults.append(f"it ended by {event.reason}, and its row says {session.reason}")
        elif event.after != event.before:
            faults.append(f"the {event.act} {event.kind} changed {event.before} to {event.after}")
        run = event.fields.get("attempt"), event.fields.get("version")
        # what comes once for each run of the tool says which it was
        seen[event.kind, event.act, event.before if event.act == "refuse" else None, run] += 1
    if state != session.status:
        faults.append(f"its events lead to {state}, and it is {session.status}")
    if ends != (session.status in TERMINAL_STATUSES):
        faults.append(f"it ended {ends} times")
    if (session.status == "completed") != any(one.kind == "captured" and one.act == "move" for one in told):
        faults.append(f"it is {session.status}, and its events do not say so")
    return faults + [f"{one} was recorded {number} times" for one, number in seen.items() if number > 1]


def _of_one_machine(machine: Any, told: list[Any]) -> list[str]:
    faults, state = [], str(MachineState.REQUESTED)
    for event in told:
        if event.before != state or event.after == state:
            faults.append(f"{event.kind} moved it from {event.before} to {event.after}, and it was {state}")
        state = event.after
    if state != machine.state:
        faults.append(f"its events lead to {state}, and it is {machine.state}")
    return faults


# -- when all is over -----------------------------------------------------------------------------------------------


def _of_the_end(rows: Rows) -> list[str]:
    faults = [f"{row.id} is {row.status}" for row in rows.sessions.values() if row.status not in TERMINAL_STATUSES]
    faults += [f"{row.id} is {row.status}" for row in rows.runs.values() if row.status != "ended"]
    faults += [f"the lease of {row.run_id} lives" for row in rows.leases.values() if row.ended_at is None]
    for row in rows.machines.values():
        if not MachineState(row.state).ended:
            faults.append(f"{row.id} is {row.state}")
        elif row.handle is not None and row.session_id is not None:
            told = {one.kind for one in rows.told_of(row.session_id, machine=False)}
            if not told & {"machine_ended", "start_failed"}:
                faults.append(f"{row.session_id} was not told that its machine {row.id} ended")
    return faults


def left_on_the_host(ended: Collection[Any], run: Path) -> list[str]:
    """Say what the host still has of machines that are over: folders, sockets, keepers, uids, their processes."""
    folders = list(run.iterdir()) if run.is_dir() else []
    faults = [f"{path} is left" for path in folders]
    faults += [f"the machine of {path.name} lives" for path in folders if KeptFolder(path).lives()]
    uids = {row.host_uid for row in ended if row.host_uid is not None}
    faults += [
        f"process {process.name} of uid {uid} is left: {line[:80]}"
        for process, uid, line in _processes()
        if uid in uids or f"{run}/" in line
    ]
    incarnations = {row.incarnation for row in ended}
    groups = Path("/sys/fs/cgroup").glob("**/inc_*")
    return [
        *faults,
        *(f"the uid {path.name} is still taken" for path in _uid_locks(uids) if locks.held(path)),
        *(f"the cgroup {group} is left" for group in groups if group.name in incarnations),
    ]


def _processes() -> Iterator[tuple[Path, int, str]]:
    """Give each process of the host with its uid and command line; a zombie is none."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            status = (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "\nState:\tZ" not in status:
            yield process, int(status.partition("\nUid:\t")[2].split()[0]), line


def _uid_locks(uids: Collection[int]) -> Iterator[Path]:
    for folder in (Path("/run/antechamber-uids"), *Path("/tmp").glob("antechamber-uids-*")):
        yield from (path for uid in uids if (path := folder / str(uid)).exists())
