"""Who calls the dashboard site's API, and what they may ask.

The operator may ask anything. An application's key may ask what `RIGHTS` lists, with the scope that it names there, and
of its own application alone: what is another's is answered as what does not exist. A route that is not listed is the
operator's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Request

from antechamber.applications import KEY_PREFIX, allows
from antechamber.errors import CallerError, Code
from antechamber.model import DEFAULT_APPLICATION, Actor, ApiScope, IdPrefix, Owner, Secret, application_meant, is_id
from antechamber.web.front import header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from antechamber.model import ApiKey, Operator
    from antechamber.runs import Runs
    from antechamber.signin import SignIn

_KEY: Final = "antechamber.caller"
_A: Final = "/api/auth/session"
_S: Final = f"{_A}/{{session_id}}"
_C: Final = "/api/credentials/{credential_id}"
_R: Final = "/api/runs/{run_id}"

RIGHTS: Final[dict[tuple[str, str], ApiScope | None]] = {
    ("GET", "/openapi.json"): None,
    ("GET", "/api/providers"): None,
    ("POST", _A): ApiScope.SESSIONS_WRITE,
    ("POST", f"{_S}/bind"): ApiScope.SESSIONS_WRITE,
    ("POST", f"{_S}/cancel"): ApiScope.SESSIONS_WRITE,
    ("GET", "/api/auth/sessions"): ApiScope.SESSIONS_READ,
    ("GET", _S): ApiScope.SESSIONS_READ,
    ("GET", f"{_S}/credentials"): ApiScope.SESSIONS_READ,
    ("GET", f"{_S}/events"): ApiScope.SESSIONS_READ,
    ("GET", "/api/credentials"): ApiScope.CREDENTIALS_READ,
    ("GET", _C): ApiScope.CREDENTIALS_READ,
    ("GET", f"{_C}/versions"): ApiScope.CREDENTIALS_READ,
    ("GET", f"{_C}/story"): ApiScope.CREDENTIALS_READ,
    ("GET", "/api/tombstones"): ApiScope.CREDENTIALS_READ,
    ("POST", "/api/runs"): ApiScope.CREDENTIALS_USE,
    ("GET", "/api/runs"): ApiScope.CREDENTIALS_USE,
    ("GET", "/api/workspaces"): ApiScope.CREDENTIALS_USE,
    ("GET", _R): ApiScope.CREDENTIALS_USE,
    ("GET", f"{_R}/output"): ApiScope.CREDENTIALS_USE,
    ("POST", f"{_R}/cancel"): ApiScope.CREDENTIALS_USE,
    ("POST", f"{_R}/terminal/ticket"): ApiScope.CREDENTIALS_USE,
    ("POST", f"{_C}/said"): ApiScope.CREDENTIALS_USE,
    ("POST", f"{_C}/reveal"): ApiScope.CREDENTIALS_REVEAL,
    ("DELETE", _C): ApiScope.CREDENTIALS_USE,
    ("GET", "/api/owners/{user_id}"): ApiScope.ADMIN,
    ("DELETE", "/api/owners/{user_id}"): ApiScope.ADMIN,
    ("GET", "/api/owners"): ApiScope.ADMIN,
    ("DELETE", "/api/owners"): ApiScope.ADMIN,
    ("GET", "/api/erasures"): ApiScope.ADMIN,
    ("GET", "/api/erasures/{erasure_id}"): ApiScope.ADMIN,
}
"""What an application may ask, and the scope for it; None: any key will do."""

HANDS_OUT: Final = frozenset({("POST", f"{_C}/reveal")})
"""What hands a credential out: an application's key alone may ask it, and whoever is refused is on record."""
SOCKETS: Final[dict[str, ApiScope | None]] = {f"{_R}/terminal": ApiScope.CREDENTIALS_USE}
"""The same of WebSockets, which have no method, by their path."""


