"""Which error codes each route can answer with, for /openapi.json and the docs; tests hold every answer against it."""

from __future__ import annotations

from typing import Final

from antechamber.errors import Code

EVERYWHERE: Final = frozenset(
    {
        Code.WRONG_HOST,
        Code.NOT_FOUND,
        Code.METHOD_NOT_ALLOWED,
        Code.NOT_SIGNED_IN,
        Code.NOT_ALLOWED,
        Code.SCOPE_NEEDED,
        Code.BIND_NEEDED,
        Code.TOO_OFTEN,
        Code.SHUTTING_DOWN,
        Code.STORE_UNAVAILABLE,
        Code.INTERNAL,
    }
)
"""What any request may be answered with."""

UNSAFE: Final = frozenset({Code.WRONG_ORIGIN, Code.BODY_TOO_LARGE, Code.NOT_JSON, Code.BAD_REQUEST, Code.UNKNOWN_FIELD})
"""Besides, where a request changes something."""

_SESSION: Final = frozenset({Code.MALFORMED_ID, Code.SESSION_NOT_FOUND, Code.BAD_REQUEST})
_OWNER: Final = frozenset({Code.BAD_REQUEST, Code.OWNER_NOT_FOUND, Code.APPLICATION_NOT_FOUND})
_CREDENTIAL: Final = frozenset({Code.MALFORMED_ID, Code.CREDENTIAL_NOT_FOUND})
_RUN: Final = frozenset({Code.MALFORMED_ID, Code.RUN_NOT_FOUND})
_A: Final = "/api/auth/session"
_R: Final = "/api/runs/{run_id}"
_S: Final = f"{_A}/{{session_id}}"

