"""Codes and tokens, and the rules under which they are given out. Every value is random and marked DUMMY."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

_CODE_S: Final = 120
_NAMESPACE: Final = uuid.UUID("6f0f6f0e-0000-4000-8000-000000000000")


class GrantError(Exception):
    """A token request that is refused; the text is the OAuth error code."""


class OrdinaryRefusalError(GrantError):
    """A refusal that an honest client meets too, and goes on from; it is not written down as odd."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whoever typed this e-mail; everything else follows from it."""

    email: str
    plan: str

    def id(self, kind: str) -> str:
        """Return a stable UUID of that kind for this e-mail."""
        return str(uuid.uuid5(_NAMESPACE, f"{kind}:{self.email.lower()}"))

    @property
    def name(self) -> str:
        """A name to show."""
        return self.email.partition("@")[0].replace(".", " ").title() or "Practice"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person agreed to."""

    client_id: str
    scope: str
    account: Account


@dataclass(slots=True)
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str | None
    expires: float
    used: bool = False


@dataclass(slots=True)
class _Refresh:
    grant: Grant
    family: str


def s256(verifier: str) -> str:
    """Return the PKCE challenge of a verifier (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


@dataclass(slots=True)
class Tokens:
    """One vendor's codes and tokens."""

    _key: bytes = field(default_factory=lambda: b"DUMMY" + secrets.token_bytes(32))
    _codes: dict[str, _Code] = field(default_factory=dict)
    _access: dict[str, Grant] = field(default_factory=dict)
    _refresh: dict[str, _Refresh] = field(default_factory=dict)
    _spent: dict[str, str] = field(default_factory=dict)

    def code(self, grant: Grant, *, redirect_uri: str, challenge: str | None) -> str:
        """Give out a code that can be redeemed once, within two minutes, with the same redirect and verifier."""
        code = f"DUMMY-{secrets.token_urlsafe(24)}"
        self._codes[code] = _Code(grant, redirect_uri, challenge, time.monotonic() + _CODE_S)
        return code

    def redeem(self, code: str, *, client_id: str, redirect_uri: str, verifier: str | None) -> Grant:
        """Take a code; raises GrantError unless everything fits what it was given out for."""
        found = self._codes.get(code)
        if found is None or found.used or found.expires < time.monotonic():
            raise GrantError("invalid_grant")
        found.used = True  # also by a wrong attempt: a code is worth one try
        if found.grant.client_id != client_id:
            raise GrantError("invalid_client")
        if found.redirect_uri != redirect_uri:
            raise GrantError("invalid_grant")
        if found.challenge is not None and (
            not verifier or not verifier.isascii() or s256(verifier) != found.challenge
        ):
            raise GrantError("invalid_grant")
        return found.grant

    def access(self, grant: Grant, prefix: str) -> str:
        """Give out an opaque access token."""
        return self.know(f"{prefix}DUMMY-{secrets.token_urlsafe(32)}", grant)

    def know(self, token: str, grant: Grant) -> str:
        """Accept a token as an access token from now on."""
        self._access[token] = grant
        return token

    def refresh(self, grant: Grant, prefix: str, *, family: str | None = None) -> str:
        """Give out a refresh token; tokens rotated from one sign-in are a family."""
        token = f"{prefix}DUMMY-{secrets.token_urlsafe(32)}"
        self._refresh[token] = _Refresh(grant, family or secrets.token_hex(8))
        return token

    def granted(self, token: str) -> Grant | None:
        """Return what an access token stands for."""
        return self._access.get(token)

    def rotate(self, token: str, *, client_id: str, prefix: str) -> tuple[Grant, str]:
        """Take a refresh token and give out the next; one that was used before ends its whole family."""
        if (family := self._spent.get(token)) is not None:
            for key in [key for key, refresh in self._refresh.items() if refresh.family == family]:
                del self._refresh[key]
            raise GrantError("invalid_grant")
        found = self._kept(token, client_id)
        del self._refresh[token]
        self._spent[token] = found.family
        return found.grant, self.refresh(found.grant, prefix, family=found.family)

    def keep(self, token: str, *, client_id: str) -> Grant:
        """Take a refresh token that stays valid."""
        return self._kept(token, client_id).grant

    def _kept(self, token: str, client_id: str) -> _Refresh:
        found = self._refresh.get(token)
        if found is None:
            raise GrantError("invalid_grant")
        if found.grant.client_id != client_id:
            raise GrantError("invalid_client")
        return found

    def signed(self, claims: dict[str, Any], *, lifetime_s: int) -> str:
        """Return a JWT with these claims and the usual times."""
        now = int(time.time())
        whole = {"iat": now, "exp": now + lifetime_s, "jti": f"DUMMY-{secrets.token_hex(8)}", **claims}
        return jwt.encode(whole, self._key, algorithm="HS256", headers={"kid": "DUMMY"})
