"""Connecting to one of several checked addresses, in the manner of Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

from antechamber.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from antechamber.egress.addresses import Address
    from antechamber.egress.world import Connector
    from antechamber.machine import Stream

_STAGGER: Final = 0.25
"""Seconds before the next address is tried beside the ones under way."""
_MOST: Final = 8
"""Addresses of one name that are tried."""


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with their families in turn, the first one's family first."""
    if not addresses:
        return []
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    return [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]


async def _attempt(connector: Connector, address: Address, port: int, name: str) -> Stream | None:
    try:
        return await connector.connect(str(address), port, name)
    except OSError:
        return None


async def dial(
    connector: Connector, addresses: Sequence[Address], port: int, name: str, *, within: timedelta
) -> Stream | None:
    """Return the first connection that one of the addresses gives, or None when none does in time.

    Only the given addresses are used; attempts that lose are cancelled, and connections that come too late closed.
    """
    attempts: set[asyncio.Task[Stream | None]] = set()
    won: Stream | None = None
    queue = interleaved(addresses)[:_MOST]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                while won is None and (queue or attempts):
                    if queue:
                        attempts.add(spawn("dial", _attempt(connector, queue.pop(0), port, name)))
                    done, attempts = await asyncio.wait(
                        attempts, timeout=_STAGGER if queue else None, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        stream = task.result()
                        if won is None:
                            won = stream
                        elif stream is not None:
                            stream.writer.transport.abort()
    except BaseException:
        if won is not None:
            won.writer.transport.abort()
        raise
    finally:
        for task in attempts:
            task.add_done_callback(_discard)
            task.cancel()
    return won


def _discard(task: asyncio.Task[Stream | None]) -> None:
    if not task.cancelled() and task.exception() is None and (late := task.result()) is not None:
        late.writer.transport.abort()
