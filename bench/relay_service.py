"""The service with one open screen that leads to the far end: `python -m bench.relay_service FOLDER SOCKET`.

The whole web part as it ships; what is left out is the machine. Prints one line of JSON with what a client needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from tests.integration.web_service import Stage, running

from antechamber import log, tasks
from antechamber.drivers import doors
from antechamber.machine import Stream


class FarEnd(Stage):
    """A machine whose screen is a unix socket of this host, as a door's is."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    async def open_screen(self, session_id: str) -> Stream:  # noqa: ARG002 - there is one
        return Stream(*await asyncio.open_unix_connection(self._path, limit=doors._AHEAD))


async def main(folder: Path, path: str) -> None:
    """Serve until asked to end, giving a ticket for each line that comes."""
    log.configure("WARNING")
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    async with running(folder, stage=FarEnd(path), ticket_s=600, sign_in_s=3600) as service:
        session_id, browser = await service.opened()
        await service.ready(session_id)
        await browser.post(f"/api/auth/session/{session_id}/consent", json={})
        cookie = f"antechamber_{session_id}={browser.cookies[f'antechamber_{session_id}']}"
        tickets = [await service.ticket(session_id, browser) for _ in range(64)]
        told = {
            "port": service.addresses.sign_in.url.rpartition(":")[2],
            "origin": service.addresses.sign_in.origin,
            "path": f"/api/auth/session/{session_id}/screen",
            "cookie": cookie,
            "tickets": tickets,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asked.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        tasks.run(main(Path(sys.argv[1]), sys.argv[2]))
