"""What a run's tool makes of its credential, stored under the run's lease as a new version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy import insert, select, update

from antechamber.credential_life import CredentialFact, same_account
from antechamber.errors import Code
from antechamber.lifecycle import Act
from antechamber.model import Actor, AuditAction, Claims, Credential, Sealed
from antechamber.store.audit import Entry, append
from antechamber.store.credential_moves import apply_to_credential, locked_credential
from antechamber.store.credentials import columns, is_another_key
from antechamber.store.database import to_its_end
from antechamber.store.runs import live_lease
from antechamber.store.schema import credential_versions, leases, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from antechamber.model import Lease
    from antechamber.store.database import Database, Write


_Outcome: TypeAlias = Literal[
    "stored",
    "repeated",
    "conflict",
    "key_changed",
    "superseded",
    "other_account",
    "revoked",
    "gone",
    "lease_over",
]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to be stored as version `expected_version + 1` of the credential that a run works with."""

    run_id: str
    expected_version: int
    sealed: Sealed
    claims: Claims
    report_id: str
    at: datetime
    is_renewing: Callable[[], bool] = lambda: False
    """Asked once nobody can write down a renewal any more before the commit: whether the tool may be in another one."""
    any_key: bool = False
    """As for a capture: it is stored whatever key it is sealed with."""


@dataclass(frozen=True, slots=True)
class WrittenBack:
    """What became of it."""

    outcome: _Outcome
    """`stored`. `repeated`: it was stored already. `conflict`, `key_changed`: as of `Captured`, seal it again. Of the
    rest nothing is stored. `superseded`: a sign-in has stored another version since the run began. `other_account`: it
    names another account. `revoked`: only a sign-in makes that credential work again. `gone`: the credential was
    deleted. `lease_over`: whoever sends it is no longer its one live copy."""
    credential: Credential | None
    """As it is now; None where it is gone."""


class WriteBacks:
    """What runs store in one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def store(self, new: NewVersion) -> WrittenBack:
        """Store it, or say why not; storing it again changes nothing."""
        async with self._database.write() as write:
            written = await _store(write, new)
        if written.outcome == "stored":
            await self._database.scrub()
        return written


async def _store(write: Write, new: NewVersion) -> WrittenBack:
    # before any row of a credential: see `take_turn`
    has_another_key = not new.any_key and await is_another_key(write.connection, new.sealed.key_id)
    lease = await live_lease(write.connection, new.run_id)
    if lease is None:
        return WrittenBack("lease_over", None)
    credential = await locked_credential(write.connection, lease.credential_id)
    if credential is None or credential.deleted_at is not None:
        return WrittenBack("gone", None)
    known = select(credential_versions.c.version).where(
        credential_versions.c.credential_id == credential.id, credential_versions.c.report_id == new.report_id
    )
    outcome: _Outcome | None = None
    if (await write.connection.execute(known)).first() is not None:
        outcome = "repeated"
    elif credential.version != lease.version:
        outcome = "superseded"
    elif credential.version != new.expected_version:
        outcome = "conflict"
    elif has_another_key:
        outcome = "key_changed"
    return await _new_version(write, lease, credential, new) if outcome is None else WrittenBack(outcome, credential)


async def _new_version(write: Write, lease: Lease, credential: Credential, new: NewVersion) -> WrittenBack:
    run = (await write.connection.execute(select(runs).where(runs.c.id == new.run_id))).one()
    version = credential.version + 1
    entry = Entry(
        Actor(run.asked_by),
        AuditAction.CREDENTIAL_REFRESHED,
        credential.owner,
        provider=credential.provider,
        credential_id=credential.id,
        version=version,
        api_key=run.api_key,
    )
    if same_account(credential.claims.account, new.claims.account) is False:
        append(write, replace(entry, refused=Code.OTHER_ACCOUNT), at=new.at)
        return WrittenBack("other_account", credential)
    # a file that names no account, as where the companion that does was not sent, is of the same sign-in
    claims = replace(new.claims, account=new.claims.account or credential.claims.account)
    moved = await apply_to_credential(
        write,
        credential,
        CredentialFact.REFRESHED,
        at=new.at,
        values={**columns(new.sealed, claims), "version": version, "stored_at": new.at},
        fields={"run_id": new.run_id},
    )
    if moved.decision.act is not Act.MOVE:
        append(write, replace(entry, refused=Code.WRITE_BACK_REFUSED), at=new.at)
        return WrittenBack("revoked", credential)
    await write.connection.execute(
        insert(credential_versions).values(
            credential_id=credential.id,
            version=version,
            stored_at=new.at,
            session_id=credential.session_id,
            report_id=new.report_id,
            run_id=new.run_id,
        )
    )
    # under the lease's lock: a connection that is begun from here on is written down after this
    values = {"version": version} if new.is_renewing() else {"version": version, "renewing_at": None}
    await write.connection.execute(update(leases).where(leases.c.id == lease.id).values(values))
    append(write, entry, at=new.at)
    return WrittenBack("stored", moved.credential)
