"""Watches folders by inotify, through ctypes: Debian's python has no module for it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSE_WRITE = 0x0000_0008
MOVED_TO = 0x0000_0080
DELETE_SELF = 0x0000_0400
MOVE_SELF = 0x0000_0800
Q_OVERFLOW = 0x0000_4000
IGNORED = 0x0000_8000
_ONLYDIR = 0x0100_0000
_EVENT = struct.Struct("iIII")
_MASK = CLOSE_WRITE | MOVED_TO | DELETE_SELF | MOVE_SELF | _ONLYDIR


class Inotify:
    """Calls back when a file in a watched folder was written whole or moved in; an overflow counts as such.

    Which file it was is not told: whoever asks looks at the files that matter, so a lost event costs nothing.
    """

    def __init__(self, folders: set[Path], changed: Callable[[], None]) -> None:
        """Make the folders (0700) where missing and watch them; raises OSError when that cannot be."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._changed = changed
        self._folders: dict[int, Path] = {}
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        try:
            for folder in folders:
                self._watch(folder)
            asyncio.get_running_loop().add_reader(self._fd, self._read)
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _watch(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _MASK)
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self._folders[number] = folder

    def _read(self) -> None:
        try:
            events = os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return
        at = 0
        while at + _EVENT.size <= len(events):
            number, mask, _, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size + length
            if mask & (IGNORED | MOVE_SELF):
                self._again(number, moved=bool(mask & MOVE_SELF))
        self._changed()

    def _again(self, number: int, *, moved: bool) -> None:
        """Watch a folder anew that the CLI removed or renamed."""
        folder = self._folders.pop(number, None)
        if folder is None or not folder.parent.is_dir():
            return
        if moved:
            self._libc.inotify_rm_watch(self._fd, number)
        try:
            self._watch(folder)
        except OSError:
            return  # a file now stands in its place: nothing can appear in it
