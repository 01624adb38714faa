"""What the service needs, each thing looked at by trying it, with the remedy for what is missing."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Final

from antechamber.drivers.namespace import NamespaceDriver
from antechamber.errors import AntechamberError, OperatorError
from antechamber.machine import Check
from antechamber.places import Places, place, prepare
from antechamber.providers import Providers, install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.settings import Settings

_PROGRAMS: Final = {
    "bwrap": "bubblewrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "Xtigervnc": "tigervnc-standalone-server",
    "openbox": "openbox",
    "chromium": "chromium",
}
_LEAST_FREE: Final = 2 * 2**30


async def examine(settings: Settings) -> Sequence[Check]:
    """Return every check of this host, in the order in which they depend on one another."""
    checks = [_program(program, package) for program, package in _PROGRAMS.items()]
    try:
        places = place(settings)
        prepare(places)
    except OperatorError as error:
        return [*checks, Check("folders", ok=False, message=error.message, remedy=error.next)]
    checks.append(Check("folders", ok=True, message=f"data {places.data}, run {places.run}, shared {places.shared}"))
    checks.append(_room(places))
    checks += await asyncio.to_thread(_tools, places)
    if all(check.ok for check in checks if check.name in _PROGRAMS):
        checks += await NamespaceDriver(run_dir=places.run, settings=settings, installation="doctor").check()
    return checks


def _program(program: str, package: str) -> Check:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    remedy = f"apt-get install --no-install-recommends {package}"
    return Check(program, ok=found is not None, message=found or "not found", remedy=remedy)


def _room(places: Places) -> Check:
    free = shutil.disk_usage(places.data).free
    message = f"{free / 2**30:.1f} GiB free for the data directory"
    return Check("disk", ok=free > _LEAST_FREE, message=message, remedy="Make room.", fatal=False)


def _tools(places: Places) -> list[Check]:
    checks = []
    try:
        providers = Providers.load()
    except OperatorError as error:
        return [Check("provider definitions", ok=False, message=error.message, remedy=error.next)]
    for spec in providers.all():
        try:
            installed = install.verify(spec, places.shared)
        except AntechamberError as error:
            checks.append(Check(spec.id, ok=False, message=error.message, remedy=error.next, fatal=False))
        else:
            message = f"{installed.version}, sha256 {installed.sha256[:16]}…"
            checks.append(Check(spec.id, ok=True, message=message))
    return checks
