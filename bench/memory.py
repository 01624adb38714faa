"""c: the memory of a machine that waits for its person, alone and among twenty, beside bare sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable

from tests.acceptance.processes import Process
from tests.acceptance.service import Found, Service

from bench.bare import Vendor, several
from bench.connect import BARE, Visit, demo
from bench.figures import Figure, Size, Target, say
from bench.processes import pss_mib, tree

MANY = 20
OVERHEAD_MIB = 20
_SETTLED_MIB = 1.0
_LOOK_S = 1.0
_LOOKS = 15
_PROVIDERS = ("codex", "claude_code", "gemini")


class Parts:
    """What the processes of some machines take, in MiB."""

    def __init__(self, machines: Iterable[Found]) -> None:
        everything = [tree(machine.keeper) for machine in machines]
        self.count = len(everything)
        self.keeper = pss_mib(group[0].pid for group in everything)
        inside = [process for group in everything for process in group[1:]]
        cli = _with_children(inside, lambda one: one.argv[0].startswith("/opt/cli/") or "/opt/cli/" in one.line)
        self.cli = pss_mib(cli)
        self.agent = pss_mib(one.pid for one in inside if "/opt/antechamber/guest" in one.argv)
        self.whole = self.keeper + pss_mib(one.pid for one in inside)


def _with_children(processes: list[Process], chosen) -> set[int]:
    found = {one.pid for one in processes if chosen(one) and not one.argv[0].endswith("bwrap")}
    while more := {one.pid for one in processes if one.parent in found} - found:
        found |= more
    return found


async def settled(look) -> float:
    """Return what `look` finds once it no longer changes."""
    before = await asyncio.to_thread(look)
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_S)
        now = await asyncio.to_thread(look)
        if abs(now - before) < _SETTLED_MIB:
            return now
        before = now
    return before


async def run(size: Size) -> list[Figure]:
    """Measure."""
    many = size.of(MANY, 2)
    turns = size.of(2)
    wholes = {name: _figure(f"a waiting machine, alone, {name}", BARE) for name in _PROVIDERS}
    overs = {
        name: Figure(
            "c",
            f"a machine less a bare sandbox and its CLI, alone, {name}",
            "MiB",
            targets=(Target("median", OVERHEAD_MIB),),
        )
        for name in _PROVIDERS
    }
    clis = {name: _figure(f"of that the CLI itself, {name}") for name in _PROVIDERS}
    agent, keeper = _figure("of that our agent in the machine"), _figure("of that our keeper")
    each = _figure(f"each of {many} waiting machines, codex", f"each of {many} bare sandboxes")
    each_over = Figure(
        "c",
        f"each of {many} less a bare sandbox and its CLI, codex",
        "MiB",
        targets=(Target("median", OVERHEAD_MIB),),
    )
    service_alone, service_many = _figure("the service, idle"), _figure(f"the service with {many} waiting machines")
    async with demo(nobody_came_s=900) as service:
        standin = await service.standin()
        vendor = Vendor(standin.folder)
        async with vendor.serving():
            service_alone.ours.append(await settled(lambda: pss_mib([service.pid])))
            for turn in range(turns):
                for provider in _PROVIDERS:
                    say(f"c: {provider} alone, {turn + 1}")
                    theirs = await _bare(standin, vendor, 1)
                    parts = await _machines(service, provider, 1, f"alone-{turn}")
                    wholes[provider].ours.append(parts.whole)
                    wholes[provider].theirs.append(theirs)
                    overs[provider].ours.append(parts.whole - theirs - parts.cli)
                    clis[provider].ours.append(parts.cli)
                    agent.ours.append(parts.agent)
                    keeper.ours.append(parts.keeper)
            for turn in range(size.of(3)):
                say(f"c: {many} bare sandboxes, {turn + 1}")
                theirs = await _bare(standin, vendor, many) / many
                say(f"c: {many} machines, {turn + 1}")
                parts = await _machines(service, "codex", many, f"many-{turn}", service_many)
                each.ours.append(parts.whole / many)
                each.theirs.append(theirs)
                each_over.ours.append((parts.whole - parts.cli) / many - theirs)
    figures = [*wholes.values(), *overs.values(), *clis.values(), agent, keeper, each, each_over]
    return [*figures, service_alone, service_many]


def _figure(name: str, peer: str = "") -> Figure:
    return Figure("c", name, "MiB", peer=peer)


async def _bare(standin, vendor: Vendor, count: int) -> float:
    bares = await several(standin, vendor, count)
    try:
        return await settled(lambda: pss_mib(one.pid for bare in bares for one in tree(bare.pid)))
    finally:
        await asyncio.gather(*(bare.end() for bare in bares))


async def _machines(
    service: Service, provider: str, count: int, name: str, service_figure: Figure | None = None
) -> Parts:
    async with contextlib.AsyncExitStack() as stack:
        visits = []
        for number in range(count):
            visit = await stack.enter_async_context(Visit(service, provider, f"{name}-{number}"))
            await visit.painted()
            visits.append(visit)
        machines = [await service.machine_of(visit.session_id) for visit in visits]
        await settled(lambda: pss_mib(one.pid for machine in machines for one in tree(machine.keeper)))
        parts = await asyncio.to_thread(Parts, machines)
        if service_figure is not None:
            service_figure.ours.append(await asyncio.to_thread(pss_mib, [service.pid]))
        await asyncio.gather(*(visit.end() for visit in visits))
    return parts


def possible() -> str:
    """Return why this cannot be measured here, or nothing."""
    return "" if os.geteuid() == 0 else "other processes' memory is only root's to read"
