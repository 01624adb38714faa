"""What every request passes first: plain ASGI layers, from the outside in.

`Guard` (headers on every answer, no exception leaves) -> `Hosts` (which site) -> `Origins` (who sent it) -> access ->
`Bodies` (type and size) -> the site's routes. None of them buffers an answer, so streams stay streams.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.log import about, get_logger
from antechamber.model import IdPrefix, is_id, new_id
from antechamber.web import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from antechamber.web.addresses import Site
    from antechamber.web.closing import Closing

_log = get_logger("web")

SUBJECT: Final = "antechamber.subject"
"""The scope's entry with the subject of the operator who sends the request, where they came by a login."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_SECONDS: Final = 30
"""Time for a whole request body to arrive."""

TAKEN_LIMITS: Final = 4
"""Of a body that is too large, so many times the limit is read away before the refusal: an answer to somebody who is
still sending is lost with the connection, and a proxy makes a 502 of it."""

_PLAIN_PATH: Final = re.compile(rb"/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)?")
_REQUEST_ID: Final = re.compile(r"[0-9A-Fa-f-]{8,64}")
_ANSWERS: Final = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_DOTS: Final = frozenset({".", ".."})

_HEADERS: Final = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=(), usb=(), serial=(), payment=()",
}


def header(scope: Scope, name: bytes) -> str | None:
    """Return a request header, or None unless it is there exactly once."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else None


def is_plain(scope: Scope) -> bool:
    """Tell whether the request's path can be read in one way only, which is all that any route of ours needs.

    Refused are escapes of any kind (so no control character, no hidden slash), empty and dot segments, a final slash,
    and a target that is a whole URL. Walls and router then cannot differ about the path, however each of them reads it.
    """
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or path.encode(errors="surrogatepass")
    return _PLAIN_PATH.fullmatch(raw) is not None and raw == path.encode() and _DOTS.isdisjoint(path.split("/"))


def content_policy(*sites: Site, ancestors: Sequence[str] = ()) -> bytes:
    """Return the Content-Security-Policy: own files only, no inline script, in frames of these origins alone."""
    framed = " ".join(ancestors) or "'none'"
    connect = " ".join(["'self'", *(site.websocket_origin for site in sites)])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        # noVNC draws the remote cursor as a data: image
        f"img-src 'self' data:; connect-src {connect}; "
        f"form-action 'none'; base-uri 'none'; frame-ancestors {framed}"
    ).encode()


@dataclass(frozen=True, slots=True)
class Framed:
    """What may be shown in a frame: the pages below a path of one site, by the pages of the listed origins."""

    site: Site
    path: str
    policy: bytes

    def has(self, scope: Scope) -> bool:
        """Tell whether a request is for such a page."""
        path: str = scope["path"]
        return (
            scope["type"] == "http" and path.startswith(self.path) and self.site.answers(header(scope, b"host") or "")
        )

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers of its answers; X-Frame-Options could not name several origins, and would contradict."""
        kept = {name: value for name, value in _HEADERS.items() if name != b"x-frame-options"}
        return {**kept, b"content-security-policy": self.policy}


def request_id_of(scope: Scope) -> str:
    """Return the id of a request: the sender's X-Request-Id where it is one of hexadecimal digits, else a new one.

    Nothing else is taken over: it stands in the log as it is.
    """
    sent = header(scope, b"x-request-id") or ""
    return sent.lower() if _REQUEST_ID.fullmatch(sent) else new_id(IdPrefix.REQUEST)


def _named_in(scope: Scope, prefix: IdPrefix) -> str | None:
    return next((part for part in scope["path"].split("/") if is_id(part, prefix)), None)


def _say_served(scope: Scope, status: int | None, code: Code | None, seconds: float) -> None:
    """Log an answer: what changes something or was refused for every operator to see, the rest for who looks closer.

    The query stays out of it, and of a path whatever is not plain: no line can hold what somebody pasted into a URL.
    """
    method = scope.get("method", "WEBSOCKET")
    say = _log.debug if method in SAFE_METHODS and code is None else _log.info
    say(
        "request served",
        method=method,
        path=scope["path"] if is_plain(scope) else "(not plain)",
        status=status,
        code=None if code is None else str(code),
        ms=round(seconds * 1000, 1),
    )


