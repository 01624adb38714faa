"""Keys in OpenBao or HashiCorp Vault: its transit engine wraps data keys, and the keys never leave it.

Written by https://openbao.org/api-docs/secret/transit/ and seen at a real server. A key of ours is one version of a key
of the engine's: each version that it still decrypts with has an id of its own, so a rotation there is one here.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import httpx

from antechamber.errors import Code, OperatorError, VaultError
from antechamber.secret_files import secret_in
from antechamber.vault.root import digest_of, not_here, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from antechamber.model import Secret

_LARGEST_ANSWER: Final = 1024 * 1024
_KINDS: Final = frozenset({"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})
"""Types of keys that take associated data, by which a data key is bound to its credential."""
_SAID: Final = 200


class TransitRing:
    """The versions of a key that the engine decrypts with."""

    def __init__(self, root: Transit, versions: Mapping[str, int]) -> None:
        """Use them; `Transit.look` does."""
        self._root = root
        self._versions = versions
        self.ids = tuple(versions)
        self.preferred = self.ids[-1]

    def wrap(self, key_id: str, data_key: bytes, bound_to: bytes) -> bytes:
        """Have the engine wrap it with exactly that version."""
        version = self._versions[key_id]
        body = {"plaintext": _text(data_key), "associated_data": digest_of(bound_to), "key_version": version}
        wrapped = self._root.ask(f"encrypt/{self._root.name}", body).get("ciphertext")
        if not isinstance(wrapped, str) or not wrapped.startswith(f"vault:v{version}:"):
            raise unavailable(self._root.place, f"what it has wrapped is not of version {version}")
        return wrapped.encode()

    def unwrap(self, key_id: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Have the engine unwrap it, where it is of exactly that version."""
        try:
            ciphertext = wrapped.decode("ascii")
        except UnicodeDecodeError:
            ciphertext = ""
        if not ciphertext.startswith(f"vault:v{self._versions[key_id]}:"):
            raise VaultError(Code.OPEN_FAILED, detail=f"what is wrapped is not of {key_id}")
        body = {"ciphertext": ciphertext, "associated_data": digest_of(bound_to)}
        try:
            said = self._root.ask(f"decrypt/{self._root.name}", body)
        except _RefusedError as error:
            # 400 is its answer to what it cannot decrypt; whatever else it refuses says nothing of what is wrapped
            if error.status != httpx.codes.BAD_REQUEST:
                raise
            raise VaultError(Code.OPEN_FAILED, detail=error.detail) from error
        try:
            return base64.b64decode(said["plaintext"], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise unavailable(self._root.place, "it answers something else than a plain text") from error


class Transit:
    """The root that is a key of a transit engine."""

    kind = "transit"
    elsewhere = True
    shared = True

    def __init__(
        self,
        url: str,
        *,
        mount: str,
        name: str,
        namespace: str | None,
        token: Callable[[], Secret],
        authorities: Path | None,
        within: timedelta,
    ) -> None:
        """Use the engine at that mount of the server at `url`, and its key of that name.

        `token` is called for each request. `authorities` is a file of the only certificate authorities that are
        trusted; without it the system's are. The server has the time `within` for each answer.
        """
        self.name = name
        self.place = f"{url}/v1/{mount}/keys/{name}" + (f" of the namespace {namespace}" if namespace else "")
        self._base = f"{url}/v1/{mount}/"
        self._mount = mount
        self._namespace = namespace
        self._token = token
        self._authorities = authorities
        self._within = within
        self._trusted: ssl.SSLContext | None = None

    def look(self, *, make: bool = False) -> TransitRing:
        """Ask which versions the key has; none is made: the key is for the operator to make."""
        del make
        try:
            found = self.ask(f"keys/{self.name}")
        except _RefusedError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            raise OperatorError(
                Code.KEY_MISSING,
                message=f"There is no key {self.name} in the transit engine {self._mount}.",
                next_step=f"Enable the engine and make the key: `bao write -f {self._mount}/keys/{self.name}`.",
                detail=error.detail,
            ) from error
        kind, derived = found.get("type"), found.get("derived")
        if not isinstance(kind, str):
            raise unavailable(self.place, "it answers something else than a key")
        if kind not in _KINDS or derived:
            what = "one whose keys are derived" if derived else f"of type {kind}"
            raise OperatorError(
                Code.KEY_UNREADABLE,
                message=f"The key {self.name} in the transit engine cannot be used: it is {what}.",
                next_step="Make one of type aes256-gcm96.",
            )
        versions = sorted(int(number) for number in found.get("keys") or {})
        if not versions:
            raise unavailable(self.place, "the key has no version")
        return TransitRing(self, {self._id(version): version for version in versions})

    def add(self, *, first: bool) -> str:
        """Have the engine rotate the key, and return the id of its newest version."""
        del first
        try:
            # not sent twice: each time is one more version
            self.ask(f"keys/{self.name}/rotate", {}, again=False)
        except _RefusedError as error:
            if error.status != httpx.codes.FORBIDDEN:
                raise
            raise not_here(
                "The service's token may not rotate the key in the transit engine.",
                f"Run `bao write -f {self._mount}/keys/{self.name}/rotate` as who may, then `antechamber keys rotate`.",
            ) from error
        return self.look().preferred

    def remove(self, key_id: str) -> NoReturn:
        """Say how it is done instead: it would take away every older version too."""
        version = int(key_id.rpartition(":v")[2])
        raise not_here(
            "A version of a key in the transit engine is taken away there, with every older one.",
            f"When none of these is needed: `bao write {self._mount}/keys/{self.name}/config"
            f" min_decryption_version={version + 1}`.",
        )

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, again: bool = True) -> dict[str, Any]:
        """Return the data of an answer; raises OperatorError root_unavailable.

        What a broken connection left unanswered is asked once more, unless not `again`: it may have been heard.
        """
        headers = {"X-Vault-Token": self._token().reveal(), "X-Vault-Request": "true"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        for left in (1, 0) if again else (0,):
            try:
                return self._answer("GET" if body is None else "POST", path, headers, body)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if not left:
                    raise unavailable(self.place, _said(error)) from error
            except (httpx.HTTPError, OSError) as error:
                raise unavailable(self.place, _said(error)) from error
        raise AssertionError

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> dict[str, Any]:
        until = time.monotonic() + self._within.total_seconds()
        raw = b""
        with (
            self._connected() as client,
            client.stream(method, self._base + path, headers=headers, json=body) as response,
        ):
            for piece in response.iter_bytes():
                raw += piece
                # the library's limits are for each piece
                if len(raw) > _LARGEST_ANSWER or time.monotonic() > until:
                    raise unavailable(self.place, f"HTTP {response.status_code}, and an answer without end")
        try:
            said = json.loads(raw) if raw else {}
        except ValueError:
            said = {}
        if response.status_code not in {httpx.codes.OK, httpx.codes.NO_CONTENT}:
            raise _RefusedError(self.place, response.status_code, said)
        data = said.get("data") if isinstance(said, dict) else None
        return data if isinstance(data, dict) else {}

    def _connected(self) -> httpx.Client:
        """Return a client for one request: a connection that was kept may have ended at its other end by the next."""
        # what the environment says of proxies and authorities is not for what the token is shown to; nor is a redirect
        # followed, which would show it to somebody else
        return httpx.Client(
            verify=self._trust(), timeout=self._within.total_seconds(), trust_env=False, follow_redirects=False
        )

    def _trust(self) -> ssl.SSLContext:
        if self._trusted is None:
            try:
                self._trusted = ssl.create_default_context(cafile=self._authorities)
            except OSError as error:
                raise OperatorError(
                    Code.MISCONFIGURED,
                    message=f"{self._authorities} holds no certificate authorities that can be read.",
                    next_step="Correct ANTECHAMBER_TRANSIT_CA_FILE.",
                    detail=str(error),
                ) from error
        return self._trusted

    def _id(self, version: int) -> str:
        return f"transit:{self._mount}/{self.name}:v{version}"


class _RefusedError(OperatorError):
    """An answer that is an error; `status` is HTTP's."""

    def __init__(self, place: str, status: int, said: Any) -> None:
        errors = said.get("errors") if isinstance(said, dict) else None
        words = "; ".join(str(one) for one in errors) if isinstance(errors, list) else ""
        self.status = status
        super().__init__(Code.ROOT_UNAVAILABLE, detail=f"{place}: HTTP {status} {' '.join(words.split())[:_SAID]}")


def token_of(path: Path | None, given: Secret | None) -> Callable[[], Secret]:
    """Return what reads the token: from the file each time, as whoever renews it writes it anew, or as it was given.

    What it returns raises OperatorError root_unavailable where there is none: it may come.
    """

    def read() -> Secret:
        if path is None:
            if given is None:
                raise unavailable(
                    "transit", "neither ANTECHAMBER_TRANSIT_TOKEN_FILE nor ANTECHAMBER_TRANSIT_TOKEN is set"
                )
            return given
        try:
            return secret_in(path)
        except OSError as error:
            raise unavailable(str(path), str(error.strerror)) from error
        except ValueError as error:
            raise unavailable(str(path), "it holds no token") from error

    return read


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_SAID]
