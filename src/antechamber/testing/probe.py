"""The program that DriverContract runs in machines: standard library only, run by path as `python3 -I probe.py WORD …`.

Each word is one behaviour that a test looks at from the host, through the doors; see `WORDS`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False  # typing itself costs a start 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

DOORS = "/run/doors"
STREAMS = 64
BLOCK = 65536
MIB = 2**20


def dial(door: str) -> socket.socket:
    """Connect to a door, as often as it takes: the host may be restarting."""
    while True:
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.connect(f"{DOORS}/{door}.sock")
        except OSError:
            connected.close()
            time.sleep(0.01)
        else:
            return connected


def leave(code: str) -> int:
    """End at once with that code."""
    return int(code)


def say_and_leave(code: str) -> int:
    """Say `bye` on the link and end without waiting for anybody to hear it."""
    with dial("link") as link:
        link.sendall(b"bye")
    return int(code)


def stay() -> int:
    """Say `up PID` on each link connection, echo lines, end with N on `exit N`; dial again when the host goes."""
    while True:
        with contextlib.suppress(OSError), dial("link") as link, link.makefile("rb") as lines:
            link.sendall(f"up {os.getpid()}\n".encode())
            for line in lines:
                if line.startswith(b"exit "):
                    return int(line.split()[1])
                link.sendall(line)


def streams() -> int:
    """Open many streams at once: the first is never read, every other sends back what it gets; then wait."""
    connected = [dial("egress") for _ in range(STREAMS)]
    for number, stream in enumerate(connected):
        stream.sendall(f"{number}\n".encode())
    for stream in connected[1:]:
        threading.Thread(target=_echo, args=(stream,), daemon=True).start()
    with dial("link") as link:
        link.recv(1)
    return 0


def _echo(stream: socket.socket) -> None:
    while received := stream.recv(BLOCK):
        stream.sendall(received)
    stream.shutdown(socket.SHUT_WR)


def half_close() -> int:
    """Send a question, close that direction, and give back the answer's length on the link."""
    with dial("egress") as stream:
        stream.sendall(b"question")
        stream.shutdown(socket.SHUT_WR)
        length = 0
        while received := stream.recv(BLOCK):
            length += len(received)
    with dial("link") as link:
        link.sendall(str(length).encode())
    return 0


def family() -> int:
    """Leave a child that has daemonised itself, so that only the machine's end can end it; then stay."""
    argv = ["/usr/bin/setsid", "--fork", "/usr/bin/sleep", "86400"]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return stay()


def report(hidden: str) -> int:
    """Say as JSON what of the host shows in here."""
    with dial("link") as link:
        link.sendall(json.dumps(facts(hidden)).encode())
    return 0


