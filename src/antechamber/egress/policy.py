"""The egress policy: pure decisions on a name and on an address. It resolves and opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from antechamber.egress.addresses import Address, Network, public, unwrapped
from antechamber.egress.names import canonical, internal, within
from antechamber.errors import Code, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_ANSWERED_HERE: Final = 0x8000_0000 | 0x0010_0000
"""Flags of a route in /proc/net/ipv6_route: local, anycast (linux/ipv6_route.h)."""

PORTS: Final = frozenset({80, 443})
"""The only ports that a machine reaches."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision on a name or an address."""

    allowed: bool
    name: str | None = None
    """The canonical name, where the question was a well-formed name."""
    address: Address | None = None
    """The address to connect to (unwrapped), where the question was an allowed address."""
    why: str = ""
    """For the operator's log; the guest never learns it."""


def host_addresses(net: Path = Path("/proc/net")) -> frozenset[Network]:
    """Return what this host answers to itself, read from the kernel now: its addresses and its local routes.

    Raises OSError when the kernel does not say; a caller then refuses.
    """
    found: set[Network] = set()
    last = ""
    for line in (net / "fib_trie").read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            last = words[1]
        elif words[-1:] == ["LOCAL"]:
            found.add(ip_network(f"{last}{words[0]}", strict=False))
    try:
        addresses, routes = ((net / name).read_text(encoding="ascii") for name in ("if_inet6", "ipv6_route"))
    except FileNotFoundError:  # a kernel without IPv6
        return frozenset(found)
    found.update(IPv6Network(int(line.split()[0], 16)) for line in addresses.splitlines())
    for line in routes.splitlines():
        words = line.split()
        if int(words[8], 16) & _ANSWERED_HERE:
            found.add(IPv6Network((int(words[0], 16), int(words[1], 16))))
    return frozenset(found)


def _unwrapped_net(net: Network) -> Network:
    """Return the IPv4 network that a network of IPv4-mapped addresses stands for; others as they are."""
    mapped = IPv6Network("::ffff:0:0/96")
    if isinstance(net, IPv6Network) and net.subnet_of(mapped):
        return ip_network((int(net.network_address) & (2**32 - 1), net.prefixlen - 96))
    return net


def _deny_lists(entries: Sequence[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    names: set[str] = set()
    nets: list[Network] = []
    faults: list[str] = []
    for entry in entries:
        text = entry.strip()
        try:
            nets.append(_unwrapped_net(ip_network(text, strict=False)))
            continue
        except ValueError:
            pass
        try:
            name = text.removeprefix("*").strip(".").encode("idna").decode("ascii").lower()
        except UnicodeError:
            name = ""
        if not name or "/" in name or "*" in name or " " in name:
            faults.append(entry)
        else:
            names.add(name)
    if faults:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="egress_deny has entries that are neither names nor networks: " + ", ".join(map(repr, faults)),
            next_step="Write names such as ads.example.com and networks such as 198.51.100.0/24.",
        )
    return frozenset(names), tuple(nets)


class Policy:
    """What no machine reaches.

    `deny` is the operator's `egress_deny`; `own_addresses` is called at each check; `public_urls` are this service's
    own base URLs, whose hosts no machine reaches, by name or by address. Raises OperatorError with all bad entries.
    """

    def __init__(
        self,
        *,
        deny: Sequence[str] = (),
        own_addresses: Callable[[], Collection[Network | Address]] = host_addresses,
        public_urls: Sequence[str] = (),
    ) -> None:
        """Read the lists."""
        self._denied_names, self._denied_nets = _deny_lists(deny)
        self._own_addresses = own_addresses
        hosts = [host for url in public_urls if (host := urlsplit(url).hostname)]
        self.own_names: Final = frozenset(name for host in hosts if (name := canonical(host)) and not internal(name))
        """The public names of this service; whatever they resolve to is to be given to `judge_address`."""
        self._own_literals = frozenset(unwrapped(address) for host in hosts if (address := _literal(host)) is not None)

    def judge_name(self, raw: str) -> Judgement:
        """Decide on a name as the guest sent it."""
        name = canonical(raw)
        why = "not an absolute name of two labels or more" if name is None else self._against_name(name)
        return Judgement(allowed=not why, name=name, why=why)

    def judge_address(
        self, raw: str | IPv4Address | IPv6Address, *, also_own: Collection[Address] = frozenset()
    ) -> Judgement:
        """Decide on one address that a name resolved to; `also_own` is what this service's own names resolve to now.

        Reads the host's own addresses at each call; where they cannot be read, the answer is no.
        """
        (judgement,) = self.judge_addresses([raw], also_own=also_own)
        return judgement

    def judge_addresses(
        self, raws: Sequence[str | IPv4Address | IPv6Address], *, also_own: Collection[Address] = frozenset()
    ) -> list[Judgement]:
        """Decide on all that one name resolved to, with one look at the host's own addresses."""
        # the whole table of routes, read in the service's own loop: not for each of many
        own = cache(lambda: tuple(map(ip_network, self._own_addresses())))
        return [self._judge(raw, also_own, own) for raw in raws]

    def _judge(
        self, raw: str | IPv4Address | IPv6Address, also_own: Collection[Address], own: Callable[[], Sequence[Network]]
    ) -> Judgement:
        try:
            address = unwrapped(ip_address(raw))
        except ValueError:
            return Judgement(allowed=False, why="not an address")
        why = self._against_address(address, also_own, own)
        return Judgement(allowed=not why, address=None if why else address, why=why)

    def _against_name(self, name: str) -> str:
        if internal(name):
            return "special-use or internal suffix"
        if name in self.own_names:
            return "this service's own name"
        if any(within(name, denied) for denied in self._denied_names):
            return "denied by the operator"
        return ""

    def _against_address(
        self, address: Address, also_own: Collection[Address], own: Callable[[], Sequence[Network]]
    ) -> str:
        if not public(address):
            return "not public unicast"
        if any(address in net for net in self._denied_nets):
            return "denied by the operator"
        if address in self._own_literals or address in {unwrapped(own) for own in also_own}:
            return "this service's own address"
        try:
            return "the host's own address" if any(address in net for net in own()) else ""
        except OSError as error:
            return f"the host's own addresses cannot be read: {error}"


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
