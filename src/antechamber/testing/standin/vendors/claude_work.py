"""What Claude Code asks for while it works: the Messages API in server-sent events.

The requests are those that Claude Code 2.1.330 was seen to make; the events' form is
https://docs.anthropic.com/en/docs/build-with-claude/streaming.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from antechamber.testing.standin.answers import Answer, Turn, answer_to
from antechamber.testing.standin.setting import Setting, prompt_of
from antechamber.testing.standin.tokens import Grant, Tokens
from antechamber.testing.standin.vendors.endpoints import answer, event_stream, with_grant, with_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

UNAUTHORIZED: Final = {
    "type": "error",
    "error": {"type": "authentication_error", "message": "OAuth token has expired. Please sign in again."},
}
_SHELL: Final = "Bash"


async def messages(_: Grant, request: Request) -> Response:
    """Answer a prompt."""
    asked = await prompt_of(request)
    said = answer_to(_turn(asked))
    content: dict[str, Any] = {"type": "text", "text": said.text}
    if said.command:
        content = {
            "type": "tool_use",
            "id": f"toolu_DUMMY{secrets.token_hex(8)}",
            "name": _SHELL,
            "input": {"command": said.command, "description": "For practice"},
        }
    message = {
        "id": f"msg_DUMMY{secrets.token_hex(8)}",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model"),
        "content": [content],
        "stop_reason": "tool_use" if said.command else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    if not asked.get("stream"):
        return answer(message)
    return event_stream((event["type"], event) for event in _events(said, message))


def _turn(asked: dict[str, Any]) -> Turn:
    prompt, printed = "", None
    for message in asked.get("messages", []):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
            match part.get("type"):
                case "tool_result":
                    printed = _printed(part.get("content"))
                case "text":
                    prompt, printed = str(part.get("text", "")), None
    return Turn(prompt, printed)


def _printed(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [])


def _events(said: Answer, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    (content,) = message["content"]
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    if said.command:
        yield {"type": "content_block_start", "index": 0, "content_block": {**content, "input": {}}}
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(content["input"])}]
    else:
        yield {"type": "content_block_start", "index": 0, "content_block": {**content, "text": ""}}
        deltas = [{"type": "text_delta", "text": piece} for piece in said.pieces]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 1}}
    yield {"type": "message_stop"}


def connectors(_: Grant) -> dict[str, Any]:
    """Return that the account has no MCP servers."""
    return {"data": [], "has_more": False, "next_page": None}


def routes(setting: Setting, tokens: Tokens) -> list[BaseRoute]:
    """Return the routes of api.anthropic.com that a run needs."""
    return [
        Route("/v1/messages", with_request(setting, tokens, messages, UNAUTHORIZED), methods=["POST"]),
        Route("/v1/mcp_servers", with_grant(setting, tokens, connectors, UNAUTHORIZED)),
    ]