@dataclass(frozen=True, slots=True)
class Caller:
    """By which right a request came that the wall has let in."""

    actor: Actor
    key: ApiKey | None = None
    """The application's; None: it is the operator."""
    operator: Operator | None = None
    """Which operator, where they came by a login."""

    @property
    def application(self) -> str | None:
        """The application whose key it is; None: the operator, who sees what is everybody's."""
        return self.key.application if self.key else None

    @property
    def name(self) -> str:
        """For whom idempotency keys are kept apart."""
        return self.application or "operator"

    @property
    def api_key(self) -> str | None:
        """The id of the key."""
        return self.key.id if self.key else None

    def owner(self, user_id: str, application: str | None = None) -> Owner:
        """Return the owner whom the caller calls that; see `chosen`."""
        return Owner(user_id, self.chosen(application, user_id) or DEFAULT_APPLICATION)

    def chosen(self, application: str | None, user_id: str | None = None) -> str | None:
        """Return the application that is meant: an application's own, or which the operator asks for."""
        if self.application is not None and application not in {None, self.application}:
            raise CallerError(Code.APPLICATION_NOT_FOUND)
        return self.application or application_meant(application, user_id)


def is_api_key(secret: Secret) -> bool:
    """Tell whether a bearer looks like an application's key."""
    return secret.reveal().startswith(KEY_PREFIX)


def bearer(scope: Scope) -> Secret | None:
    """Return the request's bearer token, or None."""
    scheme, _, sent = (header(scope, b"authorization") or "").partition(" ")
    return Secret(sent.strip()) if scheme.lower() == "bearer" and sent.strip() else None


def remember(scope: Scope, caller: Caller) -> None:
    """Have a request know who sent it."""
    scope[_KEY] = caller


def caller_of(request: Request) -> Caller:
    """Return who sent a request; raises KeyError for one that no wall has looked at."""
    return remembered(request.scope)


def remembered(scope: Scope) -> Caller:
    """Return who opened a connection; raises KeyError for one that no wall has looked at."""
    caller: Caller = scope[_KEY]
    return caller


CalledBy = Annotated[Caller, Depends(caller_of)]


async def require(
    signin: SignIn, runs: Runs, caller: Caller, route: tuple[str | None, str], named: Mapping[str, Any]
) -> None:
    """Refuse what a caller may not ask; `named` is what the path names. A WebSocket's route has no method.

    Raises CallerError not_allowed (it is the operator's, or an application's alone), scope_needed, and for what is
    another application's whatever is raised for what does not exist.
    """
    try:
        if caller.key is not None:
            await _require_right(signin, runs, caller.key, route, named)
        else:
            _require_no_key_needed(route)
    except CallerError as error:
        credential_id = str(named.get("credential_id", ""))
        if route in HANDS_OUT and is_id(credential_id, IdPrefix.CREDENTIAL):
            await signin.revealing.refused(credential_id, error.code, by=caller.actor, key=caller.key)
        raise


def _require_no_key_needed(route: tuple[str | None, str]) -> None:
    if route in HANDS_OUT:
        raise CallerError(
            Code.NOT_ALLOWED,
            message="Only an application's key may ask that.",
            next_step="On the server, `antechamber credentials reveal` does it.",
        )


async def _require_right(
    signin: SignIn, runs: Runs, key: ApiKey, route: tuple[str | None, str], named: Mapping[str, Any]
) -> None:
    method, path = route
    rights = SOCKETS if method is None else {asked: scope for (how, asked), scope in RIGHTS.items() if how == method}
    if path not in rights:
        raise CallerError(Code.NOT_ALLOWED, message="Only the operator may ask that.")
    scope = rights[path]
    if scope is not None and not allows(key, scope):
        raise CallerError(Code.SCOPE_NEEDED, message=f"This API key lacks the scope {scope}.")
    await _require_own(signin, runs, key.application, named)


async def _require_own(signin: SignIn, runs: Runs, application: str, named: Mapping[str, Any]) -> None:
    # an id that is not well-formed is the route's to refuse
    session_id = str(named.get("session_id", ""))
    if is_id(session_id, IdPrefix.SESSION) and (await signin.session(session_id)).owner.application != application:
        raise CallerError(Code.SESSION_NOT_FOUND)
    credential_id = str(named.get("credential_id", ""))
    if is_id(credential_id, IdPrefix.CREDENTIAL):
        owner = await signin.owner_of_credential(credential_id)
        if owner is None or owner.application != application:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
    run_id = str(named.get("run_id", ""))
    if is_id(run_id, IdPrefix.RUN) and (await runs.get(run_id)).owner.application != application:
        raise CallerError(Code.RUN_NOT_FOUND)
    erasure_id = str(named.get("erasure_id", ""))
    if is_id(erasure_id, IdPrefix.ERASURE):
        erasure = (await signin.owners.erasure(erasure_id)).erasure
        if erasure.application != application:
            raise CallerError(Code.ERASURE_NOT_FOUND)
