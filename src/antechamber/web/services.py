"""What the routes are given by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from antechamber.link import RunView, TerminalView
    from antechamber.machine import Capabilities, Check, Stream
    from antechamber.metrics import Metrics
    from antechamber.openid.issuer import Issuer
    from antechamber.providers import Providers, ProviderSpec
    from antechamber.runs import Runs
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.texts import Languages
    from antechamber.web.addresses import Addresses
    from antechamber.web.closing import Closing
    from antechamber.web.events import Streams
    from antechamber.web.rates import Guesses, Rates


class IsSet(Protocol):
    """What `asyncio.Event` is, to whoever only looks."""

    def is_set(self) -> bool:
        """Tell whether it has happened."""

    async def wait(self) -> Literal[True]:
        """Return once it has."""


class Live(Protocol):
    """What runs now, by session or run; the reconciler has it."""

    async def open_screen(self, session_id: str) -> Stream:
        """Open the screen of the session's machine: raw RFB both ways. Raises CallerError screen_not_ready."""

    async def watch_terminal(self, session_id: str) -> TerminalView:
        """Have one viewer follow what the session's tool writes; raises CallerError screen_not_ready."""

    async def leave_terminal(self, session_id: str, view: TerminalView) -> None:
        """Have the tool's output sent to that viewer no more."""

    async def read_run(self, run_id: str, at: int = 0) -> RunView | None:
        """Have one reader follow what a run's tool writes; None while its machine is not spoken with."""

    async def leave_run(self, run_id: str, view: RunView) -> None:
        """End that; nothing happens where the machine has ended."""

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
class Installation:
    """What the service found about its own computer when it started, for the dashboard's health."""

    started_at: datetime
    checks: Sequence[Check] = ()
    """The driver's, as `doctor` has them."""
    key_id: Callable[[], str | None] = lambda: None
    """Which key seals credentials; never the key."""
    root: Callable[[], str | None] = lambda: None
    """The word for the root that has it."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Where things lie, by what lies there; their room is looked at each time."""
    node: str | None = None
    """What this computer is called among several services."""
    link_command: str = "antechamber link"
    """What the operator types on that computer for another link to the dashboard."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a route may use."""

    signin: SignIn
    runs: Runs
    node: str
    """The id of this service's node."""
    live: Live
    providers: Providers
    settings: Settings
    addresses: Addresses
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
    rates: Rates
    guesses: Guesses
    installation: Installation
    languages: Languages
    issuer: Issuer | None
    """By which operators log in."""

    @property
    def practice(self) -> bool:
        """Whether this is the practice world."""
        return self.world_name == "demo"
