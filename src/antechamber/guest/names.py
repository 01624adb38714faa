"""Which name stands behind which loopback address."""

from __future__ import annotations

import ipaddress

_FIRST = int(ipaddress.IPv4Address("127.64.0.1"))
MAX_NAMES = 4096


class Names:
    """Gives each name an address of its own from 127.64.0.0/10, for as long as the machine lives."""

    def __init__(self, limit: int = MAX_NAMES) -> None:
        """Begin without names."""
        self._limit = limit
        self._by_name: dict[str, str] = {}
        self._by_address: dict[str, str] = {}

    def address(self, name: str) -> str | None:
        """Return the address of that name, a new one for a new name; None when there are too many names."""
        known = self._by_name.get(name)
        if known is not None or len(self._by_name) >= self._limit:
            return known
        address = str(ipaddress.IPv4Address(_FIRST + len(self._by_name)))
        self._by_name[name] = address
        self._by_address[address] = name
        return address

    def name(self, address: str) -> str | None:
        """Return the name that has this address, None for an address that no question led to."""
        return self._by_address.get(address)
