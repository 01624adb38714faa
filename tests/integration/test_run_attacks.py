"""A machine that lies about its run: it ends that run, and gets nothing that is not its own. Machines are scripted."""

from __future__ import annotations

import asyncio
import base64
import contextlib

import pytest

from antechamber.errors import Code
from antechamber.guest.protocol import EgressAnswer, ReportKind
from antechamber.model import CredentialReason, CredentialStatus, MachineState, RunReason, RunStatus
from antechamber.reconciler.reading import RunReader
from antechamber.testing.run_guest import RunGuest
from tests.integration.scene import BUILD
from tests.integration.test_runs import (
    MODEL_HOST,
    RENEWAL_HOST,
    begun,
    machine_gone,
    over,
    read,
    renewed,
    run,
    signed_in,
    status,
    stored,
    until,
)

SOON_S = 20


class Silent(RunGuest):
    """Gets its job, and does not say that it has begun."""

    async def _course(self, link):
        self.job = await link.job
        self.began.set()

    async def say(self, kind, **body):
        return await self.link.report(kind, body)


@contextlib.asynccontextmanager
async def hostile(folder, **settings):
    """Give a scene and a run in a machine that says nothing by itself."""
    async with signed_in(folder, **settings) as made:
        made.make_guest = lambda: Silent(build=BUILD)
        found = await run(made)
        guest = await made.guests.get()
        await guest.began.wait()
        yield made, found, guest


ENDED = {"code": 0, "file": "whole", "redacted": False}


async def test_an_end_before_the_beginning_is_the_end_and_a_beginning_after_it_is_none(tmp_path):
    async with hostile(tmp_path) as (made, found, guest):
        waiting = await run(made)
        assert await guest.say(ReportKind.RUN_ENDED, **ENDED) is None
        assert (await over(made, found.id)).reason is RunReason.EXITED
        await guest.say(ReportKind.STARTED, cli_pid_started=True)
        assert (await made.runs.get(found.id)).status is RunStatus.ENDED
        assert (await until(made, waiting.id, RunStatus.STARTING)).machine_id != found.machine_id


async def test_a_second_end_changes_nothing(tmp_path):
    async with hostile(tmp_path) as (made, found, guest):
        await guest.say(ReportKind.RUN_ENDED, **(ENDED | {"code": 3}))
        before = await made.runs.get(found.id)
        await guest.say(ReportKind.RUN_ENDED, **(ENDED | {"code": 4, "redacted": True}))
        assert await made.runs.get(found.id) == before


async def test_nothing_is_stored_of_what_comes_after_the_end(tmp_path):
    async with hostile(tmp_path) as (made, _, guest):
        await guest.say(ReportKind.RUN_ENDED, **ENDED)
        assert await guest.renew(renewed(9)) == Code.WRITE_BACK_REFUSED
        assert (await stored(made))[0].version == 1
        assert await guest.connect(RENEWAL_HOST) is EgressAnswer.FAILED


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ReportKind.SCREEN_UP, {}),
        (ReportKind.BROWSER_SANDBOX, {"ok": False, "renderers": 0, "detail": "off"}),
        (ReportKind.PAGE_ASKED, {"host": "auth.openai.com"}),
        (ReportKind.TERMINAL_ASKS, {}),
        (ReportKind.NOTHING_YET, {}),
        (ReportKind.CLI_ENDED, {"attempt": 1, "code": 0, "lines": [], "file": "none"}),
        (ReportKind.CHECKED, {"accepted": False, "code": 1, "lines": []}),
    ],
)
async def test_a_runs_machine_that_says_it_is_something_else_moves_nothing(tmp_path, kind, body):
    async with hostile(tmp_path) as (made, found, guest):
        before = await made.runs.get(found.id), await status(made), await made.signin.sessions(user_id="ada")
        assert await guest.say(kind, **body) is None
        assert (await made.runs.get(found.id), await status(made), await made.signin.sessions(user_id="ada")) == before


