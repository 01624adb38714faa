"""What the service needs, each thing looked at by trying it, with the remedy for what is missing."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antechamber import app, control
from antechamber.errors import AntechamberError, Code, OperatorError, VaultError
from antechamber.isolation import prove
from antechamber.machine import Check
from antechamber.model import IdPrefix, new_id
from antechamber.openid import WAY_BACK, issuer_of, well_known
from antechamber.places import LEAST_FREE, Places, place, prepare
from antechamber.providers import Providers, install
from antechamber.settings import unknown_names
from antechamber.store import Store, file_url
from antechamber.vault import Vault, at_the_root, roots_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.isolation import Finding
    from antechamber.settings import Settings
    from antechamber.vault import Root

_ROOT: Final = Path("/")
_PAGE_BYTES: Final = 4096
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


async def examine(settings: Settings) -> Sequence[Check]:
    """Return every check of this host, in the order in which they depend on one another."""
    checks = [Check("settings", ok=False, message=said, fatal=False) for said in unknown_names(os.environ)]
    checks.append(
        Check(
            "certificates",
            ok=_AUTHORITIES.is_file(),
            message=f"the public authorities in {_AUTHORITIES}",
            remedy="apt-get install --no-install-recommends ca-certificates",
        )
    )
    try:
        places = place(settings)
        prepare(places)
    except OperatorError as error:
        return [*checks, _fault("folders", error)]
    checks.append(Check("folders", ok=True, message=f"data {places.data}, run {places.run}, shared {places.shared}"))
    checks += [_room(places), _swap(), _dumps()]
    checks += await _roots(settings, places)
    database = await _database(settings, places)
    checks += [database, *(await _audit(settings, places) if database.ok else ()), await _service(places)]
    checks += await _issuer(settings)
    checks += await asyncio.to_thread(_tools, settings, places)
    checks += await _drivers(settings, places)
    return checks


async def isolation(settings: Settings) -> tuple[str, Sequence[Finding]]:
    """Try to get out of a machine of the driver that a service would take here; return its name and the findings.

    Raises OperatorError where no machine can be started, or it cannot be told.
    """
    places = place(settings)
    prepare(places)
    # of no installation: a service that runs here clears away what is its own, and this is not
    drivers = app.drivers_of(settings, places, new_id(IdPrefix.INSTALLATION), new_id(IdPrefix.NODE))
    driver, _ = await app.choose_driver(drivers)
    return driver.name, await prove(driver, places.run)


def _fault(name: str, error: AntechamberError, *, fatal: bool = True) -> Check:
    message = f"{error.message} ({error.detail})" if error.detail else error.message
    return Check(name, ok=False, message=message, remedy=error.next, fatal=fatal)


def _room(places: Places) -> Check:
    free = shutil.disk_usage(places.data).free
    message = f"{free / 2**30:.1f} GiB free for the data directory"
    return Check("disk", ok=free > LEAST_FREE, message=message, remedy="Make room.", fatal=False)


def _swap(root: Path = _ROOT) -> Check:
    """Look for swap that keeps what was in memory, an opened credential or the vault's key, on a disk in the clear."""
    try:
        lines = (root / "proc/swaps").read_text().splitlines()[1:]
    except OSError as error:
        return Check("swap", ok=True, message=f"it cannot be told here: {error.strerror}")
    areas = [line.split()[0].encode().decode("unicode_escape") for line in lines if line.strip()]
    if clear := [area for area in areas if not _is_encrypted(root, area)]:
        return Check(
            "swap",
            ok=False,
            message=f"{', '.join(clear)} is not encrypted: what was in memory can be read from the disk later",
            remedy="Encrypt it (`swap` in /etc/crypttab, with a new key at each start), or `swapoff -a`.",
            fatal=False,
        )
    return Check("swap", ok=True, message="encrypted, or in memory" if areas else "there is none")


def _is_encrypted(root: Path, area: str) -> bool:
    # what a link names, such as /dev/mapper/cryptswap; a file on an encrypted disk is not told from another
    name = (root / area.lstrip("/")).resolve().name
    if name.startswith("zram"):
        return True
    try:
        # https://docs.kernel.org/admin-guide/abi-stable-files.html: /sys/block/dm-N/dm/uuid, which cryptsetup begins so
        return (root / "sys/class/block" / name / "dm/uuid").read_text().startswith("CRYPT-")
    except OSError:
        return False


def _dumps(root: Path = _ROOT, limit: int | None = None) -> Check:
    """Look whether a service that crashes leaves its memory in a file, of `limit` bytes at most."""
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_CORE)[0]
    try:
        pattern = (root / "proc/sys/kernel/core_pattern").read_text().strip()
    except OSError as error:
        return Check("core dumps", ok=True, message=f"it cannot be told here: {error.strerror}")
    # a program that takes them is given them whatever the limit is, unless it is 1, and a file of less than a page is
    # not written: the kernel's fs/coredump.c
    taken = pattern.startswith("|") and limit != 1
    if taken or not (pattern.startswith("|") or 0 <= limit < _PAGE_BYTES):
        whose = pattern.split()[0].lstrip("|") if taken else "a file"
        return Check(
            "core dumps",
            ok=False,
            message=f"a service that crashes leaves its memory, with what it has opened, to {whose}",
            remedy="LimitCORE=1 in the unit (deploy/systemd has it), or `ulimit -c 1` before it is started.",
            fatal=False,
        )
    return Check("core dumps", ok=True, message="a service that crashes leaves nothing of its memory")


