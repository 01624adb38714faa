"""What a page's WebSocket passes before anything is watched: a screen's, a terminal's, and that of a run alike.

The machine's node, the handshake, the ticket: where the machine runs here it is watched here, else it is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.log import get_logger
from antechamber.web import closes, faults, onward
from antechamber.web.rates import SOCKETS, TICKETS
from antechamber.web.seats import BINARY, offered_ticket
from antechamber.web.views import TicketView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from starlette.types import Scope

    from antechamber.model import NodeRow, Secret
    from antechamber.signin import Ticket
    from antechamber.web.closes import Close
    from antechamber.web.onward import Page
    from antechamber.web.services import Services

_log = get_logger("watching")


@dataclass(frozen=True, slots=True)
class Watched:
    """A screen or a terminal."""

    place: onward.Place
    elsewhere: Callable[[], Awaitable[NodeRow | None]]
    """The other node that its machine runs on; None where it runs here, or nowhere."""
    holds_ticket: Callable[[Secret], Awaitable[bool]]
    """Whether a ticket is good now, without using it up."""
    redeem_ticket: Callable[[Secret], Awaitable[None]]
    """Use a ticket up; raises CallerError."""


def of_session(services: Services, session_id: str, kind: onward.Kind) -> Watched:
    """Return a session's screen or terminal."""
    return Watched(
        onward.of_session(services, session_id, kind),
        partial(onward.elsewhere, services, session_id),
        partial(services.signin.holds_ticket, session_id),
        partial(services.signin.redeem_ticket, session_id),
    )


async def serve(
    services: Services, watched: Watched, page: Page, watch: Callable[[], Coroutine[Any, Any, Close | None]]
) -> None:
    """Serve one WebSocket of a page that the wall has let in.

    `watch` runs until either side ends, and returns what to close with, or None when the page has gone.
    """
    scope, send = page.scope, page.send
    try:
        services.rates.take(SOCKETS, f"{watched.place.subject} {page.kind}")
        ticket = offered_ticket(scope["subprotocols"])
        node = await watched.elsewhere()
        onward.require_reachable(node, scope)
    except CallerError as error:
        await faults.refuse(scope, page.receive, send, error)
        return
    await page.receive()  # the connect message
    await send({"type": "websocket.accept", "subprotocol": BINARY})
    if node is not None:
        is_good = await watched.holds_ticket(ticket)
        why = await onward.pass_on(services, watched.place, page, node) if is_good else closes.BAD_TICKET
    else:
        why = await _refused(watched, ticket) or await watch()
    if why is not None:
        await closes.say(send, why)


async def ticket(
    services: Services,
    key: str,
    give: Callable[[], Awaitable[Ticket]],
    elsewhere: Callable[[], Awaitable[NodeRow | None]],
    scope: Scope,
) -> TicketView:
    """Give a ticket, so often for that key; raises CallerError too_often, wrong_node, and what `give` does."""
    services.rates.require(TICKETS, key)
    given = await give()
    services.rates.take(TICKETS, key)
    # said here, where a page can read it: a WebSocket that is refused has no body for it
    onward.require_reachable(await elsewhere(), scope)
    return TicketView(ticket=given.secret.reveal(), expires_at=given.expires_at)


async def over(services: Services, session_id: str) -> Close:
    """Say why what was watched is no more: for good, or because this service has let its machine go for a while."""
    if services.live.input_ended(session_id).is_set():
        return closes.ENDED
    try:
        session = await services.signin.session(session_id)
    except AntechamberError:
        return closes.NOT_READY
    return closes.ENDED if session.status.terminal else closes.NOT_READY


async def _refused(watched: Watched, ticket: Secret) -> Close | None:
    """Use the ticket up; return what to close with where it is not good."""
    try:
        await watched.redeem_ticket(ticket)
    except CallerError as error:
        return closes.ENDED if error.code is Code.SESSION_ENDED else closes.BAD_TICKET
    except OperatorError as error:
        # the handshake is over, so that no answer can say it: the page comes again with another ticket
        _log.warning(
            "a ticket could not be looked at", subject=watched.place.subject, code=error.code, detail=error.detail
        )
        return closes.NOT_READY
    return None
