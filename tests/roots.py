"""The roots of tests: each kind of it, with what its operator does by hand."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from antechamber.settings import Settings
from antechamber.vault import KeyFile, Vault, roots_of

if TYPE_CHECKING:
    from pathlib import Path

    from antechamber.vault import Root


class Peer:
    """One root key of one installation, and the operator's hands on it."""

    kind: str

    def __init__(self, folder: Path) -> None:
        """Keep what is needed in that folder."""
        self.folder = folder

    @property
    def settings(self) -> dict[str, object]:
        """What names this root to a service."""
        return {"roots": (self.kind,)}

    def root(self) -> Root:
        """The root as a service that is started now has it."""
        (root,) = roots_of(Settings(**self.settings), self.folder / "key")
        return root

    def vault(self, known: str | None = None) -> Vault:
        """A vault with this root alone, as a service that is started now has it."""
        return Vault.of([self.root()], known_key_id=known, has_rows=known is not None)

    def another(self) -> Peer:
        """A root of the same kind, at the same place where that has several, with another key."""
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        return type(self)(folder)

    def add(self) -> None:
        """Add a key, in the way in which that is done here."""
        raise NotImplementedError

    def take_away(self, key_id: str) -> None:
        """Take a key away for ever, in the way in which that is done here."""
        raise NotImplementedError


class FilePeer(Peer):
    kind = "file"

    def add(self):
        KeyFile(self.folder / "key").add(first=False)

    def take_away(self, key_id):
        KeyFile(self.folder / "key").remove(key_id)


class EnvironmentPeer(FilePeer):
    """A variable whose text is from a key file that the operator keeps elsewhere."""

    kind = "environment"

    def __init__(self, folder):
        super().__init__(folder)
        self.file = folder / "kept elsewhere"
        KeyFile(self.file).add(first=True)

    @property
    def settings(self):
        return {"roots": (self.kind,), "keys": self.file.read_text()}

    def add(self):
        KeyFile(self.file).add(first=False)

    def take_away(self, key_id):
        KeyFile(self.file).remove(key_id)


PEERS = {peer.kind: peer for peer in (FilePeer, EnvironmentPeer)}
