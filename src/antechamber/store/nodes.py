"""Nodes: the services that share this database, each on a host of its own, with the machines that run there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, delete, func, insert, select, update

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.model import NodeRow
from antechamber.store.database import to_its_end
from antechamber.store.rows import node_of
from antechamber.store.schema import ENDED_STATES, RUNNING_STATES, has_not_ended, machines, nodes

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.database import Database

AWAY_AFTER: Final = timedelta(seconds=30)
"""A node that has not said for so long that it lives is taken to be away; nothing is ended for that."""


class Nodes:
    """The nodes of one database."""

    def __init__(self, database: Database) -> None:
        """Use that database."""
        self._database = database

    @to_its_end
    async def join(
        self, node: str, *, name: str, url: str | None, at: datetime, silent_since: datetime | None = None
    ) -> NodeRow:
        """Say that a node serves now, and how it is called and reached.

        OperatorError NODE_IN_USE when a node of this id was heard of just now under another name: a data directory was
        copied, and each of the two would take the other's machines for dead. `silent_since` is a `seen_at` that the
        caller has watched for longer than a node is ever silent, so that nobody serves there. Machines that run and
        name no node were started before there were nodes, by the one service that there was: they become this node's.
        """
        async with self._database.write() as write:
            found = await _locked(write.connection, node)
            serves = found is not None and found.seen_at > at - AWAY_AFTER and found.seen_at != silent_since
            if found is not None and found.name != name and serves:
                raise OperatorError(Code.NODE_IN_USE, detail=f"{node} serves as {found.name}, this is {name}")
            if found is None:
                statement = insert(nodes).values(id=node, name=name, url=url, joined_at=at, seen_at=at)
                row = await write.connection.execute(statement.returning(*nodes.c))
            else:
                change = update(nodes).where(nodes.c.id == node).values(name=name, url=url, seen_at=at)
                row = await write.connection.execute(change.returning(*nodes.c))
            joined = node_of(row.one())
            await write.connection.execute(
                update(machines)
                .where(has_not_ended(), machines.c.node.is_(None), machines.c.state.in_(RUNNING_STATES))
                .values(node=node)
            )
            return joined

    @to_its_end
    async def seen(self, node: str, *, at: datetime) -> bool:
        """Note that the node lives; False when it has been forgotten."""
        async with self._database.write() as write:
            changed = await write.connection.execute(update(nodes).where(nodes.c.id == node).values(seen_at=at))
            return changed.rowcount == 1

    @to_its_end
    async def get(self, node: str) -> NodeRow | None:
        """Return a node, or None."""
        return await self._one(select(nodes).where(nodes.c.id == node))

    @to_its_end
    async def of_session(self, session_id: str) -> NodeRow | None:
        """Return the node that a session's machine runs on, or None while none has begun it or once it has ended."""
        return await self._one(
            select(nodes)
            .join_from(nodes, machines, machines.c.node == nodes.c.id)
            .where(machines.c.session_id == session_id, machines.c.state.in_(RUNNING_STATES))
        )

    @to_its_end
    async def list(self) -> list[tuple[NodeRow, int]]:
        """Return every node with the number of its machines that have not ended, in the order in which they joined."""
        count = func.count(machines.c.id).filter(machines.c.state.not_in(ENDED_STATES))
        wanted = (
            select(nodes, count.label("running"))
            .join_from(nodes, machines, machines.c.node == nodes.c.id, isouter=True)
            .group_by(*nodes.c)
            .order_by(nodes.c.joined_at, nodes.c.id)
        )
        async with self._database.read() as connection:
            return [(node_of(row), row.running) for row in await connection.execute(wanted)]

    @to_its_end
    async def away(self, node: str, *, at: datetime) -> NodeRow:
        """Return a node that is away; CallerError NODE_NOT_FOUND, or NODE_SERVES when it was heard of just now."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(nodes).where(nodes.c.id == node))).one_or_none()
        return _away(None if row is None else node_of(row), at)

    @to_its_end
    async def forget(self, node: str, *, at: datetime) -> None:
        """Delete the row of a node that is away; what its machines were stays in theirs.

        CallerError NODE_NOT_FOUND, or NODE_SERVES when it was heard of just now.
        """
        async with self._database.write() as write:
            _away(await _locked(write.connection, node), at)
            await write.connection.execute(delete(nodes).where(nodes.c.id == node))

    async def _one(self, wanted: Select[Any]) -> NodeRow | None:
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else node_of(row)


def _away(found: NodeRow | None, at: datetime) -> NodeRow:
    if found is None:
        raise CallerError(Code.NODE_NOT_FOUND)
    if found.seen_at > at - AWAY_AFTER:
        raise CallerError(Code.NODE_SERVES)
    return found


async def _locked(connection: AsyncConnection, node: str) -> NodeRow | None:
    wanted = select(nodes).where(nodes.c.id == node).with_for_update()
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else node_of(row)
