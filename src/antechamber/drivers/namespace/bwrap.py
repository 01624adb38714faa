"""The command line that makes a machine of a spec: bubblewrap's namespaces inside the keeper's own."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antechamber.drivers.namespace import rootfs
from antechamber.errors import Code, MachineError
from antechamber.keeper import launch

if TYPE_CHECKING:
    from antechamber.drivers.keepers import KeptFolder
    from antechamber.machine import MachineSpec

PROGRAM: Final = "/usr/bin/bwrap"
_RUN_BYTES: Final = 64 * 2**20
_VAR_BYTES: Final = 16 * 2**20
_FONT_CACHE: Final = "/var/cache/fontconfig"
_LINKED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_HIDDEN: Final = ("/usr/local", "/usr/src")
"""What an operator puts there is nothing of a machine's."""
_RESERVED: Final = ("/usr", "/etc", "/proc", "/dev", "/run", "/tmp", "/var", "/home")  # noqa: S108 - paths inside the machine

# `ulimit` in here and not outside, where it would count what the host uid has elsewhere; then the keeper is told that
# everything has succeeded, and the program takes the shell's place without that descriptor
_FIRST: Final = f'ulimit -p "$1" && shift && echo >&{launch.STARTED_FD} && exec {launch.STARTED_FD}>&- && exec "$@"'


def command(spec: MachineSpec) -> list[str]:
    """Return bubblewrap's argv, which shows inside as that of process 1; it takes its options from a descriptor."""
    named = ("--setenv", "ANTECHAMBER_INCARNATION", spec.incarnation)
    first = ("/bin/sh", "-c", _FIRST, "sh", str(spec.limits.processes))
    return [PROGRAM, "--args", str(launch.ARGS_FD), *named, "--", *first, *spec.program]


def options(spec: MachineSpec, folder: KeptFolder) -> list[str]:
    """Return bubblewrap's options; raises MachineError for a mount that would cover a part of the machine's own."""
    limits = spec.limits
    argv = [
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"),
        *("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
        *("--uid", str(rootfs.INNER_ID), "--gid", str(rootfs.INNER_ID), "--hostname", rootfs.HOSTNAME),
        *("--json-status-fd", str(launch.STATUS_FD), "--seccomp", str(launch.SECCOMP_FD)),
        *("--sync-fd", str(launch.ALIVE_FD)),
        *_system(folder),
        *_memory("0700", limits.home_bytes, rootfs.HOME),
        *_memory("1777", limits.tmp_bytes, "/tmp"),  # noqa: S108 - the machine's own
        *_memory("0755", _VAR_BYTES, "/var"),
        *_font_cache(),
        *_memory("0755", _RUN_BYTES, "/run"),
        *("--proc", "/proc", "--dev", "/dev"),
        *_memory("1777", limits.shm_bytes, "/dev/shm"),  # noqa: S108 - the machine's own
        *("--perms", "1777", "--dir", "/tmp/.X11-unix"),  # noqa: S108 - the machine's own
        *("--perms", "0700", "--dir", f"/run/user/{rootfs.INNER_ID}"),
        *("--ro-bind", os.fspath(folder.doors), "/run/doors"),
    ]
    for mount in spec.mounts:
        argv += ["--ro-bind", os.fspath(mount.source), _target(mount.target)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": rootfs.HOME,
        "LANG": "C.UTF-8",
        **spec.environment,
    }
    for name, value in environment.items():
        argv += ["--setenv", name, value]
    return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", rootfs.HOME]


def _system(folder: KeptFolder) -> list[str]:
    argv = ["--ro-bind", "/usr", "/usr"]
    for path in _HIDDEN:
        if Path(path).is_dir():
            argv += [*_memory("0755", 4096, path), "--remount-ro", path]
    for name in _LINKED:
        if Path("/", name).is_symlink():
            argv += ["--symlink", f"usr/{name}", f"/{name}"]
        elif Path("/", name).is_dir():
            argv += ["--ro-bind", f"/{name}", f"/{name}"]
    etc = folder.path / "etc"
    argv += ["--ro-bind", os.fspath(etc), "/etc"]
    for name in rootfs.FROM_HOST:
        # looked at on the host: the machine's own /etc may not have been written yet
        if Path("/etc", name).exists():
            argv += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    return argv


def _font_cache() -> list[str]:
    """Bind the host's list of its fonts, which are bound too: without it each machine reads all fonts, for 0.3 s."""
    return ["--ro-bind", _FONT_CACHE, _FONT_CACHE] if Path(_FONT_CACHE).is_dir() else []


def _memory(mode: str, size: int, path: str) -> list[str]:
    return ["--perms", mode, "--size", str(size), "--tmpfs", path]


def _target(target: str) -> str:
    if (
        posixpath.normpath(target) != target
        or not target.startswith("/")
        or target == "/"
        or any(target == reserved or target.startswith(f"{reserved}/") for reserved in _RESERVED)
    ):
        raise MachineError(Code.MACHINE_DID_NOT_START, detail=f"nothing can be mounted at {target}")
    return target
