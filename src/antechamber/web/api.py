"""The dashboard site's API, for the operator's own programs and the dashboard's page."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query, Request, Response

from antechamber.errors import AntechamberError, CallerError, Code
from antechamber.model import DEFAULT_APPLICATION, SessionStatus
from antechamber.signin import DASHBOARD_COOKIE_LIFE, StartRequest
from antechamber.texts import speaking
from antechamber.web import sessions
from antechamber.web.bodies import (
    AskedApplication,
    Bind,
    Exchange,
    IdempotencyKey,
    Nothing,
    SessionCursor,
    SessionId,
    Start,
    Traceparent,
    UserId,
    Wait,
)
from antechamber.web.callers import CalledBy
from antechamber.web.cookies import set_dashboard_cookie
from antechamber.web.events import STREAMED
from antechamber.web.overview import driver_view
from antechamber.web.rates import BINDINGS, LOGINS, STREAMS
from antechamber.web.views import (
    BoundView,
    DashboardView,
    LinkView,
    NamedApplication,
    NamedOperator,
    PollView,
    ProviderList,
    ProviderView,
    SessionList,
    SessionView,
    StartedView,
)

if TYPE_CHECKING:
    from antechamber.web.services import Services


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the API's routes to the dashboard site."""
    _add_dashboard(app, services)
    _add_start(app, services)
    _add_sessions(app, services)


