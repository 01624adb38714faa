"""How many sessions, machines and credentials are live, for whoever measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from antechamber.model import CredentialStatus, MachineState, SessionStatus
from antechamber.store.schema import credentials, machines, sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Standing:
    """What is live in one state of the database; what has no entry is none."""

    sessions: Mapping[tuple[str, SessionStatus], int]
    """Live sessions by provider and status."""
    machines: Mapping[MachineState, tuple[int, datetime]]
    """Machines that have not ended by state, and since when the first of them is in it."""
    credentials: Mapping[tuple[str, CredentialStatus], int]
    """Stored credentials by provider and status."""


# by the column that is set in exactly the rows wanted: of that there is a partial index, so ended rows cost nothing
LIVE_SESSIONS = (
    select(sessions.c.provider, sessions.c.status, func.count())
    .where(sessions.c.expires_at.is_not(None))
    .group_by(sessions.c.provider, sessions.c.status)
)
LIVE_MACHINES = (
    select(machines.c.state, func.count(), func.min(machines.c.state_at))
    .where(machines.c.expires_at.is_not(None))
    .group_by(machines.c.state)
)
STORED_CREDENTIALS = (
    select(credentials.c.provider, credentials.c.status, func.count())
    .where(credentials.c.deleted_at.is_(None))
    .group_by(credentials.c.provider, credentials.c.status)
)


async def standing(connection: AsyncConnection) -> Standing:
    """Count what is live."""
    live = await connection.execute(LIVE_SESSIONS)
    running = await connection.execute(LIVE_MACHINES)
    stored = await connection.execute(STORED_CREDENTIALS)
    return Standing(
        {(provider, SessionStatus(status)): count for provider, status, count in live},
        {MachineState(state): (count, since) for state, count, since in running},
        {(provider, CredentialStatus(status)): count for provider, status, count in stored},
    )
