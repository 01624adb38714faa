"""`antechamber run` as a process of its own, at a pipe and at a terminal; the service's machines are scripted."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from pathlib import Path

import pytest

from antechamber.commands.run import DID_NOT_RUN
from antechamber.guest.protocol import RUN_PIECE
from antechamber.tasks import spawn
from tests.integration.test_run_conversation import talked_to
from tests.integration.test_runs import begun, over

ANTECHAMBER = Path(sys.executable).with_name("antechamber")
SOON_S = 60


@contextlib.asynccontextmanager
async def command(folder, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=None, **more):
    """Run the command with that service."""
    process = await asyncio.create_subprocess_exec(
        *(str(ANTECHAMBER), "run", "--world", "demo", *words),
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ANTECHAMBER_DATA_DIR": str(folder), **(env or {})},
        cwd="/",
        **more,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def ended(process):
    """Return its exit code and what it said of itself."""
    async with asyncio.timeout(SOON_S):
        said = (await process.stderr.read()).decode()
        return await process.wait(), said


async def working(made):
    # a command that was refused never gets a machine
    async with asyncio.timeout(SOON_S):
        guest = await made.guests.get()
        await guest.began.wait()
    return guest


@pytest.mark.parametrize(("code", "told"), [(0, 0), (7, 7), (-15, 143)])
async def test_streams_and_exit_code_are_the_tools(tmp_path, code, told):
    async with (
        talked_to(tmp_path) as (made, _),
        command(tmp_path, "codex", "--", "exec", "--json", "say $HOME") as process,
    ):
        guest = await working(made)
        assert guest.job["argv"][-3:] == ["exec", "--json", "say $HOME"]
        assert not guest.job["streams"]["terminal"]
        # more than a line of the control socket may have
        much = os.urandom(3 * RUN_PIECE)
        process.stdin.write(much)
        process.stdin.close()
        async with asyncio.timeout(SOON_S):
            await guest.until(lambda: len(guest.input) >= len(much))
        assert bytes(guest.input) == much
        guest.write(b"\xff\x00out\n")
        guest.write(b"errors\n", 2)
        await guest.exit(code)
        assert await process.stdout.read() == b"\xff\x00out\n"
        assert await ended(process) == (told, "errors\n")


async def test_what_was_replaced_in_the_output_and_what_is_missing_of_it_is_said(tmp_path):
    async with talked_to(tmp_path) as (made, _), command(tmp_path, "codex") as process:
        guest = await working(made)
        guest.output.written += 10
        guest.write(b"x")
        await guest.exit(0, redacted=True)
        code, said = await ended(process)
        assert (code, await process.stdout.read()) == (0, b"x")
        assert "10 bytes of the output are missing here." in said
        assert "Something of the sign-in's own file stood in the output, and was replaced." in said


async def test_a_run_that_ends_otherwise_says_why_with_a_code_of_its_own(tmp_path):
    async with talked_to(tmp_path) as (made, _), command(tmp_path, "codex") as process:
        guest = await working(made)
        guest.crash()
        code, said = await ended(process)
        assert code == DID_NOT_RUN
        assert "machine ended without being asked" in said
        assert "Traceback" not in said


async def test_who_waits_is_told_the_place_and_leaves_the_line_by_a_signal(tmp_path):
    async with talked_to(tmp_path) as (made, _):
        _, holder = await begun(made)
        async with command(tmp_path, "codex") as process:
            line = await process.stderr.readline()
            assert line == b"Another run has this sign-in; this one is number 1 in the line.\n"
            process.send_signal(signal.SIGINT)
            await ended(process)
            (waiting, _) = await made.runs.list(user_id="ada", application=None, limit=2)
            assert (await over(made, waiting.id)).reason == "caller_gone"
        await holder.exit()


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
async def test_a_signal_is_the_tools(tmp_path, name):
    async with talked_to(tmp_path) as (made, _), command(tmp_path, "codex") as process:
        guest = await working(made)
        guest.write(b"up\n")
        assert await process.stdout.readline() == b"up\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        async with asyncio.timeout(SOON_S):
            await guest.until(lambda: guest.signals == [name])
        await guest.exit(9)
        assert (await ended(process))[0] == 9


async def test_whoever_has_read_enough_ends_it_without_a_word(tmp_path):
    ours, theirs = os.pipe()
    async with talked_to(tmp_path) as (made, _), command(tmp_path, "codex", stdout=theirs) as process:
        os.close(theirs)
        guest = await working(made)
        os.close(ours)
        guest.write(b"nobody reads it")
        assert await ended(process) == (128 + signal.SIGPIPE, "")


async def test_without_a_service_or_a_sign_in_it_says_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    async with command(tmp_path / "empty", "codex") as process:
        code, said = await ended(process)
        assert code == 1
        assert "No service runs with the data directory" in said
    async with talked_to(tmp_path) as (_, _), command(tmp_path, "gemini") as process:
        code, said = await ended(process)
        assert (code, "Nobody has signed in with Gemini CLI here." in said) == (1, True)


# -- at a terminal


class Screen:
    """The person's end of a terminal."""

    def __init__(self):
        self.ours, self.theirs = os.openpty()
        self.seen = b""
        os.set_blocking(self.ours, False)
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self):
        with contextlib.suppress(OSError):
            self.seen += os.read(self.ours, 65536)

    def size(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def is_raw(self):
        return not termios.tcgetattr(self.theirs)[3] & termios.ECHO

    async def until(self, holds):
        async with asyncio.timeout(SOON_S):
            while not holds():
                await asyncio.sleep(0.02)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.ours)
        os.close(self.ours)
        os.close(self.theirs)