def _add_dashboard(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.post("/api/dashboard/open", status_code=204, tags=["dashboard"])
    async def open_dashboard(body: Exchange, request: Request) -> Response:
        """Exchange the printed link's one-time code for the dashboard's cookie."""
        services.guesses.may_try(LOGINS, request.scope)
        try:
            cookie = await signin.open_dashboard(body.secret())
        except CallerError:
            services.guesses.wrong(LOGINS, request.scope)
            raise
        response = Response(status_code=204)
        set_dashboard_cookie(response, services.addresses.dashboard, cookie, lasts=DASHBOARD_COOKIE_LIFE)
        return response

    @app.get("/api/dashboard", tags=["dashboard"])
    async def dashboard(caller: CalledBy) -> DashboardView:
        """Say what this service is and whether it is ready."""
        faults = [*await services.faults()]
        return DashboardView(
            version=services.version,
            world=services.world_name,
            practice=services.practice,
            ready=not faults,
            faults=faults,
            driver=driver_view(services),
            sign_in_url=services.addresses.sign_in.url,
            applications=[NamedApplication(id=one.id, name=one.name) for one in await signin.applications.list()],
            operator=NamedOperator(**asdict(caller.operator)) if caller.operator else None,
        )

    @app.get("/api/providers", tags=["providers"])
    async def providers() -> ProviderList:
        """List what can be signed in to."""
        shown, allowed = [], await signin.revealing.allowed()
        for spec in services.providers.all():
            tool = services.installed(spec)
            shown.append(ProviderView.shown(spec, tool.sha256, tool.message, allowed.get(spec.id)))
        return ProviderList(providers=shown)


def _add_start(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.post(
        "/api/auth/session",
        status_code=201,
        tags=["sessions"],
        responses={200: {"model": StartedView, "description": "The live session of this user and provider."}},
    )
    async def start(
        body: Start,
        response: Response,
        caller: CalledBy,
        idempotency_key: IdempotencyKey = None,
        traceparent: Traceparent = None,
    ) -> StartedView:
        """Start a sign-in; the answer's link is for the person, opens once, and is a secret until then.

        An application without a `bind_url` gets no link: the operator opens it from the dashboard.
        """
        started = await signin.start(
            StartRequest(
                user_id=body.user_id,
                provider=body.provider,
                replace=body.replace,
                replace_account=body.replace_account,
                display_name=body.display_name,
                purpose=body.purpose,
                return_url=body.return_url,
                application=caller.application or DEFAULT_APPLICATION,
            ),
            idempotency_key=idempotency_key,
            caller=caller.name,
            traceparent=traceparent,
        )
        if not started.created:
            response.status_code = 200
        session, link = started.session, started.link
        return StartedView(
            session_id=session.id,
            status=session.status,
            provider=session.provider,
            sign_in_url=_page_of(services, session.id, link.reveal()) if link else None,
            expires_at=session.expires_at,
        )

    @app.post("/api/auth/session/{session_id}/bind", tags=["sessions"])
    async def bind(session_id: SessionId, body: Bind, caller: CalledBy) -> BoundView:
        """Say which of your users sits at the browser that came with this challenge; send it on to `continue_url`.

        By the application's own key alone: the operator does not know who is signed in there.
        """
        if caller.key is None:
            raise CallerError(Code.NOT_ALLOWED, message="Only the session's application may say who sits there.")
        services.rates.take(BINDINGS, session_id)
        way_back = await signin.binding.bind(session_id, user_id=body.user_id, challenge=body.secret())
        return BoundView(continue_url=_page_of(services, session_id, f"bound.{way_back.reveal()}"))

    @app.post("/api/auth/session/{session_id}/link", tags=["sessions"])
    async def link(session_id: SessionId, body: Nothing | None = None) -> LinkView:
        """Give a fresh link of a session that nobody has opened, to the operator alone."""
        del body
        code = await signin.link(session_id)
        return LinkView(sign_in_url=_page_of(services, session_id, code.reveal()))


def _page_of(services: Services, session_id: str, fragment: str) -> str:
    return f"{services.addresses.sign_in.url}/s/{session_id}#{fragment}"


def _add_sessions(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.get("/api/auth/sessions", tags=["sessions"])
    async def list_sessions(
        *,
        caller: CalledBy,
        user_id: Annotated[UserId | None, Query()] = None,
        application: AskedApplication = None,
        provider: Annotated[str | None, Query(max_length=64)] = None,
        status: Annotated[SessionStatus | None, Query(description="Only those in that status.")] = None,
        live: Annotated[bool | None, Query(description="Only live, or only ended ones.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        before: Annotated[
            SessionCursor | None, Query(description="Only older ones than this session: an answer's `older`.")
        ] = None,
    ) -> SessionList:
        """List sessions, newest first; `older` leads on to the next ones."""
        chosen = caller.chosen(application, user_id)
        name = services.providers.get(provider).id if provider is not None else None
        if before is not None and caller.application not in {None, (await signin.session(before)).owner.application}:
            raise CallerError(Code.SESSION_NOT_FOUND)
        rows = await signin.sessions(
            user_id=user_id,
            application=chosen,
            provider=name,
            status=status,
            live=live,
            limit=limit + 1,
            before=before,
        )
        shown = rows[:limit]
        return SessionList(
            sessions=[await sessions.session_view(services, row) for row in shown],
            older=shown[-1].id if len(rows) > limit else None,
        )

    @app.get("/api/auth/session/{session_id}", tags=["sessions"])
    async def session(session_id: SessionId, request: Request, caller: CalledBy, wait: Wait = None) -> SessionView:
        """Say how a session stands; with `wait`, when it has changed or the time is up."""
        row = await sessions.changed(services, session_id, request, wait)
        if wait is not None and caller.key is not None:
            await signin.applications.require(caller.key)
        return await sessions.session_view(services, row)

    @app.get("/api/auth/session/{session_id}/credentials", tags=["sessions"])
    async def poll(session_id: SessionId) -> PollView:
        """Say whether the credential is stored: the predecessor's poll, without the secret."""
        row = await signin.session(session_id)
        return PollView.of(row, await signin.captured(row))

    @app.get("/api/auth/session/{session_id}/events", tags=["sessions"], response_class=Response, responses=STREAMED)
    async def events(session_id: SessionId, request: Request, caller: CalledBy) -> Response:
        """Stream a session's events (Server-Sent Events), resumable by Last-Event-ID."""
        services.rates.take(STREAMS, f"{session_id} {caller.api_key or caller.name}")
        return await sessions.event_stream(services, session_id, request, key=caller.key)

    @app.post("/api/auth/session/{session_id}/cancel", tags=["sessions"])
    async def cancel(session_id: SessionId, body: Nothing | None = None) -> SessionView:
        """End a live session; 409 when it has ended already."""
        del body
        return await sessions.session_view(services, await signin.cancel(session_id, by_person=False))


async def store_faults(services: Services) -> list[str]:
    """Look once at the database; return its fault as a sentence, or nothing."""
    try:
        await services.signin.sessions(limit=1)
    except AntechamberError as error:
        return [speaking().error(error).message]
    return []
