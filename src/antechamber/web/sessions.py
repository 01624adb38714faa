"""What both sites show of a session: itself, with a long poll, and its events; each builds its own view."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError
from antechamber.model import DEFAULT_APPLICATION, SessionStatus
from antechamber.texts import speaking
from antechamber.web.events import EventStream, last_event_id
from antechamber.web.views import AboutProvider, Before, PageView, Receipt, SessionView, Step
from antechamber.web.waiting import waiting

if TYPE_CHECKING:
    from starlette.requests import Request

    from antechamber.model import ApiKey, AuthSession, Credential, MachineRow
    from antechamber.web.services import Services

_ENDED_WAIT_S: Final = 1.0


async def changed(services: Services, session_id: str, request: Request, wait: float | None) -> AuthSession:
    """Return a session at once, or with `wait` (seconds) when something of it has changed or the time is up.

    That is the session itself, its machine, or its place in the line of those who wait for one. Of an ended session
    only the machine can change: that is waited for at most a second, as its end is no news to whoever asks for the
    session's.
    """
    session = await services.signin.session(session_id)
    if wait is None:
        return session
    loop = asyncio.get_running_loop()
    async with waiting(services, session_id, request.receive) as waiter:
        # read again under the watch: a change just before it would be told to nobody
        first = await _state(services, session_id)
        until = loop.time() + (min(wait, _ENDED_WAIT_S) if first[0].status.terminal else wait)
        state = first
        while state == first and _can_change(*state):
            remaining = until - loop.time()
            if remaining <= 0 or waiter.client_gone or services.closing.closed:
                break
            await waiter.wait(remaining)
            state = await _state(services, session_id)
    return state[0]


async def _state(services: Services, session_id: str) -> tuple[AuthSession, MachineRow | None, int | None]:
    session = await services.signin.session(session_id)
    return session, await services.signin.machine(session_id), await services.signin.place_in_line(session)


def _can_change(session: AuthSession, machine: MachineRow | None, _position: int | None) -> bool:
    return not session.status.terminal or (machine is not None and not machine.state.ended)


def revoke_url(services: Services, provider: str) -> str | None:
    """Return the vendor's page where a sign-in is ended, or None where its definition is not here any more."""
    with contextlib.suppress(CallerError):
        return services.providers.get(provider).revoke_url
    return None


async def session_view(services: Services, session: AuthSession) -> SessionView:
    """Show a session to the operator."""
    signin = services.signin
    return SessionView.of(
        session,
        await signin.captured(session),
        await signin.machine(session.id),
        await signin.place_in_line(session),
        revoke_url=revoke_url(services, session.provider),
    )


async def page_view(services: Services, session: AuthSession) -> PageView:
    """Show a session to its own browser."""
    captured = await services.signin.captured(session)
    rows = await services.signin.events(session.id)
    isolation = services.driver.capabilities.isolation
    stored = None if session.status.terminal else await services.signin.stored(session.owner, session.provider)
    current = captured is not None and captured.deleted_at is None and captured.session_id == session.id
    own = session.owner.application == DEFAULT_APPLICATION
    return PageView(
        application=None if own else (await services.signin.applications.get(session.owner.application)).name,
        **PageView.fields_of(
            session,
            captured,
            await services.signin.place_in_line(session),
            revoke_url=revoke_url(services, session.provider),
        ),
        before=Before(account=stored.claims.account, stored_at=stored.stored_at) if stored else None,
        provider=AboutProvider.of(services.providers.get(session.provider)),
        consented=session.consented_at is not None,
        revealed=session.provider in await services.signin.revealing.allowed(),
        practice=services.practice,
        operator=services.settings.operator_name or services.addresses.sign_in.host,
        isolation=isolation,
        machine=speaking().isolation[isolation],
        lasts_s=round(services.settings.sign_in_s),
        receipt=_receipt(services, captured) if captured is not None and current else None,
        rejectable=session.status is SessionStatus.COMPLETED and current,
        cli_terminal=services.providers.get(session.provider).terminal,
        cli_said=session.cli_said.splitlines(),
        steps=[Step(step=row.kind, at=row.at) for row in rows if not row.fields.get("refused")],
    )


def _receipt(services: Services, stored: Credential) -> Receipt:
    spec = services.providers.get(stored.provider)
    return Receipt(stored_at=stored.stored_at, tool_version=spec.version, tool_sha256=services.installed(spec).sha256)


async def event_stream(
    services: Services, session_id: str, request: Request, *, key: ApiKey | None = None
) -> EventStream:
    """Stream a session's events from where the browser was, for as long as an application's `key` opens it.

    Raises CallerError session_not_found.
    """
    await services.signin.session(session_id)
    return EventStream(services, session_id, last_event_id(request.headers.get("last-event-id")), key=key)
