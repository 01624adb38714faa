"""Seals credentials and opens them: the only importer of the crypto library.

Each sealed version has a data key of its own (a Tink keyset with one AES256-GCM key), wrapped by the installation's
keyset, which lies in the key file. Both the credential and its data key are bound to their `SealIdentity` as associated
data, so a ciphertext that was moved to another row, version or installation does not open.

The key file is a Tink keyset in JSON, 0600. It can hold several keys: the one that the database names seals, each opens
what it sealed. It is changed only by adding a key or taking out one that nothing needs, whole or not at all. Whoever
loses it loses what it sealed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tink
from tink import aead, json_proto_keyset_format, proto_keyset_format, secret_key_access

from antechamber.errors import Code, OperatorError, VaultError
from antechamber.model import Sealed, SealIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT: Final = 1
"""Version of the way in which credentials are sealed; it is part of what they are bound to."""

_KEY_TYPE: Final = "type.googleapis.com/google.crypto.tink.AesGcmKey"
_LARGEST_KEY_FILE: Final = 64 * 1024
_LENGTH: Final = struct.Struct(">I")

aead.register()


def associated_data(identity: SealIdentity, format_version: int) -> bytes:
    """Return what a ciphertext is bound to: each part in UTF-8, behind its length in 4 big-endian bytes.

    Lengths make the encoding injective: no two identities share one, whatever characters their parts have.
    """
    parts = (
        str(format_version),
        identity.installation,
        identity.application,
        identity.user_id,
        identity.provider,
        identity.credential_id,
        str(identity.version),
    )
    encoded = (part.encode() for part in parts)
    return b"".join(_LENGTH.pack(len(part)) + part for part in encoded)


@dataclass(frozen=True, slots=True)
class _Keys:
    """What a key file holds; replaced as a whole, so that nobody sees half of a change."""

    primitive: aead.Aead
    sealing: str
    all: tuple[str, ...]

    @classmethod
    def of(cls, keyset: tink.KeysetHandle) -> _Keys:
        information = keyset.keyset_info()
        return cls(
            keyset.primitive(aead.Aead),
            _key_id(information.primary_key_id),
            tuple(_key_id(key.key_id) for key in information.key_info),
        )


class Vault:
    """An opened key file."""

    def __init__(self, keyset: tink.KeysetHandle, path: Path) -> None:
        """Use a keyset of AES-GCM keys; see `open`."""
        self._path = path
        self._keys = _Keys.of(keyset)

    @property
    def key_id(self) -> str:
        """The id of the key that seals, such as `key_5f3a90c1`: Tink's, which each ciphertext names too."""
        return self._keys.sealing

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys in the file, in the order in which they were added."""
        return self._keys.all

    @classmethod
    def open(cls, key_path: Path, *, known_key_id: str | None, has_rows: bool) -> Vault:
        """Open the key file, or make it when the database knows no key and holds nothing sealed.

        Several may make it at once: all of them open the one that was first. OperatorError KEY_MISSING, KEY_MISMATCH,
        KEY_EXPOSED (others may read it), WRONG_OWNER, or KEY_UNREADABLE (no keyset, no plain file, not to be made).
        """
        try:
            text = _read(key_path)
        except FileNotFoundError as error:
            if known_key_id is not None or has_rows:
                raise OperatorError(Code.KEY_MISSING, detail=f"{key_path} should hold {known_key_id}") from error
            _make(key_path)
            text = _read(key_path)
        vault = cls(_parse(text, key_path, sealing=known_key_id), key_path)
        if known_key_id is None and has_rows:
            raise OperatorError(
                Code.KEY_MISMATCH, detail=f"the database holds sealed rows but knows no key; {key_path} is not trusted"
            )
        if known_key_id is not None and vault.key_id != known_key_id:
            raise OperatorError(
                Code.KEY_MISMATCH, detail=f"{key_path} holds {vault.key_id}, the database knows {known_key_id}"
            )
        return vault

    @classmethod
    def read(cls, key_path: Path) -> Vault:
        """Open a key file as it is, whatever a database knows, and make none; raises OperatorError as `open` does."""
        try:
            return cls(_parse(_read(key_path), key_path), key_path)
        except FileNotFoundError as error:
            raise OperatorError(Code.KEY_MISSING, detail=str(key_path)) from error

    def require(self, needed: Iterable[str]) -> None:
        """Raise OperatorError KEY_MISMATCH where the file lacks a key that stored credentials need."""
        if missing := set(needed) - set(self.key_ids):
            raise OperatorError(
                Code.KEY_MISMATCH,
                message="The key file lacks keys that stored credentials need.",
                next_step="Put back the key file that has them.",
                detail=f"{self._path} lacks {', '.join(sorted(missing))}",
            )

    def reload(self, sealing: str) -> None:
        """Read the key file again, and seal with that key from now on; raises OperatorError as `open` does."""
        keyset = _parse(self._text(), self._path, sealing=sealing)
        keys = _Keys.of(keyset)
        if keys.sealing != sealing:
            raise OperatorError(Code.KEY_MISMATCH, detail=f"{self._path} has no {sealing}")
        self._keys = keys

    def add_key(self) -> str:
        """Add a key to the key file and return its id; it seals nothing until `reload` says so."""
        keyset = json.loads(self._text())
        known = {key["keyId"] for key in keyset["key"]}
        while (fresh := _fresh())["keyId"] in known:
            pass
        keyset["key"].append(fresh)
        self._replace(keyset)
        self.reload(self.key_id)
        return _key_id(fresh["keyId"])

    def remove_key(self, key_id: str) -> None:
        """Take a key out of the file: what it sealed does not open any more. ValueError for the one that seals."""
        if key_id == self.key_id:
            message = "the key that seals stays"
            raise ValueError(message)
        keyset = json.loads(self._text())
        keyset["key"] = [key for key in keyset["key"] if _key_id(key["keyId"]) != key_id]
        keyset["primaryKeyId"] = next(key["keyId"] for key in keyset["key"] if _key_id(key["keyId"]) == self.key_id)
        self._replace(keyset)
        self.reload(self.key_id)

    def _text(self) -> str:
        try:
            return _read(self._path)
        except FileNotFoundError as error:
            raise OperatorError(Code.KEY_MISSING, detail=f"{self._path} should hold {self.key_id}") from error

    def _replace(self, keyset: Any) -> None:
        text = json.dumps(keyset, indent=2)
        if len(text) > _LARGEST_KEY_FILE:
            raise OperatorError(
                Code.KEY_UNREADABLE,
                message="The key file has as many keys as it can hold.",
                next_step="Retire those that no credential needs: `antechamber keys list`, `antechamber keys retire`.",
            )
        _parse(text, self._path)
        with _written_aside(self._path, text) as aside, _faults_of(self._path):
            aside.replace(self._path)

    def seal(self, plain: bytes, identity: SealIdentity) -> Sealed:
        """Seal under a data key of its own; VaultError SEAL_FAILED."""
        bound_to = associated_data(identity, FORMAT)
        keys = self._keys
        try:
            data_key = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
            return Sealed(
                ciphertext=data_key.primitive(aead.Aead).encrypt(plain, bound_to),
                wrapped_key=proto_keyset_format.serialize_encrypted(data_key, keys.primitive, bound_to),
                key_id=keys.sealing,
                format_version=FORMAT,
            )
        except tink.TinkError as error:
            raise VaultError(Code.SEAL_FAILED, detail=str(error)) from error

    def rewrap(self, sealed: Sealed, identity: SealIdentity) -> Sealed:
        """Wrap the data key of what is sealed with the key that seals now; the credential itself is not opened.

        VaultError OPEN_FAILED when the data key does not open.
        """
        keys = self._keys
        bound_to = associated_data(identity, sealed.format_version)
        data_key = self._data_key(sealed, bound_to, keys)
        wrapped = proto_keyset_format.serialize_encrypted(data_key, keys.primitive, bound_to)
        return replace(sealed, wrapped_key=wrapped, key_id=keys.sealing)

    def unseal(self, sealed: Sealed, identity: SealIdentity) -> bytes:
        """Open what was sealed for exactly this identity; VaultError OPEN_FAILED for anything else."""
        bound_to = associated_data(identity, sealed.format_version)
        data_key = self._data_key(sealed, bound_to, self._keys)
        try:
            plain: bytes = data_key.primitive(aead.Aead).decrypt(sealed.ciphertext, bound_to)
        except tink.TinkError as error:
            raise VaultError(Code.OPEN_FAILED, detail=str(error)) from error
        return plain

    @staticmethod
    def _data_key(sealed: Sealed, bound_to: bytes, keys: _Keys) -> tink.KeysetHandle:
        if sealed.format_version != FORMAT:
            raise VaultError(Code.OPEN_FAILED, detail=f"sealed in format {sealed.format_version}, not {FORMAT}")
        if sealed.key_id not in keys.all:
            raise VaultError(Code.OPEN_FAILED, detail=f"sealed with {sealed.key_id}, which the key file lacks")
        try:
            return proto_keyset_format.parse_encrypted(sealed.wrapped_key, keys.primitive, bound_to)
        except tink.TinkError as error:
            raise VaultError(Code.OPEN_FAILED, detail=str(error)) from error


def _key_id(number: int) -> str:
    return f"key_{number:08x}"


def _fresh() -> Any:
    """Return a new key as the file has it."""
    keyset = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    return json.loads(json_proto_keyset_format.serialize(keyset, secret_key_access.TOKEN))["key"][0]


def _parse(text: str, path: Path, *, sealing: str | None = None) -> tink.KeysetHandle:
    """Return the keyset of a file; `sealing` is the key that seals where the file has it, whichever it says itself."""
    try:
        keyset = json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
        numbers = {_key_id(key.key_id): key.key_id for key in keyset.keyset_info().key_info}
        if sealing in numbers:
            text = json.dumps({**json.loads(text), "primaryKeyId": numbers[sealing]})
            keyset = json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
        if any(key.type_url != _KEY_TYPE for key in keyset.keyset_info().key_info):
            raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} holds a key of another type than {_KEY_TYPE}")
        keyset.primitive(aead.Aead)
    except tink.TinkError as error:
        # the library's words could quote the file
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is not a Tink keyset") from error
    return keyset


def _read(path: Path) -> str:
    with _faults_of(path):
        # a link could lead to a file that somebody else can change, and opening a FIFO would wait for its writer
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_file(os.fstat(opened), path)
        with os.fdopen(os.dup(opened), "rb") as file:
            raw = file.read(_LARGEST_KEY_FILE + 1)
    finally:
        os.close(opened)
    if len(raw) > _LARGEST_KEY_FILE:
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is larger than {_LARGEST_KEY_FILE} bytes")
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is not text") from error


def _check_file(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is not a regular file")
    if status.st_uid != os.geteuid():
        raise _wrong_owner(path, status.st_uid)
    if status.st_mode & 0o077:
        raise OperatorError(Code.KEY_EXPOSED, detail=f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, not 0600")


def _wrong_owner(path: Path, owner: int) -> OperatorError:
    ours = os.geteuid()
    return OperatorError(
        Code.WRONG_OWNER,
        message=f"The key file belongs to uid {owner}, but this runs as uid {ours}.",
        next_step=f"Run as uid {owner}, or give the file to uid {ours} with chown.",
        detail=str(path),
    )


def _make(path: Path) -> None:
    """Make the key file whole or not at all: written aside, then linked, which fails when somebody was quicker."""
    keyset = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    text = json_proto_keyset_format.serialize(keyset, secret_key_access.TOKEN)
    with _written_aside(path, text) as aside, suppress(FileExistsError):
        os.link(aside, path, follow_symlinks=False)


@contextmanager
def _written_aside(path: Path, text: str) -> Iterator[Path]:
    """Give a file of that text beside the key file, to be put in its place within; what is left of it goes."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with _faults_of(path):
        try:
            opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(opened, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            yield aside
        finally:
            aside.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if path.parent.is_dir():
            raise
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path.parent} is not a directory") from None
    except OSError as error:
        with suppress(OSError):
            owner = path.lstat().st_uid
            if error.errno == errno.EACCES and owner != os.geteuid():
                raise _wrong_owner(path, owner) from error
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path}: {error.strerror}") from error
