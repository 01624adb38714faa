"""The practice world: every name that the stand-in vendor serves leads to it, and there is nothing else.

There is no code here that opens an INET socket. The egress policy runs unchanged: names are answered with one globally
routable address, and a connection to that address is a connection to one of the stand-in's unix sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from antechamber.egress import Resolution, World
from antechamber.errors import Code, OperatorError
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Stream
from antechamber.testing.standin.journal import Beacon, Odd
from antechamber.testing.standin.server import CONTROL, LOCK, PLAIN, TLS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PRACTICE_ADDRESS: Final = IPv4Address("192.31.196.1")
"""What every served name resolves to: globally routable, and by its registration (AS112) a place that keeps nothing."""

_SOCKETS: Final = {443: TLS, 80: PLAIN}
_LONGEST_PATH: Final = 100
"""Bytes; the kernel takes 107 for a socket's path."""
_ENDS_WITHIN_S: Final = 10.0
_STARTS_WITHIN_S: Final = 20.0
_IDLE_S: Final = 3600.0
"""Longer than a machine lives that no service claims."""


class PracticeResolver:
    """Knows the names that the stand-in serves, and no other."""

    def __init__(self, names: Collection[str]) -> None:
        """Know these names."""
        self._names = frozenset(names)

    async def resolve(self, name: str) -> Resolution:
        """Answer the practice address or `nxdomain`."""
        if name in self._names:
            return Resolution(EgressAnswer.OK, (PRACTICE_ADDRESS,))
        return Resolution(EgressAnswer.NXDOMAIN)


class PracticeConnector:
    """Opens the stand-in's unix sockets, whatever the address is called."""

    def __init__(self, folder: Path) -> None:
        """Know the folder of the sockets."""
        self._folder = folder

    async def connect(self, address: str, port: int, name: str) -> Stream:  # noqa: ARG002 - the stand-in reads the name itself
        """Connect to the stand-in; raises ConnectionRefusedError for any address and port but its own."""
        if address != str(PRACTICE_ADDRESS) or port not in _SOCKETS:
            raise ConnectionRefusedError(f"the practice world has nothing at {address} port {port}")
        return Stream(*await asyncio.open_unix_connection(self._folder / _SOCKETS[port]))


@dataclass(frozen=True, slots=True)
class Oddities:
    """What clients asked for that the stand-in does not serve or would not do."""

    requests: tuple[Odd, ...]
    tls_names: tuple[str, ...]


