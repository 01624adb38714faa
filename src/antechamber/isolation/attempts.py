"""The program that tries to get out of a machine: standard library only, run as `python3 -I -S attempts.py TARGETS`.

It dials the link and writes one JSON line for each attempt, `{"name", "refused", "saw"}`, as it goes; those that use
things up come last. What an attempt reaches it changes in no way that lasts, should it ever be let through.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

TYPE_CHECKING = False  # typing itself costs a start 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DOORS = "/run/doors"
MIB = 2**20
BOMB_BYTES = 2048 * MIB
"""More than any of a machine's file systems holds."""
BOMB_PROCESSES = 2048
BOMB_WATCHES = 4096
EGRESS_AT_ONCE = 8
ANSWER_S = 20

CALLS = {
    "x86_64": {
        "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
        "open_by_handle_at": 304, "process_vm_readv": 310, "ptrace": 101, "kexec_load": 246, "init_module": 175,
        "setns": 308, "mount": 165, "syslog": 103, "modify_ldt": 154, "pidfd_getfd": 438,
    },
    "aarch64": {
        "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425,
        "open_by_handle_at": 265, "process_vm_readv": 270, "ptrace": 117, "kexec_load": 104, "init_module": 105,
        "setns": 268, "mount": 40, "syslog": 116, "pidfd_getfd": 438,
    },
}  # fmt: skip
"""Numbers of system calls (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h)."""


class RefusedError(Exception):
    """It was not let through; says how."""


def refuse_unless(reached: object, how: str) -> None:
    """End an attempt as refused where it reached nothing."""
    if not reached:
        raise RefusedError(how)


def call(name: str, *arguments: int) -> None:
    """Make a system call with arguments that do nothing; refused unless the kernel looks at the arguments."""
    number = CALLS.get(os.uname().machine, {}).get(name)
    if number is None:
        raise RefusedError("this processor has no such call")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        code = ctypes.get_errno()
        if code in {errno.EPERM, errno.ENOSYS, errno.EACCES}:
            raise OSError(code, os.strerror(code))


# -- files ------------------------------------------------------------------------------------------------------------


def host_file(targets: dict[str, Any]) -> None:
    """Read a file of the host that everybody there may read."""
    with open(targets["file"]) as file:  # noqa: PTH123 - pathlib would be the only import for it
        refuse_unless(targets["mark"] in file.read(), "another file of that name")


def host_folders(targets: dict[str, Any]) -> None:
    """Find a folder at the root that is a host's and no machine's."""
    del targets
    found = {"root", "srv", "boot", "media", "work", "opt/antechamber-host"} & set(os.listdir("/"))  # noqa: PTH208
    refuse_unless(found, "none is there")


def system_files(targets: dict[str, Any]) -> None:
    """Write where the host's own programs and accounts lie."""
    del targets
    for path in ("/usr/bin/new", "/etc/passwd", "/etc/new", "/lib/new"):
        with contextlib.suppress(OSError):
            new = path.endswith("new")
            os.close(os.open(path, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if new else 0)))
            if new:
                os.unlink(path)  # noqa: PTH108
            return
    raise RefusedError("each was refused")


def open_files(targets: dict[str, Any]) -> None:
    """Open anew, for writing, whatever file any process in here has open."""
    del targets
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
                path = f"/proc/{process}/fd/{number}"
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
                        os.close(os.open(path, os.O_WRONLY))
                        return
    raise RefusedError("none leads to a file that can be written")


def handles(targets: dict[str, Any]) -> None:
    """Open a file by its number on the disk, past every path."""
    del targets
    call("open_by_handle_at", -1, 0, 0)


def set_user_id(targets: dict[str, Any]) -> None:
    """Become root by a program that is root's for whoever runs it."""
    del targets
    with open("/proc/self/status") as file:  # noqa: PTH123
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    refuse_unless(status["NoNewPrivs"] != "1" or status["CapBnd"].strip("0"), "no program gains a right here")


# -- processes --------------------------------------------------------------------------------------------------------


def host_processes(targets: dict[str, Any]) -> None:
    """See a process of the host in /proc."""
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline") as file:  # noqa: PTH123
            if targets["mark"] in file.read().split("\0"):
                return
    raise RefusedError("none is seen")


