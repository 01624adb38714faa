"""What the API endpoints of all vendors have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response, StreamingResponse

from antechamber.testing.standin.modes import TokenEndpoint
from antechamber.testing.standin.setting import BadBodyError, Setting, fields_of
from antechamber.testing.standin.tokens import Grant, GrantError, OrdinaryRefusalError, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from starlette.requests import Request

    Endpoint = Callable[[Request], Awaitable[Response]]
    Redeem = Callable[[dict[str, str]], dict[str, Any]]


def answer(body: Any, status: int = 200) -> Response:
    """Return a JSON answer that nobody stores."""
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


def note_refusal(setting: Setting, request: Request, why: str) -> None:
    """Write a refused request down."""
    setting.journal.note(request.url.hostname or "", request.method, request.url.path, why)


def refusal(error: GrantError) -> Response:
    """Return a token endpoint's refusal as RFC 6749 has it (section 5.2)."""
    return answer({"error": str(error), "error_description": "Refused."}, 401 if "client" in str(error) else 400)


def token_endpoint(setting: Setting, redeem: Redeem, refused: Callable[[GrantError], Response] = refusal) -> Endpoint:
    """Return a token endpoint that behaves as the mode says, and honestly gives what `redeem` returns.

    `redeem` raises GrantError for what a real vendor would refuse, and `refused` puts that in the vendor's words.
    """

    async def endpoint(request: Request) -> Response:
        await setting.slow()
        await setting.hang()
        match setting.modes.token:
            case TokenEndpoint.REFUSE:
                return answer({"error": "invalid_grant", "error_description": "Refused for practice."}, 400)
            case TokenEndpoint.FAIL:
                return answer({"error": "temporarily_unavailable"}, 503)
            case TokenEndpoint.GARBAGE:
                return Response("<html>DUMMY: not what you asked for</html>", media_type="text/html")
        try:
            return answer(redeem(await fields_of(request)))
        except GrantError as error:
            if not isinstance(error, OrdinaryRefusalError):
                note_refusal(setting, request, str(error))
            return refused(error)
        except BadBodyError as error:
            note_refusal(setting, request, str(error))
            return answer({"error": "invalid_request", "error_description": str(error)}, 400)

    return endpoint


_NOT_SIGNED_IN: Final = {"error": {"type": "authentication_error", "message": "Not signed in."}}


def with_grant(
    setting: Setting, tokens: Tokens, reply: Callable[[Grant], Any], unauthorized: Any = _NOT_SIGNED_IN
) -> Endpoint:
    """Return an endpoint that needs an access token and answers what `reply` says to its grant."""

    async def told(grant: Grant, _: Request) -> Response:
        return answer(reply(grant))

    return with_request(setting, tokens, told, unauthorized)


def with_request(
    setting: Setting,
    tokens: Tokens,
    reply: Callable[[Grant, Request], Awaitable[Response]],
    unauthorized: Any = _NOT_SIGNED_IN,
) -> Endpoint:
    """Return an endpoint that needs an access token; without a good one it answers 401 with the vendor's body."""

    async def endpoint(request: Request) -> Response:
        await setting.slow()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = tokens.granted(token.strip()) if scheme.lower() == "bearer" else None
        if grant is None:
            if not tokens.knows(token.strip()):
                note_refusal(setting, request, "no valid access token")
            return answer(unauthorized, 401)
        return await reply(grant, request)

    return endpoint


def event_stream(events: Iterable[tuple[str | None, dict[str, Any]]]) -> Response:
    """Return server-sent events, each by its name (None: none) and its JSON."""

    async def lines() -> AsyncIterator[str]:
        for name, data in events:
            yield (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
