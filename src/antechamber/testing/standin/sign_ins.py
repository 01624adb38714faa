"""One person's way through the pages: e-mail, code, consent, and the redirect to the CLI's callback."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from antechamber.testing.standin.modes import Callback, Consent, Refresh
from antechamber.testing.standin.pages import page
from antechamber.testing.standin.setting import BadBodyError, Setting, fields_of
from antechamber.testing.standin.tokens import Account, Family, Grant, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}\Z")
_CODE: Final = re.compile(r"[0-9]{6}\Z")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_MOST: Final = 1000
OTHER_EMAIL: Final = "somebody.else-DUMMY@example.com"
"""Whose tokens come in the mode `other_account`."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """What a vendor knows about its CLI, as an OAuth client."""

    id: str
    title: str
    """Whose sign-in is played, as the banner names it."""
    client: str
    """The CLI's name on the pages."""
    client_ids: frozenset[str]
    redirect_path: str
    pkce: bool
    plan: str
    """The usual plan of an account, in the vendor's own word."""
    refresh_prefix: str
    """How its refresh tokens begin."""
    rotates: bool
    """Whether a refresh token is good for one use."""
    access_s: int
    """The usual lifetime of its access tokens, in seconds."""


@dataclass(slots=True)
class SignIn:
    """One sign-in under way; `finish` turns the choice on the consent page into an answer to the browser."""

    id: str
    client_id: str
    scope: str
    finish: Callable[[SignIn, Grant | None], Response]
    redirect_uri: str = ""
    state: str = ""
    challenge: str | None = None
    email: str = ""
    code_ok: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Issue:
    """What a token endpoint is to answer with."""

    family: Family
    refresh: str | None
    """The refresh token of the answer; None: it holds none."""
    lifetime_s: int
    """Of the access token."""