class Guard:
    """The outermost layer: security headers on every answer, and every exception becomes an envelope and a log line.

    A path that is not plain (`is_plain`) goes no further than here.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: bytes,
        closing: Closing,
        *,
        on_refused: Callable[[Code], None] = lambda _: None,
        page: Callable[[Scope, AntechamberError], Response | None] | None = None,
        framed: Framed | None = None,
    ) -> None:
        """Wrap an app; `on_refused` is told the code of each answer that is an error, `page` makes it readable.

        `framed` are the pages that others may show in a frame; None: there are none.
        """
        self._app = app
        self._page = page
        self._on_refused = on_refused
        self._closing = closing
        self._headers = {**_HEADERS, b"content-security-policy": policy}
        self._framed = framed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; its lines in the log have its id, which the answer has too."""
        request_id = request_id_of(scope)
        scope[faults.PAGE] = self._page
        began = asyncio.get_running_loop().time()
        status: int | None = None

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] in _ANSWERS:
                status = message.get("status", 101)
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        with about(request=request_id, session=_named_in(scope, IdPrefix.SESSION)):
            try:
                await self._serve(scope, receive, named)
            finally:
                code: Code | None = scope.get(faults.ANSWERED)
                if code is not None:
                    self._on_refused(code)
                with about(subject=scope.get(SUBJECT)):
                    _say_served(scope, status, code, asyncio.get_running_loop().time() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False
        headers = self._framed.headers if self._framed and self._framed.has(scope) else self._headers

        async def guarded(message: Message) -> None:
            nonlocal answered
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                present = {key.lower() for key, _ in message["headers"]}
                extra = [(key, value) for key, value in headers.items() if key not in present]
                message = {**message, "headers": [*message["headers"], *extra]}
            answered = True
            await send(message)

        try:
            if self._closing.closed and scope["path"] != "/healthz":
                await faults.refuse(scope, receive, guarded, OperatorError(Code.SHUTTING_DOWN))
            elif not is_plain(scope):
                await faults.refuse(scope, receive, guarded, CallerError(Code.NOT_FOUND))
            else:
                await self._app(scope, receive, guarded)
        except AntechamberError as error:
            if not answered:
                await faults.refuse(scope, receive, guarded, error)
        except Exception as error:  # noqa: BLE001 - one broken request must not end its connection's server
            # uvicorn says OSError, and `Bodies` ConnectionError, when the other end goes away
            if isinstance(error, ConnectionError) or (answered and isinstance(error, OSError)):
                _log.debug("client gone", path=scope["path"])
                return
            _log.exception("request broke", path=scope["path"])
            if not answered:
                await faults.refuse(scope, receive, guarded, OperatorError(Code.INTERNAL))


@dataclass(frozen=True, slots=True)
class Hosted:
    """One site and what serves it."""

    site: Site
    app: ASGIApp
    knows: Callable[[Scope], bool]
    """Whether the site has a route at the request's path, whatever the method."""


class Hosts:
    """Sends a request to the site that its Host header names; a route of the other site is 421 wrong_host."""

    def __init__(self, *hosted: Hosted) -> None:
        """Serve these sites and no other."""
        self._hosted = hosted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        host = header(scope, b"host") or ""
        here = next((hosted for hosted in self._hosted if hosted.site.answers(host)), None)
        if here is None:
            raise CallerError(Code.WRONG_HOST)
        if not here.knows(scope):
            elsewhere = any(hosted.knows(scope) for hosted in self._hosted)
            raise CallerError(Code.WRONG_HOST if elsewhere else Code.NOT_FOUND)
        await here.app(scope, receive, send)


class Origins:
    """Refuses what another site's page sent: every unsafe method and every WebSocket must come from the site itself.

    Only a caller whose bearer the site knows may leave the header out, as it is no browser; a wrong header is refused
    always, and a bearer where none is known counts for nothing.
    """

    def __init__(self, app: ASGIApp, site: Site, *, bearer: Callable[[Scope], bool] | None = None) -> None:
        """Wrap a site's app; `bearer` tells whether a request has the site's token, None where the site has none."""
        self._app = app
        self._site = site
        self._bearer = bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        names = {key for key, _ in scope["headers"]}
        if b"origin" not in names and b"authorization" in names and scope["type"] == "http" and self._bearer:
            if not self._bearer(scope):
                # the truth for a program with a wrong token, which would be told to send an Origin otherwise
                raise CallerError(Code.NOT_SIGNED_IN)
        elif header(scope, b"origin") != self._site.origin:
            raise CallerError(Code.WRONG_ORIGIN)


class Bodies:
    """Reads a request's body before the route runs: JSON only, limited in size and time."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """Wrap an app; `limit` is in bytes."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not self._has_body(scope):
            await self._app(scope, receive, send)
            return
        body = await self._read(receive, too_large=self._says_too_large(scope))
        if body and not _is_json(header(scope, b"content-type")):
            raise CallerError(Code.NOT_JSON)
        whole: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            if whole is not None:
                message, whole = whole, None
                return message
            return await receive()

        await self._app(scope, replay, send)

    @staticmethod
    def _has_body(scope: Scope) -> bool:
        return any(key in {b"content-length", b"transfer-encoding"} for key, _ in scope["headers"])

    def _says_too_large(self, scope: Scope) -> bool:
        length = header(scope, b"content-length")
        if length is None or not length.isdecimal():
            return False
        if int(length) > self._limit * TAKEN_LIMITS:
            raise CallerError(Code.BODY_TOO_LARGE)
        return int(length) > self._limit

    async def _read(self, receive: Receive, *, too_large: bool) -> bytes:
        """Return the whole body; of one that is too large so much is read away as a proxy may be sending."""
        body = bytearray()
        taken = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionResetError
                    part = message.get("body", b"")
                    taken += len(part)
                    too_large = too_large or taken > self._limit
                    if not too_large:
                        body += part
                    whole = not message.get("more_body", False)
                    if too_large and (whole or taken > self._limit * TAKEN_LIMITS):
                        raise CallerError(Code.BODY_TOO_LARGE)
                    if whole:
                        return bytes(body)
        except TimeoutError as error:
            raise CallerError(Code.BAD_REQUEST, message="The request's body did not arrive in time.") from error


def _is_json(content_type: str | None) -> bool:
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "application/json"