@contextlib.asynccontextmanager
async def at_a_terminal(folder, *words, **more):
    screen = Screen()
    screen.size(100, 30)

    name = os.ttyname(screen.theirs)

    def mine():
        # the first terminal that a session opens is its own
        os.setsid()
        os.close(os.open(name, os.O_RDWR))

    # what a shell exported of an earlier size
    env = {"COLUMNS": "80", "LINES": "24", **more}
    at = {"stdin": screen.theirs, "stdout": screen.theirs, "preexec_fn": mine}
    async with command(folder, *words, env=env, **at) as process:
        yield process, screen
    screen.close()


async def test_at_a_terminal_each_key_the_size_and_what_it_shows_pass_and_it_is_left_as_it_was(tmp_path):
    async with talked_to(tmp_path) as (made, _), at_a_terminal(tmp_path, "codex") as (process, screen):
        guest = await working(made)
        assert guest.job["streams"]["terminal"]
        await screen.until(lambda: screen.is_raw)
        assert guest.sizes[-1] == (100, 30)
        os.write(screen.ours, b"a\x03\x1a\r")
        await screen.until(lambda: bytes(guest.input) == b"a\x03\x1a\r")
        screen.size(90, 25)
        await screen.until(lambda: guest.sizes[-1] == (90, 25))
        guest.write(b"\x1b[1mshown\x1b[0m")
        await screen.until(lambda: b"\x1b[1mshown\x1b[0m" in screen.seen)
        await guest.exit(5)
        assert (await ended(process))[0] == 5
        assert not screen.is_raw


async def test_a_terminal_is_as_it_was_while_its_run_waits_and_ctrl_c_leaves_the_line(tmp_path):
    async with talked_to(tmp_path) as (made, _):
        _, holder = await begun(made)
        async with at_a_terminal(tmp_path, "codex") as (process, screen):
            assert b"number 1 in the line" in await process.stderr.readline()
            assert not screen.is_raw
            os.write(screen.ours, b"\x03")
            await ended(process)
        await holder.exit()


async def test_a_terminal_is_left_as_it_was_by_a_command_that_is_asked_to_end(tmp_path):
    async with talked_to(tmp_path) as (made, _), at_a_terminal(tmp_path, "codex") as (process, screen):
        guest = await working(made)
        await screen.until(lambda: screen.is_raw)
        process.terminate()
        await screen.until(lambda: guest.signals == ["TERM"])
        ending = spawn("end", guest.exit(-15))
        assert (await ended(process))[0] == 143
        assert not screen.is_raw
        await ending
