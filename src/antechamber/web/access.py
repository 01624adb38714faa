"""Who may ask what: the operator on the dashboard's site, one session's own browser on the sign-in site.

Both walls refuse by default: what is open is listed here, and nothing else is. The dashboard's credentials are not
looked at on the sign-in site, nor a session's cookie on the dashboard's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code
from antechamber.log import about
from antechamber.model import Actor, IdPrefix, Secret, is_id
from antechamber.openid import WAY_BACK
from antechamber.web import cookies
from antechamber.web.callers import Caller, bearer, is_api_key, remember, require
from antechamber.web.front import SAFE_METHODS, SUBJECT
from antechamber.web.rates import BEARERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from antechamber.runs import Runs
    from antechamber.signin import SignIn
    from antechamber.web.addresses import Site
    from antechamber.web.rates import Guesses

DASHBOARD_PAGES: Final = (
    "/",
    "/sessions",
    "/sessions/{session_id}",
    "/credentials",
    "/credentials/{credential_id}",
    "/machines",
    "/health",
    "/owners",
    "/applications",
    "/runs",
    "/runs/{run_id}",
)
"""Addresses of the dashboard's one page, which is empty until its own requests are let in."""

_ONE_OF_MANY: Final = re.compile(r"/(sessions|credentials|runs)/[A-Za-z0-9_-]{1,64}")
OPEN_PATHS: Final = frozenset(
    {*DASHBOARD_PAGES, "/healthz", "/readyz", "/api/dashboard/open", "/api/dashboard/login", WAY_BACK}
)
"""What the dashboard's site shows to anybody: the empty page, health, the exchange of its link, and a login."""

METRICS_PATH: Final = "/metrics"
"""What the scraper's token opens, and nothing else."""

PERSON_OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What the sign-in site shows to anybody, besides the page of any session id and the exchange of a session's link."""

OPEN_PREFIX: Final = "/static/"
PAGE_PATH: Final = "/s/"
SESSION_PATH: Final = "/api/auth/session/"
_OPEN_EXCHANGES: Final = frozenset({"open", "binding", "return"})
"""What may be posted before a browser has the session's cookie: each of them looks at a secret of its own."""
EXCHANGE_PATHS: Final = frozenset(f"{SESSION_PATH}{{session_id}}/{word}" for word in _OPEN_EXCHANGES)
"""Those routes, as /openapi.json writes them."""
_NEXT_STEP: Final = "Open the sign-in link in this browser."


def is_dashboard_page(path: str) -> bool:
    """Tell whether the dashboard's page is at that path."""
    return path in DASHBOARD_PAGES or _ONE_OF_MANY.fullmatch(path) is not None


def same_secret(one: Secret, other: Secret) -> bool:
    """Compare in a time that tells neither content nor length."""
    digests = [hashlib.sha256(secret.reveal().encode()).digest() for secret in (one, other)]
    return hmac.compare_digest(*digests)


def bears(scope: Scope, token: Secret | None) -> bool:
    """Tell whether the request has that token as its bearer; nobody has None."""
    sent = bearer(scope)
    return sent is not None and token is not None and same_secret(sent, token)


def is_program(scope: Scope, token: Secret | None) -> bool:
    """Tell whether a request comes from a program: it has the operator token, or what looks like an API key.

    No other site's page can send such a header, and what the key opens is looked at by the wall.
    """
    sent = bearer(scope)
    return sent is not None and (is_api_key(sent) or bears(scope, token))


