"""A whole service with scripted machines: `python -m bench.scripted_service FOLDER`.

Prints one line of JSON with its address and token; for each session id that comes on standard input, that session's
tool writes its credential.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

from tests.integration.web_service import serving

from antechamber import log, tasks
from antechamber.store import file_url
from antechamber.tasks import Tasks
from bench.scripted import installation


async def main(folder: Path) -> None:
    """Serve until standard input ends."""
    log.configure("WARNING")
    async with (
        installation(folder, file_url(folder / "bench.db")) as scene,
        contextlib.AsyncExitStack() as cleanup,
        Tasks("bench") as tasks,
    ):
        service = await serving(
            cleanup,
            scene.signin,
            scene.reconciler.live,
            scene.settings,
            world="demo",
            parts=(scene.store, scene.vault, scene.metrics),
            folder=folder,
        )
        told = {
            "base": service.addresses.dashboard.url,
            "sign_in": service.addresses.sign_in.url,
            "token": service.token,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        orders = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
        )
        while line := await orders.readline():
            tasks.spawn("sign in", scene.sign_in(line.decode().strip()))
        transport.close()


if __name__ == "__main__":
    tasks.run(main(Path(sys.argv[1])))
