"""LISTEN and NOTIFY: what one service committed wakes the watchers of another on the same database.

A hint and no more. It is lost while the listener is away, and so is every hint that somebody sends while nobody hears;
that is why a listener that is back wakes everybody, and why whoever waits also looks slowly. Anybody who may connect to
the database can send one: it makes us look, and what we find are the rows.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import psycopg

from antechamber.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from antechamber.store.changes import Changes

CHANNEL: Final = "antechamber"
_MOST_BYTES: Final = 7_000
"""PostgreSQL takes less than 8000 bytes."""
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_QUIET_S: Final = 30.0
"""After so long without a hint the connection is tried: a network that went away says nothing."""
_log = get_logger("store")


def payloads(topics: Sequence[str], sender: str) -> Iterator[str]:
    """Return what is sent about these topics, each once, in as few pieces as PostgreSQL takes."""
    piece: list[str] = []
    size = 0
    for topic in dict.fromkeys(topics):
        cost = len(json.dumps(topic)) + 2
        if piece and size + cost > _MOST_BYTES:
            yield json.dumps([sender, *piece])
            piece, size = [], 0
        piece.append(topic)
        size += cost
    if piece:
        yield json.dumps([sender, *piece])


def topics_of(payload: str, own: str) -> list[str]:
    """Return the topics of a payload; none when we sent it ourselves, or when it is not of this form."""
    try:
        words = json.loads(payload)
    except (ValueError, RecursionError):
        return []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return []
    return [] if words[:1] == [own] else words[1:]


async def hear(connecting: Mapping[str, Any], changes: Changes, own: str) -> None:
    """Wake the watchers of what others committed, until cancelled; connects again for ever."""
    pause = _FIRST_PAUSE_S
    away = False
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(**connecting, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                if away:
                    _log.info("other services' hints are heard again")
                pause, away = _FIRST_PAUSE_S, False
                # what was committed before the LISTEN was told to nobody here
                changes.tell_all()
                await _listen(connection, changes, own)
        except (psycopg.Error, OSError) as error:
            if not away:
                _log.warning("other services' hints are not heard; the sweep finds what they did", detail=_line(error))
            away = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def _listen(connection: psycopg.AsyncConnection[Any], changes: Changes, own: str) -> None:
    while True:
        async for hint in connection.notifies(timeout=_QUIET_S):
            changes.tell(*topics_of(hint.payload, own))
        await connection.execute("SELECT 1")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
