"""What a page's WebSocket passes before anything is watched, a screen's and a terminal's alike.

The machine's node, the handshake, the ticket: where the machine runs here it is watched here, else it is passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.log import get_logger
from antechamber.web import closes, faults, onward
from antechamber.web.rates import SOCKETS
from antechamber.web.seats import BINARY, offered_ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from antechamber.model import Secret
    from antechamber.web.closes import Close
    from antechamber.web.onward import Page
    from antechamber.web.services import Services

_log = get_logger("watching")


async def serve(
    services: Services, session_id: str, page: Page, watch: Callable[[], Coroutine[Any, Any, Close | None]]
) -> None:
    """Serve one WebSocket whose browser holds the session's cookie.

    `watch` runs until either side ends, and returns what to close with, or None when the page has gone.
    """
    scope, send = page.scope, page.send
    try:
        services.rates.take(SOCKETS, f"{session_id} {page.kind}")
        ticket = offered_ticket(scope["subprotocols"])
        node = await onward.elsewhere(services, session_id)
        onward.require_reachable(node, scope)
    except CallerError as error:
        await faults.refuse(scope, page.receive, send, error)
        return
    await page.receive()  # the connect message
    await send({"type": "websocket.accept", "subprotocol": BINARY})
    if node is not None:
        is_good = await services.signin.holds_ticket(session_id, ticket)
        place = onward.of_session(services, session_id, page.kind)
        why = await onward.pass_on(services, place, page, node) if is_good else closes.BAD_TICKET
    else:
        why = await _refused(services, session_id, ticket) or await watch()
    if why is not None:
        await closes.say(send, why)


async def over(services: Services, session_id: str) -> Close:
    """Say why what was watched is no more: for good, or because this service has let its machine go for a while."""
    if services.live.input_ended(session_id).is_set():
        return closes.ENDED
    try:
        session = await services.signin.session(session_id)
    except AntechamberError:
        return closes.NOT_READY
    return closes.ENDED if session.status.terminal else closes.NOT_READY


async def _refused(services: Services, session_id: str, ticket: Secret) -> Close | None:
    """Use the ticket up; return what to close with where it is not good."""
    try:
        await services.signin.redeem_ticket(session_id, ticket)
    except CallerError as error:
        return closes.ENDED if error.code is Code.SESSION_ENDED else closes.BAD_TICKET
    except OperatorError as error:
        # the handshake is over, so that no answer can say it: the page comes again with another ticket
        _log.warning("a ticket could not be looked at", session=session_id, code=error.code, detail=error.detail)
        return closes.NOT_READY
    return None
