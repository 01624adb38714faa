"""Credentials: captured together with their session's end, read, deleted down to a tombstone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Select, func, insert, select, update

from antechamber.credential_life import CredentialFact, same_account
from antechamber.errors import Code
from antechamber.lifecycle import Act, SessionDecision, SessionFact, decide_session
from antechamber.model import (
    Actor,
    AuditAction,
    AuthSession,
    Claims,
    Credential,
    CredentialReason,
    CredentialStatus,
    Event,
    Operator,
    Owner,
    Purpose,
    Reason,
    Sealed,
    SessionStatus,
)
from antechamber.store.audit import Entry, append
from antechamber.store.changes import SESSIONS, session_topic
from antechamber.store.credential_moves import apply_to_credential, locked_credential, tell
from antechamber.store.database import to_its_end
from antechamber.store.events import keep_order, record
from antechamber.store.moves import Given, Moved, apply_fact, locked, refuse
from antechamber.store.rows import credential_of, sealed_of
from antechamber.store.runs import end_runs_of
from antechamber.store.schema import credential_versions, credentials, installation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import GuestText
    from antechamber.store.database import Database, Write

DELETED = "credential_deleted"
"""The kind of the event that a deletion leaves with the session that stored the version."""

_EMPTY = {
    "ciphertext": None,
    "wrapped_key": None,
    "key_id": None,
    "format_version": None,
    "account": None,
    "plan": None,
    "claimed_expiry": None,
    "renewable": None,
    "ends_at": None,
}
_OTHER: Final = "the file names another account than the stored version does"
_SAME: Final = {True: "same", False: "replaced", None: "unknown"}
"""How the account of a new version compares with that of the one before, in the capture's event."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks that a credential be opened, what for, and why."""

    purpose: Purpose
    actor: Actor
    api_key: str | None = None
    application: str | None = None
    """Whose key that is, and whose credentials it may ask for; None: the operator, for everybody's."""
    reason: GuestText | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a credential, the present one or an older one."""

    version: int
    stored_at: datetime
    session_id: str
    """The session that stored it."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What became of a capture."""

    outcome: Literal["captured", "repeated", "conflict", "key_changed", "refused", "other_account"]
    """`captured`: stored, and the session is completed. `repeated`: it was completed already, nothing changed.
    `conflict`: the credential's version moved on, so read it, seal again and try again. `key_changed`: it was sealed
    with another key than the one that seals now, so seal again with that one. `refused`: the session cannot
    be completed (it ended otherwise, or its machine has not begun), nothing is stored. `other_account`: it names
    another account than the stored one, which it may not replace; the session has failed and nothing else changed."""
    session: AuthSession
    credential: Credential | None
    """The credential that the session is completed with; with `conflict` or `other_account` the live one, if any."""
    decision: SessionDecision
    event: Event | None
    """The move or the refusal; None when nothing was written."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """What became of a person's "this is not me"."""

    moved: Moved
    deleted: Credential | None
    """The tombstone; None when the fact was refused."""


