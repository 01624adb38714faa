"""What both sites show of a session: itself, with a long poll, and its events; each builds its own view."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from antechamber.model import SessionStatus
from antechamber.web.events import EventStream, last_event_id
from antechamber.web.texts import ISOLATION
from antechamber.web.views import AboutProvider, PageView, SessionView, Step
from antechamber.web.waiting import waiting

if TYPE_CHECKING:
    from starlette.requests import Request

    from antechamber.model import AuthSession
    from antechamber.web.services import Services


async def changed(services: Services, session_id: str, request: Request, wait: float | None) -> AuthSession:
    """Return a session at once, or with `wait` (seconds) when it has changed, ended, or the time is up."""
    if wait is None:
        return await services.signin.session(session_id)
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    async with waiting(services, session_id, request.receive) as waiter:
        session = first = await services.signin.session(session_id)
        while session == first and not session.status.terminal:
            remaining = until - loop.time()
            if remaining <= 0 or waiter.client_gone or services.closing.closed:
                break
            await waiter.wait(remaining)
            session = await services.signin.session(session_id)
    return session


async def session_view(services: Services, session: AuthSession) -> SessionView:
    """Show a session to the operator."""
    return SessionView.of(session, await services.signin.captured(session))


async def page_view(services: Services, session: AuthSession) -> PageView:
    """Show a session to its own browser."""
    captured = await services.signin.captured(session)
    rows = await services.signin.events(session.id)
    isolation = services.driver.capabilities.isolation
    current = captured is not None and captured.deleted_at is None and captured.version == session.captured_version
    return PageView(
        **PageView.fields_of(session, captured),
        provider=AboutProvider.of(services.providers.get(session.provider)),
        consented=session.consented_at is not None,
        practice=services.practice,
        isolation=isolation,
        machine=ISOLATION[isolation],
        rejectable=session.status is SessionStatus.COMPLETED and current,
        steps=[Step(step=row.kind, at=row.at) for row in rows if not row.fields.get("refused")],
    )


async def event_stream(services: Services, session_id: str, request: Request) -> EventStream:
    """Stream a session's events from where the browser was; raises CallerError session_not_found."""
    await services.signin.session(session_id)
    return EventStream(services, session_id, last_event_id(request.headers.get("last-event-id")))
