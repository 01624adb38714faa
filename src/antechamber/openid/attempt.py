"""One try of an operator to log in: a secret in a browser's cookie, from which all that goes to the issuer is derived.

State, nonce and PKCE verifier are HMACs of that secret: the issuer and whoever reads its addresses learn the state
alone, from which neither the others nor the cookie can be told. The service keeps nothing of a try, so strangers who
begin a million of them fill nothing, and any node can end what another began.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from antechamber.model import Secret, new_secret

LIFE: Final = timedelta(minutes=10)
"""How long an operator may take at the issuer."""

_SKEW: Final = timedelta(minutes=1)
_LATEST: Final = 10**11
"""Seconds: beyond it no clock goes, and Python's times neither."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try; `cookie` is the whole of it."""

    cookie: Secret
    began_at: datetime

    @classmethod
    def begin(cls, at: datetime) -> Self:
        """Begin one."""
        seconds = int(at.timestamp())
        return cls(Secret(f"{new_secret().reveal()}_{seconds}"), datetime.fromtimestamp(seconds, UTC))

    @classmethod
    def read(cls, cookie: Secret) -> Self | None:
        """Return what a cookie says, or None where it is none of ours."""
        secret, _, seconds = cookie.reveal().rpartition("_")
        if len(secret) != len(new_secret().reveal()) or not (seconds.isascii() and seconds.isdecimal()):
            return None
        if int(seconds[:20]) > _LATEST:
            return None
        return cls(cookie, datetime.fromtimestamp(int(seconds), UTC))

    @property
    def expires_at(self) -> datetime:
        """Until when it can end well."""
        return self.began_at + LIFE

    @property
    def state(self) -> str:
        """What the issuer sends back with its answer, so that it is this browser's (RFC 6749, 10.12)."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What the issuer writes into its token, so that it is of this try (OpenID Connect Core 1.0, 3.1.2.1)."""
        return self._derived("nonce")

    @property
    def verifier(self) -> Secret:
        """What the issuer wants beside the code, so that a stolen code is worth nothing (RFC 7636)."""
        return Secret(self._derived("verifier"))

    def has_state(self, state: str) -> bool:
        """Tell whether that is this try's state, in a time that tells nothing."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    def is_over(self, at: datetime) -> bool:
        """Tell whether it can no longer end well."""
        return not self.began_at - _SKEW <= at < self.expires_at

    def _derived(self, what: str) -> str:
        digest = hmac.digest(self.cookie.reveal().encode(), what.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a browser brought back from the issuer, as it stood in its address."""

    state: str
    code: str | None
    error: str | None
    issuer: str | None
    """RFC 9207."""
