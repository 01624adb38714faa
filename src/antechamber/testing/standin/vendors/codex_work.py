"""What the Codex CLI asks for while it works: its ChatGPT backend, with the Responses API in server-sent events.

The requests are those that Codex 0.169.0 was seen to make; of the real backend's answers only the form that the CLI
reads is known, from what it accepts.
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
from antechamber.testing.standin.vendors.endpoints import event_stream, with_grant, with_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

HOST: Final = "chatgpt.com"
UNAUTHORIZED: Final = {
    "error": {
        "message": "Provided authentication token is expired. Please try signing in again.",
        "type": None,
        "code": "token_expired",
        "param": None,
    },
    "status": 401,
}


def accounts(grant: Grant) -> dict[str, Any]:
    """Return the account's workspaces: the CLI looks there for the backend that its model calls go to."""
    account = grant.account.id("account")
    entry = {
        "id": account,
        "account_user_role": "account-owner",
        "structure": "personal",
        "plan_type": grant.account.plan,
        "is_deactivated": False,
        "workspace_backend_origin": f"https://{HOST}",
        "account_routing_override": "us",
    }
    return {"accounts": [entry], "account_ordering": [account], "default_account_id": account}


def models(_: Grant) -> dict[str, Any]:
    """Return no model but those that the CLI knows by itself."""
    return {"models": []}


def settings(_: Grant) -> dict[str, Any]:
    """Return that the account has set nothing."""
    return {}


async def responses(_: Grant, request: Request) -> Response:
    """Answer a prompt."""
    asked = await prompt_of(request)
    return event_stream((event["type"], event) for event in _events(answer_to(_turn(asked)), asked))


def _turn(asked: dict[str, Any]) -> Turn:
    prompt, printed = "", None
    for item in asked.get("input", []):
        match item.get("type"):
            case "message" if item.get("role") == "user":
                prompt, printed = _text(item.get("content")), None
            case "function_call_output" | "custom_tool_call_output":
                printed = _text(item.get("output"))
    return Turn(prompt, printed)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [] if isinstance(part, dict))


def _events(said: Answer, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    response = {"id": f"resp_DUMMY{secrets.token_hex(8)}", "model": asked.get("model"), "status": "in_progress"}
    yield {"type": "response.created", "response": response}
    item: dict[str, Any]
    if said.command:
        item = _call(said.command, asked)
        yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    else:
        message = f"msg_DUMMY{secrets.token_hex(8)}"
        item = {"type": "message", "id": message, "role": "assistant", "content": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": item}
        for piece in said.pieces:
            yield {"type": "response.output_text.delta", "item_id": message, "output_index": 0, "delta": piece}
        item = {**item, "content": [{"type": "output_text", "text": said.text, "annotations": []}]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    }
    yield {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}}


def _call(command: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return a call of the tool that runs commands: JavaScript that calls it, where that is what the CLI offers."""
    call = f"call_DUMMY{secrets.token_hex(8)}"
    if "exec" in _tools(asked):
        source = f"text((await tools.exec_command({json.dumps({'cmd': command})})).output)"
        return {"type": "custom_tool_call", "call_id": call, "name": "exec", "input": source}
    arguments = json.dumps({"cmd": command})
    return {"type": "function_call", "call_id": call, "name": "exec_command", "arguments": arguments}


def _tools(asked: dict[str, Any]) -> list[str]:
    offered = list(asked.get("tools", []))
    for item in asked.get("input", []):
        if item.get("type") == "additional_tools":
            offered += item.get("tools", [])
    names = []
    for tool in offered:
        names += [inner.get("name") for inner in tool.get("tools", [])] or [tool.get("name")]
    return names


async def _no_web_socket(_: Request) -> Response:
    """Say that there is no WebSocket here: the CLI then uses HTTPS at once."""
    return Response(status_code=426)


def hosts(setting: Setting, tokens: Tokens) -> dict[str, list[BaseRoute]]:
    """Return the routes by name."""
    backend = "/backend-api"
    return {
        HOST: [
            Route(f"{backend}/wham/accounts/check", with_grant(setting, tokens, accounts, UNAUTHORIZED)),
            Route(f"{backend}/wham/settings/user", with_grant(setting, tokens, settings, UNAUTHORIZED)),
            Route(f"{backend}/codex/models", with_grant(setting, tokens, models, UNAUTHORIZED)),
            Route(
                f"{backend}/codex/responses", with_request(setting, tokens, responses, UNAUTHORIZED), methods=["POST"]
            ),
            Route(f"{backend}/codex/responses", _no_web_socket),
        ]
    }
