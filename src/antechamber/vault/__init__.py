"""Seals credentials and opens them: the only importer of the crypto library.

Each sealed version has a data key of its own (a Tink keyset with one AES256-GCM key), wrapped by a key of a root: a key
file, the environment, or a service elsewhere. Both the credential and its data key are bound to their `SealIdentity` as
associated data, so a ciphertext that was moved to another row, version or installation does not open.

A root can hold several keys, and there can be several roots: the key that the database names seals, each opens what it
sealed. Whoever loses a key loses what it sealed.
"""

from antechamber.vault.asking import at_the_root
from antechamber.vault.key_file import KeyFile
from antechamber.vault.root import Keyring, Root
from antechamber.vault.roots import roots_of
from antechamber.vault.sealing import FORMAT, Vault, associated_data

__all__ = ["FORMAT", "KeyFile", "Keyring", "Root", "Vault", "associated_data", "at_the_root", "roots_of"]
