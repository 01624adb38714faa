"""Operators' logins by OpenID Connect: the only importer of Authlib and of its library of tokens.

The *issuer* (what others call the OpenID provider) says which operator sits at a browser, and `Terms` says whether that
one may come in. What is remembered of a login lies in its browser's cookie (`Attempt`) until it ends in the store, so
that any node can end what another began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from antechamber.openid.attempt import Answered, Attempt
from antechamber.openid.terms import Terms

if TYPE_CHECKING:
    from antechamber.openid.issuer import Issuer
    from antechamber.settings import Settings

__all__ = ["WAY_BACK", "Answered", "Attempt", "Terms", "issuer_of", "well_known"]

WAY_BACK: Final = "/login/callback"
"""Where on the dashboard's site an issuer sends a browser back to."""


def well_known(issuer: str) -> str:
    """Return where an issuer says what it is (OpenID Connect Discovery 1.0, 4)."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def issuer_of(settings: Settings) -> Issuer | None:
    """Return the issuer that the settings name, or None; nobody is asked for anything.

    Raises OperatorError misconfigured where the authorities' file cannot be read.
    """
    terms = Terms.of(settings)
    if terms is None:
        return None
    from antechamber.openid.issuer import Issuer  # noqa: PLC0415 - its libraries cost each start 80 ms

    return Issuer(settings, terms)
