"""Which names a machine may ask for at all, by their form and their suffix."""

from __future__ import annotations

import re
from typing import Final

LONGEST_NAME: Final = 253
"""Characters of a name in its text form without the final dot (RFC 1035)."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")

NOT_PUBLIC: Final = frozenset(
    {
        # IANA's registry of special-use names; `arpa` holds home.arpa, ipv4only.arpa, the reverse trees and more.
        # example.com, .net and .org are in it as well, but they are ordinary public names (RFC 6761, 6.5).
        "alt", "arpa", "example", "invalid", "local", "localhost", "onion", "test",
        # RFC 6762, appendix G, and ICANN's reserved and never delegated names for private use
        "corp", "home", "internal", "intranet", "lan", "mail", "private",
        # what resolvers, containers, clusters and home routers answer for names of their own
        "cluster", "consul", "container", "docker", "domain", "gateway", "host", "incus", "localdomain",
        "localdomain4", "localdomain6", "localhost4", "localhost6", "lxd", "node", "pod", "router", "svc", "vm",
        "workgroup",
        "fritz.box", "ts.net", "beta.tailscale.net",
    }
)  # fmt: skip
"""Suffixes under which nothing is public: special-use (IANA) and those that internal networks use."""


def canonical(raw: str) -> str | None:
    """Return the name in lower case without its final dot, or None when it is not an absolute public-looking name.

    Refused are: other than ASCII (a guest sends the IDNA form, as DNS does), fewer than two labels, labels that are
    empty, too long or of other characters, and whatever a resolver could take for an address: a last label that is a
    number, in decimal or hexadecimal, makes `127.1`, `0x7f.1` and `10.0.0.1` literals.
    """
    if not raw.isascii():
        return None
    name = raw.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > LONGEST_NAME or len(labels) < 2:
        return None
    if not all(_LABEL.match(label) for label in labels) or _NUMBER.match(labels[-1]):
        return None
    return name


def within(name: str, suffix: str) -> bool:
    """Tell whether the name is the suffix or lies under it."""
    return name == suffix or name.endswith(f".{suffix}")


def internal(name: str) -> bool:
    """Tell whether a canonical name lies under a suffix that is not public."""
    labels = name.split(".")
    return any(".".join(labels[start:]) in NOT_PUBLIC for start in range(len(labels)))