def facts(hidden: str) -> dict[str, object]:
    """Return what of the host shows in here; `hidden` is a file of the host that must not."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - pathlib would be the only import for it
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    return {
        "uid": os.getuid(),
        "capabilities": status["CapEff"].strip("0") + status["CapBnd"].strip("0"),
        "no_new_privileges": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "outside": _error(lambda: socket.create_connection(("192.0.2.1", 9), timeout=5)),
        "loopback_down": _ran("/usr/sbin/ip", "link", "set", "lo", "down"),
        "nested_loopback_down": _ran(
            "/usr/bin/unshare", "--user", "--map-root-user", "ip", "link", "set", "lo", "down"
        ),
        "nested": _ran("/usr/bin/unshare", "--user", "--map-root-user", "--pid", "--net", "--fork", "true"),
        "mount": _ran("/usr/bin/unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"),
        "dns_port": _error(_bind_dns),
        "doors_create": _error(lambda: os.close(os.open(f"{DOORS}/new", os.O_CREAT | os.O_WRONLY))),
        "doors_link": _error(lambda: os.symlink("/run", f"{DOORS}/link2")),  # noqa: PTH211
        "doors_remove": _error(lambda: os.unlink(f"{DOORS}/link.sock")),  # noqa: PTH108
        "usr": _error(lambda: os.close(os.open("/usr/new", os.O_CREAT | os.O_WRONLY))),
        "etc": _error(lambda: os.close(os.open("/etc/passwd", os.O_WRONLY))),
        "hidden": os.path.exists(hidden),  # noqa: PTH110
        "root": sorted(os.listdir("/")),  # noqa: PTH208
        "certificates": os.path.exists("/etc/ssl/certs/ca-certificates.crt"),  # noqa: PTH110
        "fonts": os.path.exists("/etc/fonts/fonts.conf"),  # noqa: PTH110
        "local": os.listdir("/usr/local"),  # noqa: PTH208
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),  # noqa: PTH208
        "environment": dict(os.environ),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),  # noqa: PTH208
        "links": sorted(_links()),
        "writable": sorted(filter(_writable, _links())),
        "command_lines": _command_lines(),
        "shm_bytes": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,  # noqa: S108
        "tty_push": _ran("/usr/bin/python3", "-I", "-c", _PUSH),
        "netlink": [protocol for protocol in range(34) if not _error(lambda protocol=protocol: _netlink(protocol))],  # type: ignore[misc] # mypy infers no lambda with a default
        "modify_ldt": _error(_modify_ldt),
        "odd_socket": _error(lambda: socket.socket(38, socket.SOCK_SEQPACKET).close()),
    }


def _links() -> set[str]:
    """Return what every process in here has open, as `PROCESS NUMBER NAME`."""
    found = set()
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
                with contextlib.suppress(OSError):
                    found.add(f"{process} {number} {os.readlink(f'/proc/{process}/fd/{number}')}")  # noqa: PTH115
    return found


def _writable(link: str) -> bool:
    """Tell whether what a process has open is a file that can be opened anew for writing, or its mode be changed."""
    process, number, _ = link.split(" ", 2)
    path = f"/proc/{process}/fd/{number}"
    attempts: tuple[Callable[[int], object], ...] = (
        lambda _: os.close(os.open(path, os.O_RDWR)),
        lambda _: os.close(os.open(path, os.O_WRONLY)),
        lambda mode: os.chmod(path, stat.S_IMODE(mode)),  # noqa: PTH101
    )
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode  # noqa: PTH116
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            return False
        return any(_error(lambda attempt=attempt: attempt(mode)) == "" for attempt in attempts)  # type: ignore[misc] # mypy infers no lambda with a default
    return False


def _command_lines() -> list[str]:
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline") as file:  # noqa: PTH123
            found.append(file.read().replace("\0", " "))
    return found


_PUSH = "import fcntl,os;m,s=os.openpty();fcntl.ioctl(s,0x5412,b'x')"


def _netlink(protocol: int) -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()


def _modify_ldt() -> None:
    if os.uname().machine != "x86_64":
        raise OSError(errno.ENOSYS, "")
    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(154)  # arch/x86/entry/syscalls/syscall_64.tbl
    if libc.syscall(number, ctypes.c_long(0), None, ctypes.c_long(0)) < 0:
        raise OSError(ctypes.get_errno(), "")


def _bind_dns() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))


def _error(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


def _ran(*argv: str) -> str:
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    return tried.stderr.strip() or f"ended with {tried.returncode}" if tried.returncode else ""


def forks(limit: str) -> int:
    """Fork until it fails, at most `limit` times, and say how often it went well."""
    made = 0
    while made < int(limit):
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            time.sleep(3600)
            os._exit(0)
        made += 1
    with dial("link") as link:
        link.sendall(str(made).encode())
    return 0


def fill(folder: str, limit: str) -> int:
    """Write into a folder until it is full, at most `limit` bytes, and say how many went in."""
    written = 0
    with contextlib.suppress(OSError), open(f"{folder}/big", "wb", buffering=0) as file:  # noqa: PTH123
        while written < int(limit):
            written += file.write(bytes(1024 * 1024))
    with dial("link") as link:
        link.sendall(str(written).encode())
    return 0


def hold(kind: str, limit: str) -> int:
    """Take memory until that many bytes are held, say so, and stay: `pages`, `unnamed` files, or a `family`'s pages."""
    kept: list[bytearray] = []
    if kind == "family":
        reading, writing = os.pipe()
        for _ in range(8):
            if os.fork() == 0:
                kept.append(bytearray(b"x" * (int(limit) // 8)))
                os.write(writing, b"x")
                time.sleep(3600)
        for _ in range(8):
            os.read(reading, 1)
    elif kind == "unnamed":
        file = os.memfd_create("bomb")
        for at in range(0, int(limit), MIB):
            os.posix_fallocate(file, at, MIB)
    else:
        kept += [bytearray(b"x" * MIB) for _ in range(int(limit) // MIB)]
    with dial("link") as link:
        link.sendall(b"held")
        link.recv(1)
    return len(kept)


def shout(limit: str) -> int:
    """Print that many bytes on standard output."""
    for _ in range(int(limit) // BLOCK):
        os.write(1, b"x" * BLOCK)
    return say_and_leave("0")


WORDS: dict[str, Callable[..., int]] = {
    "exit": leave,
    "bye": say_and_leave,
    "stay": stay,
    "streams": streams,
    "half_close": half_close,
    "family": family,
    "facts": report,
    "forks": forks,
    "fill": fill,
    "hold": hold,
    "shout": shout,
}

if __name__ == "__main__":
    sys.exit(WORDS[sys.argv[1]](*sys.argv[2:]))
