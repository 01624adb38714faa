"""The contract of a driver: what starts, watches and ends machines.

A driver knows nothing of sessions, providers or credentials. It gets a `MachineSpec`, plans a JSON `Handle` that is
stored *before* anything starts, and from then on finds the machine again by that handle alone, also after a restart of
the service. A machine has no network card: it reaches the host through *doors* only, byte streams that the guest dials
and the host accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime, timedelta

Handle: TypeAlias = "Mapping[str, Any]"
"""A driver's stored JSON reference to one machine."""


class Door(StrEnum):
    """A way between guest and host; the guest dials, the host accepts."""

    LINK = "link"
    SCREEN = "screen"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class Stream:
    """One connection through a door; independent of every other, with half-close and back-pressure."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host that the machine reads at `target`; never writable."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one machine may use."""

    processes: int = 512
    """Processes and threads at once."""
    home_bytes: int = 256 * 2**20
    tmp_bytes: int = 512 * 2**20
    shm_bytes: int = 512 * 2**20
    memory_bytes: int = 3 * 2**30
    """Beyond it a machine is ended: at once where it is a VM's own memory, else when its keeper looks next."""


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What to start."""

    machine_id: str
    incarnation: str
    """One life of this machine; every side effect names it."""
    program: tuple[str, ...] = ("/usr/bin/python3", "-I", "-S", "/opt/antechamber/guest")
    """What runs in the machine as its first program: the guest agent, or a contract test's own probe."""
    mounts: tuple[Mount, ...] = ()
    trust_anchors: tuple[str, ...] = ()
    """PEM certificates that the machine's CLIs and browser trust besides the public ones; empty in the real world."""
    doors: frozenset[Door] = frozenset(Door)
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class MachineEnd:
    """How a machine ended; an expected end is no news."""

    at: datetime | None
    exit_code: int | None
    """The first program's code, or 128 + signal; None where nobody could record it."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looks at, by doing it."""

    name: str
    ok: bool
    message: str
    remedy: str = ""
    """What to do when it is not ok; a command where one mends it."""
    fatal: bool = True
    """Whether the driver is of no use without it."""
    by_nature: bool = False
    """Whether it is not ok because the driver cannot do it anywhere: a limit to know of, and no fault to mend here."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do, for `doctor`, the owner's page and tests."""

    isolation: str
    """One of `namespaces`, `vm`, `none`; how it is called on pages is the pages' matter."""
    own_uids: bool
    """Whether each machine has a host uid of its own."""
    screen: bool = True
    memory_bytes: int = 0
    """What one machine takes of the host while its person signs in; 0: nothing to speak of, so nobody looks at it."""


@runtime_checkable
class Machine(Protocol):
    """One running machine that this service has started or found again."""

    @property
    def handle(self) -> Handle:
        """The handle by which it was started or attached."""

    def accept(self, door: Door) -> AsyncIterator[Stream]:
        """Yield the connections that the guest makes through that door; ends when the machine is let go or gone.

        Calling it again (a second iterator for one door) is an error.
        """

    async def ended(self) -> MachineEnd:
        """Wait for the machine's end, however it comes."""

    async def stop(self, *, within: timedelta) -> MachineEnd:
        """End the machine and wait; idempotent. Raises MachineError when it is not gone in time."""

    async def let_go(self) -> None:
        """Close this service's ends and leave the machine running, for a restart of the service."""


class Driver(Protocol):
    """Starts and finds machines of one sort."""

    @property
    def name(self) -> str:
        """The name in settings and rows, such as `namespace`."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do on this host."""

    async def check(self) -> Sequence[Check]:
        """Try what it needs, by really doing it; never raises for a missing thing."""

    def plan(self, machine_id: str, incarnation: str, *, host_uid: int | None) -> Handle:
        """Return the handle that this machine will have (keys `machine`, `incarnation`, …); starts nothing, pure."""

    def host_uids(self) -> Sequence[int]:
        """Return the uids that machines may take, one each; empty where all share the service's account."""

    def reserve(self, host_uid: int) -> bool:
        """Keep a uid from every other installation on this host for a machine about to start here.

        Return False when another has it. `start` takes what is reserved; what does not start gives it back.
        """

    def give_back(self, host_uid: int) -> None:
        """End a reservation that no machine has taken; idempotent."""

    async def start(self, spec: MachineSpec, handle: Handle) -> Machine:
        """Start the machine; a second call for the same incarnation attaches.

        Raises MachineError (machine_did_not_start), and then nothing of it is left.
        """

    async def attach(self, handle: Handle) -> Machine | MachineEnd:
        """Find a started machine again, or say how it ended; MachineEnd(None, None) where no trace of it is left.

        Raises MachineError when it cannot be told: "cannot tell" is never "dead".
        """

    async def printed(self, handle: Handle) -> Mapping[str, str]:
        """Return what a machine and its keeper printed, the last of it, by whose it is: foreign text, as it came.

        Empty where nothing was, or is no more.
        """

    async def reap(self, handle: Handle) -> None:
        """Remove what an ended machine left behind (folder, sockets, lock); idempotent, refuses a running one."""

    async def found(self) -> Sequence[Handle]:
        """Return the handles of all machines of this service on this host, running or not yet reaped."""
