"""Named asyncio tasks that are kept, awaited and logged; a bare `asyncio.create_task` is banned by lint."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self, TypeVar

from antechamber.log import get_logger, told

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
_log = get_logger("tasks")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run what serves to its end, on uvloop: it passes a picture on for two thirds of the price (`make bench`, d)."""
    # a command that only asks a running service would wait for the import
    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def spawn(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task whose holder keeps and awaits it; an exception that nobody awaits is logged with the name."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task failed", task=task.get_name(), **told(error))


async def cancel_and_wait(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; their own errors have been logged already."""
    living = [task for task in tasks if task is not None and not task.done()]
    for task in living:
        task.cancel()
    if living:
        await asyncio.wait(living)


class Tasks:
    """A set of tasks that lives as long as its owner."""

    def __init__(self, name: str) -> None:
        """Make an empty set; the name prefixes each task's."""
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task and keep it until it ends."""
        task = spawn(f"{self._name}:{name}", work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel what runs, and what that starts as it ends, and wait for it."""
        while others := self._others():
            await cancel_and_wait(*others)

    async def drained(self) -> None:
        """Wait until everything has ended by itself."""
        while others := self._others():
            await asyncio.wait(others)

    def _others(self) -> set[asyncio.Task[Any]]:
        return {task for task in self._tasks if task is not asyncio.current_task() and not task.done()}

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


class Signal:
    """A wake-up that is never lost: `wait` returns at once when `wake` was called since the last `wait` began."""

    def __init__(self) -> None:
        """Make one that is not set."""
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Let the waiter go on."""
        self._event.set()

    async def wait(self, seconds: float | None) -> bool:
        """Wait for a wake-up or the time; tell whether it was a wake-up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
            self._event.clear()
            return True
        return False
