"""What is attempted from inside a machine: at which wall, and what has to become of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Wall(StrEnum):
    """What stands in the way, as docs/threat-model.md names it."""

    FILES = "files of the host"
    PROCESSES = "processes of the host and of other machines"
    KERNEL = "the kernel"
    NETWORK = "the network"
    DOORS = "the doors"
    EGRESS = "the way out"
    SHARE = "its share of the host"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt."""

    name: str
    wall: Wall
    attempt: str
    """What is tried, in a sentence."""
    expected: str
    """What has to become of it."""
    breaks: bool = False
    """Whether the service has to end its machine, as one that breaks the protocol."""
    must_not_report: bool = False
    """Whether no report may be taken from it: one would be in another's name, or of what it must not have got."""


W = Wall
_NOT_THERE: Final = "it is not there"
_NOT_PERMITTED: Final = "the kernel does not let it"
_NOBODY: Final = "it is answered as a name that does not exist, and nothing is connected to"

_INSIDE: Final = (
    Attempt("host_file", W.FILES, "Read a file of the host that everybody there may read.", _NOT_THERE),
    Attempt("host_folders", W.FILES, "Find /root, /srv, /boot, /media or another folder of the host.", _NOT_THERE),
    Attempt("system_files", W.FILES, "Write to /usr, /lib, /etc or the list of accounts.", "it is read-only"),
    Attempt(
        "open_files",
        W.FILES,
        "Open anew, for writing, any file that any process in the machine has open.",
        "no process has one of the host's open",
    ),
    Attempt("handles", W.FILES, "Open a file by its number on the disk (open_by_handle_at).", _NOT_PERMITTED),
    Attempt("set_user_id", W.FILES, "Become root by a set-user-id program.", "no program gains a right"),
    Attempt("host_processes", W.PROCESSES, "See a process of the host in /proc.", _NOT_THERE),
    Attempt("other_machine", W.PROCESSES, "See another machine's process, or its folder.", _NOT_THERE),
    Attempt("host_signal", W.PROCESSES, "Send a signal to a process of the host.", _NOT_THERE),
    Attempt("trace", W.PROCESSES, "Trace a process (ptrace).", _NOT_PERMITTED),
    Attempt("foreign_memory", W.PROCESSES, "Read another process's memory (process_vm_readv).", _NOT_PERMITTED),
    Attempt("foreign_descriptor", W.PROCESSES, "Take a descriptor of another process (pidfd_getfd).", _NOT_PERMITTED),
    Attempt("mount", W.KERNEL, "Mount something.", _NOT_PERMITTED),
    Attempt("nested_mount", W.KERNEL, "Mount something as root of a user namespace of its own.", _NOT_PERMITTED),
    Attempt("namespaces", W.KERNEL, "Enter another process's namespaces (setns).", _NOT_PERMITTED),
    Attempt("keys", W.KERNEL, "Reach the kernel's keys (keyctl).", _NOT_PERMITTED),
    Attempt("terminal", W.KERNEL, "Type into the terminal that started it (TIOCSTI).", _NOT_PERMITTED),
    Attempt("kernel_settings", W.KERNEL, "Write to /proc/sys, or to sysrq-trigger.", "it is read-only"),
    Attempt("kernel_memory", W.KERNEL, "Read /proc/kcore, /dev/mem or the kernel's log.", _NOT_PERMITTED),
    Attempt("sys_files", W.KERNEL, "Find /sys.", _NOT_THERE),
    Attempt("devices", W.KERNEL, "Find a disk, /dev/kvm or /dev/fuse, or make a device node.", _NOT_PERMITTED),
    Attempt(
        "wide_calls",
        W.KERNEL,
        "Use bpf, perf_event_open, userfaultfd, io_uring or modify_ldt.",
        "each is refused, or not there",
    ),
    Attempt("host_time", W.KERNEL, "Set the clock, load a kernel or a module.", _NOT_PERMITTED),
    Attempt("interfaces", W.NETWORK, "Find a network card.", _NOT_THERE),
    Attempt("outside", W.NETWORK, "Find a route to any address, of IPv4 or IPv6.", _NOT_THERE),
    Attempt("host_loopback", W.NETWORK, "Connect to what listens on the host's loopback.", "it is another loopback"),
    Attempt("host_socket", W.NETWORK, "Connect to a unix socket of the host, by its path.", _NOT_THERE),
    Attempt("abstract_socket", W.NETWORK, "Connect to an abstract unix socket of the host.", _NOT_THERE),
    Attempt("raw_packets", W.NETWORK, "Open a raw or packet socket.", _NOT_PERMITTED),
    Attempt("odd_families", W.NETWORK, "Open sockets of vsock, crypto and other families.", _NOT_PERMITTED),
    Attempt("routes", W.NETWORK, "Take the loopback down, as root of a namespace of its own too.", _NOT_PERMITTED),
    Attempt("door_link", W.DOORS, "Put a symlink beside the doors, or move or change one.", "it is read-only"),
    Attempt("foreign_door", W.DOORS, "Dial another machine's door by its path on the host.", _NOT_THERE),
    Attempt("memory_files", W.SHARE, "Write 2 GiB into each file system that can be written.", "it is full before"),
    Attempt("watches", W.SHARE, "Make 4,096 inotify instances.", "it is refused before"),
    Attempt("forks", W.SHARE, "Start 2,048 processes.", "it is refused before, at the machine's own limit"),
)


