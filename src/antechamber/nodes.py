"""This service as one of several on one database: its node joins, says that it lives, and can be given up.

Nothing is decided by whether a node was heard of lately: clocks differ, and a network can be cut. What a node runs is
told by that node alone ("cannot tell" is never "dead"), and only an operator says that it will not come back.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code, OperatorError
from antechamber.lifecycle import MachineFact
from antechamber.log import get_logger
from antechamber.model import MachineState
from antechamber.points import Point, point
from antechamber.run_life import RunFact
from antechamber.signin import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from antechamber.store import Store

_log = get_logger("nodes")
BEAT: Final = timedelta(seconds=10)
"""How often a service says that it lives."""

_WATCHED_BEATS: Final = 1.3
_GIVEN_UP: Final = "the operator gave its node up"


class Node:
    """This service's own node."""

    def __init__(
        self,
        store: Store,
        node_id: str,
        *,
        name: str,
        url: str | None,
        beat: timedelta = BEAT,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Name it; `join` makes it known to the others, `url` is where they reach it.

        `beat` is how often it says that it lives, the same for every service of an installation.
        """
        self._store = store
        self.id: Final = node_id
        self.name: Final = name
        self._url = url
        self._beat = beat
        self._clock = clock
        self._said_at: datetime | None = None

    async def join(self) -> None:
        """Say that it serves; raises OperatorError node_in_use when another service is this node.

        A service that was started again under another host name, as a container is, looks like a copied data directory
        at first: whether somebody still serves there is watched for a little longer than a beat.
        """
        try:
            await self._join(None)
        except OperatorError as error:
            found = await self._store.nodes.get(self.id)
            if error.code is not Code.NODE_IN_USE or found is None:
                raise
            _log.info("watching whether another service is this node", node=self.id, name=found.name)
            await asyncio.sleep((self._beat * _WATCHED_BEATS).total_seconds())
            await self._join(found.seen_at)

    async def _join(self, silent_since: datetime | None) -> None:
        at = self._clock()
        await self._store.nodes.join(self.id, name=self.name, url=self._url, at=at, silent_since=silent_since)
        point(Point.NODE_JOINED)
        self._said_at = at

    async def beat(self) -> None:
        """Say that it lives, unless that was said a moment ago; joins again when it was given up meanwhile."""
        at = self._clock()
        # a clock that has gone back must not keep it silent until it is where it was
        if self._said_at is not None and self._said_at <= at < self._said_at + self._beat:
            return
        if await self._store.nodes.seen(self.id, at=at):
            self._said_at = at
            return
        _log.warning("this node was given up while it served; it joins again", node=self.id)
        await self.join()


async def give_up(store: Store, node_id: str) -> int:
    """End, as far as can be told, everything that a node ran which will not come back; return how many machines.

    A live session of such a machine fails for that reason, and the runs that were asked of the node end. Raises
    CallerError node_not_found, or node_serves when it was heard of just now. Should the node come back all the same, it
    ends its machines itself and joins anew.
    """
    await store.nodes.away(node_id, at=now())
    ended = 0
    for row in await store.machines.not_ended(node_id):
        if row.state is MachineState.REQUESTED:
            continue  # nothing of it runs: another node begins it once the claim is over
        await store.machines.apply(
            row.id, MachineFact.ENDED, incarnation=row.incarnation, at=now(), exit_code=None, detail=_GIVEN_UP
        )
        ended += 1
    for run_id in await store.runs.of_node(node_id):
        # who asked for it did so there, and no other node begins it
        await store.runs.apply(run_id, RunFact.CALLER_GONE, at=now(), detail=_GIVEN_UP)
    await store.machines.withdraw(now())
    await store.nodes.forget(node_id, at=now())
    _log.info("node given up", node=node_id, machines=ended)
    return ended
