"""The dashboard site's API, for the operator's own programs and the dashboard's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query, Request, Response

from antechamber.errors import AntechamberError
from antechamber.model import Owner, SessionStatus
from antechamber.signin import StartRequest
from antechamber.texts import speaking
from antechamber.web import sessions
from antechamber.web.access import set_dashboard_cookie
from antechamber.web.bodies import (
    Code,
    IdempotencyKey,
    Nothing,
    SessionCursor,
    SessionId,
    Start,
    Traceparent,
    UserId,
    Wait,
)
from antechamber.web.events import STREAMED
from antechamber.web.overview import driver_view
from antechamber.web.views import (
    DashboardView,
    PollView,
    ProviderList,
    ProviderView,
    SessionList,
    SessionView,
    StartedView,
)

if TYPE_CHECKING:
    from antechamber.web.services import Services

CALLER = "operator"
"""Who calls while there is one operator token; idempotency keys are kept per caller."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the API's routes to the dashboard site."""
    _add_dashboard(app, services)
    _add_start(app, services)
    _add_sessions(app, services)


def _add_dashboard(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.post("/api/dashboard/open", status_code=204, tags=["dashboard"])
    async def open_dashboard(body: Code) -> Response:
        """Exchange the printed link's one-time code for the dashboard's cookie."""
        cookie = await signin.open_dashboard(body.secret())
        response = Response(status_code=204)
        set_dashboard_cookie(response, services.addresses.dashboard, cookie)
        return response

    @app.get("/api/dashboard", tags=["dashboard"])
    async def dashboard() -> DashboardView:
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
        )

    @app.get("/api/providers", tags=["providers"])
    async def providers() -> ProviderList:
        """List what can be signed in to."""
        shown = []
        for spec in services.providers.all():
            tool = services.installed(spec)
            shown.append(ProviderView.shown(spec, tool.sha256, tool.message))
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
        body: Start, response: Response, idempotency_key: IdempotencyKey = None, traceparent: Traceparent = None
    ) -> StartedView:
        """Start a sign-in; the answer's link is for the person, opens once, and is a secret until then."""
        started = await signin.start(
            StartRequest(
                user_id=body.user_id,
                provider=body.provider,
                replace=body.replace,
                replace_account=body.replace_account,
                display_name=body.display_name,
                purpose=body.purpose,
                return_url=body.return_url,
            ),
            idempotency_key=idempotency_key,
            caller=CALLER,
            traceparent=traceparent,
        )
        if not started.created:
            response.status_code = 200
        session, link = started.session, started.link
        page = f"{services.addresses.sign_in.url}/s/{session.id}"
        return StartedView(
            session_id=session.id,
            status=session.status,
            provider=session.provider,
            sign_in_url=f"{page}#{link.reveal()}" if link else None,
            expires_at=session.expires_at,
        )


def _add_sessions(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.get("/api/auth/sessions", tags=["sessions"])
    async def list_sessions(
        *,
        user_id: Annotated[UserId | None, Query()] = None,
        provider: Annotated[str | None, Query(max_length=64)] = None,
        status: Annotated[SessionStatus | None, Query(description="Only those in that status.")] = None,
        live: Annotated[bool | None, Query(description="Only live, or only ended ones.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        before: Annotated[
            SessionCursor | None, Query(description="Only older ones than this session: an answer's `older`.")
        ] = None,
    ) -> SessionList:
        """List sessions, newest first; `older` leads on to the next ones."""
        owner = Owner(user_id) if user_id is not None else None
        name = services.providers.get(provider).id if provider is not None else None
        rows = await signin.sessions(
            owner=owner, provider=name, status=status, live=live, limit=limit + 1, before=before
        )
        shown = rows[:limit]
        return SessionList(
            sessions=[await sessions.session_view(services, row) for row in shown],
            older=shown[-1].id if len(rows) > limit else None,
        )

    @app.get("/api/auth/session/{session_id}", tags=["sessions"])
    async def session(session_id: SessionId, request: Request, wait: Wait = None) -> SessionView:
        """Say how a session stands; with `wait`, when it has changed or the time is up."""
        row = await sessions.changed(services, session_id, request, wait)
        return await sessions.session_view(services, row)

    @app.get("/api/auth/session/{session_id}/credentials", tags=["sessions"])
    async def poll(session_id: SessionId) -> PollView:
        """Say whether the credential is stored: the predecessor's poll, without the secret."""
        row = await signin.session(session_id)
        return PollView.of(row, await signin.captured(row))

    @app.get("/api/auth/session/{session_id}/events", tags=["sessions"], response_class=Response, responses=STREAMED)
    async def events(session_id: SessionId, request: Request) -> Response:
        """Stream a session's events (Server-Sent Events), resumable by Last-Event-ID."""
        return await sessions.event_stream(services, session_id, request)

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
