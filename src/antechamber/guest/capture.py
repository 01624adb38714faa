"""Waits for the credential file to be whole, then for its companions a moment, and reports them together."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from antechamber.guest import files
from antechamber.guest.inotify import Inotify
from antechamber.guest.protocol import FileState

if TYPE_CHECKING:
    from collections.abc import Callable

    from antechamber.guest.job import Job
    from antechamber.guest.layout import Layout

_TOGETHER = 512 * 1024
"""Bytes of all files of one report: with base64 they fit a frame; a companion too many is left out."""


class Capture:
    """Watches the files of one job from before the CLI starts."""

    def __init__(
        self,
        job: Job,
        layout: Layout,
        *,
        report: Callable[[dict[str, Any]], str],
        send_again: Callable[[str], bool],
        planted: bool = False,
    ) -> None:
        """Begin to watch, and remember what is there already; raises OSError when inotify is not to be had.

        `report` sends the files and returns the report's id; `send_again` repeats one that is not acknowledged yet.
        `planted`: what is there is what the host gave. Its credential is news once it is another one, and a companion
        goes with it as it is.
        """
        self._job = job
        self._layout = layout
        self._report = report
        self._send_again = send_again
        self._sent: dict[bytes, str] = {}
        self._woken = asyncio.Event()
        self._cli_ended = False
        paths = {name: layout.in_home(watched.path) for name, watched in job.files.items()}
        self._paths = paths
        self._inotify = Inotify({path.parent for path in paths.values()}, self._woken.set)
        self._before = {
            name: files.digest(path, job.files[name])
            for name, path in paths.items()
            if name == "credential" or not planted
        }

    def close(self) -> None:
        """Stop watching; nothing is reported after that."""
        self._inotify.close()

    async def run(self) -> None:
        """Report each whole content of the credential file once, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            found = self._look("credential")
            if not isinstance(found, FileState) and found.digest not in self._sent:
                await self._companions()
                self.look_again()

    def cli_ended(self) -> None:
        """Say that no companion will come any more."""
        self._cli_ended = True
        self._woken.set()

    def look_again(self) -> FileState | None:
        """Report the file now if it is whole, also one that is not acknowledged yet; else return its state."""
        found = self._look("credential")
        if isinstance(found, FileState):
            return found
        if found.digest in self._sent:
            self._send_again(self._sent[found.digest])
            return None
        together = {"credential": found}
        size = len(found.content)
        for name in self._paths:
            companion = self._look(name)
            if name == "credential" or isinstance(companion, FileState) or size + len(companion.content) > _TOGETHER:
                continue
            size += len(companion.content)
            together[name] = companion
        self._sent[found.digest] = self._report(
            {
                "files": {
                    name: {
                        "content": base64.b64encode(file.content).decode(),
                        "mtime_ns": file.mtime_ns,
                        "mode": file.mode,
                        # what is not is looked over above
                        "new": True,
                    }
                    for name, file in together.items()
                },
                "cli_version": self._job.cli_version,
            }
        )
        return None

    def _look(self, name: str) -> files.WholeFile | FileState:
        return files.look(self._paths[name], self._job.files[name], before=self._before.get(name))

    async def _companions(self) -> None:
        """Wait until each companion is whole, the CLI has ended, or the time has passed."""
        try:
            async with asyncio.timeout(self._job.companion_wait_s):
                while not self._cli_ended and any(isinstance(self._look(name), FileState) for name in self._paths):
                    await self._woken.wait()
                    self._woken.clear()
        except TimeoutError:
            return
