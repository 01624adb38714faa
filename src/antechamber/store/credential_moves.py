"""What a fact writes into a credential's row: the one place that changes its status. Used inside write transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from antechamber.credential_life import CredentialDecision, CredentialFact, decide_credential
from antechamber.lifecycle import Act
from antechamber.model import Credential, CredentialEvent
from antechamber.store.changes import CREDENTIALS
from antechamber.store.rows import credential_event_of, credential_of
from antechamber.store.schema import credential_events, credentials

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.database import Write


@dataclass(frozen=True, slots=True)
class CredentialMoved:
    """What a fact did: the credential as it is now, what the table said, and the event; None when none was written."""

    credential: Credential
    decision: CredentialDecision
    event: CredentialEvent | None


async def locked_credential(connection: AsyncConnection, credential_id: str) -> Credential | None:
    """Return a credential, a tombstone too, and keep others from changing it until the commit."""
    wanted = select(credentials).where(credentials.c.id == credential_id).with_for_update()
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else credential_of(row)


async def apply_to_credential(
    write: Write,
    credential: Credential,
    fact: CredentialFact,
    *,
    at: datetime,
    session_id: str | None = None,
    values: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> CredentialMoved:
    """Do to a locked credential what the table says of the fact, with its event.

    `values` are written with a move. A note that only repeats what was recorded last writes nothing.
    """
    decision = decide_credential(credential.status, fact, credential.status_reason)
    if decision.act is Act.REFUSE or (decision.act is Act.NOTE and await _repeats(write.connection, credential, fact)):
        return CredentialMoved(credential, decision, None)
    if decision.act is Act.MOVE:
        statement = (
            update(credentials)
            .where(credentials.c.id == credential.id, credentials.c.version == credential.version)
            .values(**(values or {}), status=decision.after, status_reason=decision.reason, status_at=at)
            .returning(*credentials.c)
        )
        credential = credential_of((await write.connection.execute(statement)).one())
    event = await tell(write, credential, fact, decision, at=at, session_id=session_id, fields=fields)
    return CredentialMoved(credential, decision, event)


async def tell(
    write: Write,
    credential: Credential,
    fact: CredentialFact,
    decision: CredentialDecision | None,
    *,
    at: datetime,
    session_id: str | None,
    fields: Mapping[str, Any] | None,
) -> CredentialEvent:
    """Record what a fact did to a credential, as it is now; without a decision: that it was made."""
    write.tell(CREDENTIALS)
    values = {
        "credential_id": credential.id,
        "version": credential.version,
        "kind": fact,
        "before": decision.before if decision else None,
        "after": credential.status,
        "reason": decision.reason if decision else credential.status_reason,
        "at": at,
        "session_id": session_id,
        "fields": dict(fields or {}),
    }
    row = await write.connection.execute(insert(credential_events).values(values).returning(*credential_events.c))
    return credential_event_of(row.one())


async def _repeats(connection: AsyncConnection, credential: Credential, fact: CredentialFact) -> bool:
    wanted = (
        select(credential_events.c.kind, credential_events.c.version)
        .where(credential_events.c.credential_id == credential.id)
        .order_by(credential_events.c.seq.desc())
        .limit(1)
    )
    last = (await connection.execute(wanted)).one_or_none()
    return last is not None and (last.kind, last.version) == (fact, credential.version)
