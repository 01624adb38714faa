"""Scripted machines that outlive the service: they live in the process that has the host, as real ones do on theirs.

`HostedDriver` is a service's side, in the process of the host (`machine_host`) or another. A machine's doors are unix
sockets in its folder that the service makes and the script dials, as those of every other driver are. It passes the
drivers' contract, less isolation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from antechamber.drivers.doors import UnixDoors
from antechamber.errors import Code, MachineError
from antechamber.machine import Capabilities, Check, Door, Handle, Machine, MachineEnd, MachineSpec, Stream
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

_HALF_MADE: Final = "."


class HostedMachine:
    """A hosted machine that a service holds."""

    def __init__(
        self,
        driver: HostedDriver,
        handle: Handle,
        doors: UnixDoors,
        claim: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Take doors and claim over."""
        self._driver = driver
        self._handle = handle
        self._doors = doors
        self._reader, self._writer = claim
        self._ended: asyncio.Future[MachineEnd] = asyncio.get_running_loop().create_future()
        self._watching = spawn("hosted machine", self._watch())
        self._draining = spawn("hosted machine's end", self._drain())

    @property
    def handle(self) -> Handle:
        """The handle by which it was started or attached."""
        return self._handle

    def accept(self, door: Door) -> AsyncIterator[Stream]:
        """Yield what the script dials; ends when the machine is let go or gone."""
        return self._doors.accept(door)

    async def ended(self) -> MachineEnd:
        """Wait for the end; raises MachineError (shutting_down) when the machine is let go before."""
        return await asyncio.shield(self._ended)

    async def stop(self, *, within: timedelta) -> MachineEnd:
        """End the script and wait; raises MachineError when it is not gone in time."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._driver.ask("stop", incarnation=self._handle["incarnation"])
                return await self.ended()
        except TimeoutError as error:
            raise MachineError(Code.INTERNAL, detail="the machine is not gone in time") from error

    async def let_go(self) -> None:
        """Close this service's ends and leave the script running."""
        await cancel_and_wait(self._watching, self._draining)
        self._writer.close()
        await self._doors.close()
        if not self._ended.done():
            self._ended.set_exception(MachineError(Code.SHUTTING_DOWN, detail="the machine was let go"))
            self._ended.exception()  # nobody need have waited for it

    async def _watch(self) -> None:
        line = await self._reader.readline()
        if not line:
            # nobody can tell any more what becomes of it, and that is not its end
            self._ended.set_exception(MachineError(Code.INTERNAL, detail="the host does not answer"))
            self._ended.exception()
            return
        self._ended.set_result(_end_of(json.loads(line)["end"]))

    async def _drain(self) -> None:
        with contextlib.suppress(MachineError):
            await self.ended()
            self._doors.drain()


