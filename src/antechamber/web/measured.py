"""The page of metrics: on the dashboard's site, and on a listener of its own that serves nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response

from antechamber.errors import CallerError, Code
from antechamber.web.access import METRICS_PATH, bears
from antechamber.web.front import header

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from antechamber.metrics import Metrics, Scrape
    from antechamber.model import Secret


@dataclass(frozen=True, slots=True)
class Measured:
    """What the web counts in, and what shows it to whom."""

    metrics: Metrics
    scrape: Scrape
    token: Secret
    """Reads the metrics and nothing else."""


def add_route(app: FastAPI, scrape: Scrape) -> None:
    """Add the page to the dashboard's site, behind that site's wall."""

    @app.get(METRICS_PATH, tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """Show the metrics in Prometheus' form, to the scraper's token or to the operator."""
        return await _page(scrape, request.headers.get("accept", ""))


async def _page(scrape: Scrape, accept: str) -> Response:
    body, content_type = await scrape.page(accept)
    # set whole: the framework would add a second charset
    return Response(body, headers={"content-type": content_type})


class MetricsOnly:
    """The listener's app: the page for the scraper's token, whatever the Host header, and nothing else."""

    def __init__(self, scrape: Scrape, token: Secret) -> None:
        """Show that page to who has that token."""
        self._scrape = scrape
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["path"] != METRICS_PATH:
            raise CallerError(Code.NOT_FOUND)
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            raise CallerError(Code.METHOD_NOT_ALLOWED)
        if not bears(scope, self._token):
            raise CallerError(Code.NOT_SIGNED_IN, next_step="Send the token of the file metrics-token as the bearer.")
        response = await _page(self._scrape, header(scope, b"accept") or "")
        await response(scope, receive, send)
