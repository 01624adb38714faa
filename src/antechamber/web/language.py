"""In which language somebody is answered: chosen for each request, by the setting or by what the browser accepts."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from antechamber.texts import speak, speaking
from antechamber.web.front import header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from antechamber.texts import Languages

TEXTS_PATH: Final = "/static/texts.js"
_STATIC: Final = "/static/"


class Speaking:
    """The outermost layer: everything within it speaks the language of whoever asks."""

    def __init__(self, app: ASGIApp, languages: Languages) -> None:
        """Wrap an app."""
        self._app = app
        self._languages = languages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        texts = self._languages.choose(header(scope, b"accept-language"))
        told: str = scope["path"]
        plain = told.startswith(_STATIC) and told != TEXTS_PATH

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start" and not plain:
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Accept-Language")
                headers["content-language"] = texts.language
            await send(message)

        with speak(texts):
            await self._app(scope, receive, labelled)


def add_texts(app: FastAPI, languages: Languages) -> None:
    """Add the pages' texts as a module, in the asker's language; the browser asks each time whether they changed."""
    modules = {}
    for tag, texts in languages.texts.items():
        body = f"export default {json.dumps(texts.pages, ensure_ascii=False, separators=(',', ':'))};\n".encode()
        modules[tag] = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    @app.get(TEXTS_PATH, include_in_schema=False)
    async def texts_module(request: Request) -> Response:
        body, tag = modules[speaking().language]
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="text/javascript", headers=headers)
