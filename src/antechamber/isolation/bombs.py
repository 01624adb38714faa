"""The program that would take more than its share, or speak at its doors as no guest does: standard library only.

Run in a machine of its own as `python3 -I -S bombs.py NAME WORDS`. Each goes on for some seconds at most and ends;
what becomes of it, and of everybody else meanwhile, the host sees. A bomb of memory that got all that it wanted reports
on the link.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time

TYPE_CHECKING = False  # typing itself costs a start 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

DOORS = "/run/doors"
MIB = 2**20
SECONDS = 1.5
HELD_BYTES = 1536 * MIB
HOLDERS = 16
SPINNERS = 64
THREADS = 16
REQUESTS = 10_000
CONNECTIONS = 4096
"""More than one process may have open: then the oldest half are given up."""


def until() -> Callable[[], bool]:
    """Return what tells whether there is still time."""
    ends = time.monotonic() + SECONDS
    return lambda: time.monotonic() < ends


def dial(door: str) -> socket.socket:
    """Connect to a door; raises OSError where nobody takes it at once."""
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(1)
    try:
        found.connect(f"{DOORS}/{door}.sock")
    except OSError:
        found.close()
        raise
    return found


def many(door: str, first: bytes) -> None:
    """Dial a door again and again, say the same each time, and hang up on nobody."""
    held: list[socket.socket] = []
    more = until()
    while more() and len(held) < CONNECTIONS:
        try:
            held.append(dial(door))
            held[-1].sendall(first)
        except OSError:
            # too many for us, or hung up on
            del held[: len(held) // 2 + 1]
    while more():
        time.sleep(0.05)


def pour(door: str, first: bytes, block: bytes) -> None:
    """Dial a door, begin with `first`, and go on without end; and anew where it is hung up on."""
    more = until()
    while more():
        with contextlib.suppress(OSError), dial(door) as found:
            found.sendall(first)
            while more():
                found.sendall(block)


def ask(names: Callable[[int], str]) -> None:
    """Ask for names at the egress door, as many as there is time for."""
    more = until()

    def asks(first: int) -> None:
        for number in range(first, REQUESTS, THREADS):
            if not more():
                return
            with contextlib.suppress(OSError), dial("egress") as door:
                door.sendall(json.dumps({"op": "resolve", "name": names(number)}).encode() + b"\n")
                door.recv(64)

    threads = [threading.Thread(target=asks, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- its share --------------------------------------------------------------------------------------------------------


def memory_pages(told: dict[str, str]) -> None:
    """Take memory."""
    kept = [bytearray(b"x" * MIB) for _ in range(HELD_BYTES // MIB)]
    held(told)
    del kept


def memory_unnamed(told: dict[str, str]) -> None:
    """Take memory as a file that has no name and that nobody has mapped."""
    file = os.memfd_create("bomb")
    for at in range(0, HELD_BYTES, MIB):
        os.posix_fallocate(file, at, MIB)
    held(told)
    os.close(file)


def memory_family(told: dict[str, str]) -> None:
    """Take memory in many processes, each only a little."""
    reading, writing = os.pipe()
    for _holder in range(HOLDERS):
        if os.fork() == 0:
            kept = bytearray(b"x" * (HELD_BYTES // HOLDERS))
            os.write(writing, b"x")
            time.sleep(len(kept))
    for _holder in range(HOLDERS):
        os.read(reading, 1)
    held(told)


def held(told: dict[str, str]) -> None:
    """Report that all of it was had."""
    with dial("link") as link:
        link.sendall(frame(hello(told)) + report(0))
        link.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while link.recv(4096):
                pass


def processors(_: dict[str, str]) -> None:
    """Keep every processor busy, in many processes."""
    more = until()
    for _spinner in range(SPINNERS):
        if os.fork() == 0:
            while more():
                pass
            os._exit(0)
    for _spinner in range(SPINNERS):
        os.wait()


# -- the doors --------------------------------------------------------------------------------------------------------


def egress_silent(_: dict[str, str]) -> None:
    """Connect to the egress door without a word."""
    many("egress", b"")


def egress_half(_: dict[str, str]) -> None:
    """Say half of what is wanted and no more."""
    many("egress", b'{"op": "connect", "na')


def egress_requests(told: dict[str, str]) -> None:
    """Ask for one name again and again."""
    ask(lambda _: told["name"])


def egress_names(told: dict[str, str]) -> None:
    """Ask for ever new names."""
    ask(lambda number: f"n{number}.{told['name']}")


def link_silent(_: dict[str, str]) -> None:
    """Connect to the link door without a word."""
    many("link", b"")


def link_oversized(_: dict[str, str]) -> None:
    """Begin a frame of 2 GiB."""
    pour("link", struct.pack(">I", 2**31 - 1), b"x" * 65536)


def link_nonsense(_: dict[str, str]) -> None:
    """Send what is no frame."""
    pour("link", b"GET / HTTP/1.1\r\n\r\n", os.urandom(65536))


def link_other(told: dict[str, str]) -> None:
    """Say that it is another machine's guest, and report in its name."""
    pour("link", frame(hello(told) | {"incarnation": told["neighbour"]}), report(0))