@pytest.mark.parametrize("trouble", ["job", "agent", "cli_not_found"])
async def test_a_machine_that_cannot_do_its_job_ends_its_run_and_lets_the_next_one_begin(tmp_path, trouble):
    async with hostile(tmp_path, run_finish_s=0.5) as (made, found, guest):
        waiting = await run(made)
        await guest.say(ReportKind.TROUBLE, what=trouble, detail="\x1b[2Jno")
        ended = await over(made, found.id)
        assert (ended.reason, ended.detail) == (RunReason.MACHINE_BROKEN, f"{trouble}: no")
        await machine_gone(made, found.id)
        await until(made, waiting.id, RunStatus.STARTING)
        assert await status(made) == (CredentialStatus.ACTIVE, CredentialReason.SIGNED_IN)


def output(reader, **more):
    text = base64.b64encode(b"x").decode()
    return {
        "type": "run_output",
        "reader": reader,
        "at": 0,
        "stream": 1,
        "output": text,
        "ended": False,
        "again": False,
        **more,
    }


@pytest.mark.parametrize(
    "said",
    [
        [output(1), output(1)],
        [output(1, output="x" * 100_000)],
        [output(1, stream=9)],
        [{"type": "run_output"}],
        [{"type": "terminal_of_somebody"}],
        [{"type": "report", "id": "rep_x", "kind": "run_ended", "body": {}}],
    ],
)
async def test_a_machine_that_breaks_the_protocol_ends_its_run(tmp_path, said):
    async with hostile(tmp_path, run_finish_s=0.5) as (made, found, guest):
        await guest.say(ReportKind.STARTED, cli_pid_started=True)
        view = await made.reconciler.live.read_run(found.id)
        assert view.reader == 1
        for message in said:
            guest.link.say(message)
        ended = await over(made, found.id)
        assert ended.reason is RunReason.MACHINE_BROKEN
        assert "guest_protocol" in ended.detail
        await machine_gone(made, found.id)


@pytest.mark.parametrize(
    "name", ["example.com", "api.openai.com.example.com", "127.0.0.1", "localhost", "169.254.169.254", "xchatgpt.com"]
)
async def test_a_runs_machine_reaches_no_host_that_is_not_its_providers(tmp_path, name):
    async with signed_in(tmp_path) as made:
        _, guest = await begun(made)
        assert await guest.connect(name) is EgressAnswer.NXDOMAIN
        assert await guest.connect(MODEL_HOST) is EgressAnswer.OK
        await guest.exit()


async def test_a_renewal_host_by_another_spelling_is_written_down_all_the_same(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        answer = await guest.connect(RENEWAL_HOST.upper() + ".")
        renewing = (await made.store.runs.lease(found.id)).renewing_at
        assert (answer is EgressAnswer.OK) == (renewing is not None)
        await guest.exit()


async def test_a_machine_whose_tool_floods_a_reader_that_stops_is_held_up(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        reader = RunReader(made.runs, made.reconciler.live, found.id)
        told = reader.told()
        while not guest.output.full:
            guest.write(b"x" * 100_000)
        await anext(told)
        assert guest.output.full
        await told.aclose()
        await reader.close()
        await guest.exit()
        said = b"".join(one.output for one in (await read(made, found.id))[:-1])
        assert len(said) == guest.output.written


async def test_a_run_that_is_ended_before_its_machine_has_its_job_never_gives_it(tmp_path):
    class Late(RunGuest):
        async def __call__(self, guest):
            await gate.wait()
            return await super().__call__(guest)

    gate = asyncio.Event()
    async with signed_in(tmp_path, run_finish_s=60) as made:
        made.make_guest = lambda: Late(build=BUILD)
        found = await run(made)
        guest = await made.guests.get()
        with made.store.changes.watch("machines") as changed:
            while (await made.store.machines.get(found.machine_id)).state is not MachineState.BOOTING:
                await changed.wait(0.5)
        async with asyncio.timeout(20):
            while made.reconciler.live.attendants[found.machine_id].live is None:
                await asyncio.sleep(0.02)
        await made.runs.cancel(found.id)
        await machine_gone(made, found.id)
        gate.set()
        assert guest.job == {}
        assert (await made.store.runs.lease(found.id)).ended_at is not None
