"""The suite: one machine that tries to get out, another beside it, and what both ends say of each attempt."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import Code, MachineError, OperatorError
from antechamber.isolation import attempts, bombs, floods, ways_out
from antechamber.isolation.catalogue import CATALOGUE, Wall
from antechamber.isolation.targets import can_be_reached, planted
from antechamber.machine import Door, Limits, MachineSpec, Mount
from antechamber.model import GuestText, IdPrefix, new_id
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from antechamber.egress import Egress, Policy
    from antechamber.machine import Driver, Machine

_PROGRAMS: Final = Path("/opt/isolation")
_WITHIN: Final = timedelta(seconds=180)
_STOP: Final = timedelta(seconds=20)
_LITTLE: Final = Limits(memory_bytes=floods.MEMORY_BYTES)
_LONGEST_LINE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one attempt."""

    name: str
    wall: str
    attempt: str
    expected: str
    refused: bool
    saw: str
    """What the machine was told, or what the host saw of it; foreign text, cleaned."""


async def prove(
    driver: Driver,
    run_dir: Path,
    *,
    policy: Policy | None = None,
    named: Collection[str] = tuple(bombs.BOMBS),
    limits: Limits | None = None,
    network: type[ways_out.MadeUp] = ways_out.MadeUp,
    ends: type[floods.Ends] = floods.Ends,
) -> Sequence[Finding]:
    """Run every attempt in a machine of that driver, beside another one, and return what became of each.

    For tests, which open a wall to see that it is seen: `policy`, `limits`, `network` and `ends` are others than
    every machine's, and `named` are the bombs that are tried. Raises OperatorError when it cannot be told:
    nothing could be started, or what is to be reached was not there; MachineError when the machine did not come so far.
    """
    if driver.capabilities.isolation == "none":
        raise OperatorError(Code.DRIVER_UNAVAILABLE, message=f"The driver {driver.name} isolates nothing.")
    with tempfile.TemporaryDirectory(prefix="isolation-", dir=run_dir) as made:
        program, reachable = _folders(Path(made))
        async with planted(reachable) as targets:
            if missing := await can_be_reached(targets):
                raise OperatorError(
                    Code.INTERNAL, message=f"On the host itself this cannot be reached: {', '.join(missing)}."
                )
            async with _started(driver, program, limits=Limits()) as neighbour:
                led = ways_out.leads()
                told = {
                    **targets.described(),
                    "neighbour": str(neighbour.handle["incarnation"]),
                    "neighbour_folder": str(neighbour.handle.get("folder", "")),
                    "egress": ways_out.requests(led),
                    "attempts": list(attempts.ATTEMPTS),
                }
                made_up = network.of(led)
                async with _started(driver, program, json.dumps(told), limits=limits or Limits()) as machine:
                    said = await _heard(machine, ways_out.egress(made_up, policy))
                start = partial(_started, driver, program, file="bombs.py", limits=limits or _LITTLE)
                went_off = await _went_off(start, named, neighbour, lambda: ways_out.egress(network.of({})), ends)
            return [*_findings(said, targets.reached, made_up.connected), *went_off]


async def _went_off(
    start: Callable[..., AbstractAsyncContextManager[Machine]],
    named: Collection[str],
    neighbour: Machine,
    way_out: Callable[[], Egress],
    ends: type[floods.Ends],
) -> Sequence[Finding]:
    """Return what became of each of the bombs of these names, in a machine of its own beside that one."""
    found = []
    beside = await floods.Neighbour.of(neighbour, way_out())
    try:
        for one in CATALOGUE:
            if one.name in named:
                async with start(one.name, json.dumps(floods.told(beside))) as machine:
                    felt = await floods.felt(machine, ends(machine, way_out(), beside), beside)
                saw = GuestText(felt.saw())
                found.append(Finding(one.name, one.wall, one.attempt, one.expected, felt.refused(one), saw))
    finally:
        await beside.close()
    return found


def _folders(made: Path) -> tuple[Path, Path]:
    """Return one with the program, and an empty one; machines, which are of other accounts, may enter both."""
    program, reachable = made / "program", made / "host"
    for folder in (made, program, reachable):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    for source in map(Path, (attempts.__file__, bombs.__file__)):
        shutil.copyfile(source, program / source.name)
        (program / source.name).chmod(0o644)
    return program, reachable


@contextlib.asynccontextmanager
async def _started(
    driver: Driver, program: Path, *words: str, limits: Limits, file: str = "attempts.py"
) -> AsyncIterator[Machine]:
    machine_id, incarnation = new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION)
    uids = driver.host_uids()
    uid = next((one for one in uids if driver.reserve(one)), None)
    if uids and uid is None:
        raise OperatorError(Code.DRIVER_UNAVAILABLE, message="No host uid is free for a machine.")
    handle = driver.plan(machine_id, incarnation, host_uid=uid)
    spec = MachineSpec(
        machine_id=machine_id,
        incarnation=incarnation,
        program=("/usr/bin/python3", "-I", "-S", str(_PROGRAMS / file), *words),
        mounts=(Mount(program, str(_PROGRAMS)),),
        limits=limits,
    )
    try:
        machine = await driver.start(spec, handle)
    except BaseException:
        if uid is not None:
            driver.give_back(uid)
        raise
    try:
        yield machine
    finally:
        await machine.stop(within=_STOP)
        await machine.let_go()
        await driver.reap(handle)


async def _heard(machine: Machine, way_out: Egress) -> dict[str, dict[str, Any]]:
    """Return what the machine says of each attempt, by its name; raises MachineError where it ends before the last."""
    serving = spawn("isolation egress", ways_out.serve(machine, way_out))
    said: dict[str, dict[str, Any]] = {}
    try:
        async with asyncio.timeout(_WITHIN.total_seconds()):
            link = await anext(machine.accept(Door.LINK))
            while "done" not in said:
                line = await link.reader.readline()
                if not line.endswith(b"\n") or len(line) > _LONGEST_LINE:
                    raise MachineError(Code.MACHINE_ENDED, detail=f"the machine ended after {len(said)} attempts")
                found = json.loads(line)
                said[found["name"]] = found
            link.writer.close()
    except TimeoutError as error:
        detail = f"{len(said)} attempts were told, the last was {list(said)[-1] if said else 'none'}"
        raise MachineError(Code.MACHINE_DID_NOT_START, detail=detail) from error
    finally:
        way_out.close()
        await cancel_and_wait(serving)
    return said


def _findings(said: dict[str, dict[str, Any]], reached: set[str], connected: Sequence[str]) -> Sequence[Finding]:
    if said["public 0"]["saw"] != "ok":
        # a door that is shut for all proves nothing
        message = "The way out let nobody through, so what it refuses cannot be told."
        raise OperatorError(Code.INTERNAL, message=message, detail=str(said["public 0"]["saw"]))
    found = []
    for one in CATALOGUE:
        if one.name in bombs.BOMBS:
            continue
        told = [said[name] for name in said if name == one.name or name.rpartition(" ")[0] == one.name]
        refused = bool(told) and all(line["refused"] for line in told) and one.name not in reached
        saw = [GuestText(str(line["saw"])) for line in told]
        found.append(
            Finding(one.name, one.wall, one.attempt, one.expected, refused, "; ".join(dict.fromkeys(saw)) or "nothing")
        )
    # once for the public name; whatever else was connected to, no attempt may be called refused
    if len(connected) != 1:
        found = [
            Finding(one.name, one.wall, one.attempt, one.expected, refused=False, saw=f"connected to {connected}")
            if one.wall is Wall.EGRESS
            else one
            for one in found
        ]
    return found
