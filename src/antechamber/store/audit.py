"""The audit: who did what to whose credential, appended and never changed.

A line is written in the transaction of what it tells of, so that there is neither without the other. A person stands in
it as a pseudonym alone, made with a random key of their own; their erasure destroys the key, and with it whatever led
from the lines to them. A reason is in somebody's own words, which may name a person: it lies beside its line and goes
with that key. The database itself refuses to change a line, and to delete one but in a cut (`audit_retention`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, delete, insert, select

from antechamber.model import Actor, AuditAction, AuditLine, AuditOutcome, IdPrefix, Operator, Owner, Purpose, new_id
from antechamber.store.database import to_its_end
from antechamber.store.rows import audit_line_of
from antechamber.store.schema import audit, audit_keys, audit_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.errors import Code
    from antechamber.model import GuestText
    from antechamber.store.database import Database, Write

_KEY_BYTES = 32
_PSEUDONYM_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be told; with `refused` it was denied."""

    actor: Actor
    action: AuditAction
    owner: Owner | None
    purpose: Purpose | None = None
    provider: str | None = None
    credential_id: str | None = None
    version: int | None = None
    session_id: str | None = None
    refused: Code | None = None
    api_key: str | None = None
    reason: GuestText | None = None
    """Why, in the words of whoever asked; not kept where nobody is known whom it is about."""
    fields: Mapping[str, Any] | None = None
    operator: Operator | None = None


class Audit:
    """The audit of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def list(self, *, after: int = 0, limit: int = 100, owner: Owner | None = None) -> list[AuditLine]:
        """Return lines with a `seq` above `after`, the oldest first; of one owner with `owner`."""
        wanted = lines().where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
        async with self._database.read() as connection:
            if owner is not None:
                key = await _key(connection, owner)
                if key is None:
                    return []
                wanted = wanted.where(audit.c.owner == pseudonym(key, owner))
            return [audit_line_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def of_credential(self, owner: Owner, credential_id: str, *, limit: int) -> Sequence[AuditLine]:
        """Return what was done with one credential of an owner, the last first."""
        async with self._database.read() as connection:
            key = await _key(connection, owner)
            if key is None:
                return []
            # by the owner, for whom there is an index
            theirs = and_(audit.c.owner == pseudonym(key, owner), audit.c.credential_id == credential_id)
            wanted = lines().where(theirs).order_by(audit.c.seq.desc()).limit(limit)
            return [audit_line_of(row) for row in await connection.execute(wanted)]


def lines() -> Select[Any]:
    """Select lines, each with its reason."""
    return select(audit, audit_reasons.c.reason).outerjoin(audit_reasons, audit_reasons.c.id == audit.c.id)


def append(write: Write, entry: Entry, *, at: datetime) -> None:
    """Write a line within the caller's transaction, which fails where this does.

    It is written at the transaction's very end, so that a reader who goes on after a `seq` misses none: see `in_order`.
    """
    write.last.append(partial(_append, write.connection, entry, at))


async def _append(connection: AsyncConnection, entry: Entry, at: datetime) -> None:
    """Write it now.

    A try that was denied does not make its owner known: they may be nobody's.
    """
    owner = None
    if entry.owner is not None:
        make = entry.refused is None or entry.credential_id is not None
        owner = await _pseudonym_of(connection, entry.owner, make=make)
    line_id = new_id(IdPrefix.AUDIT)
    await connection.execute(
        insert(audit).values(
            id=line_id,
            at=at,
            actor=entry.actor,
            action=entry.action,
            outcome=AuditOutcome.GRANTED if entry.refused is None else AuditOutcome.DENIED,
            owner=owner,
            purpose=entry.purpose,
            provider=entry.provider,
            credential_id=entry.credential_id,
            version=entry.version,
            session_id=entry.session_id,
            refused=None if entry.refused is None else str(entry.refused),
            api_key=entry.api_key,
            fields=None if entry.fields is None else dict(entry.fields),
            **columns_of(entry.operator),
        )
    )
    if entry.reason and entry.owner is not None and owner is not None:
        told = {"application": entry.owner.application, "user_id": entry.owner.user_id, "reason": entry.reason}
        await connection.execute(insert(audit_reasons).values(id=line_id, **told))


def columns_of(operator: Operator | None) -> dict[str, str | None]:
    """Return what a row has of the operator by whose login something was done."""
    return {
        "operator_issuer": operator.issuer if operator else None,
        "operator_subject": operator.subject if operator else None,
    }


async def forget(connection: AsyncConnection, owner: Owner) -> None:
    """Destroy the key of an owner's pseudonym, and what was said about them, within the caller's transaction."""
    await connection.execute(delete(audit_keys).where(_is(owner, audit_keys)))
    # the database keeps a reason as long as that key
    await connection.execute(delete(audit_reasons).where(_is(owner, audit_reasons)))


async def is_known(connection: AsyncConnection, owner: Owner) -> bool:
    """Tell whether lines can be led back to that owner."""
    return await _key(connection, owner) is not None


async def _pseudonym_of(connection: AsyncConnection, owner: Owner, *, make: bool) -> str | None:
    key = await _key(connection, owner)
    if key is None and not make:
        return None
    if key is None:
        # nobody else is at this: see `in_order`
        key = secrets.token_bytes(_KEY_BYTES)
        made = insert(audit_keys).values(application=owner.application, user_id=owner.user_id, key=key)
        await connection.execute(made)
    return pseudonym(key, owner)


async def _key(connection: AsyncConnection, owner: Owner) -> bytes | None:
    key: bytes | None = (
        await connection.execute(select(audit_keys.c.key).where(_is(owner, audit_keys)))
    ).scalar_one_or_none()
    return key


def _is(owner: Owner, table: Table) -> ColumnElement[bool]:
    return and_(table.c.application == owner.application, table.c.user_id == owner.user_id)


def pseudonym(key: bytes, owner: Owner) -> str:
    """Return how an owner stands in the lines, by their key."""
    said = json.dumps([owner.application, owner.user_id]).encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()[:_PSEUDONYM_DIGITS]
