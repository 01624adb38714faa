"""What is kept of one person, and its removal.

Removing is asked for here and done by the services, from the rows: see `store.erasures`. What is outside, a vendor's
grant, a backup, a log, is nobody's to reach from here, and every text says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antechamber.errors import CallerError, Code
from antechamber.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from antechamber.model import Actor, Erasure, MachineRow, Operator, Owner
    from antechamber.store import Holdings, Store

_log = get_logger("owners")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an erasure is."""

    erasure: Erasure
    waits_for: Sequence[MachineRow]
    """Machines of the person's that have to end first."""


@dataclass(frozen=True, slots=True)
class AboutOwner:
    """What is kept of an owner."""

    holdings: Holdings
    erasing: Progress | None


def unnamed() -> CallerError:
    """Return the error of a question about an application where only one about a person can be answered."""
    return CallerError(
        Code.OWNER_NOT_FOUND,
        message="The audit names no application.",
        next_step="Ask for one of its users: name the user_id too.",
    )


class Owners:
    """The owners of one store."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Use that store."""
        self._store = store
        self._clock = clock

    async def about(self, owner: Owner) -> AboutOwner:
        """Say what is kept of an owner; raises CallerError owner_not_found where that is nothing."""
        erasure = await self._store.erasures.of_owner(owner)
        holdings = await self._store.erasures.holdings(owner)
        if not holdings and erasure is None:
            raise CallerError(Code.OWNER_NOT_FOUND)
        return AboutOwner(holdings, None if erasure is None else await self._progress(erasure))

    async def erase(
        self, owner: Owner, *, by: Actor, api_key: str | None = None, operator: Operator | None = None
    ) -> Progress:
        """Ask that everything of an owner be removed; asking again returns what is under way.

        From then on none of their credentials opens and no sign-in of theirs goes on. Raises CallerError
        owner_not_found.
        """
        erasure = await self._store.erasures.begin(owner, by=by, at=self._clock(), api_key=api_key, operator=operator)
        if erasure is None:
            raise CallerError(Code.OWNER_NOT_FOUND)
        _log.info("an owner is to be erased", erasure=erasure.id, by=erasure.asked_by)
        return await self._progress(erasure)

    async def erasure(self, erasure_id: str) -> Progress:
        """Say how far an erasure is; raises CallerError erasure_not_found."""
        erasure = await self._store.erasures.get(erasure_id)
        if erasure is None:
            raise CallerError(Code.ERASURE_NOT_FOUND)
        return await self._progress(erasure)

    async def erasures(self, limit: int, application: str | None = None) -> list[Erasure]:
        """Return the record of erasures, the last first; of those that have finished it names nobody."""
        return await self._store.erasures.list(limit, application)

    async def go_on(self) -> None:
        """Carry out what is under way as far as that is possible now; any service may, at the same time too."""
        for wanted in await self._store.erasures.unfinished():
            did = True
            while did:
                erasure, did = await self._store.erasures.step(wanted.id, at=self._clock())
                # by whose step it ended, and by nobody else
                if did and erasure.finished_at is not None:
                    self._say(erasure)

    async def _progress(self, erasure: Erasure) -> Progress:
        return Progress(erasure, await self._store.erasures.waits_for(erasure))

    def _say(self, done: Erasure) -> None:
        # the audit's line: when, how much, by which right, and nothing that says whose it was
        _log.info(
            "an owner is erased",
            erasure=done.id,
            by=done.asked_by,
            asked_at=done.asked_at.isoformat(),
            sessions=done.sessions,
            machines=done.machines,
            credentials=done.credentials,
            events=done.events,
        )
