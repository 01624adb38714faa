"""How long the audit is kept: whole months of it, deleted when their time is over, or when the operator says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.log import get_logger
from antechamber.store import NotTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from antechamber.model import Actor
    from antechamber.settings import Settings
    from antechamber.store import Cut, Store

_log = get_logger("audit")
_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Shortened:
    """What became of it."""

    lines: int
    """How many are deleted by now."""
    cut: Cut | None
    """None where nothing was old enough."""


class Auditing:
    """The audit's retention in one store."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        """Use that store."""
        self._store = store.audit_retention
        self._months = settings.audit_kept_months
        self._taken_only = settings.audit_exported_first
        self._clock = clock

    async def prune(self, *, by: Actor, before: str | None = None) -> Shortened:
        """Delete every line from before a month (`2026-01`), or from before those that the settings keep.

        Raises CallerError bad_request, not_exported; OperatorError misconfigured where the database's rights do not let
        this service do it.
        """
        until = self._until(before)
        await self._require_rights()
        # what a cut before this one let go is no part of it
        gone = await self._store.clear()
        cut = await self._store.cut(until, by=by, at=self._clock(), taken_only=self._taken_only)
        if isinstance(cut, NotTaken):
            raise CallerError(
                Code.NOT_EXPORTED,
                message=f"Of the lines up to {cut.last_seq} only those up to {cut.taken} are said to be elsewhere too.",
            )
        if cut is None:
            return Shortened(gone, None)
        _log.info("months of the audit are deleted", until=cut.until.isoformat(), lines=cut.lines, digest=cut.digest)
        return Shortened(gone + await self._store.clear(), cut)

    async def keep(self, *, by: Actor) -> None:
        """Do what the settings say, where there is anything to do; what is to be said of it is logged.

        Raises OperatorError store_unavailable.
        """
        if self._months is None:
            return
        if not await self._store.may_cut():
            if await self._store.is_due(self._until(None)):
                _log.warning(
                    "months of the audit are past their time, and this service may not delete them",
                    remedy="Run `antechamber audit prune` with ANTECHAMBER_DATABASE_OWNER_URL.",
                )
            return
        try:
            await self.prune(by=by)
        except CallerError as error:
            _log.warning("months of the audit are past their time and not exported", detail=error.message)

    async def exported(self, up_to: int | None = None) -> int:
        """Return up to which line the operator has the audit elsewhere too; `up_to` says so. Raises bad_request."""
        if up_to is not None and up_to > await self._store.last_seq():
            raise CallerError(Code.BAD_REQUEST, message="There is no such line yet.")
        return await self._store.taken(up_to)

    async def cuts(self) -> Sequence[Cut]:
        """Return what has gone until now, the last first."""
        return await self._store.cuts()

    async def gone_up_to(self) -> int:
        """Return the last line that has gone, 0 where none has: below it there may be gaps."""
        return max((cut.last_seq for cut in await self.cuts()), default=0)

    def _until(self, before: str | None) -> datetime:
        now = self._clock().astimezone(UTC)
        this_month = datetime(now.year, now.month, 1, tzinfo=UTC)
        if before is None:
            if self._months is None:
                raise CallerError(
                    Code.BAD_REQUEST,
                    message="The audit is kept for ever.",
                    next_step="Name a month by --before, or set ANTECHAMBER_AUDIT_KEPT_MONTHS.",
                )
            months = this_month.year * 12 + this_month.month - 1 - self._months
            # an audit of the year 0 there is not
            return datetime(max(months // 12, 1), months % 12 + 1, 1, tzinfo=UTC)
        named = _MONTH.fullmatch(before)
        if named is None or int(named[1]) < 1:
            raise CallerError(Code.BAD_REQUEST, message="A month is written as 2026-01.")
        until = datetime(int(named[1]), int(named[2]), 1, tzinfo=UTC)
        if until > this_month:
            raise CallerError(Code.BAD_REQUEST, message="Only whole months go, and that one is not over.")
        return until

    async def _require_rights(self) -> None:
        if not await self._store.may_cut():
            raise OperatorError(
                Code.MISCONFIGURED,
                message="The role of the database URL may not delete lines of the audit, as it should be.",
                next_step="Give the command the owner's URL in ANTECHAMBER_DATABASE_OWNER_URL.",
            )
