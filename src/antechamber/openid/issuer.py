"""The issuer that says which operator sits at a browser: Authorization Code with PKCE, state and nonce.

Written by OpenID Connect Core 1.0 and RFC 9700 (best current practice), and seen at a real issuer. Its keys are asked
for at each login, so a key that it has changed is known at once, and what it says of itself is kept for a minute, so
that strangers at our door are not strangers at its door.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.log import get_logger
from antechamber.model import Operator, Secret, clean_text
from antechamber.openid import well_known
from antechamber.openid.discovery import Discovered
from antechamber.openid.talk import Talk, not_believed, unavailable
from antechamber.openid.tokens import verified
from antechamber.secret_files import secret_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from antechamber.openid.attempt import Answered, Attempt
    from antechamber.openid.talk import Said
    from antechamber.openid.terms import Terms
    from antechamber.settings import Settings

_log = get_logger("openid")

_KEPT_S: Final = 60.0
_AWAY_S: Final = 5.0
_AT_ONCE: Final = 8
"""Logins that are ended at once: whoever comes beyond may try again."""
_TOKEN: Final = "its token"  # noqa: S105 - what is asked for
_NAMES: Final = ("email", "preferred_username", "name")
_EMAIL: Final = frozenset({"email", "email_verified"})
_LONGEST_NAME: Final = 100


class Issuer:
    """One issuer, for one client of it: this service."""

    def __init__(self, settings: Settings, terms: Terms) -> None:
        """Use the issuer of these settings; it is asked for nothing yet.

        Raises OperatorError misconfigured where the authorities' file cannot be read.
        """
        self.url: Final = terms.issuer
        self.name: Final = settings.oidc_name or urlsplit(terms.issuer).netloc
        self.terms: Final = terms
        self.login_life: Final = settings.duration("oidc_login")
        self._scopes = " ".join(settings.oidc_scopes)
        self._given = settings.oidc_client_secret
        self._file = settings.oidc_client_secret_file
        self._talk = Talk(authorities=settings.oidc_ca_file, within=settings.duration("oidc"))
        self._looking = asyncio.Lock()
        self._known: tuple[float, Discovered | OperatorError] | None = None
        self._ending = 0

    async def look(self) -> Discovered:
        """Ask the issuer what it is, and see that the client's secret is there; for whoever examines this host."""
        self._secret()
        return await self._look()

    async def begin(self, attempt: Attempt, back: str) -> str:
        """Return where a browser is sent to be signed in, and from there back to that address of ours.

        Raises OperatorError issuer_unavailable or issuer_not_believed.
        """
        found = await self._discovered()
        url: str = prepare_grant_uri(
            found.authorization,
            client_id=self.terms.client_id,
            response_type="code",
            redirect_uri=back,
            scope=self._scopes,
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier.reveal()),
            code_challenge_method="S256",
        )
        return url

    async def end(self, attempt: Attempt, answered: Answered, back: str, *, at: datetime) -> Operator:
        """Return the operator as whom an attempt ends, who may come in.

        Raises CallerError login_not_valid, login_refused or login_not_allowed, and OperatorError issuer_unavailable or
        issuer_not_believed.
        """
        if attempt.is_over(at) or not attempt.has_state(answered.state):
            raise CallerError(Code.LOGIN_NOT_VALID)
        if self._ending >= _AT_ONCE:
            raise unavailable("too many logins are being ended at once")
        self._ending += 1
        try:
            return await self._end(attempt, answered, back, at)
        finally:
            self._ending -= 1

    async def farewell(self, back: str) -> str | None:
        """Return where a browser can end its session at the issuer, and from there come back to that address of ours.

        None where that is not offered, or cannot be told now (OpenID Connect RP-Initiated Logout 1.0). Nobody's token
        is kept for it, so the issuer asks whether it is meant.
        """
        try:
            found = await self._discovered()
        except AntechamberError:
            return None
        if found.end_session is None:
            return None
        asked = [("client_id", self.terms.client_id), ("post_logout_redirect_uri", back)]
        url: str = add_params_to_uri(found.end_session, asked)
        return url

    async def _end(self, attempt: Attempt, answered: Answered, back: str, at: datetime) -> Operator:
        found = await self._discovered()
        if answered.issuer not in ({self.url} if found.names_itself else {self.url, None}):
            # RFC 9700, 4.4: the answer of another issuer, whose code ours is not to be shown
            raise CallerError(Code.LOGIN_NOT_VALID)
        if answered.error is not None:
            _log.info("the issuer refused a login", why=clean_text(answered.error, 60))
            raise CallerError(Code.LOGIN_REFUSED)
        if not answered.code:
            raise CallerError(Code.LOGIN_NOT_VALID)
        tokens = await self._exchange(found, answered.code, attempt, back)
        keys = await self._asked("its keys", found.keys)
        claims = verified(
            tokens.get("id_token"),
            keys,
            issuer=self.url,
            client_id=self.terms.client_id,
            attempt=attempt,
            access_token=tokens.get("access_token"),
            algorithms=found.algorithms,
            at=at,
        )
        if not self.terms.admit(claims) or _name_of(claims) is None:
            claims = await self._more(found, tokens, claims)
        if not self.terms.admit(claims):
            _log.warning("an operator is not let in", subject=claims["sub"])
            raise CallerError(Code.LOGIN_NOT_ALLOWED)
        return Operator(self.url, claims["sub"], _name_of(claims) or claims["sub"][:_LONGEST_NAME])

    async def _exchange(self, found: Discovered, code: str, attempt: Attempt, back: str) -> Mapping[str, Any]:
        body = prepare_token_request(
            "authorization_code", redirect_uri=back, code=code, code_verifier=attempt.verifier.reveal()
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        secret = self._secret().reveal()
        if found.by_form:
            auth = ClientAuth(self.terms.client_id, secret, "client_secret_post")
        else:
            # RFC 6749, 2.3.1: each is written as in a form before it goes into the header; the library leaves that out
            auth = ClientAuth(quote(self.terms.client_id, safe=""), quote(secret, safe=""), "client_secret_basic")
        url, headers, body = auth.prepare("POST", found.token, headers, body)
        said = await self._talk.ask(_TOKEN, url, body=body, headers=headers)
        if said.status == 400 and said.body.get("error") == "invalid_grant":
            # RFC 6749, 5.2: used, too old, or another client's
            raise CallerError(Code.LOGIN_NOT_VALID)
        return _succeeded(_TOKEN, said)

    async def _more(self, found: Discovered, tokens: Mapping[str, Any], claims: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the issuer says of somebody beyond the token (OpenID Connect Core 1.0, 5.3.2)."""
        token = tokens.get("access_token")
        if found.user_info is None or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            return dict(claims)
        said = await self._asked("its user info", found.user_info, {"Authorization": f"Bearer {token}"})
        if said.get("sub") != claims["sub"]:
            raise not_believed("what it says of somebody is about another one than its id token")
        # what is signed counts; and an address is verified by whoever names it, never one by another
        of_email = claims if claims.keys() >= _EMAIL else said
        return {**said, **claims, **{name: of_email.get(name) for name in _EMAIL}}

    async def _discovered(self) -> Discovered:
        """Return what the issuer says of itself, of a minute ago at most; an answer that failed counts for seconds."""
        clock = asyncio.get_running_loop().time
        async with self._looking:
            if self._known is None or clock() > self._known[0]:
                try:
                    self._known = (clock() + _KEPT_S, await self._look())
                except OperatorError as error:
                    self._known = (clock() + _AWAY_S, error)
            known = self._known[1]
        if isinstance(known, OperatorError):
            raise OperatorError(known.code, detail=known.detail)
        return known

    async def _look(self) -> Discovered:
        said = await self._asked("what it says of itself", well_known(self.url))
        return Discovered.read(self.url, said)

    async def _asked(self, what: str, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        return _succeeded(what, await self._talk.ask(what, url, headers=headers))

    def _secret(self) -> Secret:
        if self._file is None:
            return self._given or Secret("")
        try:
            return secret_in(self._file)
        except (OSError, ValueError) as error:
            raise unavailable(f"the client's secret in {self._file}: {error}") from error


def _succeeded(what: str, said: Said) -> Mapping[str, Any]:
    if said.status != 200:
        word = said.body.get("error")
        reason = clean_text(word, 60) if isinstance(word, str) else ""
        raise not_believed(f"{what}: HTTP {said.status} {reason}".rstrip())
    return said.body


def _name_of(claims: Mapping[str, Any]) -> str | None:
    found = (claims.get(name) for name in _NAMES)
    return next((clean_text(one, _LONGEST_NAME) for one in found if isinstance(one, str) and one.strip()), None)
