"""The terminal that a CLI runs in: its size, and what is typed into it without waiting for whoever reads."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios

_AHEAD = 64 * 1024
"""Bytes that wait to be read; a person types no more, and what comes beyond is not taken."""


class Pty:
    """One pseudo-terminal, from `open` to `close`."""

    def __init__(self) -> None:
        """Open it, 200 columns wide; raises OSError."""
        self.ours, self.theirs = os.openpty()
        os.set_blocking(self.ours, False)
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        self.resize(200, 50)

    def resize(self, columns: int, rows: int) -> None:
        """Give it that size; its programs are told by SIGWINCH."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, typed: bytes) -> None:
        """Type something."""
        if typed and len(self._waiting) < _AHEAD:
            self._waiting += typed
            self._loop.add_writer(self.ours, self._flush)

    def close(self) -> None:
        """Close our end."""
        self._loop.remove_writer(self.ours)
        os.close(self.ours)

    def _flush(self) -> None:
        try:
            del self._waiting[: os.write(self.ours, self._waiting)]
        except BlockingIOError:
            return
        except OSError:  # the last program has closed the terminal
            self._waiting.clear()
        if not self._waiting:
            self._loop.remove_writer(self.ours)
