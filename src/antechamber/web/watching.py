"""What a page's WebSocket passes before anything is watched, a screen's and a terminal's alike.

The machine's node, the handshake, the ticket: where the machine runs here it is watched here, else it is passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.errors import CallerError, Code
from antechamber.web import closes, faults, onward
from antechamber.web.seats import BINARY, offered_ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from antechamber.model import Secret
    from antechamber.web.closes import Close
    from antechamber.web.onward import Page
    from antechamber.web.services import Services


async def serve(
    services: Services, session_id: str, page: Page, watch: Callable[[], Coroutine[Any, Any, Close | None]]
) -> None:
    """Serve one WebSocket whose browser holds the session's cookie.

    `watch` runs until either side ends, and returns what to close with, or None when the page has gone.
    """
    scope, send = page.scope, page.send
    try:
        ticket = offered_ticket(scope["subprotocols"])
        node = await onward.elsewhere(services, session_id)
        onward.require_reachable(node, scope)
    except CallerError as error:
        await faults.refuse(scope, page.receive, send, error)
        return
    await page.receive()  # the connect message
    await send({"type": "websocket.accept", "subprotocol": BINARY})
    if node is not None:
        why = await onward.pass_on(services, session_id, ticket, page, node)
    else:
        why = await _refused(services, session_id, ticket) or await watch()
    if why is not None:
        await closes.say(send, why)


async def _refused(services: Services, session_id: str, ticket: Secret) -> Close | None:
    """Use the ticket up; return what to close with where it is not good."""
    try:
        await services.signin.redeem_ticket(session_id, ticket)
    except CallerError as error:
        return closes.ENDED if error.code is Code.SESSION_ENDED else closes.BAD_TICKET
    return None
