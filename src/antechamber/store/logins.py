"""Operators' logins: the dashboard's cookies, and whose each is.

A cookie that came of a login names its operator and the terms on which they were let in (`openid.Terms`): whoever looks
at it knows whether these are still the terms. One that came of the service's own link names nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, select

from antechamber.model import AccessKind, Operator
from antechamber.store.access import hash_of
from antechamber.store.audit import columns_of
from antechamber.store.database import to_its_end
from antechamber.store.schema import access

if TYPE_CHECKING:
    from datetime import datetime

    from antechamber.model import Secret
    from antechamber.store.database import Database


@dataclass(frozen=True, slots=True)
class Entered:
    """By what a dashboard is open."""

    operator: Operator | None
    """None: by the service's own link."""
    terms: str | None
    """The digest of the terms on which the operator was let in."""


class Logins:
    """The logins of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def enter(
        self,
        login: Secret,
        cookie: Secret,
        operator: Operator,
        *,
        terms: str,
        at: datetime,
        login_expires_at: datetime,
        cookie_expires_at: datetime,
    ) -> bool:
        """End a login and let that cookie open the dashboard as the operator, both or neither.

        False where that login has ended before: it serves once, on whichever node of the database.
        """
        # the primary key is the turn: whoever comes second waits for the first one's commit, is run again and sees it
        async with self._database.write() as write:
            known = select(access.c.kind).where(access.c.secret_hash == hash_of(login))
            if (await write.connection.execute(known)).one_or_none() is not None:
                return False
            ended = {"secret_hash": hash_of(login), "kind": AccessKind.LOGIN, "used_at": at}
            await write.connection.execute(insert(access).values(**ended, granted_at=at, expires_at=login_expires_at))
            await write.connection.execute(
                insert(access).values(
                    secret_hash=hash_of(cookie),
                    kind=AccessKind.DASHBOARD_COOKIE,
                    granted_at=at,
                    expires_at=cookie_expires_at,
                    operator_name=operator.name,
                    operator_terms=terms,
                    **columns_of(operator),
                )
            )
            return True

    @to_its_end
    async def entered(self, cookie: Secret, *, at: datetime) -> Entered | None:
        """Return by what a cookie opens the dashboard; None where it does not, or no longer."""
        is_it = and_(access.c.secret_hash == hash_of(cookie), access.c.kind == AccessKind.DASHBOARD_COOKIE)
        async with self._database.read() as connection:
            row = (await connection.execute(select(access).where(is_it, access.c.expires_at > at))).one_or_none()
        if row is None:
            return None
        if row.operator_issuer is None:
            return Entered(None, None)
        operator = Operator(row.operator_issuer, row.operator_subject, row.operator_name)
        return Entered(operator, row.operator_terms)

    @to_its_end
    async def leave(self, cookie: Secret) -> None:
        """Have a cookie open the dashboard no more."""
        is_it = and_(access.c.secret_hash == hash_of(cookie), access.c.kind == AccessKind.DASHBOARD_COOKIE)
        async with self._database.write() as write:
            await write.connection.execute(delete(access).where(is_it))
