"""What the routes are given by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from antechamber.machine import Capabilities, Stream
    from antechamber.metrics import Metrics
    from antechamber.model import Secret
    from antechamber.providers import Providers, ProviderSpec
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.web.addresses import Addresses
    from antechamber.web.closing import Closing
    from antechamber.web.events import Streams


class IsSet(Protocol):
    """What `asyncio.Event` is, to whoever only looks."""

    def is_set(self) -> bool:
        """Tell whether it has happened."""


class Live(Protocol):
    """What runs now, by session; the reconciler has it."""

    async def open_screen(self, session_id: str) -> Stream:
        """Open the screen of the session's machine: raw RFB both ways. Raises CallerError screen_not_ready."""

    def input_ended(self, session_id: str) -> IsSet:
        """Return what is set once the credential is captured, so that no input reaches the machine any more."""


@dataclass(frozen=True, slots=True)
class InstalledTool:
    """How a provider's tool lies on this computer."""

    sha256: str | None
    """One hash of all its files; None where it is not installed or not what was installed."""
    message: str | None = None
    """Why it is not available, and what to do."""


@dataclass(frozen=True, slots=True)
class DriverAbout:
    """Which driver starts machines here."""

    name: str
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a route may use."""

    signin: SignIn
    node: str
    """The id of this service's node."""
    live: Live
    providers: Providers
    settings: Settings
    addresses: Addresses
    operator_token: Secret
    world_name: str
    version: str
    driver: DriverAbout
    installed: Callable[[ProviderSpec], InstalledTool]
    faults: Callable[[], Awaitable[Sequence[str]]]
    """What keeps the service from being ready, in sentences; empty when it is."""
    screen_seen: Callable[[str], Awaitable[None]]
    """Told the session whose screen has reached its person."""
    closing: Closing
    streams: Streams
    metrics: Metrics

    @property
    def practice(self) -> bool:
        """Whether this is the practice world."""
        return self.world_name == "demo"
