"""Credential files in the forms that the vendors' tools write, with secrets that are generated and marked DUMMY."""

from __future__ import annotations

import json
from typing import Any, Final

import jwt

ACCOUNT: Final = "person@example.com"
EXPIRES_S: Final = 4_102_444_800  # 2100-01-01T00:00:00Z

_KEY: Final = "DUMMY key that signs nothing real, long enough for the algorithm"


def dummy(name: str) -> str:
    """Return a secret that says what it is."""
    return f"DUMMY-{name}-0123456789abcdef"


def token(**claims: Any) -> str:
    """Return a JWT with these claims, signed with a DUMMY key."""
    return jwt.encode({"iss": "https://DUMMY.example", "exp": EXPIRES_S, **claims}, _KEY, algorithm="HS256")


def _without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    copy = json.loads(json.dumps(document))
    place = copy
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return copy


def _cases(
    document: dict[str, Any], lacking: tuple[str, ...], **companions: dict[str, Any]
) -> dict[str, dict[str, str]]:
    whole = json.dumps(document, indent=2)
    beside = {name: json.dumps(companion) for name, companion in companions.items()}
    return {
        "whole": {"credential": whole, **beside},
        "cut_off": {"credential": whole[: len(whole) // 2], **beside},
        "lacking": {"credential": json.dumps(_without(document, *lacking)), **beside},
        "empty_object": {"credential": "{}", **beside},
    }


CODEX: Final[dict[str, Any]] = {
    "auth_mode": "chatgpt",
    "OPENAI_API_KEY": None,
    "tokens": {
        "id_token": token(
            email=ACCOUNT, **{"https://api.openai.com/auth": {"chatgpt_plan_type": "plus", "chatgpt_account_id": "acc"}}
        ),
        "access_token": token(),
        "refresh_token": dummy("codex-refresh"),
        "oauth_provenance": {"issuer": "https://auth.openai.com", "client_id": "app_DUMMY"},
        "login_owner_id": "owner-DUMMY",
        "account_id": "acc",
    },
    "last_refresh": "2026-11-22T14:00:00.123456789Z",
}

CLAUDE_CODE: Final[dict[str, Any]] = {
    "claudeAiOauth": {
        "accessToken": dummy("claude-access"),
        "refreshToken": dummy("claude-refresh"),
        "expiresAt": EXPIRES_S * 1000,
        "refreshTokenExpiresAt": EXPIRES_S * 1000,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
        "subscriptionTypeSource": "profile",
        "rateLimitTier": "default_claude_max_5x",
        "accountUuid": "00000000-0000-4000-8000-000000000001",
        "organizationUuid": "00000000-0000-4000-8000-000000000002",
    }
}

CLAUDE_SETTINGS: Final[dict[str, Any]] = {
    "numStartups": 1,
    "hasCompletedOnboarding": True,
    "oauthAccount": {
        "accountUuid": "00000000-0000-4000-8000-000000000001",
        "emailAddress": ACCOUNT,
        "organizationUuid": "00000000-0000-4000-8000-000000000002",
        "organizationName": "Example",
        "displayName": "A Person",
        "billingType": "stripe_subscription",
    },
    "mcpServers": {"planted": {"command": "/bin/sh", "args": ["-c", "touch /tmp/DUMMY"]}},
    "hooks": {"SessionStart": [{"command": "touch /tmp/DUMMY"}]},
}

GEMINI: Final[dict[str, Any]] = {
    "access_token": dummy("gemini-access"),
    "scope": "openid https://www.googleapis.com/auth/userinfo.email",
    "token_type": "Bearer",
    "id_token": token(email=ACCOUNT),
    "refresh_token": dummy("gemini-refresh"),
    "expiry_date": EXPIRES_S * 1000,
}

SAMPLES: Final[dict[str, dict[str, dict[str, str]]]] = {
    "codex": _cases(CODEX, ("tokens", "refresh_token")),
    "claude_code": _cases(CLAUDE_CODE, ("claudeAiOauth", "accessToken"), settings=CLAUDE_SETTINGS),
    "gemini": _cases(
        GEMINI,
        ("refresh_token",),
        accounts={"active": ACCOUNT, "old": ["other@example.com"]},
        settings={"security": {"auth": {"selectedType": "oauth-personal"}}, "mcpServers": {"planted": {}}},
    ),
}
"""By provider and case, the files as a machine would send them."""
