"""What `doctor` asks of the namespace driver: a tiny machine is started; what fails has its remedy."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import AntechamberError, OperatorError
from antechamber.machine import Check, Door, Limits, MachineSpec
from antechamber.model import IdPrefix, new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.drivers.namespace.driver import NamespaceDriver
    from antechamber.drivers.namespace.uids import Uids

_STOP: Final = timedelta(seconds=10)
_ANSWER_BYTES: Final = 65_536
_PROGRAMS: Final = (
    ("/usr/bin/bwrap", "bubblewrap"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/Xtigervnc", "tigervnc-standalone-server"),
    ("/usr/bin/openbox", "openbox"),
    ("/usr/bin/chromium", "chromium"),
)
_APPARMOR: Final = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE: Final = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAX: Final = Path("/proc/sys/user/max_user_namespaces")

_PROBE: Final = """
import json, os, socket, subprocess
def nested():
    tried = subprocess.run(["/usr/bin/unshare", "--user", "--map-root-user", "--pid", "--net", "--fork", "true"],
                           capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""
def port():
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.bind(("127.0.0.1", 53))
    except OSError as error: return str(error)
    return ""
interfaces = sorted(name for _, name in socket.if_nameindex())
shm = os.statvfs("/dev/shm")
found = {"nested": nested(), "port": port(), "interfaces": interfaces, "shm": shm.f_blocks * shm.f_frsize,
         "seccomp": [l.split()[1] for l in open("/proc/self/status") if l.startswith("Seccomp:")]}
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/doors/link.sock")
    s.sendall(json.dumps(found).encode())
"""


async def run(driver: NamespaceDriver, uids: Uids) -> Sequence[Check]:
    """Return every check; the machine's own are left out when a program for it is missing."""
    checks = [_program(path, package) for path, package in _PROGRAMS]
    checks.append(_libseccomp())
    if all(check.ok for check in checks[:3]) and checks[-1].ok:
        checks += await _machine(driver)
    checks.append(
        Check(
            "memory limit",
            ok=True,
            message=f"a machine's keeper ends it when it holds more than {Limits().memory_bytes >> 20} MiB of memory",
            fatal=False,
        )
    )
    checks.append(
        Check(
            "processor time",
            ok=False,
            message="the processor time of one machine is not limited by this driver",
            remedy="limit the whole service: CPUQuota= in its unit covers its machines too",
            fatal=False,
            by_nature=True,
        )
    )
    checks.append(
        Check(
            "own uids",
            bool(uids.pool),
            f"each machine has a host uid of its own ({uids.pool[0]} to {uids.pool[-1]})"
            if uids.pool
            else "machines run under this service's own account",
            uids.why_shared,
            fatal=False,
        )
    )
    return checks


def _program(path: str, package: str) -> Check:
    ok = os.access(path, os.X_OK)
    return Check(Path(path).name, ok, path if ok else f"{path} is missing", "" if ok else f"apt-get install {package}")


def _libseccomp() -> Check:
    try:
        import pyseccomp  # noqa: F401, PLC0415 - the import is the check
    except (ImportError, OSError, RuntimeError) as error:
        return Check("seccomp", ok=False, message=str(error), remedy="apt-get install libseccomp2")
    return Check("seccomp", ok=True, message="the deny list can be made")


async def _machine(driver: NamespaceDriver) -> list[Check]:
    handle = None
    try:
        free = driver.host_uids()
        incarnation = new_id(IdPrefix.INCARNATION)
        handle = driver.plan(new_id(IdPrefix.MACHINE), incarnation, host_uid=free[-1] if free else None)
        spec = MachineSpec(
            machine_id=handle["machine"],
            incarnation=incarnation,
            program=("/usr/bin/python3", "-I", "-S", "-c", _PROBE),
            doors=frozenset({Door.LINK}),
        )
        machine = await driver.start(spec, handle)
        found: dict[str, Any] = {}
        try:
            async for stream in machine.accept(Door.LINK):
                found = json.loads(await stream.reader.read(_ANSWER_BYTES) or b"{}")
                stream.writer.close()
                break
        finally:
            await machine.stop(within=_STOP)
            await machine.let_go()
            await driver.reap(handle)
    except (AntechamberError, OSError, ValueError) as error:
        return [_did_not_start(error)]
    if not found:
        return [Check("machine", ok=False, message="a machine started and said nothing", remedy="look at the log")]
    return _judge(found)


def _judge(found: dict[str, Any]) -> list[Check]:
    nested, port = found["nested"], found["port"]
    return [
        Check("machine", ok=True, message="a machine starts and reaches its door"),
        Check(
            "browser sandbox",
            not nested,
            f"user namespaces cannot be nested: {nested}" if nested else "user namespaces can be nested",
            _userns_remedy() if nested else "",
        ),
        Check(
            "DNS port",
            not port,
            f"port 53 in a machine: {port}" if port else "the machine's DNS has its port",
            "in a container: run it with --security-opt systempaths=unconfined" if port else "",
        ),
        Check(
            "no network", found["interfaces"] == ["lo"], f"interfaces in a machine: {', '.join(found['interfaces'])}"
        ),
        Check("system call filter", found["seccomp"] == ["2"], "a machine's programs are filtered"),
    ]


def _did_not_start(error: Exception) -> Check:
    if isinstance(error, OperatorError):
        return Check("machine", ok=False, message=f"a machine did not start: {error.message}", remedy=error.next)
    detail = getattr(error, "detail", "") or str(error)
    return Check("machine", ok=False, message=f"a machine did not start: {detail}", remedy=_remedy(detail))


def _remedy(detail: str) -> str:
    if "source path" in detail:
        return "let every folder above it be entered by others (chmod o+x), or choose another directory"
    if "proc" in detail and "mount" in detail.lower():
        return "in a container: run it with --security-opt systempaths=unconfined"
    if "ip_unprivileged_port_start" in detail:
        return "in a container: run it with --security-opt systempaths=unconfined"
    return _userns_remedy()


def _userns_remedy() -> str:
    if _reads(_APPARMOR) == "1":
        return "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows userns"
    if _reads(_CLONE) == "0":
        return "sysctl -w kernel.unprivileged_userns_clone=1"
    if _reads(_MAX) == "0":
        return "sysctl -w user.max_user_namespaces=10000"
    if Path("/.dockerenv").exists() or shutil.which("systemd-detect-virt") is None:
        return "in a container: run it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    return "allow user namespaces on this host (sysctl -a | grep -e userns -e user_namespaces shows what forbids them)"


def _reads(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
