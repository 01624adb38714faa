"""Asks the vault from the event loop, which no root may hold up, for so long at most."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from antechamber.errors import Code, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

LONGEST_S: Final = 30.0
"""Seconds after which a root that has not answered is away, whatever its own limits are."""

# threads of their own: with the loop's, a root that hangs would keep everything else waiting that uses those
_CALLS: Final = ThreadPoolExecutor(8, "root")


async def at_the_root(call: Callable[..., T], *given: object) -> T:
    """Have the vault do something in a thread, and return what comes of it.

    Raises what it raises, and OperatorError root_unavailable when that takes too long: the thread is left to end by
    its root's own limits, and what it does then is heard by nobody.
    """
    work = asyncio.get_running_loop().run_in_executor(_CALLS, contextvars.copy_context().run, call, *given)
    try:
        async with asyncio.timeout(LONGEST_S) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise OperatorError(Code.ROOT_UNAVAILABLE, detail=f"no answer within {LONGEST_S:.0f} s") from error
