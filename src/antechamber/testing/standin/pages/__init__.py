"""The pages that a person sees, and how they are filled in."""

from __future__ import annotations

from typing import Any

import jinja2
from starlette.responses import HTMLResponse

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("antechamber.testing.standin", "pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def page(
    template: str, *, vendor: str, vendor_title: str, shown_as: str, sign_in: str = "", status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a filled-in page; `shown_as` is its name in the beacon."""
    text = _ENVIRONMENT.get_template(f"{template}.html").render(
        page=shown_as, vendor=vendor, vendor_title=vendor_title, sign_in=sign_in, **values
    )
    return HTMLResponse(text, status_code=status, headers=_HEADERS)
