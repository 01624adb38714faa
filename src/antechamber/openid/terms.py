"""Who may come in: a closed list, by what the issuer says of somebody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antechamber.settings import Settings


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms operators are let in: by one of the three lists, of which one at least names somebody."""

    issuer: str
    client_id: str
    subjects: frozenset[str]
    emails: frozenset[str]
    claim: str | None
    values: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the terms of these settings; None where they name no issuer."""
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            return None
        return cls(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            subjects=frozenset(settings.oidc_subjects),
            emails=frozenset(map(_plain, settings.oidc_emails)),
            claim=settings.oidc_claim,
            values=frozenset(settings.oidc_values),
        )

    @property
    def digest(self) -> str:
        """A digest of all of it: a login that was let in on other terms is none any more."""
        said = [
            self.issuer,
            self.client_id,
            sorted(self.subjects),
            sorted(self.emails),
            self.claim,
            sorted(self.values),
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def admit(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether somebody of whom the issuer says that may come in.

        An e-mail address decides only with `email_verified: true` (OpenID Connect Core 1.0, 5.1); without it anybody
        could have typed it at the issuer.
        """
        email = claims.get("email")
        verified = claims.get("email_verified") is True and isinstance(email, str)
        given = claims.get(self.claim) if self.claim else None
        found = given if isinstance(given, list) else [given]
        return (
            claims.get("sub") in self.subjects
            or (verified and _plain(str(email)) in self.emails)
            or any(isinstance(one, str) and one in self.values for one in found)
        )


def _plain(email: str) -> str:
    # of other alphabets a small letter can be that of another sign: a Kelvin sign becomes a k
    return email.lower() if email.isascii() else email
