"""Which addresses are public unicast, decided by our own list; `ipaddress.is_global` alone has holes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

DENIED_V4: Final = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network; 0.0.0.0 connects to the host itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers, also Tailscale and a cloud's metadata (100.100.100.200)
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent under a public-looking address
        "169.254.0.0/16",  # link-local, and the clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments, and a cloud's metadata (192.0.0.192)
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # is_global is True for much of it
        "240.0.0.0/4",
    )
)

GLOBAL_V6: Final = IPv6Network("2000::/3")
"""The only block of IPv6 that is handed out as global unicast; NAT64, mapped, ULA and link-local lie outside."""

DENIED_V6: Final = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments: Teredo (2001::/32), benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4 holds an IPv4 address
        "3ffe::/16",  # the 6bone, given back
        "3fff::/20",  # documentation; is_global of Python 3.11 is True
    )
)

_ISATAP: Final = (0x00005EFE, 0x02005EFE)


def unwrapped(address: Address) -> Address:
    """Return the address that a connection to this one would reach: the IPv4 address inside `::ffff:a.b.c.d`."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def public(address: Address) -> bool:
    """Tell whether an unwrapped address is global unicast and in none of the special ranges."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in net for net in DENIED_V4)
    if address.scope_id is not None or address not in GLOBAL_V6 or any(address in net for net in DENIED_V6):
        return False
    low = int(address) & (2**64 - 1)
    # an ISATAP address reaches the IPv4 address in its last 32 bits, whatever its prefix
    return not (low >> 32 in _ISATAP and not public(IPv4Address(low & (2**32 - 1)))) and address.is_global
