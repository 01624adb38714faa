"""Applications and their keys. Of a key only the SHA-256 is stored: 256 random bits leave nothing to guess."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, or_, select, update

from antechamber.errors import CallerError, Code
from antechamber.model import ApiScope, IdPrefix, new_id
from antechamber.store.access import hash_of
from antechamber.store.database import to_its_end
from antechamber.store.rows import api_key_of, application_of
from antechamber.store.schema import api_keys, applications

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import ApiKey, Application, Secret
    from antechamber.store.database import Database

USE_NOTED_EVERY: Final = timedelta(minutes=1)


class Applications:
    """The applications of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def add(
        self, name: str, *, bind_url: str | None, at: datetime, limits: Mapping[str, int] | None = None
    ) -> Application:
        """Add one, with its `live` and `starts_an_hour`; CallerError APPLICATION_EXISTS where one has that name."""
        async with self._database.write() as write:
            await _refuse_name(write.connection, name)
            row = await write.connection.execute(
                insert(applications)
                .values(id=new_id(IdPrefix.APPLICATION), name=name, bind_url=bind_url, created_at=at, **(limits or {}))
                .returning(*applications.c)
            )
            return application_of(row.one())

    @to_its_end
    async def list(self) -> list[Application]:
        """Return them by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(applications).order_by(applications.c.name))
            return [application_of(row) for row in rows]

    @to_its_end
    async def get(self, application_id: str) -> Application | None:
        """Return one, disabled or not, or None."""
        wanted = select(applications).where(applications.c.id == application_id)
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else application_of(row)

    @to_its_end
    async def change(self, application_id: str, changes: Mapping[str, Any]) -> Application:
        """Give one another `name`, `bind_url`, `disabled_at`, `live` or `starts_an_hour`.

        CallerError APPLICATION_NOT_FOUND, APPLICATION_EXISTS.
        """
        async with self._database.write() as write:
            if "name" in changes:
                await _refuse_name(write.connection, changes["name"], but=application_id)
            row = await write.connection.execute(
                update(applications)
                .where(applications.c.id == application_id)
                .values(**changes)
                .returning(*applications.c)
            )
            changed = row.one_or_none()
        if changed is None:
            raise CallerError(Code.APPLICATION_NOT_FOUND)
        return application_of(changed)

    @to_its_end
    async def add_key(
        self,
        application_id: str,
        secret: Secret,
        *,
        name: str,
        scopes: Iterable[ApiScope],
        at: datetime,
        expires_at: datetime | None,
    ) -> ApiKey:
        """Let a secret be a key of an application; CallerError APPLICATION_NOT_FOUND."""
        async with self._database.write() as write:
            known = select(applications.c.id).where(applications.c.id == application_id)
            if (await write.connection.execute(known)).one_or_none() is None:
                raise CallerError(Code.APPLICATION_NOT_FOUND)
            row = await write.connection.execute(
                insert(api_keys)
                .values(
                    id=new_id(IdPrefix.API_KEY),
                    application=application_id,
                    name=name,
                    secret_hash=hash_of(secret),
                    scopes=" ".join(sorted(scopes)),
                    created_at=at,
                    expires_at=expires_at,
                )
                .returning(*api_keys.c)
            )
            return api_key_of(row.one())

    @to_its_end
    async def keys(self, application_id: str | None = None) -> Sequence[ApiKey]:
        """Return the keys of one application or of all, also those that open nothing any more, oldest first."""
        wanted = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        if application_id is not None:
            wanted = wanted.where(api_keys.c.application == application_id)
        async with self._database.read() as connection:
            return [api_key_of(row) for row in await connection.execute(wanted)]

    @to_its_end
    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey:
        """Have a key open nothing from now on; again changes nothing. CallerError API_KEY_NOT_FOUND."""
        async with self._database.write() as write:
            await write.connection.execute(
                update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
            )
            row = (await write.connection.execute(select(api_keys).where(api_keys.c.id == key_id))).one_or_none()
        if row is None:
            raise CallerError(Code.API_KEY_NOT_FOUND)
        return api_key_of(row)

    @to_its_end
    async def holder(self, secret: Secret, *, at: datetime) -> ApiKey | None:
        """Return the key that a secret is, unless it is revoked or expired, or its application is disabled."""
        wanted = select(api_keys).join(applications).where(api_keys.c.secret_hash == hash_of(secret), *_opening(at))
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else api_key_of(row)

    @to_its_end
    async def opens(self, key_id: str, *, at: datetime) -> bool:
        """Tell whether a key that is known opens anything now."""
        wanted = select(api_keys.c.id).join(applications).where(api_keys.c.id == key_id, *_opening(at))
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).one_or_none() is not None

    @to_its_end
    async def note_use(self, key: ApiKey, *, at: datetime) -> None:
        """Remember that a key was used, once a minute at most: a write with each request would be one too many."""
        if key.last_used_at is not None and key.last_used_at > at - USE_NOTED_EVERY:
            return
        async with self._database.write() as write:
            await write.connection.execute(
                update(api_keys)
                .where(
                    api_keys.c.id == key.id,
                    or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= at - USE_NOTED_EVERY),
                )
                .values(last_used_at=at)
            )


def _opening(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a key of an application opens what it may."""
    return (
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > at),
        applications.c.disabled_at.is_(None),
    )


async def _refuse_name(connection: AsyncConnection, name: str, *, but: str | None = None) -> None:
    wanted = select(applications.c.id).where(applications.c.name == name)
    if (await connection.execute(wanted)).scalar_one_or_none() not in {None, but}:
        raise CallerError(Code.APPLICATION_EXISTS)
