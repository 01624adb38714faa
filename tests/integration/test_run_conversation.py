"""`antechamber run` at the service's end: what callers say, and that none leaves a run behind."""

from __future__ import annotations

import asyncio
import base64
import contextlib

import pytest

from antechamber import control, run_conversation
from antechamber.errors import Code
from antechamber.guest.output import KEPT
from antechamber.model import RunReason, RunStatus
from antechamber.tasks import spawn
from tests.integration.test_runs import begun, over, run, signed_in

SOON_S = 20


@contextlib.asynccontextmanager
async def talked_to(folder, **settings):
    """Give a scene with somebody signed in, and the client of its control socket."""
    async with signed_in(folder, **settings) as made:
        offered = run_conversation.of(made.runs, made.signin, made.reconciler.live)
        server = await control.serve(folder / control.SOCKET_NAME, {}, offered)
        try:
            yield made, control.Client(folder / control.SOCKET_NAME)
        finally:
            await server.close()


async def heard(channel, *wanted):
    """Return the next thing of those that the service says."""
    async with asyncio.timeout(SOON_S):
        while (message := await channel.receive()) is not None:
            if any(word in message for word in wanted):
                return message
    raise AssertionError(f"it hung up, and nobody heard {wanted}")


async def hung_up(channel):
    async with asyncio.timeout(SOON_S):
        while await channel.receive() is not None:
            pass


def conversation(client, *arguments, **more):
    return client.converse("run", provider="codex", arguments=list(arguments), **more)


def typed(text=b"x"):
    return base64.b64encode(text).decode()


async def test_a_run_is_told_from_its_creation_to_its_end(tmp_path):
    async with talked_to(tmp_path) as (made, client), conversation(client, "exec", "say hello") as channel:
        assert (await channel.receive())["run"]["status"] == "starting"
        guest = await made.guests.get()
        await heard(channel, "begun")
        await channel.send(input=typed(b"a question"), end=False)
        await heard(channel, "taken")
        await channel.send(input="", end=True)
        await heard(channel, "taken")
        guest.write(b"an answer")
        said = await heard(channel, "output")
        assert (base64.b64decode(said["output"]), said["stream"], said["lost"]) == (b"an answer", 1, 0)
        await guest.exit(3)
        end = (await heard(channel, "end"))["end"]
        assert (end["reason"], end["exit_code"], bytes(guest.input)) == ("exited", 3, b"a question")
        assert await channel.receive() is None


async def test_a_signal_before_it_has_begun_cancels_it(tmp_path):
    async with talked_to(tmp_path) as (made, client):
        _, guest = await begun(made)
        async with conversation(client) as channel:
            assert (await heard(channel, "waits"))["waits"] == 1
            await channel.send(signal="INT")
            assert (await heard(channel, "end"))["end"]["reason"] == "cancelled"
        assert guest.signals == []
        await guest.exit()


