"""The vault itself: what is sealed, with which key of which root, and bound to whom."""

from __future__ import annotations

import secrets
import struct
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import tink
from tink import aead, proto_keyset_format

from antechamber.errors import Code, OperatorError, VaultError
from antechamber.model import Sealed, SealIdentity
from antechamber.vault.key_file import KeyFile
from antechamber.vault.root import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from antechamber.vault.root import Keyring, Root

FORMAT: Final = 1
"""Version of the way in which credentials are sealed; it is part of what they are bound to."""

_LENGTH: Final = struct.Struct(">I")
_PROBE: Final = b"antechamber's probe of a root"
_BELIEVED_S: Final = 5.0
"""How long a root that has answered is not asked again whether it does."""
_REFUSED_S: Final = 1.0
"""How long one that has not is not asked again: whoever asks meanwhile hears the same."""


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
    """What a look at all roots found; replaced as a whole, so that nobody sees half of a change."""

    of: Mapping[str, tuple[Root, Keyring]]
    preferred: str | None
    """The last root's, None where it has no key."""
    missing: OperatorError | None
    """Why a root has no key, where there are several and one has none."""
    sealing: str = ""

    @classmethod
    def look(cls, roots: Sequence[Root], *, make: bool = False) -> _Keys:
        """Look at each root; what is made, is made at the last."""
        of: dict[str, tuple[Root, Keyring]] = {}
        preferred = missing = None
        for root in roots:
            try:
                ring = root.look(make=make and root is roots[-1])
            except OperatorError as error:
                if error.code is not Code.KEY_MISSING or len(roots) == 1:
                    raise
                missing, preferred = error, None
                continue
            preferred = ring.preferred
            for key_id in ring.ids:
                # where two roots have the same key, after a copy, the earlier one has it
                of.setdefault(key_id, (root, ring))
        return cls(of, preferred, missing)

    def wrapping(self, key_id: str) -> _Wrapping:
        return _Wrapping(self.of[key_id][1], key_id)


class _Wrapping(aead.Aead):  # type: ignore[misc]  # the library has no types
    """One key of a root, in the form in which the library takes what wraps a data key.

    The library unwraps what it has wrapped before it returns it, so nothing is stored that its root cannot open.
    """

    def __init__(self, ring: Keyring, key_id: str) -> None:
        self._ring = ring
        self._key_id = key_id

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        return self._ring.wrap(self._key_id, plaintext, associated_data)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        return self._ring.unwrap(self._key_id, ciphertext, associated_data)


