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


class DeadFamilyError(GrantError):
    """A refresh token that is of no use any more."""

    def __init__(self, *, reused: bool) -> None:
        """Say whether it had been used before, or is of a family that was revoked."""
        super().__init__("invalid_grant")
        self.reused = reused


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
class Family:
    """All tokens of one sign-in: of the refresh tokens one is good at a time."""

    id: str
    grant: Grant
    current: str
    """The refresh token that is good."""
    renewals: int = 0
    """How often a refresh token was taken."""
    rotations: int = 0
    """How often another one took its place."""
    reuses: int = 0
    """How often one came that had been used before."""
    refused: int = 0
    """How often an access token came that was over or revoked."""
    revoked: bool = False

    def told(self) -> dict[str, Any]:
        """Return what the control socket says of it: no token, only the SHA-256 of the good refresh token."""
        return {
            "id": self.id,
            "client_id": self.grant.client_id,
            "email": self.grant.account.email,
            "revoked": self.revoked,
            "renewals": self.renewals,
            "rotations": self.rotations,
            "reuses": self.reuses,
            "refused": self.refused,
            "refresh_sha256": hashlib.sha256(self.current.encode()).hexdigest(),
        }


@dataclass(slots=True)
class _Access:
    family: Family
    expires: float
    """By the monotonic clock."""


def s256(verifier: str) -> str:
    """Return the PKCE challenge of a verifier (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


@dataclass(slots=True)
class Tokens:
    """One vendor's codes and tokens."""

    _key: bytes = field(default_factory=lambda: b"DUMMY" + secrets.token_bytes(32))
    _codes: dict[str, _Code] = field(default_factory=dict)
    _access: dict[str, _Access] = field(default_factory=dict)
    _refresh: dict[str, Family] = field(default_factory=dict)
    """Every refresh token that was ever given out."""
    families: list[Family] = field(default_factory=list)

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

    def family(self, grant: Grant, prefix: str) -> Family:
        """Begin a family with its first refresh token."""
        family = Family(secrets.token_hex(8), grant, "")
        self.families.append(family)
        self._give(family, prefix)
        return family

    def access(self, family: Family, prefix: str, *, lifetime_s: int) -> str:
        """Give out an opaque access token."""
        return self.know(f"{prefix}DUMMY-{secrets.token_urlsafe(32)}", family, lifetime_s=lifetime_s)

    def know(self, token: str, family: Family, *, lifetime_s: int) -> str:
        """Accept a token as an access token of that family from now on, for so long."""
        self._access[token] = _Access(family, time.monotonic() + lifetime_s)
        return token

    def granted(self, token: str) -> Grant | None:
        """Return what an access token stands for; None where it is unknown, over, or of a revoked family."""
        found = self._access.get(token)
        if found is None:
            return None
        if found.family.revoked or found.expires <= time.monotonic():
            found.family.refused += 1
            return None
        return found.family.grant

    def knows(self, token: str) -> bool:
        """Tell whether an access token was ever given out."""
        return token in self._access

    def renew(self, token: str, *, client_id: str, prefix: str, rotate: bool) -> Family:
        """Take a refresh token and, where it rotates, give out the next.

        One that was used before ends its whole family, with all its access tokens. Raises DeadFamilyError, or
        GrantError for a token that was never given out or is another client's.
        """
        family = self._refresh.get(token)
        if family is None:
            raise GrantError("invalid_grant")
        if family.grant.client_id != client_id:
            raise GrantError("invalid_client")
        if token != family.current:
            family.reuses += 1
            family.revoked = True
            raise DeadFamilyError(reused=True)
        if family.revoked:
            raise DeadFamilyError(reused=False)
        family.renewals += 1
        if rotate:
            family.rotations += 1
            self._give(family, prefix)
        return family

    def end_access(self, family: Family) -> None:
        """End the access tokens of a family now, whatever their files say; its refresh token stays good."""
        for access in self._access.values():
            if access.family is family:
                access.expires = 0

    def _give(self, family: Family, prefix: str) -> None:
        family.current = f"{prefix}DUMMY-{secrets.token_urlsafe(32)}"
        self._refresh[family.current] = family

    def signed(self, claims: dict[str, Any], *, lifetime_s: int) -> str:
        """Return a JWT with these claims and the usual times."""
        now = int(time.time())
        whole = {"iat": now, "exp": now + lifetime_s, "jti": f"DUMMY-{secrets.token_hex(8)}", **claims}
        return jwt.encode(whole, self._key, algorithm="HS256", headers={"kid": "DUMMY"})
