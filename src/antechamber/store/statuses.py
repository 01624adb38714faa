"""The statuses of credentials between sign-ins: moved by time, by checks and by what is said; and their stories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from antechamber.credential_life import CredentialFact, fact_of_time
from antechamber.errors import CallerError, Code
from antechamber.model import CredentialEvent, CredentialStatus
from antechamber.store.credential_moves import CredentialMoved, apply_to_credential, locked_credential
from antechamber.store.database import to_its_end
from antechamber.store.rows import credential_event_of
from antechamber.store.schema import can_end_by_time, credential_events, credentials

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from antechamber.store.database import Database


class Statuses:
    """The statuses of one database's credentials."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def apply(
        self,
        credential_id: str,
        fact: CredentialFact,
        *,
        at: datetime,
        version: int | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> CredentialMoved | None:
        """Let a fact do to the credential what the table says; a refusal is in the decision.

        None when it is about another `version` than the present one: that is news of the past. CallerError
        CREDENTIAL_NOT_FOUND. Not for what is stored or deleted by it: see `Credentials`.
        """
        if fact in {CredentialFact.CAPTURED, CredentialFact.DELETED, CredentialFact.REJECTED}:
            message = f"{fact} is applied together with what it stores or deletes"
            raise ValueError(message)
        async with self._database.write() as write:
            credential = await locked_credential(write.connection, credential_id)
            if credential is None:
                raise CallerError(Code.CREDENTIAL_NOT_FOUND)
            if version is not None and credential.version != version:
                return None
            return await apply_to_credential(write, credential, fact, at=at, fields=fields)

    @to_its_end
    async def due(self, at: datetime, near: timedelta) -> list[str]:
        """Return the ids of the credentials that time moves on now; `near` is how long before its end one expires."""
        wanted = select(credentials.c.id).where(
            can_end_by_time(),
            or_(
                credentials.c.ends_at <= at,
                and_(credentials.c.status == CredentialStatus.ACTIVE, credentials.c.ends_at <= at + near),
            ),
        )
        async with self._database.read() as connection:
            return list((await connection.execute(wanted.order_by(credentials.c.ends_at))).scalars())

    @to_its_end
    async def move_by_time(self, credential_id: str, at: datetime, near: timedelta) -> CredentialMoved | None:
        """Move a credential on as its time says; None where it says nothing (any more). Doing it twice changes nothing.

        What the time says is asked anew under the lock: a sign-in may have come in between.
        """
        async with self._database.write() as write:
            credential = await locked_credential(write.connection, credential_id)
            fact = fact_of_time(credential.claims.ends_at, at, near) if credential else None
            if credential is None or fact is None:
                return None
            return await apply_to_credential(write, credential, fact, at=at)

    @to_its_end
    async def events(self, credential_id: str, limit: int = 500) -> list[CredentialEvent]:
        """Return the last events of a credential, a tombstone's too, oldest first."""
        wanted = select(credential_events).where(credential_events.c.credential_id == credential_id)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(credential_events.c.seq.desc()).limit(limit))
            return [credential_event_of(row) for row in rows][::-1]
