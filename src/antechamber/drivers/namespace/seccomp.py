"""The system calls that nothing in a machine needs and that kernels have been broken by.

A deny list, not an allow list: Chromium and three vendors' runtimes run under it, and Chromium adds its own, much
narrower, filter for its renderers. User namespaces stay allowed, because Chromium's own sandbox is made of them.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import Final

_NOT_PERMITTED: Final = (
    # mounts
    "mount", "umount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "swapon", "swapoff", "quotactl", "quotactl_fd",
    # other processes, other namespaces
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "setns", "pidfd_getfd",
    # large and lightly trodden parts of the kernel
    "bpf", "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie", "vmsplice", "move_pages",
    "migrate_pages", "mbind", "set_mempolicy",
    # keys are not namespaced
    "keyctl", "add_key", "request_key",
    # the host itself
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "acct", "syslog",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "open_by_handle_at",
    "name_to_handle_at", "vhangup", "uselib", "nfsservctl", "modify_ldt",
)  # fmt: skip
_NOT_IMPLEMENTED: Final = ("io_uring_setup", "io_uring_enter", "io_uring_register")
"""Node and others try these and take the answer "no such call" well."""

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_FAMILIES: Final = (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)
_NETLINK_PROTOCOLS: Final = range(32)
"""The kernel knows no more (MAX_LINKS in include/uapi/linux/netlink.h)."""
_NETLINK_ALLOWED: Final = (0, 15)
"""Routes, which name resolution and Chromium ask for, and the kernel's events of devices, which libudev listens to."""
_TIOCSTI: Final = 0x5412
_TIOCLINUX: Final = 0x541C
_INT: Final = 0xFFFF_FFFF
"""The kernel reads these arguments as 32 bits; a comparison of all 64 is walked around by the upper ones."""


@cache
def program() -> bytes:
    """Return the filter as a BPF program for bubblewrap's --seccomp; raises ImportError where libseccomp is missing."""
    import pyseccomp  # noqa: PLC0415 - looks for libseccomp.so.2 when imported; `check` wants to say so itself

    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    for names, number in ((_NOT_PERMITTED, errno.EPERM), (_NOT_IMPLEMENTED, errno.ENOSYS)):
        for name in names:
            if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:
                rules.add_rule(pyseccomp.ERRNO(number), name)
    for request in (_TIOCSTI, _TIOCLINUX):
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _INT, request))
    for call in ("socket", "socketpair"):
        for family in range(max(_FAMILIES)):
            if family not in _FAMILIES:
                rules.add_rule(
                    pyseccomp.ERRNO(errno.EAFNOSUPPORT), call, pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _INT, family)
                )
        rules.add_rule(pyseccomp.ERRNO(errno.EAFNOSUPPORT), call, pyseccomp.Arg(0, pyseccomp.GT, max(_FAMILIES)))
    for protocol in _NETLINK_PROTOCOLS:
        if protocol not in _NETLINK_ALLOWED:
            rules.add_rule(
                pyseccomp.ERRNO(errno.EPROTONOSUPPORT),
                "socket",
                pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _INT, _AF_NETLINK),
                pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _INT, protocol),
            )
    with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
