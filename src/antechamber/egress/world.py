"""A world is {resolver, connector, trust anchors}; exactly these differ between `serve` and the practice world."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol

from antechamber.egress.addresses import Address
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Stream

_THREADS: Final = 64
"""Look-ups at once of the whole service; each session gets a small part of them (`Limits.lookups`)."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolver says of a name: addresses with `ok`, else `nxdomain` or `servfail`."""

    answer: EgressAnswer
    addresses: tuple[Address, ...] = ()


class Resolver(Protocol):
    """Turns a canonical name (no final dot) into addresses; judges nothing."""

    async def resolve(self, name: str) -> Resolution:
        """Look the name up now; never raises for a name that cannot be found."""


class Connector(Protocol):
    """Opens a connection to one address that the policy has allowed."""

    async def connect(self, address: str, port: int, name: str) -> Stream:
        """Connect to exactly that address; raises OSError. `name` is for a connector that serves by name."""


@dataclass(frozen=True, slots=True)
class World:
    """Which servers machines meet, and whose certificates they believe besides the public ones."""

    name: str
    """`serve` or `demo`."""
    resolver: Resolver
    connector: Connector
    trust_anchors: tuple[str, ...] = ()
    """PEM certificates; empty in the real world."""


class SystemResolver:
    """The host's own resolver, asked for absolute names only.

    The final dot rules out the search list, and glibc compares the dotted name with the hosts file's entries, which
    have none, so that these are not found either. A local stub (systemd-resolved) may still answer from its hosts file
    or from a split-horizon server: that is why every answer is judged address by address, and again at each connect.
    """

    def __init__(self) -> None:
        """Make the threads' pool; threads start when they are needed."""
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolve")

    async def resolve(self, name: str) -> Resolution:
        """Look up A and AAAA records."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._pool, socket.getaddrinfo, f"{name}.".encode("ascii"), None, 0, socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            unknown = error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}
            return Resolution(EgressAnswer.NXDOMAIN if unknown else EgressAnswer.SERVFAIL)
        except (OSError, UnicodeError):
            return Resolution(EgressAnswer.SERVFAIL)
        addresses = []
        for family, _, _, _, where in found:
            if family in {socket.AF_INET, socket.AF_INET6}:
                with contextlib.suppress(ValueError):
                    addresses.append(ip_address(where[0]))
        return Resolution(EgressAnswer.OK, tuple(dict.fromkeys(addresses)))


class DirectConnector:
    """Connects over TCP, to an address literal and nothing else."""

    async def connect(self, address: str, port: int, name: str) -> Stream:  # noqa: ARG002 - the address alone decides
        """Connect; raises OSError, also when the other end is not the address that was asked for."""
        literal = ip_address(address)  # a name would be resolved a third time, unchecked
        reader, writer = await asyncio.open_connection(str(literal), port)
        reached = writer.get_extra_info("peername")
        if reached is None or ip_address(reached[0]) != literal:
            writer.transport.abort()
            raise ConnectionError("connected to another address than the checked one")
        return Stream(reader, writer)


def real_world() -> World:
    """Return the real world: the host's resolver, TCP, and no trust anchor of ours."""
    return World("serve", SystemResolver(), DirectConnector())
