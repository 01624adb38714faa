"""Keys in AWS KMS, which wraps data keys; the keys never leave it.

By AWS' own library, `antechamber[kms]`, which is imported where this root is chosen alone. A key of ours is a key of
AWS', named by its whole ARN: an alias could come to mean another one. What AWS rotates behind an ARN it still decrypts
with, and is none of our business.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn

from antechamber.errors import Code, OperatorError, VaultError
from antechamber.vault.root import digest_of, not_here, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

_NOT_OURS: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
"""What AWS answers to what that key has not wrapped so: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html"""
_DENIED: Final = "AccessDeniedException"
_CONTEXT: Final = "antechamber"
_MESSAGE: Final = "Keys are added and taken away in AWS KMS."


class Kms:
    """The root that is some keys of AWS KMS; it is its own keyring too, as these are named in the settings."""

    kind = "kms"
    elsewhere = True
    shared = False  # each service is told of a new key by its own settings

    def __init__(self, keys: Sequence[str], *, within: timedelta) -> None:
        """Use these ARNs, the newest last. OperatorError MISCONFIGURED where the library is not installed."""
        self.ids = tuple(keys)
        self.preferred = self.ids[-1]
        self.place = ", ".join(keys)
        self._within = within
        self._library = _Library()
        self._one_makes = threading.Lock()
        self._clients: dict[str, Any] = {}

    def look(self, *, make: bool = False) -> Kms:
        """Return the keys that the settings name; whether they work is seen when one is used."""
        del make
        return self

    def add(self, *, first: bool) -> NoReturn:
        """Say how it is done instead."""
        del first
        step = "Make a key there, give its ARN as the last of ANTECHAMBER_KMS_KEYS to every service, start these again,"
        raise not_here(_MESSAGE, f"{step} then rotate.")

    def remove(self, key_id: str) -> NoReturn:
        """Say how it is done instead."""
        step = f"Take {key_id} out of ANTECHAMBER_KMS_KEYS, start every service again, and have AWS delete the key"
        raise not_here(_MESSAGE, f"{step} once no backup needs it.")

    def wrap(self, key_id: str, data_key: bytes, bound_to: bytes) -> bytes:
        """Have AWS wrap it."""
        wrapped: bytes = self._ask(key_id, "encrypt", Plaintext=data_key, EncryptionContext=_bound(bound_to))[
            "CiphertextBlob"
        ]
        return wrapped

    def unwrap(self, key_id: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Have AWS unwrap it with exactly that key."""
        if not wrapped:
            raise VaultError(Code.OPEN_FAILED, detail="nothing is wrapped")
        try:
            said = self._ask(key_id, "decrypt", CiphertextBlob=wrapped, EncryptionContext=_bound(bound_to))
        except _RefusedError as error:
            # the same word for a key that we may not use and for what is of no key at all: a key that unwraps something
            # of its own says which it is
            if error.code_there in _NOT_OURS or (error.code_there == _DENIED and self._works(key_id)):
                raise VaultError(Code.OPEN_FAILED, detail=error.detail) from error
            raise
        plain: bytes = said["Plaintext"]
        return plain

    def _works(self, key_id: str) -> bool:
        tried, context = secrets.token_bytes(16), _bound(secrets.token_bytes(16))
        try:
            wrapped = self._ask(key_id, "encrypt", Plaintext=tried, EncryptionContext=context)["CiphertextBlob"]
            said = self._ask(key_id, "decrypt", CiphertextBlob=wrapped, EncryptionContext=context)
        except OperatorError:
            return False
        return bool(said["Plaintext"] == tried)

    def _ask(self, key_id: str, operation: str, **given: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._client(key_id), operation)(KeyId=key_id, **given)
        except self._library.refusals as error:
            raise _RefusedError(key_id, error.response) from error
        except self._library.faults as error:
            # the name alone: some of these say what they were asked
            raise unavailable(key_id, type(error).__name__) from error
        return answer

    def _client(self, key_id: str) -> Any:
        region = key_id.split(":")[3]
        with self._one_makes:
            if region not in self._clients:
                self._clients[region] = self._library.client(region, self._within.total_seconds())
            return self._clients[region]


class _RefusedError(OperatorError):
    """An answer that is an error; `code_there` is AWS' word for it."""

    def __init__(self, key_id: str, response: Mapping[str, Any]) -> None:
        self.code_there = str(response.get("Error", {}).get("Code", "an error"))
        super().__init__(Code.ROOT_UNAVAILABLE, detail=f"{key_id}: {self.code_there}")


class _Library:
    """AWS' library, as far as it is used here."""

    def __init__(self) -> None:
        try:
            import boto3.session  # noqa: PLC0415 - an extra
            import botocore.config  # noqa: PLC0415
            import botocore.exceptions  # noqa: PLC0415
        except ImportError as error:
            raise OperatorError(
                Code.MISCONFIGURED,
                message="The root kms is asked for, and AWS' library is not installed.",
                next_step="Install antechamber[kms], or name another root in ANTECHAMBER_ROOTS.",
            ) from error
        self.refusals: Final[type[Any]] = botocore.exceptions.ClientError
        self.faults: Final = (botocore.exceptions.BotoCoreError, OSError)
        self._session = boto3.session.Session()
        self._config = botocore.config.Config

    def client(self, region: str, within_s: float) -> Any:
        """Return a client with the credentials that AWS' usual chain finds; encrypting twice does no harm."""
        config = self._config(
            connect_timeout=within_s, read_timeout=within_s, retries={"mode": "standard", "total_max_attempts": 2}
        )
        return self._session.client("kms", region_name=region, config=config)


def _bound(bound_to: bytes) -> dict[str, str]:
    return {_CONTEXT: digest_of(bound_to)}
