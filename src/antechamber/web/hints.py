"""A stream of hints for the dashboard (Server-Sent Events): something changed, so look again.

    changed     a session, a machine, a credential or a run has changed, or the stream has just begun
    closing     the service is stopping; the browser connects again by itself

Nothing depends on a hint: the page also looks slowly by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from antechamber import tasks
from antechamber.web.events import RETRY_MS, described, message

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from antechamber.tasks import Signal
    from antechamber.web.services import Services

TOPICS: Final = ("sessions", "machines", "credentials", "erasures", "runs")
APART_S: Final = 0.25
"""Least time between two hints: a burst of moves is one look."""

HINTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The hints; each is of this form.",
        "content": described("changed", "closing", identified=False),
    },
}
"""How the stream is described in /openapi.json."""


class HintStream(Response):
    """The answer that streams hints until the client or the service goes away."""

    media_type = "text/event-stream"

    def __init__(self, services: Services) -> None:
        """Stream what `signin.changes` tells."""
        super().__init__()
        self._services = services
        self._gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        del scope
        with self._services.signin.changes.watch(*TOPICS) as signal:
            watch = tasks.spawn("web:client", self._watch_client(receive, signal))
            try:
                with self._services.closing.under_way(signal.wake):
                    await self._stream(send, signal)
            finally:
                await tasks.cancel_and_wait(watch)

    async def _watch_client(self, receive: Receive, signal: Signal) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        signal.wake()

    async def _stream(self, send: Send, signal: Signal) -> None:
        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await write(f"retry: {RETRY_MS}\n\n".encode() + message("{}", name="changed"))
        while not self._gone.is_set():
            if self._services.closing.closed:
                await write(message("{}", name="closing"), more=False)
                return
            changed = await signal.wait(self._services.settings.heartbeat_s)
            if self._gone.is_set() or self._services.closing.closed:
                continue
            await write(message("{}", name="changed") if changed else b": heartbeat\n\n")
            await asyncio.sleep(APART_S)
