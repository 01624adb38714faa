"""What an issuer says of itself (OpenID Connect Discovery 1.0), as far as it is needed, looked at before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from antechamber.openid.talk import not_believed
from antechamber.web_address import MOST, server_address

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNED_BY: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms by which a token may be signed: those whose key only the issuer has, so neither `none` nor any HMAC."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """Where an issuer is asked for what."""

    authorization: str
    token: str
    keys: str
    user_info: str | None
    end_session: str | None
    """Where a browser is sent to end its session at the issuer too, if that is offered."""
    names_itself: bool
    """Whether it writes who it is into its answer (RFC 9207), so that one without is none of its own."""
    by_form: bool
    """Whether it takes the client's secret in the form alone, and not in a header."""
    algorithms: tuple[str, ...]

    @classmethod
    def read(cls, issuer: str, said: Mapping[str, Any]) -> Self:
        """Read an issuer's own document; OperatorError issuer_not_believed where it does not do."""
        if said.get("issuer") != issuer:
            # OpenID Connect Discovery 1.0, 4.3; without the value, which may be anything
            raise not_believed("what it says of itself names another issuer")

        def address(name: str) -> str | None:
            return None if said.get(name) is None else _address(issuer, name, said[name])

        def needed(name: str) -> str:
            found = address(name)
            if found is None:
                raise not_believed(f"what it says of itself lacks {name}")
            return found

        methods, signs = (
            said.get("token_endpoint_auth_methods_supported"),
            said.get("id_token_signing_alg_values_supported"),
        )
        offered = signs if isinstance(signs, list) else ["RS256"]
        return cls(
            authorization=needed("authorization_endpoint"),
            token=needed("token_endpoint"),
            keys=needed("jwks_uri"),
            user_info=address("userinfo_endpoint"),
            end_session=address("end_session_endpoint"),
            names_itself=said.get("authorization_response_iss_parameter_supported") is True,
            by_form=isinstance(methods, list) and "client_secret_basic" not in methods,
            algorithms=tuple(one for one in SIGNED_BY if one in offered),
        )


def _address(issuer: str, name: str, given: object) -> str:
    """Return an address of the issuer's: by https, or as the issuer itself on this computer."""
    bad = not_believed(f"what it says of itself has no good {name}")
    if not isinstance(given, str) or len(given) > MOST or "#" in given:
        raise bad
    if issuer.startswith("https://") and not given.startswith("https://"):
        raise bad
    try:
        return server_address(given)
    except ValueError:
        raise bad from None