def _out(name: str, attempt: str, expected: str = _NOBODY) -> Attempt:
    return Attempt(f"egress_{name}", W.EGRESS, attempt, expected)


def _leads(name: str, where: str) -> Attempt:
    return _out(name, f"Ask for a name that leads to {where}.")


_EGRESS: Final = (
    _leads("loopback", "the host's loopback, 127.0.0.1"),
    _leads("loopback_other", "another address of the loopback, 127.9.9.9"),
    _leads("this_host", "0.0.0.0, which is the host itself"),
    _leads("own_address", "an address of the host's own"),
    _leads("own_public", "the public address of this service's own name"),
    _leads("metadata", "a cloud's metadata, 169.254.169.254"),
    _leads("metadata_other", "metadata under other addresses: 100.100.100.200, 192.0.0.192, 168.63.129.16"),
    _leads("link_local", "a link-local address"),
    _leads("private", "private addresses: 10/8, 172.16/12, 192.168/16"),
    _leads("carrier", "carrier-grade NAT, 100.64/10"),
    _leads("multicast", "multicast and broadcast"),
    _leads("reserved", "reserved, benchmark and documentation addresses"),
    _leads("v6_loopback", "::1 and ::"),
    _leads("v6_local", "link-local, site-local and unique local IPv6"),
    _leads("v6_multicast", "IPv6 multicast"),
    _leads("v4_in_6", "127.0.0.1 within IPv6, mapped and compatible"),
    _leads("nat64", "127.0.0.1 by NAT64, the well-known and the local prefix"),
    _leads("6to4", "127.0.0.1 by 6to4"),
    _leads("teredo", "an address by Teredo"),
    _out("own_name", "Ask for this service's own name."),
    _out("localhost", "Ask for localhost, and for names below .local, .internal and .home.arpa."),
    _out("one_label", "Ask for a name of one label."),
    _out("literal", "Ask for addresses instead of names: 127.0.0.1, 0x7f.1, 127.1, 2130706433, [::1]."),
    _out("port", "Ask for ports 22, 25, 0, 65536 and 8080 of a public name."),
    _out("spelling", "Ask for names with escapes, blanks, NUL, a slash, or of 300 characters."),
    _out("oversized", "Send a request of 64 KiB.", "it is not answered"),
    _out("nonsense", "Send what is no request.", "it is not answered, or refused"),
)
_WELL: Final = "another machine is answered in time meanwhile, and the service takes no more memory"
_ENDED: Final = f"the machine is ended as one that breaks the protocol; {_WELL}"
_MEMORY: Final = "the machine is ended before; another machine is answered in time meanwhile"


def _bomb(name: str, wall: Wall, attempt: str, expected: str = _WELL) -> Attempt:
    return Attempt(name, wall, attempt, expected)


def _breaks(name: str, attempt: str, *, must_not_report: bool = False) -> Attempt:
    expected = f"nothing is taken; {_ENDED}" if must_not_report else _ENDED
    return Attempt(name, W.DOORS, attempt, expected, breaks=True, must_not_report=must_not_report)


def _memory(name: str, attempt: str) -> Attempt:
    return Attempt(name, W.SHARE, attempt, _MEMORY, must_not_report=True)


_BOMBS: Final = (
    _memory("memory_pages", "Take 1.5 GiB of memory, eight times what it may."),
    _memory("memory_unnamed", "Take it as a file without a name, which no process has mapped."),
    _memory("memory_family", "Take it in sixteen processes."),
    _bomb("processors", W.SHARE, "Keep every processor busy with 64 processes.", "another machine is answered in time"),
    _bomb("egress_silent", W.EGRESS, "Connect up to 4,096 times and say nothing."),
    _bomb("egress_half", W.EGRESS, "Connect up to 4,096 times and say half of a request."),
    _bomb("egress_requests", W.EGRESS, "Ask up to 10,000 times for a name, sixteen at once."),
    _bomb("egress_names", W.EGRESS, "Ask for up to 10,000 names, sixteen at once."),
    _bomb("link_silent", W.DOORS, "Dial the link up to 4,096 times and say nothing."),
    _breaks("link_oversized", "Begin a frame of 2 GiB on the link."),
    _breaks("link_nonsense", "Send what is no frame on the link."),
    _breaks("link_other", "Report on the link in another machine's name.", must_not_report=True),
    _breaks("link_reports", "Report without end."),
    _bomb("screen_silent", W.DOORS, "Dial the screen's door up to 4,096 times."),
    _bomb("screen_sizes", W.DOORS, "Be a screen that has ever another size, of 65,535 by 65,535."),
    _bomb("screen_rectangles", W.DOORS, "Be a screen with pictures larger than it, of an unknown encoding."),
    _bomb("screen_endless", W.DOORS, "Be a screen with a clipboard of 4 GiB."),
)
CATALOGUE: Final = (*_INSIDE, *_EGRESS, *_BOMBS)
"""Every attempt, in the order in which they are told."""
