"""The application behind port 443 and port 80: chooses by host, and writes down what no vendor here serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from antechamber.testing.standin.setting import BadBodyError, Setting, json_object
from antechamber.testing.standin.vendors import hosts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

_PAGES = frozenset({"email", "code", "consent", "done", "device", "error"})
_MOST_BEACON = 4096


class Front:
    """Serves every name of every vendor."""

    def __init__(self, setting: Setting) -> None:
        """Make one application for each name."""
        self._setting = setting
        self._applications: dict[str, ASGIApp] = {
            name: Starlette(
                routes=[
                    Route("/practice/beacon", self._beacon, methods=["POST"]),
                    Route("/favicon.ico", self._no_icon),
                    *routes,
                ],
                exception_handlers={HTTPException: self._unlisted, BadBodyError: self._bad_body},
            )
            for name, routes in hosts(setting).items()
        }

    @property
    def names(self) -> list[str]:
        """The names that are served."""
        return sorted(self._applications)

    def serves(self, name: str) -> bool:
        """Tell whether a name is served."""
        return name in self._applications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        self._setting.journal.touch()
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").partition(":")[0].lower()
        application = self._applications.get(host)
        if application is None:
            self._setting.journal.note(host[:253], scope["method"], scope["path"], "unlisted host")
            application = PlainTextResponse("The practice vendor does not serve this name.\n", 421)
        elif scope["scheme"] != "https":
            application = RedirectResponse(f"https://{host}{scope['path']}", 308)
        await application(scope, receive, send)

    async def _beacon(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BEACON:
                raise BadBodyError("too large")
        told: dict[str, Any] = json_object(body)
        if told.get("page") not in _PAGES:
            raise BadBodyError("no such page")
        self._setting.journal.shown(
            page=told["page"],
            host=request.url.hostname or "",
            path=str(told.get("path", ""))[:200],
            vendor=str(told.get("vendor", ""))[:40],
            sign_in=str(told.get("sign_in", ""))[:40],
            webdriver=told.get("webdriver") is not False,
        )
        return Response(status_code=204)

    async def _no_icon(self, _: Request) -> Response:
        return Response(status_code=204)

    async def _unlisted(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        self._setting.journal.note(
            request.url.hostname or "", request.method, request.url.path, f"unlisted path ({status})"
        )
        return PlainTextResponse("The practice vendor does not serve this.\n", status)

    async def _bad_body(self, request: Request, error: Exception) -> Response:
        self._setting.journal.note(request.url.hostname or "", request.method, request.url.path, str(error))
        return PlainTextResponse("The request's body is not what it should be.\n", 400)
