"""Waiting for a session to change: by the hint after each commit, and slowly for what no hint told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from antechamber import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive

    from antechamber.tasks import Signal
    from antechamber.web.services import Services


class Waiter:
    """Waits for changes of one session on behalf of one connection."""

    def __init__(self, signal: Signal, sweep: float) -> None:
        """Wait for that signal, and look at least every `sweep` seconds."""
        self._signal = signal
        self._sweep = sweep
        self.client_gone = False

    def wake(self) -> None:
        """Let the waiter look at once."""
        self._signal.wake()

    async def wait(self, seconds: float) -> None:
        """Return when it is time to look again: after a hint, the slow interval, or so many seconds."""
        await self._signal.wait(max(0.0, min(seconds, self._sweep)))

    async def watch_client(self, receive: Receive) -> None:
        """Notice that the client has gone away."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        self.wake()


@contextlib.asynccontextmanager
async def waiting(services: Services, session_id: str, receive: Receive) -> AsyncIterator[Waiter]:
    """Give a waiter that also wakes when the service closes or the client goes away."""
    with services.signin.changes.watch(f"session:{session_id}") as signal:
        waiter = Waiter(signal, services.settings.sweep_s)
        watch = tasks.spawn("web:client", waiter.watch_client(receive))
        try:
            with services.closing.under_way(waiter.wake):
                yield waiter
        finally:
            await tasks.cancel_and_wait(watch)
