"""Whole months of the audit that go: the oldest first, by a cut that says what it takes, and stays.

A cut is a row that the database takes only where it tells the truth (`rules`): how many lines there are before the
first of a month, and which is the last. With it is written the audit's own line about it. From then on the database
lets exactly those lines go; they do in small steps, and what a service that is killed has left the next one finds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update

from antechamber.model import Actor, AuditAction, Owner
from antechamber.store.audit import Entry, append, lines, pseudonym
from antechamber.store.database import to_its_end
from antechamber.store.limits import take_turn
from antechamber.store.rows import audit_line_of
from antechamber.store.schema import audit, audit_cuts, audit_keys, audit_reasons, installation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.model import AuditLine
    from antechamber.store.database import Database

BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Cut:
    """What of the audit has gone: every line before the first of a month that was there then."""

    until: datetime
    """The first moment that is kept: the first of a month, UTC."""
    lines: int
    first_seq: int
    last_seq: int
    digest: str
    """SHA-256 of the lines as `canonical` writes them, in the order of `seq`."""
    at: datetime


@dataclass(frozen=True, slots=True)
class NotTaken:
    """That a line would have gone of which nobody has said that it lies elsewhere too."""

    last_seq: int
    taken: int


class AuditRetention:
    """Deletes lines of one database's audit."""

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        """Use that database, in steps of so many lines."""
        self._database = database
        self._batch = batch

    @to_its_end
    async def may_cut(self) -> bool:
        """Tell whether the database's rights let this service delete lines at all."""
        async with self._database.read() as connection:
            return await self._database.dialect.may_cut(connection)

    @to_its_end
    async def cuts(self) -> Sequence[Cut]:
        """Return the cuts that there were, the last first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(audit_cuts).order_by(audit_cuts.c.until.desc()))
            return [Cut(row.until, row.lines, row.first_seq, row.last_seq, row.digest, row.at) for row in rows]

    @to_its_end
    async def is_due(self, until: datetime) -> bool:
        """Tell whether there are lines from before that moment."""
        async with self._database.read() as connection:
            return (
                await connection.execute(select(audit.c.seq).where(audit.c.at < until).limit(1))
            ).first() is not None

    @to_its_end
    async def taken(self, up_to: int | None = None) -> int:
        """Return up to which line the operator has the audit elsewhere too; `up_to` says so, and never takes back."""
        if up_to is not None:
            async with self._database.write() as write:
                less = or_(installation.c.audit_taken.is_(None), installation.c.audit_taken < up_to)
                await write.connection.execute(update(installation).where(less).values(audit_taken=up_to))
        async with self._database.read() as connection:
            known: int | None = (await connection.execute(select(installation.c.audit_taken))).scalar_one()
        return known or 0

    @to_its_end
    async def last_seq(self) -> int:
        """Return the `seq` of the last line, 0 before the first."""
        async with self._database.read() as connection:
            known: int | None = await connection.scalar(select(func.max(audit.c.seq)))
        return known or 0

    @to_its_end
    async def cut(self, until: datetime, *, by: Actor, at: datetime, taken_only: bool) -> Cut | NotTaken | None:
        """Let every line from before the first of a month go; `clear` deletes what has gone so.

        None where there is none. With `taken_only` not before the operator has them elsewhere too.
        """
        async with self._database.read() as connection:
            found = await _survey(connection, until, at, self._batch)
        if found is None:
            return None
        async with self._database.write() as write:
            await take_turn(write.connection)
            if taken_only:
                taken = (await write.connection.execute(select(installation.c.audit_taken))).scalar_one() or 0
                if taken < found.last_seq:
                    return NotTaken(found.last_seq, taken)
            if await _was_cut(write.connection, until):
                return None
            await write.connection.execute(insert(audit_cuts).values(asdict(found)))
            said = {**asdict(found), "until": _written(until)}
            del said["at"]
            append(write, Entry(by, AuditAction.AUDIT_PRUNED, None, fields=said), at=at)
        return found

    async def clear(self) -> int:
        """Delete the lines that cuts let go, then the keys of pseudonyms that no line has; return how many lines."""
        deleted = 0
        while gone := await self._clear_some():
            deleted += gone
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            after = await self._forget_some(after)
        if deleted:
            await self._database.scrub()
        return deleted

    @to_its_end
    async def _clear_some(self) -> int:
        cut = exists().where(audit.c.at < audit_cuts.c.until, audit.c.seq <= audit_cuts.c.last_seq)
        # for the index: what is left from before the last cut are a few lines of a clock that went back
        latest = select(func.max(audit_cuts.c.until)).scalar_subquery()
        wanted = (
            select(audit.c.seq, audit.c.id).where(audit.c.at < latest, cut).order_by(audit.c.seq).limit(self._batch)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted)).all()
        if not rows:
            return 0
        async with self._database.write() as write:
            await write.connection.execute(delete(audit).where(audit.c.seq.in_([row.seq for row in rows])))
            # the database keeps a reason as long as its line
            await write.connection.execute(
                delete(audit_reasons).where(audit_reasons.c.id.in_([row.id for row in rows]))
            )
        return len(rows)

    @to_its_end
    async def _forget_some(self, after: tuple[str, str]) -> tuple[str, str] | None:
        """Destroy keys that no line needs among the next few; return where to go on."""
        application, user_id = after
        later = or_(
            audit_keys.c.application > application,
            and_(audit_keys.c.application == application, audit_keys.c.user_id > user_id),
        )
        wanted = (
            select(audit_keys).where(later).order_by(audit_keys.c.application, audit_keys.c.user_id).limit(self._batch)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted)).all()
            found = {pseudonym(row.key, Owner(row.user_id, row.application)): row for row in rows}
            unneeded = found.keys() - await _in_lines(connection, found)
        if unneeded:
            async with self._database.write() as write:
                # at its end, where nobody else writes a line with one of them
                keys = {name: found[name] for name in unneeded}
                write.last.append(partial(_forget_unneeded, write.connection, keys))
        return (rows[-1].application, rows[-1].user_id) if rows else None


def canonical(line: AuditLine) -> bytes:
    """Return a line as a digest has it: as it is exported, without the reason, keys in order, no blanks, one line."""
    told = {
        name: _written(value) if isinstance(value, datetime) else value
        for name, value in asdict(line).items()
        if name != "reason"
    }
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def _survey(connection: AsyncConnection, until: datetime, at: datetime, batch: int) -> Cut | None:
    digest, first, last, count = hashlib.sha256(), 0, 0, 0
    while True:
        wanted = lines().where(audit.c.at < until, audit.c.seq > last).order_by(audit.c.seq).limit(batch)
        page = [audit_line_of(row) for row in await connection.execute(wanted)]
        if not page:
            return Cut(until, count, first, last, digest.hexdigest(), at) if count else None
        for line in page:
            digest.update(canonical(line))
        first, last, count = first or page[0].seq, page[-1].seq, count + len(page)


async def _was_cut(connection: AsyncConnection, until: datetime) -> bool:
    known: Any = select(audit_cuts.c.until).where(audit_cuts.c.until >= until).limit(1)
    return (await connection.execute(known)).first() is not None


async def _in_lines(connection: AsyncConnection, pseudonyms: Any) -> set[str]:
    wanted = select(audit.c.owner).where(audit.c.owner.in_(list(pseudonyms))).distinct()
    return set((await connection.execute(wanted)).scalars())


async def _forget_unneeded(connection: AsyncConnection, keys: dict[str, Any]) -> None:
    for name in keys.keys() - await _in_lines(connection, keys):
        row = keys[name]
        same = (audit_keys.c.application == row.application, audit_keys.c.user_id == row.user_id)
        # who was erased and came back meanwhile has another one
        await connection.execute(delete(audit_keys).where(*same, audit_keys.c.key == row.key))