class HostedDriver:
    """Starts and finds machines of the host that answers on a socket."""

    def __init__(self, socket: Path, run_dir: Path, *, installation: str, node: str, uids: Sequence[int] = ()) -> None:
        """Name the host's socket, and where machines' folders lie."""
        self._socket = socket
        self._run_dir = run_dir
        self._own = {"installation": installation, "node": node}
        self._uids = uids

    @property
    def name(self) -> str:
        """`hosted`."""
        return "hosted"

    @property
    def capabilities(self) -> Capabilities:
        """No isolation at all."""
        return Capabilities(isolation="none", own_uids=bool(self._uids), screen=True)

    async def check(self) -> Sequence[Check]:
        """Say whether the host answers."""
        try:
            await self.ask("found")
        except MachineError as error:
            return [Check("host", ok=False, message=error.detail, remedy="start the host")]
        return [Check("host", ok=True, message="the host answers")]

    def host_uids(self) -> Sequence[int]:
        """Return the uids that it was given; they are only claimed, nothing runs as them."""
        return self._uids

    def reserve(self, host_uid: int) -> bool:  # noqa: ARG002 - nothing runs as it
        """Say yes: the rows alone keep two machines from one uid."""
        return True

    def give_back(self, host_uid: int) -> None:
        """Do nothing."""

    def plan(self, machine_id: str, incarnation: str, *, host_uid: int | None) -> Handle:
        """Return the handle of that incarnation."""
        folder = os.fspath(self._run_dir / incarnation)
        return {
            "driver": self.name,
            "machine": machine_id,
            "incarnation": incarnation,
            **self._own,
            "folder": folder,
            "uid": host_uid,
        }

    async def start(self, spec: MachineSpec, handle: Handle) -> Machine:
        """Start the script; a second call for the same incarnation attaches."""
        if spec.incarnation != handle["incarnation"]:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail="the handle is another incarnation's")
        folder = Path(handle["folder"])
        await asyncio.to_thread(_make, folder, handle, sorted(spec.doors))
        program, doors = list(spec.program), sorted(spec.doors)
        try:
            started = await self.ask("start", handle=dict(handle), program=program, doors=doors)
        except MachineError as error:
            await asyncio.to_thread(_remove, folder)
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=error.detail) from error
        if started["end"] is not None:
            raise MachineError(Code.MACHINE_ENDED, detail=started["end"]["detail"])
        found = await self.attach(handle, just_started=True)
        if isinstance(found, MachineEnd):
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=found.detail)
        return found

    async def attach(self, handle: Handle, *, just_started: bool = False) -> Machine | MachineEnd:
        """Find a script again, or say how it ended."""
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps({"op": "claim", "incarnation": handle["incarnation"]}).encode() + b"\n")
            told = json.loads(await reader.readline())
            if not just_started and (told["end"] is not None or not told["known"]):
                writer.close()
                return _end_of(told["end"])
            if told["end"] is not None:
                # it was quick: its end is told by a machine as any other's
                reader = asyncio.StreamReader()
                reader.feed_data(json.dumps(told).encode() + b"\n")
            folder = Path(handle["folder"])
            wanted = json.loads(await asyncio.to_thread((folder / "doors.json").read_text))
            doors = UnixDoors(folder / "doors", [Door(door) for door in wanted], give=None)
        except (OSError, ValueError) as error:
            writer.close()
            raise MachineError(Code.INTERNAL, detail=f"the host: {error}") from error
        except BaseException:
            writer.close()
            raise
        return HostedMachine(self, handle, doors, (reader, writer))

    async def printed(self, handle: Handle) -> Mapping[str, str]:
        """Return the last of what the script printed, as it came; the host has it, and no keeper prints anything."""
        printed: dict[str, str] = (await self.ask("printed", incarnation=handle["incarnation"]))["printed"]
        return printed

    async def reap(self, handle: Handle) -> None:
        """Remove what an ended machine left; raises MachineError while it runs."""
        await self.ask("reap", incarnation=handle["incarnation"])
        await asyncio.to_thread(_remove, Path(handle["folder"]))

    async def found(self) -> Sequence[Handle]:
        """Return the handles of this node's machines, by their folders; what was left half-made is cleared away."""
        return await asyncio.to_thread(self._found)

    def _found(self) -> Sequence[Handle]:
        handles: list[Handle] = []
        for path in sorted(self._run_dir.iterdir()):
            if path.name.startswith(_HALF_MADE):
                shutil.rmtree(path)
                continue
            mark = json.loads((path / "mark.json").read_text())
            if {name: mark[name] for name in self._own} == self._own:
                handles.append(mark)
        return handles

    async def ask(self, op: str, **asked: Any) -> dict[str, Any]:
        """Ask the host something and return its answer; raises MachineError where it refuses or is not there."""
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps({"op": op, **asked}).encode() + b"\n")
            told: dict[str, Any] = json.loads(await reader.readline())
        except (OSError, ValueError) as error:
            raise MachineError(Code.INTERNAL, detail=f"the host: {error}") from error
        finally:
            writer.close()
        if "fault" in told:
            raise MachineError(Code.INTERNAL, detail=told["fault"])
        return told

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(os.fspath(self._socket), limit=2**20)
        except OSError as error:
            raise MachineError(Code.INTERNAL, detail=f"the host does not answer: {error}") from error


def _end_of(end: Mapping[str, Any] | None) -> MachineEnd:
    if end is None:
        return MachineEnd(None, None)
    return MachineEnd(datetime.fromisoformat(end["at"]), end["code"], end["detail"])


def _make(folder: Path, handle: Handle, doors: Sequence[Door]) -> None:
    """Make a machine's folder, whole or not at all, unless it is there."""
    if folder.exists():
        return
    making = folder.with_name(_HALF_MADE + folder.name)
    shutil.rmtree(making, ignore_errors=True)
    (making / "doors").mkdir(parents=True)
    (making / "mark.json").write_text(json.dumps(dict(handle)))
    (making / "doors.json").write_text(json.dumps(doors))
    making.rename(folder)


def _remove(folder: Path) -> None:
    # the mark last: by it what a kill leaves here is found again
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "doors")
    shutil.rmtree(folder, ignore_errors=True)
