"""A session's events as a stream (Server-Sent Events): resumable, with heartbeats, ending with the session.

Each recorded event is one message without an event name: `id` is its seq, `data` its JSON. Besides come, with a name
and without an id:

    end         the session has ended and nothing more will come; the page closes the stream
    closing     the service is stopping or in trouble; the browser connects again by itself
    replaced    this session has too many streams open and this was the oldest; the page closes the stream
    waiting     {"position": 3}: the session waits for a machine to be free, and its place in the line has changed
    notice      {"notice": "link_refused" | "screen_refused"}: another browser tried this session and was refused

A browser that comes back after the end with the last event's id is answered 204, which tells it to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from antechamber.errors import AntechamberError
from antechamber.lifecycle import SessionFact
from antechamber.log import get_logger
from antechamber.signin import now
from antechamber.web.views import EventView
from antechamber.web.waiting import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

    from antechamber.model import ApiKey, Event
    from antechamber.web.services import Services
    from antechamber.web.waiting import Waiter

_log = get_logger("web")

STREAMS_AT_ONCE: Final = 4
"""Streams of one session that stay open, the newest: one more is answered too, and ends the oldest.

A page needs one, and HTTP/1.1 gives a browser six connections to a host.
"""

RETRY_MS: Final = 1000


def described(*names: str, identified: bool) -> dict[str, Any]:
    """Return how /openapi.json says what each event of a stream is; `message` is one without a name."""
    event = {
        "type": "object",
        "properties": {
            "event": {"enum": list(names)},
            "data": {"type": "string", "contentMediaType": "application/json"},
            **({"id": {"type": "string", "pattern": "^[0-9]+$"}} if identified else {}),
        },
        "required": ["data"] if identified else ["event", "data"],
    }
    return {"text/event-stream": {"schema": event}}


STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The events; each is of this form.",
        "content": described("message", "end", "closing", "replaced", "waiting", "notice", identified=True),
    },
    204: {"description": "The session has ended, and the last event is known already."},
}
"""How the stream is described in /openapi.json."""

_LARGEST_SEQ: Final = 2**63 - 1


class _Open:
    """One open stream, as others see it."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.notices: list[str] = []
        self.replaced = False


class Streams:
    """The open streams by session, to tell them what no database row says."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: dict[str, list[_Open]] = {}

    def tell(self, session_id: str, notice: str) -> None:
        """Tell the session's own pages something, once for each time that they look."""
        for stream in self._open.get(session_id, ()):
            if notice not in stream.notices:
                stream.notices.append(notice)
                stream.wake()

    @contextlib.contextmanager
    def opened(self, session_id: str, wake: Callable[[], None]) -> Iterator[_Open]:
        """Count a stream in, and let the oldest go when there are too many."""
        stream = _Open(wake)
        streams = self._open.setdefault(session_id, [])
        streams.append(stream)
        for old in streams[:-STREAMS_AT_ONCE]:
            old.replaced = True
            old.wake()
        try:
            yield stream
        finally:
            streams.remove(stream)
            if not streams:
                del self._open[session_id]


def last_event_id(value: str | None) -> int:
    """Return the seq after which a browser wants to go on; what is no number means from the beginning."""
    if value is None or not value.isascii() or not value.isdecimal() or len(value) > 19:
        return 0
    return min(int(value), _LARGEST_SEQ)


def message(data: str, *, name: str | None = None, seq: int | None = None) -> bytes:
    """Return one message of the stream; the data has no line end, as JSON has none."""
    lines = [f"event: {name}"] if name else []
    lines += [f"id: {seq}"] if seq is not None else []
    return "\n".join([*lines, f"data: {data}", "", ""]).encode()


class EventStream(Response):
    """The answer that streams a session's events."""

    media_type = "text/event-stream"

    def __init__(self, services: Services, session_id: str, after: int, *, key: ApiKey | None = None) -> None:
        """Stream the events of a session with a seq above `after`; the session exists.

        With an application's `key` the stream ends once that opens nothing any more.
        """
        super().__init__()
        self._key = key
        self._services = services
        self._session_id = session_id
        self._after = after
        self._beat_at = 0.0
        self._opened_at = now()
        self._captures: list[Event] = []
        self._position: int | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        del scope
        async with waiting(self._services, self._session_id, receive) as waiter:
            with (
                self._services.streams.opened(self._session_id, waiter.wake) as stream,
                self._services.metrics.stream_open(),
            ):
                await self._stream(send, waiter, stream)

    async def _stream(self, send: Send, waiter: Waiter, stream: _Open) -> None:
        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})
            self._beat_at = asyncio.get_running_loop().time() + self._services.settings.heartbeat_s

        fresh, ended = await self._look()
        if ended and not fresh and self._after:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await write(b"", more=False)
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await write(f"retry: {RETRY_MS}\n\n".encode())
        while True:
            if fresh:
                await write(b"".join(fresh))
                self._told()
            while stream.notices:
                await write(message(json.dumps({"notice": stream.notices.pop(0)}), name="notice"))
            if waiter.client_gone:
                return
            last_word = self._last_word(stream, ended=ended)
            if last_word:
                await write(message("{}", name=last_word), more=False)
                return
            remaining = self._beat_at - asyncio.get_running_loop().time()
            if remaining <= 0:
                await write(b": heartbeat\n\n")
            await waiter.wait(remaining if remaining > 0 else self._services.settings.heartbeat_s)
            try:
                fresh, ended = await self._look()
            except AntechamberError as error:
                _log.warning("event stream cut", session=self._session_id, code=str(error.code), detail=error.detail)
                await write(message("{}", name="closing"), more=False)
                return

    def _told(self) -> None:
        """Measure how long it took to tell of a capture; one from before this stream was opened says nothing."""
        while self._captures:
            event = self._captures.pop()
            if event.at >= self._opened_at:
                self._services.metrics.capture_told(event.fields, now())

    def _last_word(self, stream: _Open, *, ended: bool) -> str | None:
        if ended:
            return "end"
        if stream.replaced:
            return "replaced"
        return "closing" if self._services.closing.closed else None

    async def _look(self) -> tuple[list[bytes], bool]:
        if self._key is not None:
            await self._services.signin.applications.require(self._key)
        # the session is read first: whatever it has become by then has its event among those read after it
        session = await self._services.signin.session(self._session_id)
        fresh = list[bytes]()
        while rows := await self._services.signin.events(self._session_id, after=self._after):
            fresh += [message(EventView.of(row).model_dump_json(), seq=row.seq) for row in rows]
            self._captures += [row for row in rows if row.kind == SessionFact.CAPTURED]
            self._after = rows[-1].seq
        position = await self._services.signin.place_in_line(session)
        if position is not None and position != self._position:
            fresh.append(message(json.dumps({"position": position}), name="waiting"))
        self._position = position
        return fresh, session.status.terminal
