"""The sign-in site's API: what the page does for its person, each route by that session's own cookie."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response
from starlette.routing import WebSocketRoute

from antechamber.egress import matches
from antechamber.errors import CallerError
from antechamber.web import onward, sessions, watching
from antechamber.web.bodies import Again, Nothing, PageExchange, SessionId, Wait
from antechamber.web.cookies import forget_oldest, of_session, set_session_cookie
from antechamber.web.events import STREAMED
from antechamber.web.rates import CHALLENGES, OPENINGS, STREAMS
from antechamber.web.relay import Relays
from antechamber.web.terminal import Terminals
from antechamber.web.views import (
    BindingView,
    DestinationList,
    DestinationView,
    DoneList,
    DoneView,
    PageView,
    TicketView,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Receive, Scope, Send

    from antechamber.model import Secret
    from antechamber.web.services import Services


_LINES: Final = 50


class _SocketRoute:
    """A session's WebSocket, served without the framework's own wrapping of messages and errors."""

    def __init__(self, relays: Relays | Terminals) -> None:
        self._relays = relays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._relays.serve(scope["path_params"]["session_id"], scope, receive, send)


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the person's routes to the sign-in site."""
    _add_opening(app, services)
    _add_looking(app, services)
    _add_deciding(app, services)
    for name, relays in (("screen", Relays(services)), ("terminal", Terminals(services))):
        route = WebSocketRoute(f"/api/auth/session/{{session_id}}/{name}", _SocketRoute(relays), name=name)
        app.router.routes.append(route)


