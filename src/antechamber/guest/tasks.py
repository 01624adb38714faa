"""Tasks that are kept until they end; the loop itself holds only weak references."""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def note_error(where: str, error: BaseException) -> None:
    """Write where an error arose to the machine's log: its type and lines, never its text, which may hold a secret."""
    frames = "; ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    )
    sys.stderr.write(f"guest: {where}: {type(error).__name__} at {frames}\n")
    sys.stderr.flush()


class Tasks:
    """A set of tasks that lives as long as its owner."""

    def __init__(self, on_error: Callable[[str, BaseException], None] | None = None) -> None:
        """Make an empty set; `on_error` gets the name and the error of a task that failed."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_error = on_error

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task and keep it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            note_error(task.get_name(), error)
            if self._on_error is not None:
                self._on_error(task.get_name(), error)

    async def close(self) -> None:
        """Cancel what runs and wait for it."""
        running = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