def other_machine(targets: dict[str, Any]) -> None:
    """See another machine's process, or the folder with its doors."""
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline") as file:  # noqa: PTH123
            said = file.read()
            # whoever started us has our targets among its arguments, as we have
            if targets["neighbour"] in said and targets["mark"] not in said:
                return
    refuse_unless(os.path.exists(targets["neighbour_folder"]), "neither is there")  # noqa: PTH110


def host_signal(targets: dict[str, Any]) -> None:
    """Send a signal, one that does nothing, to a process of the host."""
    _must_be_the_host(targets)
    os.kill(targets["pid"], signal.SIGCONT)


def _must_be_the_host(targets: dict[str, Any]) -> None:
    # that number may be another's in here
    with open(f"/proc/{targets['pid']}/cmdline") as file:  # noqa: PTH123
        refuse_unless(targets["mark"] in file.read().split("\0"), "that number is another process's here")


def trace(targets: dict[str, Any]) -> None:
    """Trace a process: its own parent, which belongs to the same account."""
    del targets
    call("ptrace", 16, os.getppid(), 0, 0)  # PTRACE_ATTACH
    call("ptrace", 17, os.getppid(), 0, 0)  # PTRACE_DETACH


def foreign_memory(targets: dict[str, Any]) -> None:
    """Read the memory of another process."""
    del targets
    call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0)


def foreign_descriptor(targets: dict[str, Any]) -> None:
    """Take a descriptor out of another process."""
    del targets
    call("pidfd_getfd", -1, 0, 0)


# -- the kernel -------------------------------------------------------------------------------------------------------


def mount(targets: dict[str, Any]) -> None:
    """Mount something."""
    del targets
    call("mount", 0, 0, 0, 0, 0)


def nested_mount(targets: dict[str, Any]) -> None:
    """Mount something as root of a user namespace of its own."""
    del targets
    _run("/usr/bin/unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/mnt")


def namespaces(targets: dict[str, Any]) -> None:
    """Enter the namespaces of another process."""
    del targets
    call("setns", -1, 0)


def keys(targets: dict[str, Any]) -> None:
    """Reach the kernel's keys, which no namespace divides."""
    del targets
    call("keyctl", 0, -3, 0)  # KEYCTL_GET_KEYRING_ID of the session's


def terminal(targets: dict[str, Any]) -> None:
    """Type into the terminal by which it was started (TIOCSTI)."""
    del targets
    primary, secondary = os.openpty()
    try:
        fcntl.ioctl(secondary, 0x5412, b"x")
    finally:
        os.close(primary)
        os.close(secondary)


def kernel_settings(targets: dict[str, Any]) -> None:
    """Write one of the kernel's settings, or ask for one of its special keys."""
    del targets
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY))
            return
    raise RefusedError("each was refused")


def kernel_memory(targets: dict[str, Any]) -> None:
    """Read the kernel's memory, its addresses or what it prints."""
    del targets
    for path in ("/proc/kcore", "/dev/mem", "/dev/kmsg", "/dev/kmem"):
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:  # noqa: PTH123
            if file.read(1):
                return
    call("syslog", 10, 0, 0)  # SYSLOG_ACTION_SIZE_BUFFER


def sys_files(targets: dict[str, Any]) -> None:
    """Find the kernel's tree of devices."""
    del targets
    refuse_unless(os.path.isdir("/sys/class") or os.path.isdir("/sys/fs"), "there is no /sys")  # noqa: PTH112


def devices(targets: dict[str, Any]) -> None:
    """Find a device that is more than a stream of bytes, or make one."""
    del targets
    for folder, _, names in os.walk("/dev"):
        for name in names:
            with contextlib.suppress(OSError):
                mode = os.lstat(os.path.join(folder, name)).st_mode  # noqa: PTH118
                if stat.S_ISBLK(mode) or name in {"kvm", "fuse", "mem", "vhost-net", "vsock", "uinput"}:
                    return
    os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(7, 0))  # noqa: S108 - in the machine
    os.close(os.open("/tmp/disk", os.O_RDONLY))  # noqa: S108