def link_reports(told: dict[str, str]) -> None:
    """Report without end."""
    pour("link", frame(hello(told)), b"".join(report(number) for number in range(500)))


def screen_silent(_: dict[str, str]) -> None:
    """Connect to the screen door without end."""
    many("screen", b"")


def screen_sizes(_: dict[str, str]) -> None:
    """Be a screen that says again and again that it has another size, the largest there is."""
    _screen(struct.pack(">BxHHHHHi", 0, 1, 0, 0, 65535, 65535, -223) * 64)


def screen_rectangles(_: dict[str, str]) -> None:
    """Be a screen whose picture is larger than it, in an encoding that nobody asked for."""
    _screen(struct.pack(">BxHHHHHi", 0, 65535, 65535, 65535, 65535, 65535, 7) + bytes(65536))


def screen_endless(_: dict[str, str]) -> None:
    """Be a screen with a clipboard of 4 GiB."""
    _screen(struct.pack(">BxxxI", 3, 2**32 - 1) + b"x" * 65536)


def _screen(block: bytes) -> None:
    more = until()
    while more():
        with contextlib.suppress(OSError), dial("screen") as screen:
            screen.recv(1)  # the word that it is wanted
            screen.sendall(b"RFB 003.008\n\x01\x01" + bytes(4) + struct.pack(">HH16xI", 800, 600, 0))
            while more():
                screen.sendall(block)


def hello(told: dict[str, str]) -> dict[str, object]:
    """Return the first message of a guest."""
    incarnation = os.environ["ANTECHAMBER_INCARNATION"]
    own = {"protocol": int(told["protocol"]), "build": told["build"], "incarnation": incarnation}
    return {"type": "hello", **own, "has_job": True}


def report(number: int) -> bytes:
    """Return a report as it should be."""
    return frame({"type": "report", "id": f"rep_{'a' * 15}{number % 10**5:05}", "kind": "screen_up", "body": {}})


def frame(message: dict[str, object]) -> bytes:
    """Return a message as it is sent on the link."""
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


BOMBS: dict[str, Callable[[dict[str, str]], None]] = {
    function.__name__: function
    for function in (
        processors,
        egress_silent, egress_half, egress_requests, egress_names,
        link_silent, link_oversized, link_nonsense, link_other, link_reports,
        screen_silent, screen_sizes, screen_rectangles, screen_endless,
        memory_pages, memory_unnamed, memory_family,
    )
}  # fmt: skip
"""What each does."""

if __name__ == "__main__":
    BOMBS[sys.argv[1]](json.loads(sys.argv[2]))