class StandInClient:
    """A running stand-in vendor, by its control socket."""

    def __init__(self, folder: Path, ca: str, names: tuple[str, ...], pid: int | None = None) -> None:
        """Use `find` or `start`."""
        self.folder = folder
        self.ca = ca
        """PEM of the CA that machines of this world trust."""
        self.names = names
        self.pid = pid
        """Of its process; None where it is of a release that did not say."""

    @classmethod
    async def find(cls, folder: Path) -> StandInClient | None:
        """Return the one that serves in that folder, or None."""
        try:
            ca = (await _ask(folder, "GET", "/ca")).text
            told = (await _ask(folder, "GET", "/names")).json()
        except httpx.TransportError:
            return None
        return cls(folder, ca, tuple(told["names"]), told.get("pid"))

    @classmethod
    async def start(cls, folder: Path, *, idle_s: float = _IDLE_S) -> StandInClient:
        """Return the one that serves in that folder, started if there is none; it outlives this process.

        It ends by `stop`, or when nobody has asked anything for `idle_s` seconds. Raises OperatorError when it does not
        come up or the folder belongs to somebody else.
        """
        _take(folder)
        if (found := await cls.find(folder)) is not None:
            return found
        await _run(folder, idle_s)
        found = await cls.find(folder)
        if found is None:
            raise _not_up(folder)
        return found

    async def beacons(self, *, after: int = 0, wait: float = 0) -> list[Beacon]:
        """Return the pages painted after that number, waiting at most so many seconds for the first."""
        answer = await self._get("/beacons", {"after": after, "wait": wait})
        return [Beacon(**beacon) for beacon in answer["beacons"]]

    async def odd(self) -> Oddities:
        """Return what was asked of the stand-in and is not of any known vendor's CLI."""
        answer = await self._get("/odd")
        return Oddities(tuple(Odd(**entry) for entry in answer["odd"]), tuple(answer["tls"]))

    async def mode(self, **changes: Any) -> Mapping[str, Any]:
        """Change modes (see `standin.modes`) and return all; `reset=True` first sets all back."""
        answer = await _ask(self.folder, "POST", "/mode", json=changes)
        answer.raise_for_status()
        modes: dict[str, Any] = answer.json()
        return modes

    async def families(self) -> list[dict[str, Any]]:
        """Return what became of the tokens of each sign-in (see `standin.control`); of a token only its SHA-256."""
        found: list[dict[str, Any]] = (await self._get("/families"))["families"]
        return found

    async def end_family(self, family: str, *, access_only: bool = False) -> None:
        """Revoke a family, as a person does on the vendor's page; or end its access tokens alone, as time does."""
        asked = {"id": family, "end": "access" if access_only else "all"}
        (await _ask(self.folder, "POST", "/families", json=asked)).raise_for_status()

    async def stop(self) -> None:
        """End it and wait until nothing of it is left; idempotent."""
        with contextlib.ExitStack() as until_over:
            # opened before it is asked: later its number may be another's
            process = None if self.pid is None else _watched(self.pid, until_over)
            try:
                await _ask(self.folder, "POST", "/stop")
            except httpx.TransportError:
                process = None
            await asyncio.to_thread(_wait_for_lock, self.folder)
            if process is not None:
                # its lock goes a moment before the process does
                await asyncio.to_thread(select.select, [process], [], [], _ENDS_WITHIN_S)

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = await _ask(self.folder, "GET", path, params=query)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told


async def _ask(folder: Path, method: str, path: str, **options: Any) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=os.fspath(folder / CONTROL))
    async with httpx.AsyncClient(transport=transport, base_url="http://standin", timeout=90) as client:
        return await client.request(method, path, **options)


def _take(folder: Path) -> None:
    """Make the folder, or make sure that it is ours."""
    if len(os.fsencode(folder / CONTROL)) > _LONGEST_PATH:
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"{folder} is too long a path for the practice vendor's sockets.",
            next_step="Use a shorter data directory.",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.lstat().st_uid
    if owner != os.geteuid() or folder.is_symlink():
        raise OperatorError(
            Code.WRONG_OWNER,
            message=f"{folder} belongs to uid {owner}, this is uid {os.geteuid()}.",
            next_step=f"Remove {folder}, or run as its owner.",
        )


def _watched(pid: int, until_over: contextlib.ExitStack) -> int | None:
    """Return a descriptor that can be read once that process has ended; None where it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    until_over.callback(os.close, descriptor)
    return descriptor


def _wait_for_lock(folder: Path) -> None:
    """Return when no stand-in holds the folder any more."""
    with contextlib.suppress(FileNotFoundError), (folder / LOCK).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


async def _run(folder: Path, idle_s: float) -> None:
    """Start the process and wait until it has detached itself and listens; one that lost a race ends by itself."""
    command = [sys.executable, "-m", "antechamber.testing.standin", "--socket-dir", os.fspath(folder)]
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--idle-s",
            str(idle_s),
            "--detach",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
        )
    try:
        async with asyncio.timeout(_STARTS_WITHIN_S):
            await process.wait()
    except TimeoutError as error:
        raise _not_up(folder) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _not_up(folder: Path) -> OperatorError:
    return OperatorError(
        Code.MISCONFIGURED,
        message="The practice vendor did not start.",
        next_step=f"Look at {folder / 'log'}.",
    )


def practice_world(standin: StandInClient) -> World:
    """Return the world in which every name that the stand-in serves leads to it."""
    return World("demo", PracticeResolver(standin.names), PracticeConnector(standin.folder), (standin.ca,))
