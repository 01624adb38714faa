"""The agent's start in a machine: `python3 -I -S /opt/antechamber/guest`."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

from antechamber.guest.agent import Agent
from antechamber.guest.layout import Layout


def build_id() -> str:
    """Return the id of this build: the file BUILD at the top of the staged folder, or what the environment says."""
    file = Path(__file__).parents[2] / "BUILD"
    if file.is_file():
        return file.read_text().strip()
    return os.environ.get("ANTECHAMBER_BUILD", "")


def main() -> None:
    """Run the agent until the host says stop, or until a signal asks for the end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(asyncio.run(_run()))


async def _run() -> int:
    agent = Agent(Layout.of_environment(), build=build_id(), incarnation=os.environ["ANTECHAMBER_INCARNATION"])
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, agent.stop)
    return await agent.run()


if __name__ == "__main__":
    main()
