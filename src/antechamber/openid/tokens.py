"""What an issuer's id token says, once it is proved that the issuer says so, of this login, to this service, now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from antechamber.model import is_printable
from antechamber.openid.talk import not_believed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from antechamber.openid.attempt import Attempt

_SKEW_S: Final = 60
"""How far the issuer's clock may be from ours."""
_LONGEST_SUBJECT: Final = 255
"""Characters: OpenID Connect Core 1.0, 2."""
_KINDS: Final = frozenset({"RSA", "EC", "OKP"})


def verified(
    token: object,
    keys: Mapping[str, Any],
    *,
    issuer: str,
    client_id: str,
    attempt: Attempt,
    access_token: object,
    algorithms: Sequence[str],
    at: datetime,
) -> dict[str, Any]:
    """Return the claims of an id token (OpenID Connect Core 1.0, 3.1.3.7).

    Raises OperatorError issuer_not_believed.
    """
    if not isinstance(token, str):
        raise not_believed("there is no id token")
    required = {
        "iss": {"essential": True, "value": issuer},
        "aud": {"essential": True, "value": client_id},
        "sub": {"essential": True},
        "exp": {"essential": True},
        "iat": {"essential": True},
    }
    params = {"client_id": client_id, "nonce": attempt.nonce}
    if isinstance(access_token, str):
        params["access_token"] = access_token
    try:
        registry = JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
        read = jwt.decode(token, _public(keys), registry=registry)
        claims = CodeIDToken(read.claims, read.header, required, params)
        claims.validate(now=int(at.timestamp()), leeway=_SKEW_S)
    # the libraries are given what a stranger may have written
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise not_believed(f"its id token: {type(error).__name__}: {error}"[:200]) from error
    if not is_subject(claims.get("sub")):
        raise not_believed("its id token names nobody")
    return dict(claims)


def is_subject(given: object) -> bool:
    """Tell whether that can be somebody's subject."""
    return isinstance(given, str) and 0 < len(given) <= _LONGEST_SUBJECT and is_printable(given)


def _public(keys: Mapping[str, Any]) -> KeySet:
    """Return the keys by which a token can be signed; whatever else the issuer publishes is left out."""
    listed = keys.get("keys")
    found = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict) and key.get("kty") in _KINDS and key.get("use", "sig") == "sig"
    ]
    return KeySet.import_key_set({"keys": found})
