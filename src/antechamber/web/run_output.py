"""What a run's tool writes, as a stream (Server-Sent Events): resumable, with heartbeats, ending with the run.

    waits       {"position": 2}: another run has the credential, and this one's place in the line has changed
    output      {"stream": 1, "data": "aGVsbG8K", "at": 0, "lost": 0}: what was written, in base64, as a piece may end
                within a character; `stream` is 1 for the output, 2 for the errors; `at` is where it begins in all that
                was written, and `lost` how many bytes before it are not kept any more. `id`: where the next one begins
    end         {"reason": "exited", "exit_code": 0, "redacted": false}: the run has ended, and nothing more comes
    closing     the service is stopping or in trouble; connect again with the last id
    replaced    somebody else reads the run now

A stream that ends without `end` is a failure, whatever came before: connect again with the last id.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from antechamber import tasks
from antechamber.errors import AntechamberError, Code
from antechamber.log import get_logger
from antechamber.reconciler.reading import Over, RunReader, Waits
from antechamber.web.events import RETRY_MS, described, message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from starlette.types import Receive, Scope, Send

    from antechamber.model import ApiKey
    from antechamber.reconciler.reading import Told
    from antechamber.web.services import Services

_log = get_logger("web")

STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The events; each is of this form. `id` stands with `output` alone.",
        "content": described("waits", "output", "end", "closing", "replaced", identified=False),
    },
}
"""How the stream is described in /openapi.json."""


class OutputStream(Response):
    """The answer that streams a run's output."""

    media_type = "text/event-stream"

    def __init__(self, services: Services, run_id: str, at: int, *, key: ApiKey | None = None) -> None:
        """Stream what a run's tool writes from there on; the run exists.

        With an application's `key` the stream ends once that opens nothing any more.
        """
        super().__init__()
        self._services = services
        self._run_id = run_id
        self._at = at
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        del scope
        gone, over = asyncio.Event(), asyncio.Event()
        reader = RunReader(self._services.runs, self._services.live, self._run_id, at=self._at)
        told = reader.told()
        try:
            async with tasks.Tasks("output") as work:
                work.spawn("client", _watch_client(receive, gone))
                with self._services.closing.under_way(over.set), self._services.metrics.stream_open():
                    await self._stream(send, told, work.spawn, gone, over)
        finally:
            await told.aclose()
            await reader.close()

    async def _stream(
        self,
        send: Send,
        told: AsyncGenerator[Told],
        spawn: Callable[[str, Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        gone: asyncio.Event,
        over: asyncio.Event,
    ) -> None:
        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await write(f"retry: {RETRY_MS}\n\n".encode())
        ends = spawn("gone", gone.wait()), spawn("over", over.wait())
        coming = spawn("next", _next(told))
        while True:
            await asyncio.wait(
                {coming, *ends}, timeout=self._services.settings.heartbeat_s, return_when=asyncio.FIRST_COMPLETED
            )
            if gone.is_set():
                return
            if over.is_set() or not await self._may_read():
                await write(message("{}", name="closing"), more=False)
                return
            if not coming.done():
                await write(b": heartbeat\n\n")
                continue
            came = coming.result()
            body, ended = self._told(came)
            await write(body, more=not ended)
            if ended:
                return
            # what is asked for next is the word that this one was taken
            coming = spawn("next", _next(told))

    async def _may_read(self) -> bool:
        if self._key is not None:
            try:
                await self._services.signin.applications.require(self._key)
            except AntechamberError as error:
                _log.info("output stream cut", run=self._run_id, code=str(error.code))
                return False
        return True

    def _told(self, came: Told | AntechamberError) -> tuple[bytes, bool]:
        """Return what is to be written of it, and whether it is the last."""
        match came:
            case Waits(position):
                return message(json.dumps({"position": position}), name="waits"), False
            case Over(run):
                end = {"reason": run.reason, "exit_code": run.exit_code, "redacted": run.redacted}
                return message(json.dumps(end), name="end"), True
            case AntechamberError() as error:
                if error.code is Code.RUN_IN_USE:
                    return message("{}", name="replaced"), True
                _log.warning("output stream cut", run=self._run_id, code=str(error.code), detail=error.detail)
                return message("{}", name="closing"), True
            case piece if not piece.output:
                return b"", False
            case piece:
                data = {
                    "stream": piece.stream,
                    "data": base64.b64encode(piece.output).decode(),
                    "at": piece.at,
                    "lost": max(0, piece.at - self._at),
                }
                self._at = piece.end
                return message(json.dumps(data), name="output", seq=piece.end), False


async def _next(told: AsyncGenerator[Told]) -> Told | AntechamberError:
    """Return what is told next, which may be that there is a fault; the last is always `Over`."""
    try:
        return await anext(told)
    except AntechamberError as error:
        return error


async def _watch_client(receive: Receive, gone: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