class Credentials:
    """The credentials of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def current(self, owner: Owner, provider: str) -> Credential | None:
        """Return the owner's live credential of a provider, or None."""
        async with self._database.read() as connection:
            return await _live(connection, owner, provider)

    @to_its_end
    async def get(self, credential_id: str) -> Credential | None:
        """Return a credential, a tombstone too (its `deleted_at` is set), or None."""
        async with self._database.read() as connection:
            row = await _row(connection, credential_id)
        return None if row is None else credential_of(row)

    @to_its_end
    async def tombstones(self, limit: int, application: str | None = None) -> list[Credential]:
        """Return deleted credentials, of one application or of all, the last deleted first."""
        wanted = select(credentials).where(credentials.c.deleted_at.is_not(None))
        if application is not None:
            wanted = wanted.where(credentials.c.application == application)
        wanted = wanted.order_by(credentials.c.deleted_at.desc(), credentials.c.id).limit(limit)
        async with self._database.read() as connection:
            return [credential_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def versions(self, credential_id: str) -> list[Version]:
        """Return what is known of each version of a credential, the newest first; nothing of what was in it."""
        wanted = select(credential_versions).where(credential_versions.c.credential_id == credential_id)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(credential_versions.c.version.desc()))
            return [Version(row.version, row.stored_at, row.session_id) for row in rows]

    @to_its_end
    async def list(self, user_id: str | None = None, application: str | None = None) -> list[Credential]:
        """Return live credentials, of one user or of all, of one application or of all."""
        wanted = select(credentials).where(credentials.c.deleted_at.is_(None))
        if application is not None:
            wanted = wanted.where(credentials.c.application == application)
        if user_id is not None:
            wanted = wanted.where(credentials.c.user_id == user_id)
        wanted = wanted.order_by(credentials.c.user_id, credentials.c.provider)
        async with self._database.read() as connection:
            return [credential_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def sealed(self, credential_id: str) -> tuple[Credential, Sealed] | None:
        """Return a live credential with what is sealed in it, of one version; None for a tombstone or no such id."""
        async with self._database.read() as connection:
            row = await _row(connection, credential_id)
        return None if row is None or row.deleted_at is not None else (credential_of(row), sealed_of(row))

    @to_its_end
    async def open(
        self,
        owner: Owner,
        provider: str,
        *,
        purpose: Purpose,
        actor: Actor,
        at: datetime,
        api_key: str | None = None,
    ) -> tuple[Credential, Sealed] | None:
        """Grant the opening of an owner's live credential and return it with what is sealed in it.

        The audit's line is committed before this returns: where it cannot be, nothing is opened. None when there is no
        such credential; that it was asked for is on record too.
        """
        async with self._database.write() as write:
            row = (await write.connection.execute(_wanted(owner, provider).with_for_update())).one_or_none()
            if row is None:
                denied = Entry(actor, AuditAction.CREDENTIAL_OPENED, owner, purpose, provider, api_key=api_key)
                append(write, replace(denied, refused=Code.CREDENTIAL_NOT_FOUND), at=at)
                return None
            return grant(write, row, Asked(purpose, actor, api_key=api_key), at)

    @to_its_end
    async def sealed_with(self) -> dict[str, int]:
        """Count the live credentials by the key that wraps their data keys."""
        wanted = select(credentials.c.key_id, func.count()).where(credentials.c.deleted_at.is_(None))
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.group_by(credentials.c.key_id))
            return {row[0]: row[1] for row in rows}

    @to_its_end
    async def not_sealed_with(self, key_id: str, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return ids of live credentials above `after` whose data keys another key wraps, in order."""
        wanted = select(credentials.c.id).where(
            credentials.c.deleted_at.is_(None), credentials.c.key_id != key_id, credentials.c.id > after
        )
        async with self._database.read() as connection:
            return tuple((await connection.execute(wanted.order_by(credentials.c.id).limit(limit))).scalars())

    @to_its_end
    async def open_data_key(
        self, credential_id: str, *, actor: Actor, at: datetime
    ) -> tuple[Credential, Sealed] | None:
        """Grant that a live credential's data key is opened to be wrapped anew, as `open` does for the credential."""
        async with self._database.write() as write:
            wanted = select(credentials).where(credentials.c.id == credential_id, credentials.c.deleted_at.is_(None))
            row = (await write.connection.execute(wanted.with_for_update())).one_or_none()
            if row is None:
                return None
            return grant(write, row, Asked(Purpose.ROTATION, actor), at)

    @to_its_end
    async def rewrap(self, credential: Credential, before: Sealed, after: Sealed) -> bool:
        """Put another wrapping of the same data key in the place of the one of before; False when that has changed."""
        async with self._database.write() as write:
            changed = await write.connection.execute(
                update(credentials)
                .where(
                    credentials.c.id == credential.id,
                    credentials.c.version == credential.version,
                    credentials.c.deleted_at.is_(None),
                    credentials.c.wrapped_key == before.wrapped_key,
                )
                .values(wrapped_key=after.wrapped_key, key_id=after.key_id)
            )
            return changed.rowcount == 1

    @to_its_end
    async def capture(
        self,
        session_id: str,
        *,
        credential_id: str,
        expected_version: int,
        sealed: Sealed,
        claims: Claims,
        report_id: str,
        at: datetime,
        fields: Mapping[str, Any] | None = None,
        any_key: bool = False,
    ) -> Captured:
        """Store a sealed credential as version `expected_version + 1` and complete its session, both or neither.

        `expected_version` is 0 when there is no live credential of the session's owner and provider; `credential_id` is
        the live one's, or a new id then. `fields` are public extras of the event. What is sealed with another key than
        the one that the database names is not stored, unless `any_key`: such a key may be taken away at any moment.
        CallerError SESSION_NOT_FOUND.

        Where the claims name another account than those of the live version, the session fails instead (OTHER_ACCOUNT)
        unless it may replace the account. Where one of the two names none, nothing can be compared, and the event says
        so: `account` in it is `first`, `same`, `replaced` or `unknown`.
        """
        given = Given(
            fact=SessionFact.CAPTURED,
            at=at,
            captured=(credential_id, expected_version + 1),
            fields={
                **(fields or {}),
                "credential_id": credential_id,
                "version": expected_version + 1,
                "report_id": report_id,
            },
        )
        async with self._database.write() as write:
            # before the session's row: see `take_turn`
            has_another_key = not any_key and await is_another_key(write.connection, sealed.key_id)
            session = await locked(write.connection, session_id)
            # one that is completed is stored already
            if has_another_key and session.status is not SessionStatus.COMPLETED:
                return Captured("key_changed", session, None, decide_session(session.status, given.fact), None)
            captured = await _capture(write, session, given, columns(sealed, claims), report_id)
        if captured.outcome == "captured" and expected_version > 0:
            await self._database.scrub()
        return captured

    @to_its_end
    async def delete(
        self,
        credential_id: str,
        *,
        at: datetime,
        by: Actor,
        api_key: str | None = None,
        operator: Operator | None = None,
        version: int | None = None,
    ) -> Credential | None:
        """Turn a credential into a tombstone and return it: ciphertext, key and claims are gone.

        Deleting a tombstone returns it unchanged. None when there is no such credential, or when `version` is given and
        is not its present one.
        """
        async with self._database.write() as write:
            tombstone = await bury(
                write, credential_id, at=at, by=by, api_key=api_key, operator=operator, version=version
            )
        if tombstone is not None:
            await self._database.scrub()
        return tombstone

    @to_its_end
    async def reject(self, session_id: str, *, at: datetime) -> Rejected:
        """Note that the person rejects what the session captured, and delete it, both or neither.

        Once it was deleted otherwise or a later sign-in replaced it, the fact is refused with NOT_REJECTABLE. Rejecting
        again returns the tombstone. CallerError SESSION_NOT_FOUND.
        """
        async with self._database.write() as write:
            session = await locked(write.connection, session_id)
            stored = await locked_credential(write.connection, session.captured_credential_id or "")
            given = Given(fact=SessionFact.REJECTED, at=at)
            if stored is not None and session.rejected_at is None and not _is_of(stored, session):
                decision = replace(
                    decide_session(session.status, SessionFact.REJECTED), act=Act.REFUSE, error=Code.NOT_REJECTABLE
                )
                return Rejected(await refuse(write, session, decision, given), None)
            moved = await apply_fact(write, session, given)
            deleted = None
            if moved.decision.act is not Act.REFUSE and stored is not None:
                deleted = await bury(write, stored.id, CredentialFact.REJECTED, at=at, by=Actor.PERSON)
        await self._database.scrub()
        return Rejected(moved, deleted)


def grant(write: Write, row: Any, asked: Asked, at: datetime) -> tuple[Credential, Sealed]:
    """Put an opening on record; what is returned leaves the transaction only when that is committed."""
    found = credential_of(row)
    entry = Entry(
        asked.actor,
        AuditAction.CREDENTIAL_OPENED,
        found.owner,
        asked.purpose,
        found.provider,
        credential_id=found.id,
        version=found.version,
        api_key=asked.api_key,
        reason=asked.reason,
    )
    append(write, entry, at=at)
    return found, sealed_of(row)


async def is_another_key(connection: AsyncConnection, key_id: str) -> bool:
    """Tell whether the database names another key than that one to seal with, until the commit.

    As `take_turn`, to be asked before any row of a session or credential is locked.
    """
    # a rotation may not name another one before this commit
    known = (await connection.execute(select(installation.c.key_id).with_for_update(read=True))).scalar_one()
    return known not in {None, key_id}


def _is_of(stored: Credential, session: AuthSession) -> bool:
    """Tell whether a credential is still of that sign-in, also where a run has renewed it since."""
    return stored.deleted_at is None and stored.session_id == session.id


async def _row(connection: AsyncConnection, credential_id: str) -> Any:
    return (await connection.execute(select(credentials).where(credentials.c.id == credential_id))).one_or_none()


async def _live(connection: AsyncConnection, owner: Owner, provider: str) -> Credential | None:
    row = (await connection.execute(_wanted(owner, provider))).one_or_none()
    return None if row is None else credential_of(row)


def _wanted(owner: Owner, provider: str) -> Select[Any]:
    return select(credentials).where(
        credentials.c.application == owner.application,
        credentials.c.user_id == owner.user_id,
        credentials.c.provider == provider,
        credentials.c.deleted_at.is_(None),
    )


async def _capture(
    write: Write, session: AuthSession, given: Given, values: Mapping[str, Any], report_id: str
) -> Captured:
    decision = decide_session(session.status, given.fact)
    if session.status is SessionStatus.COMPLETED:
        row = await _row(write.connection, session.captured_credential_id or "")
        return Captured("repeated", session, None if row is None else credential_of(row), decision, None)
    if decision.act is not Act.MOVE:
        moved = await refuse(write, session, decision, Given(fact=given.fact, at=given.at))
        return Captured("refused", session, None, decision, moved.event)
    credential_id, version = given.captured or ("", 0)
    row = (await write.connection.execute(_wanted(session.owner, session.provider).with_for_update())).one_or_none()
    live = None if row is None else credential_of(row)
    if version != (live.version + 1 if live else 1) or (live and live.id != credential_id):
        return Captured("conflict", session, live, decision, None)
    same = same_account(live.claims.account, values["account"]) if live else None
    if live is not None and same is False and not session.replace_account:
        refused = Given(fact=SessionFact.SIGN_IN_FAILED, at=given.at, reason=Reason.OTHER_ACCOUNT, detail=_OTHER)
        moved = await apply_fact(write, session, refused)
        _tell_of_storing(write, session, live.id, version, at=given.at, refused=Code.OTHER_ACCOUNT)
        return Captured("other_account", moved.session, live, moved.decision, moved.event)
    compared = {"account": _SAME[same] if live else "first"}
    stored = {**values, "version": version, "session_id": session.id, "stored_at": given.at}
    credential = await _store(write, session, live, credential_id, stored, fields=compared)
    await write.connection.execute(
        insert(credential_versions).values(
            credential_id=credential_id,
            version=version,
            stored_at=given.at,
            session_id=session.id,
            report_id=report_id,
        )
    )
    _tell_of_storing(write, session, credential_id, version, at=given.at)
    moved = await apply_fact(write, session, replace(given, fields={**given.fields, **compared}))
    return Captured("captured", moved.session, credential, moved.decision, moved.event)


def _tell_of_storing(
    write: Write, session: AuthSession, credential_id: str, version: int, *, at: datetime, refused: Code | None = None
) -> None:
    entry = Entry(
        Actor.PERSON,
        AuditAction.CREDENTIAL_STORED,
        session.owner,
        provider=session.provider,
        credential_id=credential_id,
        version=version,
        session_id=session.id,
        refused=refused,
    )
    append(write, entry, at=at)


def columns(sealed: Sealed, claims: Claims) -> dict[str, Any]:
    """Return the columns of a version: what is sealed, and what it claims."""
    return {
        "account": claims.account,
        "plan": claims.plan,
        "claimed_expiry": claims.expires_at,
        "renewable": claims.renewable,
        "ends_at": claims.ends_at,
        "ciphertext": sealed.ciphertext,
        "wrapped_key": sealed.wrapped_key,
        "key_id": sealed.key_id,
        "format_version": sealed.format_version,
    }


async def _store(
    write: Write,
    session: AuthSession,
    live: Credential | None,
    credential_id: str,
    values: Mapping[str, Any],
    *,
    fields: Mapping[str, Any],
) -> Credential:
    at = values["stored_at"]
    if live is not None:
        moved = await apply_to_credential(
            write, live, CredentialFact.CAPTURED, at=at, session_id=session.id, values=values, fields=fields
        )
        return moved.credential
    statement = insert(credentials).values(
        id=credential_id,
        application=session.owner.application,
        user_id=session.owner.user_id,
        provider=session.provider,
        created_at=at,
        status=CredentialStatus.ACTIVE,
        status_reason=CredentialReason.SIGNED_IN,
        status_at=at,
        **values,
    )
    credential = credential_of((await write.connection.execute(statement.returning(*credentials.c))).one())
    await tell(write, credential, CredentialFact.CAPTURED, None, at=at, session_id=session.id, fields=fields)
    return credential


async def bury(
    write: Write,
    credential_id: str,
    fact: CredentialFact = CredentialFact.DELETED,
    *,
    at: datetime,
    by: Actor,
    api_key: str | None = None,
    operator: Operator | None = None,
    version: int | None = None,
) -> Credential | None:
    """Turn a credential into a tombstone within the caller's transaction, and return it; see `Credentials.delete`."""
    credential = await locked_credential(write.connection, credential_id)
    if credential is None or (version is not None and credential.version != version):
        return None
    if credential.deleted_at is not None:
        return credential
    session_id = credential.session_id if fact is CredentialFact.REJECTED else None
    values = {"deleted_at": at, **_EMPTY}
    buried = await apply_to_credential(write, credential, fact, at=at, session_id=session_id, values=values)
    await end_runs_of(write, credential_id, at)
    rejected = fact is CredentialFact.REJECTED
    append(
        write,
        Entry(
            by,
            AuditAction.CREDENTIAL_REJECTED if rejected else AuditAction.CREDENTIAL_DELETED,
            credential.owner,
            provider=credential.provider,
            credential_id=credential_id,
            version=credential.version,
            session_id=session_id,
            api_key=api_key,
            operator=operator,
        ),
        at=at,
    )
    session_known = await keep_order(write.connection, credential.session_id)
    await record(
        write.connection,
        DELETED,
        at=at,
        act=Act.NOTE,
        session_id=credential.session_id if session_known else None,
        fields={"credential_id": credential_id, "version": credential.version},
    )
    write.tell(session_topic(credential.session_id), SESSIONS)
    return buried.credential