class CallersOnly:
    """The dashboard site's wall: the operator token or an application's key as a bearer, or the dashboard's cookie."""

    def __init__(
        self,
        app: ASGIApp,
        site: Site,
        token: Secret | None,
        signin: SignIn,
        runs: Runs,
        *,
        route_of: Callable[[Scope], tuple[str, dict[str, str]] | None],
        metrics_token: Secret | None = None,
        guesses: Guesses,
        terms: str | None = None,
    ) -> None:
        """Wrap the dashboard's app; `metrics_token` reads the metrics and nothing else, and no `token` opens nothing.

        `guesses` counts wrong bearers. `terms` is the digest of those on which operators log in: a login on others is
        none any more.

        `route_of` gives the path of the route that will serve a request, as /openapi.json writes it, with what the
        request's path names in it; None where there is none of that method.
        """
        self._app = app
        self._route_of = route_of
        self._site = site
        self._token = token
        self._metrics_token = metrics_token
        self._terms = terms
        self._signin = signin
        self._guesses = guesses
        self._runs = runs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path: str = scope["path"]
        open_path = path in OPEN_PATHS or path.startswith(OPEN_PREFIX) or is_dashboard_page(path)
        if scope["type"] != "http" or not open_path:
            caller = await self._caller(scope)
            await self._require(scope, caller)
            remember(scope, caller)
            scope[SUBJECT] = caller.operator.subject if caller.operator else None
        with about(subject=scope.get(SUBJECT)):
            await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        # a wrong token is never rescued by a cookie
        if any(key == b"authorization" for key, _ in scope["headers"]):
            return await self._bearing(scope)
        for cookie in cookies.sent(scope, cookies.dashboard_cookie(self._site)):
            entered = await self._signin.entered(cookie)
            if entered is not None and (entered.operator is None or entered.terms == self._terms):
                return Caller(Actor.DASHBOARD, operator=entered.operator)
        raise CallerError(Code.NOT_SIGNED_IN)

    async def _bearing(self, scope: Scope) -> Caller:
        self._guesses.may_try(BEARERS, scope)
        if bears(scope, self._token) or self._is_scraper(scope):
            return Caller(Actor.OPERATOR_TOKEN)
        sent = bearer(scope)
        key = await self._signin.applications.holder(sent) if sent is not None and is_api_key(sent) else None
        if key is None:
            self._guesses.wrong(BEARERS, scope)
            raise CallerError(
                Code.NOT_SIGNED_IN,
                message="This token is not known here, or opens nothing any more.",
                next_step="Send the token that the service printed the place of, or a key of `antechamber api-keys`.",
            )
        return Caller(Actor.APPLICATION, key)

    async def _require(self, scope: Scope, caller: Caller) -> None:
        if (route := self._route_of(scope)) is not None:
            path, named = route
            await require(self._signin, self._runs, caller, (scope.get("method"), path), named)
        elif scope["type"] != "http" and caller.key is not None:
            raise CallerError(Code.NOT_ALLOWED)

    def _is_scraper(self, scope: Scope) -> bool:
        is_scrape = scope["type"] == "http" and scope["method"] in SAFE_METHODS and scope["path"] == METRICS_PATH
        return is_scrape and self._metrics_token is not None and bears(scope, self._metrics_token)


class SessionBrowserOnly:
    """The sign-in site's wall: one session's cookie lets in below that session's path, and nothing else does."""

    def __init__(self, app: ASGIApp, site: Site, signin: SignIn, *, refused: Callable[[str], None]) -> None:
        """Wrap the sign-in site's app; `refused` is told the session whose screen another browser asked for."""
        self._app = app
        self._site = site
        self._signin = signin
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path: str = scope["path"]
        if not self._is_open(scope, path):
            # taken apart at the slashes, not matched: what stands behind the id may not matter to who is asked for
            if not path.startswith(SESSION_PATH):
                raise CallerError(Code.NOT_SIGNED_IN, next_step=_NEXT_STEP)
            session_id = path.removeprefix(SESSION_PATH).partition("/")[0]
            if not is_id(session_id, IdPrefix.SESSION):
                raise CallerError(Code.MALFORMED_ID)
            await self._require_browser_of(scope, session_id)
        await self._app(scope, receive, send)

    @staticmethod
    def _is_open(scope: Scope, path: str) -> bool:
        if scope["type"] != "http":
            return False
        if path in PERSON_OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return True
        if path.startswith(PAGE_PATH):
            return "/" not in path.removeprefix(PAGE_PATH)
        session_id, _, rest = path.removeprefix(SESSION_PATH).partition("/")
        return (
            scope["method"] == "POST"
            and path.startswith(SESSION_PATH)
            and rest in _OPEN_EXCHANGES
            and is_id(session_id, IdPrefix.SESSION)
        )

    async def _require_browser_of(self, scope: Scope, session_id: str) -> None:
        sent = cookies.of_session(scope, self._site, session_id)
        for cookie in sent:
            if await self._signin.holds_cookie(session_id, cookie):
                return
        # ids are not to be guessed, so this tells nobody anything but the one who has a stale link
        await self._signin.session(session_id)
        for cookie in sent:
            if await self._signin.binding.is_waiting(session_id, cookie):
                raise CallerError(Code.BIND_NEEDED)
        if scope["type"] == "websocket":
            self._refused(session_id)
        raise CallerError(Code.NOT_SIGNED_IN, next_step=_NEXT_STEP)