def wide_calls(targets: dict[str, Any]) -> None:
    """Use parts of the kernel that have been broken again and again, which nothing here needs."""
    del targets
    tried = {
        "bpf": (-1, 0, 0),
        "perf_event_open": (0, 0, -1, -1, 0),
        "userfaultfd": (-1,),
        "io_uring_setup": (0, 0),
        "modify_ldt": (0, 0, 0),
    }
    for name, arguments in tried.items():
        with contextlib.suppress(OSError, RefusedError):
            call(name, *arguments)
            raise_through(name)
    raise RefusedError("each was refused")


class ThroughError(Exception):
    """It was let through; says where."""


def raise_through(what: str) -> None:
    """End an attempt as one that was let through."""
    raise ThroughError(what)


def host_time(targets: dict[str, Any]) -> None:
    """Set the host's clock to what it is, or its name."""
    del targets
    with contextlib.suppress(OSError):
        time.clock_settime(time.CLOCK_REALTIME, time.time())
        return
    call("kexec_load", 0, 0, 0, -1)
    call("init_module", 0, 0, 0)


# -- the network ------------------------------------------------------------------------------------------------------


def interfaces(targets: dict[str, Any]) -> None:
    """Find a network card."""
    del targets
    refuse_unless([name for _, name in socket.if_nameindex() if name != "lo"], "there is a loopback and no card")


def outside(targets: dict[str, Any]) -> None:
    """Find a way to any address of the world; no packet is sent for it."""
    del targets
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as found:
            found.connect((address, 9))  # looks for a route, and sends nothing
            return
    raise RefusedError("there is no route")


def host_loopback(targets: dict[str, Any]) -> None:
    """Connect to what listens on the host's own loopback."""
    socket.create_connection(("127.0.0.1", targets["port"]), timeout=5).close()


def host_socket(targets: dict[str, Any]) -> None:
    """Connect to a socket of the host, by its path."""
    with socket.socket(socket.AF_UNIX) as found:
        found.connect(targets["socket"])


def abstract_socket(targets: dict[str, Any]) -> None:
    """Connect to a socket of the host that has a name and no path."""
    with socket.socket(socket.AF_UNIX) as found:
        found.connect("\0" + targets["abstract"])


def raw_packets(targets: dict[str, Any]) -> None:
    """Write packets by hand."""
    del targets
    for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
        with contextlib.suppress(OSError):
            socket.socket(family, kind, socket.IPPROTO_ICMP).close()
            return
    raise RefusedError("each was refused")


def odd_families(targets: dict[str, Any]) -> None:
    """Open sockets of families that nothing here needs, the one between a virtual machine and its host among them."""
    del targets
    for family in (socket.AF_VSOCK, socket.AF_ALG, 17, 31, 44):
        with contextlib.suppress(OSError):
            socket.socket(family, socket.SOCK_DGRAM if family != socket.AF_ALG else socket.SOCK_SEQPACKET).close()
            raise_through(f"family {family}")
    raise RefusedError("each was refused")


def routes(targets: dict[str, Any]) -> None:
    """Take the loopback down, as root of a user namespace of its own too."""
    del targets
    for words in (("ip",), ("unshare", "--user", "--map-root-user", "ip")):
        with contextlib.suppress(RefusedError):
            _run("/usr/bin/env", *words, "link", "set", "lo", "down")
            return
    raise RefusedError("each was refused")


# -- the doors --------------------------------------------------------------------------------------------------------


def door_link(targets: dict[str, Any]) -> None:
    """Put a link of its own where the host looks for a door, or take a door away."""
    del targets
    tries: tuple[Callable[[], None], ...] = (
        lambda: os.symlink("/run", f"{DOORS}/new"),  # noqa: PTH211
        lambda: os.rename(f"{DOORS}/screen.sock", f"{DOORS}/other"),  # noqa: PTH104
        lambda: os.chmod(f"{DOORS}/link.sock", 0o600),  # noqa: PTH101
    )
    for attempt in tries:
        with contextlib.suppress(OSError):
            attempt()
            return
    raise RefusedError("each was refused")


def foreign_door(targets: dict[str, Any]) -> None:
    """Dial a door of another machine, by the path that it has on the host."""
    with socket.socket(socket.AF_UNIX) as found:
        found.connect(f"{targets['neighbour_folder']}/doors/link.sock")


