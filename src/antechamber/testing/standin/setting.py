"""What all parts of the stand-in share: the modes and the journal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import zstandard

from antechamber.testing.standin.journal import Journal
from antechamber.testing.standin.modes import Modes, TokenEndpoint
from antechamber.testing.standin.tokens import Tokens

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_BODY = 64 * 1024
_MOST_PROMPT = 16 * 1024 * 1024


class BadBodyError(Exception):
    """A request's body is not what an honest client sends."""


@dataclass(slots=True)
class Setting:
    """How the stand-in is to behave now, and what it has seen."""

    modes: Modes = field(default_factory=Modes)
    journal: Journal = field(default_factory=Journal)
    tokens: dict[str, Tokens] = field(default_factory=dict)
    """What each vendor has given out."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and replaced when the modes change."""

    def set(self, modes: Modes) -> None:
        """Behave like this from now on."""
        self.modes = modes
        self.changed.set()
        self.changed = asyncio.Event()

    async def slow(self) -> None:
        """Take as long as the mode says."""
        if self.modes.slow_s:
            await asyncio.sleep(self.modes.slow_s)

    async def hang(self) -> None:
        """Return when the token endpoints are no longer to hang."""
        while self.modes.token is TokenEndpoint.HANG:
            await self.changed.wait()


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form or of a JSON object with string values; raises BadBodyError."""
    body = await _body(request, _MOST_BODY)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return {key: value for key, value in json_object(body).items() if isinstance(value, str)}
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50)
        except ValueError as error:
            raise BadBodyError("not a form") from error
        if len(dict(pairs)) != len(pairs):
            raise BadBodyError("a field twice")
        return dict(pairs)
    raise BadBodyError("neither a form nor JSON")


async def prompt_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request to a model, which may be long; raises BadBodyError."""
    body = await _body(request, _MOST_PROMPT)
    if request.headers.get("content-encoding") == "zstd":
        try:
            body = zstandard.ZstdDecompressor().stream_reader(body).read(_MOST_PROMPT + 1)
        except zstandard.ZstdError as error:
            raise BadBodyError("not zstd") from error
        if len(body) > _MOST_PROMPT:
            raise BadBodyError("too large")
    return json_object(body)


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise BadBodyError("too large")
    return bytes(body)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; raises BadBodyError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadBodyError("not JSON") from error
    if not isinstance(found, dict):
        raise BadBodyError("not an object")
    return found
