"""What lies ready on the host for a machine to reach, and tells afterwards whether it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_SLEEP = "import time; time.sleep(3600)"


@dataclass
class Targets:
    """A file, a process and three listening sockets of the host's; none of them holds anything of anybody's."""

    folder: Path
    mark: str = field(default_factory=lambda: f"DUMMY-{secrets.token_hex(8)}")
    pid: int = 0
    port: int = 0
    reached: set[str] = field(default_factory=set)
    """The attempts that a listening socket has seen."""

    @property
    def abstract(self) -> str:
        """The name of the abstract socket."""
        return f"antechamber-{self.mark}"

    def described(self) -> dict[str, Any]:
        """Return what the program in the machine is told of them."""
        return {
            "file": str(self.folder / "file"),
            "mark": self.mark,
            "socket": str(self.folder / "socket"),
            "abstract": self.abstract,
            "port": self.port,
            "pid": self.pid,
        }


@contextlib.asynccontextmanager
async def planted(folder: Path) -> AsyncIterator[Targets]:
    """Have them ready until the block ends; the folder is a new one that every account may enter."""
    targets = Targets(folder)
    async with contextlib.AsyncExitStack() as stack:
        (folder / "file").write_text(targets.mark)
        (folder / "file").chmod(0o644)

        def listening(attempt: str) -> Any:
            def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                targets.reached.add(attempt)
                writer.close()

            return accepted

        loopback = await asyncio.start_server(listening("host_loopback"), "127.0.0.1", 0)
        await stack.enter_async_context(loopback)
        targets.port = loopback.sockets[0].getsockname()[1]
        by_path = await asyncio.start_unix_server(listening("host_socket"), folder / "socket")
        await stack.enter_async_context(by_path)
        # by whatever account the machine runs
        (folder / "socket").chmod(0o777)
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + targets.abstract)
        await stack.enter_async_context(await asyncio.start_unix_server(listening("abstract_socket"), sock=abstract))
        process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", _SLEEP, targets.mark)
        stack.push_async_callback(_end, process)
        targets.pid = process.pid
        yield targets


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def can_be_reached(targets: Targets) -> list[str]:
    """Return what cannot be reached from the host itself, so that nobody takes its absence for a wall."""
    faults = []
    if (targets.folder / "file").read_text() != targets.mark:
        faults.append("the file")
    for attempt, address in (
        ("host_loopback", ("127.0.0.1", targets.port)),
        ("host_socket", str(targets.folder / "socket")),
        ("abstract_socket", "\0" + targets.abstract),
    ):
        family = socket.AF_INET if attempt == "host_loopback" else socket.AF_UNIX
        with contextlib.suppress(OSError), socket.socket(family) as end:
            end.setblocking(False)  # noqa: FBT003 - the standard library's signature
            await asyncio.get_running_loop().sock_connect(end, address)
            await asyncio.get_running_loop().sock_recv(end, 1)
        if attempt not in targets.reached:
            faults.append(attempt)
    with contextlib.suppress(ProcessLookupError):
        os.kill(targets.pid, 0)
        targets.reached.clear()
        return faults
    return [*faults, "the process"]
