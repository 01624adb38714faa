"""The keeper's child between fork and exec: another uid, a user and a network namespace, the program.

The layers, outermost first: the machine's host uid; a user namespace with that uid as its root, which owns a network
namespace that has `lo` and nothing else; in it, bubblewrap's own namespaces, without any capability over that network.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys

from antechamber.keeper import kernel

STARTED_FD = 3
"""The machine's first shell writes a byte here when everything of bubblewrap's has succeeded."""
STATUS_FD = 4
SECCOMP_FD = 5
ALIVE_FD = 6
"""A bound socket that the machine's first process keeps, by which its life shows when the keeper is gone.

A socket, because what that process has open can be opened anew from inside by /proc/1/fd: a file of the host's could be
written then, and a pipe's end be sent elsewhere; a socket cannot be opened by a path.
"""
ARGS_FD = 7
"""bubblewrap's options: on its command line, which shows inside, they would tell the host's paths."""

TYPE_CHECKING = False  # typing itself would cost each machine 5 ms
if TYPE_CHECKING:
    from typing import Any

_PARKED = 32
_FIRST_DNS_PORT = 53
_OOM_SCORE = 200
"""When the host runs out of memory, machines go before the service."""


def launch(plan: dict[str, Any], descriptors: dict[int, int], output: int, mapped: tuple[int, int] | None) -> int:
    """Fork and start the plan's program; return the child's pid.

    `descriptors` says which of the keeper's descriptors the child has as number 3 and on; `output` becomes its stdout
    and stderr. `mapped` is, where the machine has a subordinate uid, a pipe to say "unshared" and one to read
    "mapped" from. A child that fails before exec says why on `output` and exits with 125.
    """
    keeper = os.getpid()
    pid = os.fork()
    if pid != 0:
        return pid
    try:
        _arrange(descriptors, output, mapped)
        _enter(plan, keeper, (_PARKED + 20, _PARKED + 21) if mapped else None)
        os.execve(plan["argv"][0], plan["argv"], {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})  # noqa: S606 - a list, no shell
    except BaseException as error:  # noqa: BLE001 - whatever it is, the child must never return into the keeper's loop
        os.write(2, f"antechamber: {error}\n".encode())
    os._exit(125)


def _arrange(descriptors: dict[int, int], output: int, mapped: tuple[int, int] | None) -> None:
    # first out of the way, then into place: a source may lie on another's target
    parked = {target: fcntl.fcntl(source, fcntl.F_DUPFD, _PARKED + 40) for target, source in descriptors.items()}
    parked_output = fcntl.fcntl(output, fcntl.F_DUPFD, _PARKED + 40)
    parked_mapped = [fcntl.fcntl(end, fcntl.F_DUPFD, _PARKED + 40) for end in mapped or ()]
    os.dup2(parked_output, 1)
    os.dup2(parked_output, 2)
    for target, source in parked.items():
        os.dup2(source, target)
    kept = set(descriptors)
    for number, source in enumerate(parked_mapped):
        os.dup2(source, _PARKED + 20 + number)
        kept.add(_PARKED + 20 + number)
    low = 3
    for keep in sorted(kept):
        os.closerange(low, keep)
        low = keep + 1
    os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _enter(plan: dict[str, Any], keeper: int, mapped: tuple[int, int] | None) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.umask(0o022)
    # 1 and not 0: a core_pattern with a pipe takes no notice of 0, and a core holds credentials
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    _write("/proc/self/oom_score_adj", str(_OOM_SCORE))
    if mapped:
        _enter_subordinate(mapped)
    uid = plan["uid"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        # a change of uid makes /proc/self root's, and then its own uid_map could not be written
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    own_uid, own_gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {own_uid} 1")
    _write("/proc/self/gid_map", f"0 {own_gid} 1")
    # a change of credentials clears it, so only now; the keeper may have gone before it was set
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        sys.exit("the keeper is gone")
    kernel.set_loopback_up()
    _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", str(_FIRST_DNS_PORT))


def _enter_subordinate(mapped: tuple[int, int]) -> None:
    say, hear = mapped
    kernel.unshare(kernel.CLONE_NEWUSER)
    os.write(say, b"u")
    if os.read(hear, 1) != b"m":
        sys.exit("the subordinate uids could not be mapped")
    os.close(say)
    os.close(hear)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