def egress(request: dict[str, Any]) -> str:
    """Send one request through the egress door; return the answer's word, or how it ended without one."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(ANSWER_S)
        door.connect(f"{DOORS}/egress.sock")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            door.sendall(request["raw"].encode() if "raw" in request else json.dumps(request["ask"]).encode() + b"\n")
        try:
            with door.makefile("rb") as lines:
                line = lines.readline(4096)
        except (TimeoutError, ConnectionResetError):
            return "no answer"
    return str(json.loads(line)["answer"]) if line else "no answer"


# -- what uses things up, last ----------------------------------------------------------------------------------------


def memory_files(targets: dict[str, Any]) -> None:
    """Fill every file system that can be written, which is memory of the host's."""
    del targets
    full = []
    for folder in (os.environ.get("HOME", "/tmp"), "/tmp", "/run", "/var", "/dev/shm"):  # noqa: S108 - in the machine
        with contextlib.suppress(OSError):
            path = f"{folder}/bomb"
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BOMB_BYTES)
                full.append(folder)
            finally:
                os.close(descriptor)
                os.unlink(path)  # noqa: PTH108
    refuse_unless(full, "each was full before that")


def watches(targets: dict[str, Any]) -> None:
    """Use up what one account may watch of the file system."""
    del targets
    libc = ctypes.CDLL(None, use_errno=True)
    made: list[int] = []
    try:
        for _ in range(BOMB_WATCHES):
            descriptor = libc.inotify_init1(os.O_CLOEXEC)
            if descriptor < 0:
                raise RefusedError(f"refused after {len(made)}")
            made.append(descriptor)
    finally:
        for descriptor in made:
            os.close(descriptor)


def forks(targets: dict[str, Any]) -> None:
    """Start process after process."""
    del targets
    children: list[int] = []
    try:
        for _ in range(BOMB_PROCESSES):
            try:
                child = os.fork()
            except OSError as error:
                raise RefusedError(f"refused after {len(children)}: {error.strerror}") from error
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _run(*argv: str) -> None:
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RefusedError(ran.stderr.strip()[:200] or f"ended with {ran.returncode}")


ATTEMPTS: dict[str, Callable[[dict[str, Any]], None]] = {
    function.__name__: function
    for function in (
        host_file, host_folders, system_files, open_files, handles, set_user_id,
        host_processes, other_machine, host_signal, trace, foreign_memory, foreign_descriptor,
        mount, nested_mount, namespaces, keys, terminal, kernel_settings, kernel_memory, sys_files, devices, wide_calls,
        host_time,
        interfaces, outside, host_loopback, host_socket, abstract_socket, raw_packets, odd_families, routes,
        door_link, foreign_door,
        memory_files, watches, forks,
    )
}  # fmt: skip
"""What is attempted, in this order."""


def tried(name: str, targets: dict[str, Any]) -> dict[str, Any]:
    """Try one thing and say what became of it."""
    try:
        ATTEMPTS[name](targets)
    except RefusedError as refused:
        return {"name": name, "refused": True, "saw": str(refused)}
    except OSError as error:
        return {"name": name, "refused": True, "saw": error.strerror or repr(error)}
    except ThroughError as through:
        return {"name": name, "refused": False, "saw": str(through)}
    return {"name": name, "refused": False, "saw": "it went through"}


def dial() -> socket.socket:
    """Connect to the link, as often as it takes."""
    while True:
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.connect(f"{DOORS}/link.sock")
        except OSError:
            connected.close()
            time.sleep(0.01)
        else:
            return connected


def attempt_all(targets: dict[str, Any]) -> int:
    """Try everything that `targets` names, and say of each what became of it."""
    with dial() as link:

        def say(said: dict[str, Any]) -> None:
            link.sendall(json.dumps(said).encode() + b"\n")

        with ThreadPoolExecutor(EGRESS_AT_ONCE) as pool:
            asked = targets["egress"]
            for name, answer in zip(asked, pool.map(egress, asked.values()), strict=True):
                say({"name": name, "refused": answer != "ok", "saw": answer})
        for name in targets["attempts"]:
            say(tried(name, targets))
        say({"name": "done", "refused": True, "saw": ""})
    return 0


def wait() -> int:
    """Be another machine, until that is stopped: send through the egress door what the host says; tell the answer."""
    with dial() as link, link.makefile("rb") as lines:
        link.sendall(b"up\n")
        for line in lines:
            link.sendall(egress(json.loads(line)).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(attempt_all(json.loads(sys.argv[1])) if len(sys.argv) > 1 else wait())
