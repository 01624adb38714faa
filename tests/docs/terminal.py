"""The tutorial's commands, and a terminal in which they are typed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```sh(?: (\w+))?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINK = re.compile(r"http://localhost:\d+/s/(ses_\w+)#([\w-]+)")


class Shell:
    """A terminal in which the tutorial is followed; what it prints is kept."""

    def __init__(self, process):
        self._process = process
        self._read = asyncio.get_running_loop().create_task(self._listen())
        self._more = asyncio.Event()
        self.said = ""

    async def _listen(self):
        while received := await self._process.stdout.read(65536):
            self.said += received.decode()
            self._more.set()
        self._more.set()

    def types(self, text):
        self._process.stdin.write(text.encode() + b"\n")

    async def says(self, pattern):
        """Wait until it has printed that."""
        async with asyncio.timeout(120):
            while (found := re.search(pattern, self.said)) is None:
                assert not self._read.done(), self.said
                self._more.clear()
                await self._more.wait()
        return found

    async def leaves(self):
        """Leave it, and return its exit code."""
        self._process.stdin.close()
        async with asyncio.timeout(120):
            code = await self._process.wait()
            await self._read
        return code


@contextlib.asynccontextmanager
async def shell(data, url, **environment):
    """Open a terminal in which step 2's first block has been typed with these values."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-eu",
        cwd=ROOT,
        env=os.environ | environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    opened = Shell(process)
    try:
        opened.types(f"data={data}\nexport SERVICE_URL={url}")
        yield opened
    finally:
        # what it started holds its output open
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await opened.leaves()