async def _roots(settings: Settings, places: Places) -> list[Check]:
    try:
        roots = roots_of(settings, places.key)
    except OperatorError as error:
        return [_fault("roots", error)]
    return [await at_the_root(_root_check, root, places, len(roots) == 1) for root in roots]


def _root_check(root: Root, places: Places, alone: bool) -> Check:  # noqa: FBT001 - called by `at_the_root`
    """Look at a root, `alone` or one of several, and where it is elsewhere have it wrap and unwrap something."""
    name = "key file" if root.kind == "file" else f"root {root.kind}"
    if root.kind == "file" and not places.key.exists() and not places.database.exists():
        return Check(name, ok=True, message=f"{places.key} is made at the first start")
    try:
        # which one the database knows is looked at when it starts
        vault = Vault.looked_at(root)
        if root.elsewhere:
            vault.probe(vault.key_id)
    except (OperatorError, VaultError) as error:
        # beside another one a root may have no key: a move has taken the last, or brings the first
        return _fault(name, error, fatal=alone or error.code is not Code.KEY_MISSING)
    said = "it wraps and unwraps" if root.elsewhere else "back it up apart from the database"
    return Check(name, ok=True, message=f"{root.place}: {said}")


async def _database(settings: Settings, places: Places) -> Check:
    try:
        found = await Store.look(settings.database_url or file_url(places.database), world=settings.world)
    except OperatorError as error:
        return _fault("database", error)
    return Check("database", ok=True, message=found)


async def _audit(settings: Settings, places: Places) -> list[Check]:
    try:
        ways = await Store.ways_to_change_audit(app.database_url(settings, places))
    except OperatorError as error:
        return [_fault("audit", error, fatal=False)]
    checks = []
    if ways is not None:
        said = "this service's role can append to it and not change it" if not ways else "; ".join(ways)
        checks.append(
            Check(
                "audit",
                ok=not ways,
                message=said if not ways else f"this service could change it: of its role, {said}",
                remedy="`antechamber database roles` gives it one that cannot, see docs/how-to/postgresql.md",
                fatal=False,
            )
        )
    elif settings.database_url is None or not settings.database_url.startswith("postgres"):
        said = "its lines are kept by triggers; whoever can write the database's file can change it, so export it"
        checks.append(Check("audit", ok=True, message=said))
    if settings.database_owner_url is not None:
        checks.append(
            Check(
                "audit",
                ok=False,
                message="ANTECHAMBER_DATABASE_OWNER_URL is set here, and is for commands alone",
                remedy="keep it out of the service's environment: with it the service could change the audit",
                fatal=False,
            )
        )
    return checks


async def _service(places: Places) -> Check:
    try:
        running = await control.Client(places.control).running()
    except AntechamberError as error:
        return _fault("service", error, fatal=False)
    said = "runs" if running else "does not run"
    return Check("service", ok=True, message=f"it {said} with this data directory")


async def _issuer(settings: Settings) -> list[Check]:
    """Look at the issuer of operators' logins, where there is one; it keeps nothing else from being served."""
    name = "operators' issuer"
    try:
        issuer = issuer_of(settings)
    except OperatorError as error:
        return [_fault(name, error)]
    if issuer is None:
        return []
    try:
        await issuer.look()
    except OperatorError as error:
        remedy = (
            f"ANTECHAMBER_OIDC_ISSUER has to be what {well_known(issuer.url)} says there itself, as this host sees it."
        )
        return [Check(name, ok=False, message=f"{error.message} ({error.detail})", remedy=remedy, fatal=False)]
    back = (settings.dashboard_url or f"http://127.0.0.1:{settings.port}") + WAY_BACK
    return [Check(name, ok=True, message=f"{issuer.url} answers; {back} is to be registered there")]


def _tools(settings: Settings, places: Places) -> list[Check]:
    try:
        specs = Providers.of(settings).all()
    except OperatorError as error:
        return [_fault("provider definitions", error)]
    found: list[Check] = []
    for spec in specs:
        try:
            installed = install.verify(spec, places.shared)
        except AntechamberError as error:
            found.append(_fault(spec.id, error, fatal=False))
        else:
            message = f"{installed.version}, sha256 {installed.sha256[:16]}…"
            found.append(Check(spec.id, ok=True, message=message))
    if not any(check.ok for check in found):
        remedy = "antechamber providers install"
        found.append(Check("providers", ok=False, message="nothing can be signed in to", remedy=remedy))
    return found


async def _drivers(settings: Settings, places: Places) -> Sequence[Check]:
    try:
        drivers = app.drivers_of(settings, places, "doctor", "doctor")
    except OperatorError as error:
        return [_fault("drivers", error)]
    return [check for driver in drivers for check in await driver.check()]
