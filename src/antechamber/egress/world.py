"""A world is {resolver, connector, trust anchors}; exactly these differ between `serve` and the practice world."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
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
        """Prepare; a thread starts for each look-up."""
        self._free = asyncio.Semaphore(_THREADS)

    async def resolve(self, name: str) -> Resolution:
        """Look up A and AAAA records."""
        await self._free.acquire()
        answered = _in_thread(f"{name}.".encode("ascii"))
        # a look-up keeps its place until its thread has ended, also where nobody waits for it any more
        answered.add_done_callback(lambda _: self._free.release())
        match found := await asyncio.shield(answered):
            case socket.gaierror(errno=socket.EAI_NONAME | socket.EAI_NODATA):
                return Resolution(EgressAnswer.NXDOMAIN)
            case Exception():
                return Resolution(EgressAnswer.SERVFAIL)
        return Resolution(EgressAnswer.OK, tuple(dict.fromkeys(found)))


def _in_thread(name: bytes) -> asyncio.Future[list[Address] | Exception]:
    """Ask in a daemon thread: a look-up that hangs must not hold up the end of the service, as a pool's would."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[list[Address] | Exception] = loop.create_future()

    def tell(answer: list[Address] | Exception) -> None:
        if not answered.done():
            answered.set_result(answer)

    def ask() -> None:
        answer: list[Address] | Exception
        try:
            answer = _addresses(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the waiting side turns it into an answer
            answer = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, answer)

    try:
        threading.Thread(target=ask, name="resolve", daemon=True).start()
    except RuntimeError as error:  # the host gives no more threads
        tell(error)
    return answered


def _addresses(name: bytes) -> list[Address]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [ip_address(where[0]) for family, *_, where in found if family in {socket.AF_INET, socket.AF_INET6}]


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
