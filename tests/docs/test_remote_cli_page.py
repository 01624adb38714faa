"""docs/how-to/remote-cli.md: the stream's events are on it, and its program does what it says."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from antechamber.tasks import spawn
from antechamber.web import run_output
from tests.docs.generate import DOCS, listed
from tests.integration.test_runs import signed_in
from tests.integration.test_runs_api import served

PAGE = (DOCS / "how-to/remote-cli.md").read_text()
PROGRAM = DOCS / "examples/run_a_tool.py"


def test_every_event_of_the_stream_is_on_the_page():
    names = [name for name, _ in listed(run_output.__doc__, r"\w+")]
    assert names
    assert [name for name in names if f"| `{name}` |" not in PAGE] == []


@pytest.fixture
async def made(tmp_path):
    async with signed_in(tmp_path, port=0) as made:
        yield made


async def program(service, *arguments, given=b""):
    environment = {**os.environ, "SERVICE": service.addresses.dashboard.url, "SERVICE_KEY": service.token}
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        PROGRAM,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return running, spawn("said", running.communicate(given))


async def test_the_program_gives_input_prints_both_streams_and_ends_with_the_tools_code(made, tmp_path):
    async with served(made, tmp_path) as service:
        running, said = await program(service, "ada", "codex", "exec", "say hello", given=b"more of it")
        guest = await made.guests.get()
        await guest.began.wait()
        assert guest.job["argv"][-2:] == ["exec", "say hello"]
        guest.write("grüße\n".encode())
        guest.write(b"a warning\n", 2)
        await guest.exit(3)
        assert await asyncio.wait_for(said, 30) == ("grüße\n".encode(), b"a warning\n")
        assert running.returncode == 3


async def test_the_program_goes_on_where_the_stream_was_cut(made, tmp_path):
    async with served(made, tmp_path) as service:
        running, said = await program(service, "ada", "codex", "exec")
        guest = await made.guests.get()
        await guest.began.wait()
        guest.write(b"before ")
        async with asyncio.timeout(20):
            await guest.until(lambda: guest.output._reader)
        # as a service that stops says goodbye, and is there again
        await service.app.closing.end(made.settings.duration("sweep"))
        service.app.closing.closed = False
        guest.write(b"after")
        await guest.exit(0)
        out, _ = await asyncio.wait_for(said, 30)
        assert (out, running.returncode) == (b"before after", 0)


@pytest.mark.parametrize("user", ["ada", "nobody"])
async def test_the_program_takes_what_did_not_end_by_itself_for_no_success(made, tmp_path, user):
    async with served(made, tmp_path) as service:
        running, said = await program(service, user, "codex", "exec")
        if user == "ada":
            guest = await made.guests.get()
            await guest.began.wait()
            guest.crash()
        _, err = await asyncio.wait_for(said, 30)
        assert running.returncode == 125
        assert (b"machine_ended" if user == "ada" else b"nothing is stored") in err.lower() or b"no such" in err.lower()
