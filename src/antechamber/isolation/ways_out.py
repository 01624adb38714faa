"""Requests for the egress door, and the network in front of it: made up, so that nothing is ever connected to."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Self

from antechamber.egress import Egress, Limits, Policy, Resolution, World, host_addresses
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Door, Stream
from antechamber.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antechamber.egress.addresses import Address
    from antechamber.machine import Machine

_ZONE: Final = "isolation.example.com"
_PUBLIC: Final = "8.8.8.8"
_OWN_PUBLIC: Final = "9.9.9.9"
PUBLIC_NAME: Final = f"public.{_ZONE}"
"""A name that is let out: without it nobody could tell a wall from a door that is shut for all."""
OWN_NAME: Final = f"own.{_ZONE}"

_LEADS: Final = {
    "loopback": ("127.0.0.1",),
    "loopback_other": ("127.9.9.9",),
    "this_host": ("0.0.0.0",),  # noqa: S104 - an address to be refused
    "own_public": (_OWN_PUBLIC,),
    "metadata": ("169.254.169.254",),
    "metadata_other": ("100.100.100.200", "192.0.0.192", "168.63.129.16"),
    "link_local": ("169.254.1.1",),
    "private": ("10.0.0.1", "172.16.0.1", "192.168.1.1"),
    "carrier": ("100.64.0.1",),
    "multicast": ("224.0.0.1", "255.255.255.255"),
    "reserved": ("240.0.0.1", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
    "v6_loopback": ("::1", "::"),
    "v6_local": ("fe80::1", "fec0::1", "fd00::1"),
    "v6_multicast": ("ff02::1",),
    "v4_in_6": ("::ffff:127.0.0.1", "::127.0.0.1", "::ffff:169.254.169.254"),
    "nat64": ("64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
    "6to4": ("2002:7f00:1::",),
    "teredo": ("2001:0:7f00:1::",),
}
_ASKED: Final = {
    "own_name": (OWN_NAME,),
    "localhost": ("localhost", "a.localhost", "printer.local", "db.internal", "nas.home.arpa"),
    "one_label": ("intranet",),
    "literal": ("127.0.0.1", "0x7f.1", "127.1", "2130706433", "[::1]", "::1", "0177.0.0.1"),
    "spelling": (f"%70ublic.{_ZONE}", f" {PUBLIC_NAME}", f"{PUBLIC_NAME}\0", f"a/../{PUBLIC_NAME}", "a" * 300),
}
_PORTS: Final = (22, 25, 0, 65536, 8080)
_RAW: Final = {"oversized": "x" * 65536 + "\n", "nonsense": '["connect"]\n'}


def leads() -> dict[str, dict[str, str]]:
    """Return for each attempt by an address the names that are made up for it, and where each leads.

    The host's own addresses are among them, which may change at any time: taken once for a run.
    """
    own = [str(net.network_address) for net in host_addresses() if net.num_addresses == 1]
    addresses = {**_LEADS, "own_address": tuple(sorted(own)[:8])}
    return {
        name: {f"{name.replace('_', '-')}{i}.{_ZONE}": one for i, one in enumerate(several)}
        for name, several in addresses.items()
    }


def requests(led: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Return what the machine sends through its egress door, by `ATTEMPT NUMBER`, and what must be let out."""
    asked: dict[str, dict[str, Any]] = {"public 0": _connect(PUBLIC_NAME)}
    for name, made_up in led.items():
        asked |= {f"egress_{name} {number}": _connect(one) for number, one in enumerate(made_up)}
    for name, names in _ASKED.items():
        asked |= {f"egress_{name} {number}": _connect(one) for number, one in enumerate(names)}
    asked |= {f"egress_port {number}": _connect(PUBLIC_NAME, port) for number, port in enumerate(_PORTS)}
    return asked | {f"egress_{name} 0": {"raw": raw} for name, raw in _RAW.items()}


def _connect(name: str, port: int = 80) -> dict[str, Any]:
    return {"ask": {"op": "connect", "name": name, "port": port}}


@dataclass
class MadeUp:
    """A network of one public server, which is no server either: who is connected to it is counted."""

    zone: dict[str, tuple[Address, ...]]
    connected: list[str] = field(default_factory=list)
    """The addresses that the egress would have connected to."""

    @classmethod
    def of(cls, led: Mapping[str, Mapping[str, str]]) -> Self:
        """Return the network in which the names lead there, and the two public ones to public addresses."""
        zone = {PUBLIC_NAME: _PUBLIC, OWN_NAME: _OWN_PUBLIC}
        for made_up in led.values():
            zone |= made_up
        return cls({name: (ip_address(one),) for name, one in zone.items()})

    async def resolve(self, name: str) -> Resolution:
        """Say where a name leads."""
        found = self.zone.get(name)
        return Resolution(EgressAnswer.OK, found) if found else Resolution(EgressAnswer.NXDOMAIN)

    async def connect(self, address: str, port: int, name: str) -> Stream:
        """Count it, and give back a connection to nobody."""
        del port, name
        self.connected.append(address)
        here, there = socket.socketpair()
        there.close()
        return Stream(*await asyncio.open_connection(sock=here))


async def serve(machine: Machine, way_out: Egress) -> None:
    """Serve a machine's egress door by that way out, until cancelled or until it is dialled no more."""
    async with Tasks("ways out") as tasks:
        async for stream in machine.accept(Door.EGRESS):
            serving = tasks.spawn("egress", way_out.serve(stream))
            # also when it is cancelled before its first step
            serving.add_done_callback(partial(hang_up, stream))


def hang_up(stream: Stream, _: object) -> None:
    """Hang up once a stream's task is done."""
    stream.writer.transport.abort()


def egress(network: MadeUp, policy: Policy | None = None) -> Egress:
    """Return a way out into that network, by the rules of every machine's unless others are given."""
    world = World("isolation", network, network)
    rules = policy or Policy(public_urls=[f"https://{OWN_NAME}"])
    return Egress(world=world, policy=rules, limits=Limits(uniform=timedelta(milliseconds=100)))
