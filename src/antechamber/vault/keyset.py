"""Keys as Tink's keyset in JSON: what a key file and the environment hold."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import tink
from tink import aead, json_proto_keyset_format, secret_key_access

from antechamber.errors import Code, OperatorError, VaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST: Final = 64 * 1024
"""Bytes of a keyset's text."""

_KEY_TYPE: Final = "type.googleapis.com/google.crypto.tink.AesGcmKey"

aead.register()


class KeysetRing:
    """The keys of one keyset, each for itself: a row names the key that wrapped its data key, and that one opens it."""

    def __init__(self, primitives: Mapping[str, aead.Aead], preferred: str) -> None:
        """Use them; see `ring`."""
        self._primitives = primitives
        self.ids = tuple(primitives)
        self.preferred = preferred

    def wrap(self, key_id: str, data_key: bytes, bound_to: bytes) -> bytes:
        """Wrap here; VaultError seal_failed."""
        try:
            wrapped: bytes = self._primitives[key_id].encrypt(data_key, bound_to)
        except tink.TinkError as error:
            raise VaultError(Code.SEAL_FAILED, detail=str(error)) from error
        return wrapped

    def unwrap(self, key_id: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Unwrap here; VaultError open_failed."""
        try:
            data_key: bytes = self._primitives[key_id].decrypt(wrapped, bound_to)
        except tink.TinkError as error:
            raise VaultError(Code.OPEN_FAILED, detail=str(error)) from error
        return data_key


def ring(text: str, place: str) -> KeysetRing:
    """Return the keys of a keyset's text; OperatorError KEY_UNREADABLE, with the place and never with the text."""
    keyset = read(text, place)
    primitives: dict[str, aead.Aead] = {}
    for key in keyset["key"]:
        alone = json.dumps({"primaryKeyId": key["keyId"], "key": [key]})
        # one that is not enabled neither wraps nor opens: it is as if it were not there
        with suppress(tink.TinkError):
            handle = json_proto_keyset_format.parse(alone, secret_key_access.TOKEN)
            primitives[key_id(key["keyId"])] = handle.primitive(aead.Aead)
    return KeysetRing(primitives, key_id(keyset["primaryKeyId"]))


def read(text: str, place: str) -> Any:
    """Return a keyset's text as the library itself writes it, in JSON; OperatorError KEY_UNREADABLE."""
    try:
        keyset = json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
        if any(key.type_url != _KEY_TYPE for key in keyset.keyset_info().key_info):
            raise OperatorError(Code.KEY_UNREADABLE, detail=f"{place} holds a key of another type than {_KEY_TYPE}")
        keyset.primitive(aead.Aead)
        return json.loads(json_proto_keyset_format.serialize(keyset, secret_key_access.TOKEN))
    except tink.TinkError as error:
        # the library's words could quote the text
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{place} is not a Tink keyset") from error


def made() -> str:
    """Return the text of a new keyset with one key."""
    text: str = json_proto_keyset_format.serialize(
        tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM), secret_key_access.TOKEN
    )
    return text


def with_another(keyset: Any) -> tuple[Any, str]:
    """Return a keyset with one key more, and that one's id; the primary key stays the primary one."""
    known = {key["keyId"] for key in keyset["key"]}
    while (fresh := json.loads(made())["key"][0])["keyId"] in known:
        pass
    return {**keyset, "key": [*keyset["key"], fresh]}, key_id(fresh["keyId"])


def without(keyset: Any, gone: str) -> Any:
    """Return a keyset without that key, or None where nothing is left; the last one is primary where that was it."""
    left = [key for key in keyset["key"] if key_id(key["keyId"]) != gone]
    if not left:
        return None
    primary = next((key for key in left if key["keyId"] == keyset["primaryKeyId"]), left[-1])
    return {**keyset, "primaryKeyId": primary["keyId"], "key": left}


def key_id(number: int) -> str:
    """Return the id of a key, such as `key_5f3a90c1`: Tink's, which each ciphertext names too."""
    return f"key_{number:08x}"
