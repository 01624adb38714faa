"""Providers as data: what each vendor's tool needs, writes and says, one TOML file each.

`Providers.load()` gives the `ProviderSpec`s; `antechamber.providers.install` installs and verifies their tools. This
package owns what is known of a vendor's tool; it knows nothing of sessions, machines, owners or the vault.
"""

from antechamber.providers.arguments import judge
from antechamber.providers.capture import CapturedFile, Parsed
from antechamber.providers.catalogue import Providers
from antechamber.providers.spec import ProviderSpec

__all__ = ["CapturedFile", "Parsed", "ProviderSpec", "Providers", "judge"]