OF_ROUTES: Final[dict[tuple[str, str], frozenset[Code]]] = {
    ("GET", "/healthz"): frozenset(),
    ("GET", "/readyz"): frozenset({Code.DRIVER_UNAVAILABLE}),
    ("GET", "/metrics"): frozenset(),
    ("POST", "/api/dashboard/open"): frozenset({Code.LINK_NOT_VALID}),
    ("POST", "/api/dashboard/login"): frozenset({Code.ISSUER_UNAVAILABLE, Code.ISSUER_NOT_BELIEVED}),
    ("POST", "/api/dashboard/logout"): frozenset(),
    ("GET", "/api/dashboard"): frozenset(),
    ("GET", "/api/providers"): frozenset(),
    ("POST", _A): frozenset(
        {
            Code.UNKNOWN_PROVIDER,
            Code.ALREADY_OPEN,
            Code.OWNER_BEING_ERASED,
            Code.IDEMPOTENCY_MISMATCH,
            Code.OWNER_LIVE_LIMIT,
            Code.OWNER_START_LIMIT,
            Code.APPLICATION_LIVE_LIMIT,
            Code.APPLICATION_START_LIMIT,
            Code.LIVE_LIMIT,
            Code.START_LIMIT,
            Code.PROVIDER_NOT_INSTALLED,
            Code.PROVIDER_ALTERED,
            Code.ROOT_UNAVAILABLE,
        }
    ),
    ("GET", "/api/auth/sessions"): frozenset(
        {Code.APPLICATION_NOT_FOUND, Code.BAD_REQUEST, Code.UNKNOWN_PROVIDER, Code.SESSION_NOT_FOUND}
    ),
    ("GET", f"{_S}/story"): _SESSION,
    ("GET", "/api/machines"): frozenset({Code.BAD_REQUEST}),
    ("GET", "/api/status"): frozenset(),
    ("GET", "/api/changes"): frozenset(),
    ("GET", "/api/tombstones"): frozenset({Code.BAD_REQUEST, Code.APPLICATION_NOT_FOUND}),
    ("GET", "/api/credentials/{credential_id}/versions"): _CREDENTIAL,
    ("GET", _S): _SESSION,
    ("GET", f"{_S}/credentials"): _SESSION,
    ("GET", f"{_S}/events"): _SESSION,
    ("POST", f"{_S}/cancel"): _SESSION | {Code.SESSION_ENDED},
    ("POST", f"{_S}/bind"): _SESSION | {Code.BIND_OTHER_PERSON, Code.CHALLENGE_NOT_VALID},
    ("POST", f"{_S}/link"): _SESSION | {Code.SESSION_ENDED, Code.ALREADY_OPEN},
    ("POST", f"{_S}/binding"): _SESSION | {Code.APPLICATION_NOT_FOUND},
    ("POST", f"{_S}/return"): _SESSION | {Code.RETURN_NOT_VALID},
    ("POST", f"{_S}/open"): _SESSION | {Code.LINK_NOT_VALID},
    ("GET", f"{_S}/destinations"): _SESSION,
    ("GET", f"{_S}/audit"): _SESSION,
    ("POST", f"{_S}/consent"): _SESSION | {Code.SESSION_ENDED},
    ("POST", f"{_S}/ticket"): _SESSION
    | {Code.SESSION_ENDED, Code.CONSENT_NEEDED, Code.SCREEN_NOT_READY, Code.WRONG_NODE},
    ("POST", f"{_S}/terminal/ticket"): _SESSION
    | {Code.SESSION_ENDED, Code.CONSENT_NEEDED, Code.SCREEN_NOT_READY, Code.WRONG_NODE},
    ("POST", f"{_S}/again"): _SESSION | {Code.SESSION_ENDED, Code.CLI_RUNS},
    ("POST", f"{_S}/shown"): _SESSION | {Code.NOT_REJECTABLE},
    ("POST", f"{_S}/reject"): _SESSION | {Code.NOT_REJECTABLE},
    ("GET", "/api/credentials"): frozenset({Code.BAD_REQUEST, Code.APPLICATION_NOT_FOUND}),
    ("GET", "/api/credentials/{credential_id}"): _CREDENTIAL,
    ("DELETE", "/api/credentials/{credential_id}"): _CREDENTIAL,
    ("GET", "/api/owners/{user_id}"): _OWNER | {Code.MALFORMED_ID},
    ("DELETE", "/api/owners/{user_id}"): _OWNER | {Code.MALFORMED_ID},
    ("GET", "/api/owners"): _OWNER,
    ("DELETE", "/api/owners"): _OWNER,
    ("GET", "/api/erasures"): frozenset({Code.BAD_REQUEST, Code.APPLICATION_NOT_FOUND}),
    ("GET", "/api/erasures/{erasure_id}"): frozenset({Code.MALFORMED_ID, Code.ERASURE_NOT_FOUND}),
    ("GET", "/api/credentials/{credential_id}/story"): _CREDENTIAL,
    ("POST", "/api/credentials/{credential_id}/said"): _CREDENTIAL,
    ("POST", "/api/credentials/{credential_id}/reveal"): _CREDENTIAL
    | {
        Code.REVEAL_OFF,
        Code.REASON_MISSING,
        Code.REVEAL_LIMIT,
        Code.ROOT_UNAVAILABLE,
        Code.OPEN_FAILED,
        Code.CREDENTIAL_MALFORMED,
        Code.KEY_MISMATCH,
        Code.KEY_UNREADABLE,
    },
    ("POST", "/api/runs"): frozenset(
        {
            Code.UNKNOWN_PROVIDER,
            Code.ARGUMENT_REFUSED,
            Code.WORKSPACE_NOT_FOUND,
            Code.CREDENTIAL_NOT_FOUND,
            Code.CREDENTIAL_NOT_USABLE,
            Code.IDEMPOTENCY_MISMATCH,
            Code.OWNER_RUN_LIMIT,
            Code.RUN_LIMIT,
            Code.PROVIDER_NOT_INSTALLED,
            Code.PROVIDER_ALTERED,
            Code.ROOT_UNAVAILABLE,
        }
    ),
    ("GET", "/api/runs"): frozenset({Code.BAD_REQUEST, Code.APPLICATION_NOT_FOUND}),
    ("GET", "/api/workspaces"): frozenset({Code.BAD_REQUEST, Code.APPLICATION_NOT_FOUND}),
    ("GET", _R): _RUN,
    ("GET", f"{_R}/output"): _RUN | {Code.WRONG_NODE},
    ("POST", f"{_R}/cancel"): _RUN | {Code.RUN_ENDED},
    ("POST", f"{_R}/terminal/ticket"): _RUN | {Code.RUN_ENDED, Code.NO_TERMINAL, Code.WRONG_NODE},
    ("GET", "/api/applications"): frozenset(),
    ("POST", "/api/applications/{application_id}/limits"): frozenset({Code.MALFORMED_ID, Code.APPLICATION_NOT_FOUND}),
    ("GET", "/api/audit"): frozenset({Code.BAD_REQUEST, Code.OWNER_NOT_FOUND}),
}
"""What each route may be answered with besides."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


def of(method: str, path: str) -> frozenset[Code]:
    """Return every code of a route, its path as /openapi.json writes it."""
    unsafe = frozenset[Code]() if method in SAFE_METHODS else UNSAFE
    # a test sees to it that each route is listed; one that is not must not keep the service from starting
    return EVERYWHERE | unsafe | OF_ROUTES.get((method, path), frozenset())
