"""The one place that turns errors into answers: `{"error": {"code", "message", "next", "retryable"}}`.

A browser that a person sent to the address is shown a page instead, where the scope has something that makes it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.log import get_logger
from antechamber.model import clean_text
from antechamber.texts import speaking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_log = get_logger("web")

_BY_STATUS: Final = {
    400: Code.BAD_REQUEST,
    401: Code.NOT_SIGNED_IN,
    403: Code.NOT_ALLOWED,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
    415: Code.NOT_JSON,
    422: Code.BAD_REQUEST,
}
_FAULTS_NAMED: Final = 5

ANSWERED: Final = "antechamber.error"
"""The scope's entry with the code of the error that the request was answered with."""

PAGE: Final = "antechamber.fault_page"
"""The scope's entry with what makes a page of an error, or None for whoever reads no page."""


def envelope(error: AntechamberError) -> dict[str, Any]:
    """Return the body of an answer with that error, in the asker's language; its detail stays behind."""
    told = speaking().error(error)
    return {
        "error": {
            "code": str(error.code),
            "message": told.message,
            "next": told.next,
            "retryable": error.retryable,
        }
    }


def response(scope: Scope, error: AntechamberError, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer with that error, and log what is not the caller's fault."""
    if not isinstance(error, CallerError):
        _log.warning("request failed", code=str(error.code), detail=error.detail or error.message)
    extra = dict(headers or {})
    if error.http_status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        # whole seconds, and never too few
        extra["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    page: Callable[[Scope, AntechamberError], Response | None] | None = scope.get(PAGE)
    answer = page(scope, error) if page else None
    answer = answer or JSONResponse(envelope(error), status_code=error.http_status)
    answer.headers.update(extra)
    return answer


def _named(location: tuple[Any, ...]) -> str:
    parts = [str(part) for part in location[1:]] or [str(location[0])]
    return clean_text(".".join(parts), 60)


def from_validation(error: RequestValidationError) -> CallerError:
    """Return what a request that does not fit its model is told: which fields and why, never what was sent."""
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return CallerError(Code.BAD_REQUEST, message="The request's body is not well-formed JSON.")
    if any(fault["loc"] and fault["loc"][0] == "path" for fault in faults):
        return CallerError(Code.MALFORMED_ID)
    unknown = sorted({_named(fault["loc"]) for fault in faults if fault["type"] == "extra_forbidden"})
    if unknown:
        names = ", ".join(f"“{name}”" for name in unknown[:_FAULTS_NAMED])
        return CallerError(Code.UNKNOWN_FIELD, message=f"The request has a field that is not known: {names}.")
    told = [f"{_named(fault['loc'])}: {fault['msg']}" for fault in faults[:_FAULTS_NAMED]]
    return CallerError(Code.BAD_REQUEST, message=f"The request is not valid. {'; '.join(told)}.")


def from_http(error: HTTPException) -> AntechamberError:
    """Return our own error for one that the web framework raised."""
    code = _BY_STATUS.get(error.status_code)
    if code is None:
        return OperatorError(Code.INTERNAL, detail=f"{error.status_code}: {error.detail}")
    return CallerError(code)


def _methods(request: Request) -> set[str]:
    """Return every method that the path has: the framework names those of the path's first route alone."""
    found = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in found for method in getattr(route, "methods", None) or ()}


def install(app: FastAPI) -> None:
    """Make the framework answer with our envelope."""

    async def answer(request: Request, error: Exception) -> Response:
        headers = None
        match error:
            case AntechamberError():
                ours = error
            case RequestValidationError():
                ours = from_validation(error)
            case HTTPException():
                ours, headers = from_http(error), error.headers
                if error.status_code == 405:
                    headers = {**(headers or {}), "Allow": ", ".join(sorted(_methods(request)))}
            case _:
                # the framework raises it again afterwards, and `front.Guard` logs it whole
                ours = OperatorError(Code.INTERNAL)
        request.scope[ANSWERED] = ours.code
        return response(request.scope, ours, headers)

    for kind in (AntechamberError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


async def refuse(scope: Scope, receive: Receive, send: Send, error: AntechamberError) -> None:
    """Answer a request, or a WebSocket that is not accepted yet, with that error."""
    scope[ANSWERED] = error.code
    if scope["type"] == "http":
        await response(scope, error)(scope, receive, send)
        return
    await send(
        {
            "type": "websocket.http.response.start",
            "status": error.http_status,
            "headers": [(b"content-type", b"application/json")],
        }
    )
    await send({"type": "websocket.http.response.body", "body": json.dumps(envelope(error)).encode()})