class Vault:
    """The roots of an installation, and which of their keys seals.

    With a root that is elsewhere each call may wait for it, and raise OperatorError root_unavailable: on the event loop
    they go through `at_the_root`.
    """

    def __init__(self, roots: Sequence[Root], keys: _Keys) -> None:
        """Use them; see `open` and `of`."""
        self._roots = roots
        self._keys = keys
        self._answered_at = float("-inf")
        self._refused_at = float("-inf")
        self._refusal = ""
        self._one_asks = threading.Lock()

    @property
    def key_id(self) -> str:
        """The id of the key that seals."""
        return self._keys.sealing

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys of all roots, in the order of these and in that in which they were added."""
        return tuple(self._keys.of)

    @property
    def root(self) -> Root:
        """The root that has the key that seals."""
        return self._keys.of[self._keys.sealing][0]

    @property
    def next_root(self) -> Root:
        """The root that a rotation seals with, the last one."""
        return self._roots[-1]

    def root_of(self, key_id: str) -> str:
        """Return the word for the root that has a key."""
        return self._keys.of[key_id][0].kind

    @classmethod
    def open(cls, key_path: Path, *, known_key_id: str | None, has_rows: bool) -> Vault:
        """Open a vault whose only root is a key file; see `of`."""
        return cls.of([KeyFile(key_path)], known_key_id=known_key_id, has_rows=has_rows)

    @classmethod
    def of(cls, roots: Sequence[Root], *, known_key_id: str | None, has_rows: bool) -> Vault:
        """Open the roots; the last one makes its first key when the database knows none and holds nothing sealed.

        OperatorError KEY_MISSING, KEY_MISMATCH, and as `Root.look` does.
        """
        keys = _Keys.look(roots, make=known_key_id is None and not has_rows)
        where = ", ".join(root.place for root in roots)
        if known_key_id is None and has_rows:
            raise _mismatch(roots, f"the database holds sealed rows but knows no key; {where} is not trusted")
        sealing = known_key_id or keys.preferred
        if sealing is None or sealing not in keys.of:
            if keys.missing is not None:
                raise keys.missing
            raise _mismatch(roots, f"{where} holds {', '.join(keys.of)}, the database knows {known_key_id}")
        return cls(roots, replace(keys, sealing=sealing))

    @classmethod
    def read(cls, key_path: Path) -> Vault:
        """Open a key file as it is, whatever a database knows, and make none; raises OperatorError as `open` does."""
        return cls.looked_at(KeyFile(key_path))

    @classmethod
    def looked_at(cls, root: Root) -> Vault:
        """Open one root as it is, whatever a database knows; raises OperatorError as `Root.look` does."""
        keys = _Keys.look([root])
        return cls([root], replace(keys, sealing=keys.preferred or ""))

    def require(self, needed: Iterable[str]) -> None:
        """Raise OperatorError KEY_MISMATCH where the roots lack a key that stored credentials need."""
        if missing := set(needed) - set(self.key_ids):
            one = _is_a_file(self._roots)
            raise OperatorError(
                Code.KEY_MISMATCH,
                message=f"The {'key file lacks' if one else 'roots lack'} keys that stored credentials need.",
                next_step="Put back the key file that has them."
                if one
                else "Name the root that has them in ANTECHAMBER_ROOTS too, or put them back where they were.",
                detail=f"{', '.join(root.place for root in self._roots)} lacks {', '.join(sorted(missing))}",
            )

    def reload(self, sealing: str) -> None:
        """Look at the roots again, and seal with that key from now on; raises OperatorError as `of` does."""
        keys = _Keys.look(self._roots)
        if sealing not in keys.of:
            raise keys.missing or _mismatch(self._roots, f"{self._roots[-1].place} has no {sealing}")
        if keys.of[sealing][0] is not self.root:
            # what was heard of the other root says nothing of this one
            self._answered_at = self._refused_at = float("-inf")
        self._keys = replace(keys, sealing=sealing)

    def add_key(self) -> str:
        """Add a key to the last root and return its id; it seals nothing until `reload` says so."""
        root = self._roots[-1]
        added = root.add(first=all(held is not root for held, _ in self._keys.of.values()))
        self.reload(self.key_id)
        return added

    def remove_key(self, key_id: str) -> None:
        """Take a key out of its root: what it sealed does not open any more. ValueError for the one that seals."""
        if key_id == self.key_id:
            message = "the key that seals stays"
            raise ValueError(message)
        self.reload(self.key_id)
        if key_id in self._keys.of:
            self._keys.of[key_id][0].remove(key_id)
            self.reload(self.key_id)

    def answers(self) -> None:
        """Raise OperatorError root_unavailable where the root of the key that seals does not wrap or unwrap now.

        It is tried where nothing has been heard from it for a moment.
        """
        if not self.root.elsewhere:
            return
        with self._one_asks:
            at = time.monotonic()
            if at - self._answered_at < _BELIEVED_S:
                return
            if at - self._refused_at < _REFUSED_S:
                raise unavailable(self.root.place, self._refusal)
            try:
                self.probe(self.key_id)
            except (OperatorError, VaultError) as error:
                self._refusal, self._refused_at = error.detail, time.monotonic()
                raise unavailable(self.root.place, self._refusal) from error
            self._answered_at = time.monotonic()

    def probe(self, key_id: str) -> None:
        """Wrap something with that key, and unwrap it; raises OperatorError root_unavailable, VaultError."""
        root, ring = self._keys.of[key_id]
        tried = secrets.token_bytes(32)
        if ring.unwrap(key_id, ring.wrap(key_id, tried, _PROBE), _PROBE) != tried:
            raise unavailable(root.place, "what it unwraps is not what it wrapped")

    def seal(self, plain: bytes, identity: SealIdentity) -> Sealed:
        """Seal under a data key of its own; VaultError SEAL_FAILED."""
        bound_to = associated_data(identity, FORMAT)
        keys = self._keys
        try:
            data_key = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
            sealed = Sealed(
                ciphertext=data_key.primitive(aead.Aead).encrypt(plain, bound_to),
                wrapped_key=self._wrapped(data_key, keys, bound_to),
                key_id=keys.sealing,
                format_version=FORMAT,
            )
        except tink.TinkError as error:
            raise VaultError(Code.SEAL_FAILED, detail=str(error)) from error
        return sealed

    def rewrap(self, sealed: Sealed, identity: SealIdentity) -> Sealed:
        """Wrap the data key of what is sealed with the key that seals now; the credential itself is not opened.

        VaultError OPEN_FAILED when the data key does not open.
        """
        keys = self._keys
        bound_to = associated_data(identity, sealed.format_version)
        wrapped = self._wrapped(self._data_key(sealed, bound_to, keys), keys, bound_to)
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

    def _wrapped(self, data_key: tink.KeysetHandle, keys: _Keys, bound_to: bytes) -> bytes:
        try:
            wrapped: bytes = proto_keyset_format.serialize_encrypted(data_key, keys.wrapping(keys.sealing), bound_to)
        except VaultError as error:
            if error.code is not Code.OPEN_FAILED:
                raise
            # what was wrapped a moment ago does not open, which is nothing of the credential's: it can be tried again
            raise unavailable(self.root.place, error.detail) from error
        self._answered_at = time.monotonic()
        return wrapped

    @staticmethod
    def _data_key(sealed: Sealed, bound_to: bytes, keys: _Keys) -> tink.KeysetHandle:
        if sealed.format_version != FORMAT:
            raise VaultError(Code.OPEN_FAILED, detail=f"sealed in format {sealed.format_version}, not {FORMAT}")
        if sealed.key_id not in keys.of:
            raise VaultError(Code.OPEN_FAILED, detail=f"sealed with {sealed.key_id}, which no root has")
        try:
            return proto_keyset_format.parse_encrypted(sealed.wrapped_key, keys.wrapping(sealed.key_id), bound_to)
        except tink.TinkError as error:
            raise VaultError(Code.OPEN_FAILED, detail=str(error)) from error


def _is_a_file(roots: Sequence[Root]) -> bool:
    return [root.kind for root in roots] == [KeyFile.kind]


def _mismatch(roots: Sequence[Root], detail: str) -> OperatorError:
    if _is_a_file(roots):
        return OperatorError(Code.KEY_MISMATCH, detail=detail)
    return OperatorError(
        Code.KEY_MISMATCH,
        message="The roots do not have the key that this database knows.",
        next_step="Name the root that has it in ANTECHAMBER_ROOTS too, or put it back where it was.",
        detail=detail,
    )
