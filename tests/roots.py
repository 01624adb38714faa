"""The roots of tests: each kind of it, with what its operator does by hand."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from antechamber.settings import Settings
from antechamber.vault import KeyFile, Vault, roots_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from antechamber.vault import Root


class Peer(ABC):
    """One root key of one installation, and the operator's hands on it."""

    kind: str
    server: str | None = None
    """The fixture of the server that has it, where one has."""

    def __init__(self, folder: Path, at: Any = None) -> None:
        """Keep what is needed in that folder; `at` is the server."""
        self.folder = folder
        self.at = at

    @property
    def settings(self) -> dict[str, object]:
        """What names this root to a service."""
        return {"roots": (self.kind,)}

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process."""
        given = {name: value for name, value in self.settings.items() if value is not None}
        said = {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in given.items()}
        return {f"ANTECHAMBER_{name.upper()}": value for name, value in said.items()}

    @property
    def secrets(self) -> list[str]:
        """What nobody may read anywhere."""
        return []

    def root(self) -> Root:
        """The root as a service that is started now has it."""
        (root,) = roots_of(Settings(**self.settings), self.folder / "key")
        return root

    def roots_of(self, given: Settings) -> list[Root]:
        """The roots of other settings than its own."""
        return roots_of(given, self.folder / "key")

    def vault(self, known: str | None = None) -> Vault:
        """A vault with this root alone, as a service that is started now has it."""
        return Vault.of([self.root()], known_key_id=known, has_rows=known is not None)

    def another(self) -> Peer:
        """A root of the same kind, at the same place where that has several, with another key."""
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        return type(self)(folder, self.at)

    @abstractmethod
    def add(self) -> None:
        """Add a key, in the way in which that is done here."""

    @abstractmethod
    def take_away(self, key_id: str) -> None:
        """Take a key away for ever, in the way in which that is done here."""


class FilePeer(Peer):
    kind = "file"

    def __init__(self, folder, at=None):
        super().__init__(folder, at)
        self.file = folder / "key"

    def add(self):
        KeyFile(self.file).add(first=False)

    def take_away(self, key_id):
        KeyFile(self.file).remove(key_id)


class EnvironmentPeer(FilePeer):
    """A variable whose text is from a key file that the operator keeps elsewhere."""

    kind = "environment"

    def __init__(self, folder, at=None):
        super().__init__(folder, at)
        self.file = folder / "kept elsewhere"
        KeyFile(self.file).add(first=True)

    @property
    def settings(self):
        return {"roots": (self.kind,), "keys": self.file.read_text()}


class TransitPeer(Peer):
    """A key of OpenBao's, and a token that may use it and nothing else."""

    kind = "transit"
    server = "bao"
    mount = "transit"
    namespace: str | None = None
    within = 5.0

    def __init__(self, folder, at=None):
        super().__init__(folder, at)
        self.name = f"of-{secrets.token_hex(4)}"
        self.ask("POST", f"{self.mount}/keys/{self.name}", {})
        self.paths = [f"{self.mount}/{what}/{self.name}" for what in ("encrypt", "decrypt", "keys")]
        self.token_file = folder / "token"
        self.give_token()

    def ask(self, method, path, body=None):
        return self.at.ask(method, path, body, self.namespace)

    def give_token(self, *more):
        """Write another token into the file."""
        self.token_file.write_text(self.at.token(*self.paths, *more, namespace=self.namespace) + "\n")

    @property
    def settings(self):
        return {
            "roots": (self.kind,),
            "root_s": self.within,
            "transit_url": self.at.url,
            "transit_mount": self.mount,
            "transit_key": self.name,
            "transit_namespace": self.namespace,
            "transit_token_file": self.token_file,
            "transit_ca_file": self.at.authorities,
        }

    @property
    def secrets(self):
        return [self.token_file.read_text().strip()]

    def add(self):
        self.ask("POST", f"{self.mount}/keys/{self.name}/rotate")

    def take_away(self, key_id):
        version = int(key_id.rpartition(":v")[2])
        self.ask("POST", f"{self.mount}/keys/{self.name}/config", {"min_decryption_version": version + 1})


class KmsPeer(Peer):
    """Keys of moto's KMS."""

    kind = "kms"
    server = "moto"

    def __init__(self, folder, at=None):
        super().__init__(folder, at)
        self.keys = [self.at.create_key()]

    @property
    def settings(self):
        return {"roots": (self.kind,), "root_s": 5.0, "kms_keys": tuple(self.keys)}

    @property
    def environment(self):
        return {**super().environment, **self.at.environment}

    @property
    def secrets(self):
        return [self.at.environment["AWS_SECRET_ACCESS_KEY"]]

    def add(self):
        self.keys.append(self.at.create_key())

    def take_away(self, key_id):
        self.keys.remove(key_id)


PEERS = {peer.kind: peer for peer in (FilePeer, EnvironmentPeer, TransitPeer, KmsPeer)}


def made_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> Peer:
    """Make a root of that kind, at the run's own server where it needs one."""
    peer = PEERS[kind]
    at = request.getfixturevalue(peer.server) if peer.server else None
    for name, value in getattr(at, "environment", {}).items():
        request.getfixturevalue("monkeypatch").setenv(name, value)
    return peer(folder, at)
