"""The cookies of both sites: their names, how they are set, and which of a request's count.

By https a session's cookie is a `__Host-` one, which no neighbour under the same registrable domain can set
(https://www.rfc-editor.org/rfc/rfc6265, as revised: section 4.1.3.2 of draft-ietf-httpbis-rfc6265bis). Its path is `/`
then, so every request to the site brings the cookies of all sessions of that browser: `too_many` keeps them few.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from antechamber.model import COOKIE_MARK, IdPrefix, Secret, is_id

if TYPE_CHECKING:
    from datetime import timedelta

    from starlette.responses import Response
    from starlette.types import Scope

    from antechamber.web.addresses import Site

SESSION_COOKIE_SECONDS: Final = 24 * 3600
KEPT: Final = 24
"""Cookies of sessions that one browser keeps: a line of them all stays far below the 8 KiB that proxies take."""
_TRIED: Final = 4
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{20,128}")
_SITE: Final = "antechamber_"
_HOST: Final = f"__Host-{_SITE}"
_BEFORE: Final = f"__Secure-{_SITE}"
"""How a session's cookie was called by https up to release 0.1; it had a path, and a neighbour could set one."""


def dashboard_cookie(site: Site) -> str:
    """Return the name of the dashboard's cookie."""
    return f"{_HOST if site.secure else _SITE}dashboard"


def session_cookie(site: Site, session_id: str) -> str:
    """Return the name of one session's cookie."""
    return f"{_HOST if site.secure else _SITE}{session_id}"


def session_cookies(site: Site, session_id: str) -> tuple[str, ...]:
    """Return the names under which a browser may have one session's cookie: that of before an upgrade too."""
    ours = session_cookie(site, session_id)
    return (ours, f"{_BEFORE}{session_id}") if site.secure else (ours,)


def login_cookie(site: Site) -> str:
    """Return the name of the cookie of a login that is under way."""
    return f"{_HOST if site.secure else _SITE}login"


def set_dashboard_cookie(response: Response, site: Site, cookie: Secret, *, lasts: timedelta) -> None:
    """Give the browser the dashboard's cookie."""
    response.set_cookie(
        dashboard_cookie(site),
        cookie.reveal(),
        max_age=int(lasts.total_seconds()),
        path="/",
        secure=site.secure,
        httponly=True,
        samesite="strict",
    )


def take_dashboard_cookie(response: Response, site: Site) -> None:
    """Have the browser forget the dashboard's cookie."""
    response.delete_cookie(dashboard_cookie(site), path="/", secure=site.secure, httponly=True, samesite="strict")


def set_login_cookie(response: Response, site: Site, cookie: Secret, *, lasts: timedelta) -> None:
    """Give the browser the cookie of a login; not strict: it comes along when the issuer sends the browser back."""
    response.set_cookie(
        login_cookie(site),
        cookie.reveal(),
        max_age=int(lasts.total_seconds()),
        path="/",
        secure=site.secure,
        httponly=True,
        samesite="lax",
    )


def take_login_cookie(response: Response, site: Site) -> None:
    """Have the browser forget the cookie of a login."""
    response.delete_cookie(login_cookie(site), path="/", secure=site.secure, httponly=True, samesite="lax")


def set_session_cookie(
    response: Response, site: Site, session_id: str, cookie: Secret, *, framed: bool = False
) -> None:
    """Give the browser one session's cookie.

    With `framed` it is for the page within a frame of another site, and for that site alone (`Partitioned`).
    """
    response.set_cookie(
        session_cookie(site, session_id),
        cookie.reveal(),
        max_age=SESSION_COOKIE_SECONDS,
        path=_path(site, session_id),
        # in a frame of another site browsers keep no other; of http they take it on this computer's own names alone
        secure=site.secure or framed,
        httponly=True,
        samesite="none" if framed else "strict",
    )
    if framed:
        # Starlette writes the attribute from Python 3.14 on (https://github.com/privacycg/CHIPS)
        name, value = response.raw_headers[-1]
        response.raw_headers[-1] = (name, value + b"; Partitioned")


def forget_oldest(response: Response, scope: Scope, site: Site, session_id: str) -> None:
    """Have a browser forget its oldest sessions' cookies where the one that it gets would be one too many."""
    for name in too_many(scope, site, session_id):
        response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="strict")


def too_many(scope: Scope, site: Site, session_id: str) -> list[str]:
    """Return the names of the cookies that are to go so that one more leaves no more than `KEPT`."""
    if not site.secure:
        return []
    named = [name for name, _ in _pairs(scope) if name.startswith(_HOST)]
    others = [name for name in named if is_id(name.removeprefix(_HOST), IdPrefix.SESSION)]
    others = [name for name in dict.fromkeys(others) if name != session_cookie(site, session_id)]
    # of cookies with one path browsers send the one first that they got first (RFC 6265, 5.4)
    return others[: max(0, len(others) + 1 - KEPT)]


def of_session(scope: Scope, site: Site, session_id: str) -> list[Secret]:
    """Return what the request has for one session's cookie.

    Under the name of before only what was given before: nobody has a new one that would be taken there, so that a
    neighbour who can set that name has nothing to set.
    """
    found = sent(scope, session_cookie(site, session_id))
    if site.secure:
        found += [one for one in sent(scope, f"{_BEFORE}{session_id}") if not one.reveal().startswith(COOKIE_MARK)]
    return found[:_TRIED]


def sent(scope: Scope, name: str) -> list[Secret]:
    """Return the values that the request has for a cookie; more than one where somebody planted another."""
    return [Secret(value) for label, value in _pairs(scope) if label == name and _VALUE.fullmatch(value)][:_TRIED]


def _path(site: Site, session_id: str) -> str:
    # without https no name keeps a neighbour out, and the path at least keeps it out of other requests
    return "/" if site.secure else f"/api/auth/session/{session_id}"


def _pairs(scope: Scope) -> list[tuple[str, str]]:
    found = []
    for key, raw in scope["headers"]:
        if key == b"cookie":
            for pair in raw.decode("latin-1").split(";"):
                label, _, value = pair.strip().partition("=")
                found.append((label, value))
    return found
