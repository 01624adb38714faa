"""The far end of the relay's bench, in place of an X server: `python -m bench.far_end SOCKET`.

Each connection begins with a line: `down N` is answered by N MiB and the mark, `up N` takes N MiB and answers the mark,
`echo` gives back each message of eight bytes, which is one key of RFB.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

MARK = b"the end of the bench's bytes\n"
PIECE = 64 * 1024
KEY_BYTES = 8


def serve(path: str) -> None:
    """Serve until killed; says `ready` first."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            threading.Thread(target=_answer, args=(listener.accept()[0],), daemon=True).start()


def _answer(stream: socket.socket) -> None:
    with stream, contextlib.suppress(OSError):  # the relay may go at any time
        line = b""
        while not line.endswith(b"\n"):
            received = stream.recv(1)
            if not received:
                return
            line += received
        word, _, number = line.decode().strip().partition(" ")
        if word == "echo":
            while received := stream.recv(KEY_BYTES):
                stream.sendall(received)
            return
        _bulk(stream, word, int(number) * 2**20)
        stream.sendall(MARK)
        # whoever reads the mark hangs up first
        while stream.recv(4096):
            pass


def _bulk(stream: socket.socket, word: str, left: int) -> None:
    piece = bytes(PIECE)
    while left:
        if word == "down":
            stream.sendall(piece)
            left -= PIECE
        elif received := stream.recv(min(left, 2**20)):
            left -= len(received)
        else:
            return


if __name__ == "__main__":
    serve(os.fspath(sys.argv[1]))