def _add_opening(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.post("/api/auth/session/{session_id}/open", status_code=204, tags=["person"])
    async def open_link(session_id: SessionId, body: PageExchange, request: Request) -> Response:
        """Exchange a link's code for the session's cookie, once."""
        services.guesses.may_try(OPENINGS, request.scope)
        return await with_cookie(request, session_id, body, signin.open(session_id, body.secret()))

    @app.post("/api/auth/session/{session_id}/binding", tags=["person"])
    async def binding(session_id: SessionId, request: Request, body: Nothing | None = None) -> BindingView:
        """Say which application asks, and where this browser is to go so that the application says whose it is."""
        del body
        services.guesses.may_try(OPENINGS, request.scope)
        # only who holds the right is counted here, so that nobody else can use it up
        services.rates.require(CHALLENGES, session_id)
        try:
            way = await signin.binding.way(session_id, cookies_of(request, session_id))
        except CallerError:
            services.guesses.wrong(OPENINGS, request.scope, session_id)
            raise
        services.rates.take(CHALLENGES, session_id)
        return BindingView(application=way.application, url=way.url.reveal())

    @app.post("/api/auth/session/{session_id}/return", status_code=204, tags=["person"])
    async def come_back(session_id: SessionId, body: PageExchange, request: Request) -> Response:
        """Exchange the way back for the session's cookie, in the browser that was sent to the application."""
        services.guesses.may_try(OPENINGS, request.scope)
        sent = signin.binding.come_back(session_id, body.secret(), cookies_of(request, session_id))
        return await with_cookie(request, session_id, body, sent)

    async def with_cookie(
        request: Request, session_id: str, body: PageExchange, exchange: Awaitable[Secret]
    ) -> Response:
        """Answer with the cookie that comes of an exchange; the session's own page hears of one that was refused."""
        try:
            cookie = await exchange
        except CallerError:
            services.streams.tell(session_id, "link_refused")
            services.guesses.wrong(OPENINGS, request.scope, session_id)
            raise
        response = Response(status_code=204)
        site = services.addresses.sign_in
        forget_oldest(response, request.scope, site, session_id)
        framed = body.framed and bool(services.settings.embed_origins)
        set_session_cookie(response, site, session_id, cookie, framed=framed)
        return response

    def cookies_of(request: Request, session_id: str) -> list[Secret]:
        return of_session(request.scope, services.addresses.sign_in, session_id)


def _add_looking(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.get("/api/auth/session/{session_id}", tags=["person"])
    async def session(session_id: SessionId, request: Request, wait: Wait = None) -> PageView:
        """Show the session to its own browser; with `wait`, when it has changed or the time is up."""
        return await sessions.page_view(services, await sessions.changed(services, session_id, request, wait))

    @app.get("/api/auth/session/{session_id}/events", tags=["person"], response_class=Response, responses=STREAMED)
    async def events(session_id: SessionId, request: Request) -> Response:
        """Stream the session's events (Server-Sent Events), resumable by Last-Event-ID."""
        services.rates.take(STREAMS, session_id)
        return await sessions.event_stream(services, session_id, request)

    @app.get("/api/auth/session/{session_id}/destinations", tags=["person"])
    async def destinations(session_id: SessionId) -> DestinationList:
        """List the names that the session's machine asked for."""
        hosts = services.providers.get((await signin.session(session_id)).provider).sign_in_hosts
        rows = await signin.destinations(session_id)
        return DestinationList(destinations=[DestinationView.of(row, known=matches(row.name, hosts)) for row in rows])

    @app.get("/api/auth/session/{session_id}/audit", tags=["person"])
    async def done(session_id: SessionId) -> DoneList:
        """List what was done with the credential that the session stored: who opened or deleted it, and when."""
        lines = await signin.done_with(await signin.session(session_id), limit=_LINES)
        return DoneList(done=[DoneView.of(line) for line in lines])


def _add_deciding(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.post("/api/auth/session/{session_id}/consent", tags=["person"])
    async def consent(session_id: SessionId, body: Nothing | None = None) -> PageView:
        """Record the click by which the person agrees; no ticket is given before it."""
        del body
        return await sessions.page_view(services, await signin.consent(session_id))

    @app.post("/api/auth/session/{session_id}/ticket", tags=["person"])
    async def ticket(session_id: SessionId, request: Request, body: Nothing | None = None) -> TicketView:
        """Give a single-use ticket for the screen; 421 where it is on a node that cannot be reached from here."""
        del body
        give, elsewhere = partial(signin.ticket, session_id), partial(onward.elsewhere, services, session_id)
        return await watching.ticket(services, f"{session_id} screen", give, elsewhere, request.scope)

    @app.post("/api/auth/session/{session_id}/terminal/ticket", tags=["person"])
    async def terminal_ticket(session_id: SessionId, request: Request, body: Nothing | None = None) -> TicketView:
        """Give a single-use ticket for the tool's terminal, or what it writes; 421 as for the screen."""
        del body
        give, elsewhere = partial(signin.terminal_ticket, session_id), partial(onward.elsewhere, services, session_id)
        return await watching.ticket(services, f"{session_id} terminal", give, elsewhere, request.scope)

    @app.post("/api/auth/session/{session_id}/again", tags=["person"])
    async def again(session_id: SessionId, body: Again) -> PageView:
        """Have the tool started again, in the same machine, after that attempt gave up; a repeat changes nothing."""
        return await sessions.page_view(services, await signin.again(session_id, body.attempt))

    @app.post("/api/auth/session/{session_id}/shown", tags=["person"])
    async def shown(session_id: SessionId, body: Nothing | None = None) -> PageView:
        """Record that the page has shown success: the machine need not wait any longer."""
        del body
        return await sessions.page_view(services, await signin.success_shown(session_id))

    @app.post("/api/auth/session/{session_id}/reject", tags=["person"])
    async def reject(session_id: SessionId, body: Nothing | None = None) -> PageView:
        """Take the stored credential back: the account is not the person's. Not after a later sign-in."""
        del body
        return await sessions.page_view(services, await signin.reject(session_id))

    @app.post("/api/auth/session/{session_id}/cancel", tags=["person"])
    async def cancel(session_id: SessionId, body: Nothing | None = None) -> PageView:
        """End the session; 409 when it has ended already."""
        del body
        return await sessions.page_view(services, await signin.cancel(session_id, by_person=True))
