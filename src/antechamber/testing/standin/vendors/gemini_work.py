"""What the Gemini CLI asks for while it works: Code Assist's `streamGenerateContent` in server-sent events.

The requests and the form of the answers are those that Gemini CLI 0.61.0 makes and reads, in its own source.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from antechamber.testing.standin.answers import Answer, Turn, answer_to, fitting
from antechamber.testing.standin.setting import Setting, prompt_of
from antechamber.testing.standin.tokens import Grant, Tokens
from antechamber.testing.standin.vendors.endpoints import answer, event_stream, with_grant, with_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

UNAUTHORIZED: Final = {
    "error": {
        "code": 401,
        "message": "Request had invalid authentication credentials.",
        "status": "UNAUTHENTICATED",
    }
}
_SHELL: Final = "run_shell_command"


async def stream(_: Grant, request: Request) -> Response:
    """Answer a prompt in pieces."""
    asked = await prompt_of(request)
    return event_stream((None, event) for event in _events(answer_to(_turn(asked)), asked))


async def whole(_: Grant, request: Request) -> Response:
    """Answer a prompt at once."""
    asked = await prompt_of(request)
    form = (asked.get("request") or {}).get("generationConfig") or {}
    if form.get("responseMimeType") == "application/json":
        # how the CLI has a model choose the model
        schema = form.get("responseJsonSchema") or form.get("responseSchema") or {}
        text = json.dumps(fitting(schema))
    else:
        text = answer_to(_turn(asked)).text
    return answer(_response(asked, [{"text": text}], finish="STOP"))


def experiments(_: Grant) -> dict[str, Any]:
    """Return that nothing is tried on this account."""
    return {"flags": [], "experimentIds": []}


def _turn(asked: dict[str, Any]) -> Turn:
    prompt, printed = "", None
    for content in (asked.get("request") or {}).get("contents", []):
        if content.get("role") != "user":
            continue
        for part in content.get("parts", []):
            if "functionResponse" in part:
                printed = str((part["functionResponse"].get("response") or {}).get("output", ""))
            elif "text" in part:
                prompt, printed = str(part["text"]), None
    return Turn(prompt, printed)


def _events(said: Answer, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if said.command:
        call = {"name": _SHELL, "args": {"command": said.command, "description": "For practice"}}
        yield _response(asked, [{"functionCall": call}], finish="STOP")
        return
    for piece in said.pieces:
        yield _response(asked, [{"text": piece}])
    yield _response(asked, [{"text": ""}], finish="STOP")


def _response(asked: dict[str, Any], parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "traceId": "DUMMY",
        "response": {
            "candidates": [candidate],
            "modelVersion": asked.get("model"),
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        },
    }


def routes(setting: Setting, tokens: Tokens) -> list[BaseRoute]:
    """Return the routes of cloudcode-pa.googleapis.com that a run needs."""
    return [
        Route(
            "/v1internal:streamGenerateContent", with_request(setting, tokens, stream, UNAUTHORIZED), methods=["POST"]
        ),
        Route("/v1internal:generateContent", with_request(setting, tokens, whole, UNAUTHORIZED), methods=["POST"]),
        Route("/v1internal:listExperiments", with_grant(setting, tokens, experiments, UNAUTHORIZED), methods=["POST"]),
    ]
