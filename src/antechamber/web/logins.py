"""Operators' logins: to the issuer, back from it, and out again.

A login begins with a request of the dashboard's own page, so no other site begins one, and ends in the browser that
began it alone. Where the browser is sent back to is the configured address of the dashboard, never what a request says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import FastAPI, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from antechamber.errors import CallerError, Code
from antechamber.openid import WAY_BACK, Answered, Attempt
from antechamber.web import cookies
from antechamber.web.bodies import Nothing
from antechamber.web.views import LoginView, LogoutView

if TYPE_CHECKING:
    from antechamber.openid.issuer import Issuer
    from antechamber.web.services import Services

ENTERED: Final = "/#entered"
"""The dashboard, told that a login has ended: its page goes on where it was left."""

_Brought = Annotated[str | None, Query(max_length=4096)]


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to the dashboard's site."""
    site, signin = services.addresses.dashboard, services.signin
    back = f"{site.url}{WAY_BACK}"

    @app.post("/api/dashboard/login", tags=["dashboard"])
    async def login(response: Response, body: Nothing | None = None) -> LoginView:
        """Begin an operator's login: say where the browser is to go, and give it the login's cookie."""
        del body
        attempt = Attempt.begin(signin.clock())
        url = await _issuer(services).begin(attempt, back)
        cookies.set_login_cookie(response, site, attempt.cookie, lasts=attempt.expires_at - attempt.began_at)
        return LoginView(url=url)

    @app.get(WAY_BACK, include_in_schema=False)
    async def come_back(
        request: Request,
        state: _Brought = None,
        code: _Brought = None,
        error: _Brought = None,
        iss: _Brought = None,
    ) -> Response:
        issuer = _issuer(services)
        asked = [name for name, _ in request.query_params.multi_items()]
        if state is None or len(asked) != len(set(asked)):
            # what is there twice can be read in two ways (RFC 6749, 3.1)
            raise CallerError(Code.LOGIN_NOT_VALID)
        attempt = _begun_here(request, cookies.login_cookie(site), state)
        operator = await issuer.end(attempt, Answered(state, code, error, iss), back, at=signin.clock())
        cookie = await signin.enter(
            attempt.cookie,
            operator,
            terms=issuer.terms.digest,
            login_expires_at=attempt.expires_at,
            lasts=issuer.login_life,
        )
        for earlier in cookies.sent(request.scope, cookies.dashboard_cookie(site)):
            await signin.leave(earlier)
        response = RedirectResponse(ENTERED, status_code=303)
        cookies.set_dashboard_cookie(response, site, cookie, lasts=issuer.login_life)
        cookies.take_login_cookie(response, site)
        return response

    @app.post("/api/dashboard/logout", tags=["dashboard"])
    async def logout(request: Request, body: Nothing | None = None) -> LogoutView:
        """Close the dashboard in this browser; the answer says where the session at the issuer can be ended too."""
        del body
        for cookie in cookies.sent(request.scope, cookies.dashboard_cookie(site)):
            await signin.leave(cookie)
        url = await services.issuer.farewell(f"{site.url}/") if services.issuer else None
        response = JSONResponse(LogoutView(url=url).model_dump())
        cookies.take_dashboard_cookie(response, site)
        return response  # type: ignore[return-value] # FastAPI takes a response as it is


def _issuer(services: Services) -> Issuer:
    if services.issuer is None:
        # nobody is led here: what the catalogue says of such an address is in every language
        raise CallerError(Code.NOT_FOUND)
    return services.issuer


def _begun_here(request: Request, name: str, state: str) -> Attempt:
    """Return the login that this browser has begun and that state is of; raises CallerError login_not_valid."""
    begun = (Attempt.read(cookie) for cookie in cookies.sent(request.scope, name))
    found = next((attempt for attempt in begun if attempt is not None and attempt.has_state(state)), None)
    if found is None:
        raise CallerError(Code.LOGIN_NOT_VALID)
    return found
