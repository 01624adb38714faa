"""The two pages, the static files, and what says that the service lives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from antechamber.errors import CATALOGUE, Code, OperatorError
from antechamber.texts import speaking
from antechamber.web.access import DASHBOARD_PAGES
from antechamber.web.language import add_texts
from antechamber.web.views import Health

if TYPE_CHECKING:
    from starlette.types import Scope

    from antechamber.web.services import Services

_HERE: Final = Path(__file__).parent
_TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".png": "image/png",
}


class _Static(StaticFiles):
    """Static files with types of our own: what the host's /etc/mime.types says is no matter of ours."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return one file's answer; the browser keeps it and asks each time whether it has changed."""
        response = await super().get_response(path, scope)
        kind = _TYPES.get(Path(path).suffix)
        if kind is not None and response.status_code == 200:
            response.headers["content-type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        response.headers["cache-control"] = "no-cache"
        return response


def _page(services: Services, name: str) -> dict[str, str]:
    """Return the page in each language."""
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False
    )
    page = templates.get_template(f"{name}.html")
    return {
        tag: page.render(
            practice=services.practice,
            texts=texts,
            link_command=services.installation.link_command,
            embed_origins=" ".join(services.settings.embed_origins),
            issuer=services.issuer.name if services.issuer else "",
        )
        for tag, texts in services.languages.texts.items()
    }


def add_common(app: FastAPI, services: Services) -> None:
    """Add what both sites have: health and static files."""

    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """Say that the service answers."""
        return Health(status="ok")

    @app.get("/readyz", tags=["health"])
    async def readyz() -> Health:
        """Say that the service can start sign-ins; 503 when it cannot."""
        await services.signin.sessions(limit=1)  # a database that does not answer says so itself
        faults = await services.faults()
        if faults:
            raise OperatorError(
                Code.DRIVER_UNAVAILABLE, next_step=CATALOGUE[Code.DRIVER_UNAVAILABLE].next, detail="; ".join(faults)
            )
        return Health(status="ready")

    add_texts(app, services.languages)
    app.mount("/static", _Static(directory=_HERE / "static"), name="static")


def add_dashboard_page(app: FastAPI, services: Services) -> None:
    """Add the dashboard's page at each of its addresses; it is empty until its own requests are let in."""
    page = _page(services, "dashboard")

    async def dashboard_page() -> HTMLResponse:
        return HTMLResponse(page[speaking().language])

    for path in DASHBOARD_PAGES:
        app.get(path, include_in_schema=False)(dashboard_page)


def add_sign_in_page(app: FastAPI, services: Services) -> None:
    """Add the sign-in page, the same for every session: what it shows it asks for with its cookie."""
    page = _page(services, "sign_in")

    @app.get("/s/{session_id}", include_in_schema=False)
    async def sign_in_page(session_id: str) -> HTMLResponse:
        del session_id
        return HTMLResponse(page[speaking().language])
