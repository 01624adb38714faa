"""What a browser shows that was sent to an address where there is no page: why, in words, and the next step.

Programs are answered by the envelope (`faults`); this is for whoever typed an address. It brings its style and its
mark along, since it has to look right where nothing else is served: at an address that is neither site's, and while the
service stops.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from antechamber.errors import AntechamberError, Code
from antechamber.openid import WAY_BACK
from antechamber.texts import speaking
from antechamber.web.access import PAGE_PATH, is_dashboard_page
from antechamber.web.front import SAFE_METHODS, header

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

    from antechamber.web.addresses import Addresses, Site

KINDS: Final = ("only-sign-ins", "only-dashboard", "nobodys", "nothing", "nothing-here", "login", "other")
"""What the page can say, each in its own words: the variants of its one view."""

_HERE: Final = Path(__file__).parent
_STATIC: Final = _HERE / "static"
_SHEETS: Final = ("base.css", "fault.css")


def goes_there(scope: Scope) -> bool:
    """Tell whether a browser was sent to the address, by a person, rather than a program asking it for something.

    A browser that goes somewhere accepts HTML by name (RFC 9110, 12.5.1); no caller of the API does.
    """
    if scope["type"] != "http" or scope["method"] not in SAFE_METHODS:
        return False
    accepted = {one.partition(";")[0].strip().lower() for one in (header(scope, b"accept") or "").split(",")}
    return "text/html" in accepted and "application/json" not in accepted


def _filled(text: str, **values: object) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


class FaultPage:
    """Makes the page; `web.faults` answers with it where there is one and a browser asks."""

    def __init__(self, addresses: Addresses, *, practice: bool) -> None:
        """Lead people to these addresses."""
        self._addresses = addresses
        self._practice = practice
        templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False
        )
        templates.filters["filled"] = _filled
        self._template = templates.get_template("fault.html")
        style = "".join((_STATIC / sheet).read_text(encoding="utf-8") for sheet in _SHEETS)
        self._style = f"<style>{style}</style>"
        self._icon = f"data:image/svg+xml;base64,{base64.b64encode((_STATIC / 'icon.svg').read_bytes()).decode()}"
        allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; "
            "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )

    def __call__(self, scope: Scope, error: AntechamberError) -> Response | None:
        """Return the answer with that error for whoever is to read it as a page, else None."""
        if not goes_there(scope):
            return None
        texts = speaking()
        host = header(scope, b"host") or ""
        sites = (self._addresses.dashboard, self._addresses.sign_in)
        here = next((site for site in sites if site.answers(host)), None)
        path: str = scope["path"]
        kind = self._kind(here, path, error)
        wrong_host = error.code is Code.WRONG_HOST
        page = self._template.render(
            texts=texts,
            practice=self._practice,
            kind=kind,
            told=texts.error(error),
            status=error.http_status,
            code=str(error.code),
            dashboard=sites[0].url + (path if wrong_host and is_dashboard_page(path) else "/"),
            sign_in=sites[1].url + path if wrong_host and path.startswith(PAGE_PATH) else None,
            style=self._style,
            icon=self._icon,
        )
        return HTMLResponse(
            page,
            status_code=error.http_status,
            headers={"content-security-policy": self._policy, "vary": "Accept"},
        )

    def _kind(self, here: Site | None, path: str, error: AntechamberError) -> str:
        if error.code is Code.WRONG_HOST:
            if here is None:
                return "nobodys"
            return "only-sign-ins" if here is self._addresses.sign_in else "only-dashboard"
        if path == WAY_BACK:
            return "login"
        if error.code is Code.NOT_FOUND:
            return "nothing" if here is self._addresses.dashboard else "nothing-here"
        return "other"