@dataclass(slots=True)
class SignIns:
    """All sign-ins at one vendor, and the pages that they go through."""

    vendor: Vendor
    setting: Setting
    tokens: Tokens = field(default_factory=Tokens)
    _open: dict[str, SignIn] = field(default_factory=dict)
    _last: tuple[str, str] | None = None
    """Code and state of the last redirect, for a replay."""

    def __post_init__(self) -> None:
        """Let the control socket see what is given out."""
        self.setting.tokens[self.vendor.id] = self.tokens

    def first(self, grant: Grant) -> Issue:
        """Begin the family of a sign-in."""
        family = self.tokens.family(grant, self.vendor.refresh_prefix)
        return Issue(family, family.current, self.setting.modes.token_lifetime_s or self.vendor.access_s)

    def renewed(self, token: str, *, client_id: str) -> Issue:
        """Take a refresh token as the modes say. Raises GrantError."""
        modes = self.setting.modes
        whole = modes.refresh is not Refresh.NO_REFRESH_TOKEN
        rotates, prefix = self.vendor.rotates, self.vendor.refresh_prefix
        rotate = whole and (rotates if modes.rotate is None else modes.rotate)
        family = self.tokens.renew(token, client_id=client_id, prefix=prefix, rotate=rotate)
        if modes.refresh is Refresh.OTHER_ACCOUNT:
            grant = replace(family.grant, account=replace(family.grant.account, email=OTHER_EMAIL))
            family = self.tokens.family(grant, prefix)
        return Issue(
            family,
            family.current if rotate or (whole and rotates) else None,
            modes.renewed_lifetime_s or modes.token_lifetime_s or self.vendor.access_s,
        )

    # -- the authorize request -----------------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        """Check an authorize request and show the first page; a bad one gets an error page and no redirect."""
        await self.setting.slow()
        asked = dict(request.query_params)
        if fault := self._fault(asked):
            self.setting.journal.note(request.url.hostname or "", "GET", request.url.path, fault)
            return self.notice(
                "The sign-in cannot begin", f"The request is not valid: {fault}.", shown_as="error", status=400
            )
        sign_in = self.begin(client_id=asked["client_id"], scope=asked.get("scope", ""), finish=self._to_callback)
        sign_in.redirect_uri, sign_in.state = asked["redirect_uri"], asked["state"]
        sign_in.challenge = asked.get("code_challenge")
        return RedirectResponse(f"/practice/{sign_in.id}/email", status_code=303)

    def _fault(self, asked: dict[str, str]) -> str:
        if asked.get("response_type") != "code":
            return "response_type is not code"
        if asked.get("client_id") not in self.vendor.client_ids:
            return "unknown client_id"
        if not self._redirects_to_loopback(asked.get("redirect_uri", "")):
            return "redirect_uri is not the CLI's own callback"
        if not asked.get("state"):
            return "state is missing"
        challenge = asked.get("code_challenge")
        if (self.vendor.pkce or challenge is not None) and not (
            asked.get("code_challenge_method") == "S256" and _CHALLENGE.match(challenge or "")
        ):
            return "PKCE with S256 is needed"
        return ""

    def _redirects_to_loopback(self, uri: str) -> bool:
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError:
            return False
        return (
            parts.scheme == "http"
            and parts.netloc in {f"localhost:{port}", f"127.0.0.1:{port}"}
            and parts.path == self.vendor.redirect_path
            and not parts.query
            and not parts.fragment
        )

    def begin(self, *, client_id: str, scope: str, finish: Callable[[SignIn, Grant | None], Response]) -> SignIn:
        """Make a sign-in that nobody has done anything in yet."""
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        sign_in = SignIn(secrets.token_urlsafe(9), client_id, scope, finish)
        self._open[sign_in.id] = sign_in
        return sign_in

    # -- the pages -----------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """Return the routes of the pages; they live on the host of the authorize request."""
        return [
            Route("/practice/{sign_in}/email", self._email, methods=["GET", "POST"]),
            Route("/practice/{sign_in}/code", self._code, methods=["GET", "POST"]),
            Route("/practice/{sign_in}/consent", self._consent, methods=["GET", "POST"]),
        ]

    def notice(self, title: str, text: str, *, shown_as: str, status: int = 200) -> Response:
        """Return a page that only says something."""
        return page(
            "notice",
            vendor=self.vendor.id,
            vendor_title=self.vendor.title,
            shown_as=shown_as,
            status=status,
            title=title,
            text=text,
        )

    def _show(self, template: str, sign_in: SignIn, **values: Any) -> Response:
        return page(
            template,
            vendor=self.vendor.id,
            vendor_title=self.vendor.title,
            shown_as=template,
            sign_in=sign_in.id,
            action=f"/practice/{sign_in.id}/{template}",
            email=sign_in.email,
            **{"wrong": "", **values},
        )

    def _of(self, request: Request) -> SignIn | None:
        sign_in = self._open.get(request.path_params["sign_in"])
        return None if sign_in is None or sign_in.over else sign_in

    def _gone(self) -> Response:
        return self.notice(
            "This sign-in is over", "Start again from the command-line tool.", shown_as="error", status=410
        )

    async def _email(self, request: Request) -> Response:
        await self.setting.slow()
        if (sign_in := self._of(request)) is None:
            return self._gone()
        wrong = ""
        if request.method == "POST":
            email = (await fields_of(request)).get("email", "").strip()
            if _EMAIL.match(email):
                sign_in.email = email
                return RedirectResponse(f"/practice/{sign_in.id}/code", status_code=303)
            wrong = "That is not an e-mail address."
        return self._show("email", sign_in, title="Sign in", client=self.vendor.client, wrong=wrong)

    async def _code(self, request: Request) -> Response:
        await self.setting.slow()
        if (sign_in := self._of(request)) is None or not sign_in.email:
            return self._gone()
        wrong = ""
        if request.method == "POST":
            if _CODE.match((await fields_of(request)).get("code", "").strip()):
                sign_in.code_ok = True
                return RedirectResponse(f"/practice/{sign_in.id}/consent", status_code=303)
            wrong = "The code has six digits."
        return self._show("code", sign_in, title="Check your e-mail", wrong=wrong)

    async def _consent(self, request: Request) -> Response:
        await self.setting.slow()
        if (sign_in := self._of(request)) is None or not sign_in.code_ok:
            return self._gone()
        if request.method == "GET":
            scopes = sign_in.scope.split() or ["your account"]
            return self._show("consent", sign_in, title=f"Let {self.vendor.client} use your account?", scopes=scopes)
        choice = (await fields_of(request)).get("choice")
        if choice not in {"authorize", "cancel"}:
            raise BadBodyError("no choice")
        sign_in.over = True
        if choice == "cancel" or self.setting.modes.consent is Consent.DENY:
            return sign_in.finish(sign_in, None)
        return sign_in.finish(sign_in, Grant(sign_in.client_id, sign_in.scope, self.account(sign_in.email)))

    def account(self, email: str) -> Account:
        """Return the account of an e-mail, with the plan that the mode asks for."""
        return Account(email, self.setting.modes.plan or self.vendor.plan)

    # -- the callback --------------------------------------------------------------------------------------------------

    def _to_callback(self, sign_in: SignIn, grant: Grant | None) -> Response:
        if grant is None:
            answer = {"error": "access_denied", "error_description": "The person said no.", "state": sign_in.state}
        else:
            code = self.tokens.code(grant, redirect_uri=sign_in.redirect_uri, challenge=sign_in.challenge)
            answer = self._bent({"code": code, "state": sign_in.state})
        return RedirectResponse(f"{sign_in.redirect_uri}?{urlencode(answer)}", status_code=303)

    def _bent(self, right: dict[str, str]) -> dict[str, str]:
        """Return what the callback gets in the present mode."""
        last, self._last = self._last, (right["code"], right["state"])
        match self.setting.modes.callback:
            case Callback.WRONG_STATE:
                return {**right, "state": f"DUMMY-{secrets.token_urlsafe(24)}"}
            case Callback.NO_STATE:
                return {"code": right["code"]}
            case Callback.REPLAY:
                code, state = last or (f"DUMMY-{secrets.token_urlsafe(24)}", f"DUMMY-{secrets.token_urlsafe(24)}")
                return {"code": code, "state": state}
            case Callback.WRONG_CODE:
                return {**right, "code": f"DUMMY-{secrets.token_urlsafe(24)}"}
            case Callback.RIGHT:
                return right