@pytest.mark.parametrize(
    "step", ["at once", "in the line", "with input in the line", "at work", "with input that the tool does not read"]
)
async def test_a_caller_that_goes_away_leaves_no_run_behind(tmp_path, step):
    async with talked_to(tmp_path) as (made, client):
        if "line" in step:
            _, holder = await begun(made)
        async with conversation(client) as channel:
            made_run = None if step == "at once" else (await channel.receive())["run"]["id"]
            if "line" in step:
                await heard(channel, "waits")
            elif made_run is not None:
                guest = await made.guests.get()
                guest.takes_input = False
                await heard(channel, "begun")
            for _ in range(2 if "not read" in step else int("input" in step)):
                await channel.send(input=typed(), end=False)
                if "not read" in step and not guest.input:
                    await heard(channel, "taken")
        if made_run is None:
            with made.store.changes.watch("runs") as changed:
                async with asyncio.timeout(SOON_S):
                    while not (found := await made.runs.list(user_id="ada", application=None, limit=1)):
                        await changed.wait(0.5)
            made_run = found[0].id
        async with asyncio.timeout(SOON_S / 2):  # far less than without a reader it would take
            assert (await over(made, made_run)).reason is RunReason.CALLER_GONE
        if "line" in step:
            await holder.exit()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"garbage\n", Code.NOT_JSON),
        (b"[]\n", Code.BAD_REQUEST),
        (b"{}\n", Code.BAD_REQUEST),
        (b'{"input": "no base64!"}\n', Code.BAD_REQUEST),
        (b'{"input": 1}\n', Code.BAD_REQUEST),
        (b'{"input": ""}\n' * 3, Code.BAD_REQUEST),
        (b'{"signal": "KILL"}\n', Code.BAD_REQUEST),
        (b'{"signal": ["INT"]}\n', Code.BAD_REQUEST),
        (b'{"signal": "INT"}\n' * 100, Code.BAD_REQUEST),
        (b'{"size": [80]}\n', Code.BAD_REQUEST),
        (b'{"size": ["80", "24"]}\n', Code.BAD_REQUEST),
        (b"x" * (2 * control.MAX_REQUEST) + b"\n", Code.BODY_TOO_LARGE),
        (b"[" * 20_000 + b"\n", Code.NOT_JSON),
    ],
)
async def test_a_caller_that_says_what_it_may_not_is_told_so_and_its_run_ends(tmp_path, line, code):
    async with talked_to(tmp_path) as (made, client), conversation(client) as channel:
        made_run = (await channel.receive())["run"]["id"]
        guest = await made.guests.get()
        guest.takes_input = False
        await heard(channel, "begun")
        channel._writer.write(line)
        assert (await heard(channel, "error"))["error"]["code"] == code
        assert (await over(made, made_run)).reason is RunReason.CALLER_GONE


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"arguments": "exec"}, Code.BAD_REQUEST),
        ({"arguments": [1]}, Code.BAD_REQUEST),
        ({"arguments": ["a\0b"]}, Code.ARGUMENT_REFUSED),
        ({"provider": None}, Code.BAD_REQUEST),
        ({"provider": "nobodys"}, Code.UNKNOWN_PROVIDER),
        ({"seconds": True}, Code.BAD_REQUEST),
        ({"seconds": 10**9}, Code.BAD_REQUEST),
        ({"user_id": "bob"}, Code.CREDENTIAL_NOT_FOUND),
        ({"provider": "gemini"}, Code.CREDENTIAL_NOT_FOUND),
    ],
)
async def test_what_cannot_be_run_is_refused_before_anything_is_made(tmp_path, asked, code):
    async with talked_to(tmp_path) as (made, client):
        async with client.converse("run", **({"provider": "codex", "arguments": []} | asked)) as channel:
            assert (await heard(channel, "error"))["error"]["code"] == code
        assert await made.runs.list(user_id=None, application=None, limit=10) == []


async def test_a_caller_that_does_not_read_holds_its_tool_up_and_nothing_else(tmp_path):
    async with talked_to(tmp_path) as (made, client), conversation(client) as channel:
        made_run = (await channel.receive())["run"]["id"]
        guest = await made.guests.get()
        await heard(channel, "begun")
        # all that can be on its way is far less than a tool may have written
        async with asyncio.timeout(SOON_S):
            while not guest.output.full:
                guest.write(b"x" * KEPT)
                await asyncio.sleep(0.05)
        assert (await made.runs.get(made_run)).status is RunStatus.RUNNING
        await channel.send(input=typed(b"still heard"), end=False)
        async with asyncio.timeout(SOON_S):
            await guest.until(lambda: bytes(guest.input) == b"still heard")
        ending = spawn("end", guest.exit())
        read = 0
        while "end" not in (message := await heard(channel, "output", "end")):
            read += len(base64.b64decode(message["output"]))
        assert (read, message["end"]["reason"]) == (guest.output.written, "exited")
        await ending


async def test_input_as_large_as_the_command_sends_it_passes_whole(tmp_path):
    from antechamber.commands.run import _INPUT_PIECE

    async with talked_to(tmp_path) as (made, client), conversation(client) as channel:
        guest = await made.guests.get()
        await heard(channel, "begun")
        for _ in range(4):
            await channel.send(input=typed(b"\xff" * _INPUT_PIECE), end=False)
            await heard(channel, "taken")
        assert len(guest.input) == 4 * _INPUT_PIECE
        await guest.exit()


async def test_one_caller_of_several_runs_is_served_while_another_is_silent(tmp_path):
    async with talked_to(tmp_path) as (made, client):
        found = await run(made)
        async with conversation(client) as silent:
            await heard(silent, "waits")
            async with conversation(client) as channel:
                assert (await heard(channel, "waits"))["waits"] == 2
                await made.runs.cancel(found.id)
