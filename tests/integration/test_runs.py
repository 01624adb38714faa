"""Runs of a tool with a stored credential: streams, one live copy, write-back, and every end; machines are scripted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta

import pytest

from antechamber.errors import CallerError, Code
from antechamber.guest.protocol import EgressAnswer, FileState
from antechamber.model import (
    Actor,
    AuditAction,
    CredentialReason,
    CredentialStatus,
    Owner,
    Purpose,
    RunReason,
    RunStatus,
)
from antechamber.reconciler.reading import Over, RunReader, Waits
from antechamber.runs import RunRequest
from antechamber.store import run_topic
from antechamber.tasks import spawn
from antechamber.testing.run_guest import RunGuest
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import ADA, BUILD, PAGE_HOST, WHOLE, scene
from tests.providers.samples import CODEX
from tests.providers.samples import token as token_of

MODEL_HOST, RENEWAL_HOST = "chatgpt.com", "auth.openai.com"


def renewed(number, **changes):
    """Return the files of a renewal: the same account, other tokens."""
    tokens = {
        **CODEX["tokens"],
        "access_token": CODEX["tokens"]["access_token"],
        "refresh_token": f"DUMMY-rt-{number:020}",
    }
    return {"credential": json.dumps({**CODEX, **changes, "tokens": tokens}).encode()}


@contextlib.asynccontextmanager
async def signed_in(folder, **settings):
    """Give a scene in which ada has signed in; machines from then on run her tool."""
    quick = {"run_finish_s": 3, "run_kept_s": 1, "run_caller_s": 30}
    async with scene(folder, **(quick | settings)) as made:
        session, guest = await made.awaiting()
        assert await guest.sign_in(WHOLE) is None
        await made.machine_ended(session.id)
        made.make_guest = lambda: RunGuest(build=BUILD, clock_ns=made.clock.ns)
        yield made


async def run(made, *arguments, owner=ADA, held=True, **more):
    return await made.runs.start(
        RunRequest(
            owner=owner, provider="codex", arguments=arguments, terminal=False, held=held, by=Actor.COMMAND_LINE, **more
        )
    )


async def begun(made, *arguments, **more):
    """Return a run and its guest, with its tool running."""
    made_run = await run(made, *arguments, **more)
    guest = await made.guests.get()
    await guest.began.wait()
    return await until(made, made_run.id, RunStatus.RUNNING), guest


async def until(made, run_id, status):
    with made.store.changes.watch(run_topic(run_id)) as changed:
        async with asyncio.timeout(30):
            while (found := await made.runs.get(run_id)).status is not status:
                assert found.status is not RunStatus.ENDED, f"{found.reason}: {found.detail}"
                await changed.wait(0.5)
    return found


async def over(made, run_id):
    return await until(made, run_id, RunStatus.ENDED)


async def machine_gone(made, run_id):
    found = await made.runs.get(run_id)
    with made.store.changes.watch("machines") as changed:
        async with asyncio.timeout(30):
            while not (await made.store.machines.get(found.machine_id)).state.ended:
                await changed.wait(0.5)


async def read(made, run_id, *, at=0):
    """Return all that is told of a run to its end."""
    reader = RunReader(made.runs, made.reconciler.live, run_id, at=at)
    async with asyncio.timeout(30):
        return [one async for one in reader.told()]


async def stored(made):
    """Return ada's credential as it is stored, and the refresh token in it."""
    credential, bundle = await made.signin.open_credential(ADA, "codex", purpose=Purpose.CHECK, by=Actor.COMMAND_LINE)
    files = json.loads(bundle)["files"]
    return credential, json.loads(files["credential"]["content"])["tokens"]["refresh_token"]


async def status(made):
    (credential,) = await made.signin.credentials("ada")
    return credential.status, credential.status_reason


async def test_a_run_gets_the_credential_its_arguments_and_no_screen_and_tells_its_end(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made, "exec", "say hello")
        assert guest.job["argv"][-2:] == ["exec", "say hello"]
        seeds = {seed["path"]: seed["content"] for seed in guest.job["seed"]}
        assert json.loads(seeds["~/.codex/auth.json"]) == CODEX
        assert not guest.job["screen"]
        guest.write(b"hello\n")
        guest.write(b"a warning\n", 2)
        telling = spawn("a test's", read(made, found.id))
        assert await guest.exit(3) is None
        told = await telling
        assert [(one.stream, one.output) for one in told[:-1] if one.output] == [(1, b"hello\n"), (2, b"a warning\n")]
        assert (told[-1].run.reason, told[-1].run.exit_code) == (RunReason.EXITED, 3)
        assert told[-1].run.arguments == ()
        await machine_gone(made, found.id)
        lines = await made.signin.audit(after=0, limit=100)
        assert [(line.action, line.purpose) for line in lines][-1] == (AuditAction.CREDENTIAL_OPENED, Purpose.RUN)


async def test_the_tools_environment_is_its_definitions_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("DUMMY_OF_THE_CALLER", "DUMMY")
    async with signed_in(tmp_path) as made:
        _, guest = await begun(made)
        assert guest.job["env"] == made.providers.get("codex").definition.run.env
        assert "DUMMY_OF_THE_CALLER" not in json.dumps(guest.job)
        await guest.exit()


async def test_input_signals_and_size_reach_the_tool(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        reader = RunReader(made.runs, made.reconciler.live, found.id)
        telling = spawn("a test's", anext(reader.told()))
        await reader.type(b"a question")
        await reader.signal("INT")
        guest.write(b"x")
        await telling
        await reader.resize(90, 40)
        await guest.exit()
        assert (bytes(guest.input), guest.signals, guest.sizes) == (b"a question", ["INT"], [(90, 40)])
        await reader.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"owner": Owner("nobody")}, Code.CREDENTIAL_NOT_FOUND),
        ({"seconds": 0}, Code.BAD_REQUEST),
        ({"seconds": 10**6}, Code.BAD_REQUEST),
    ],
)
async def test_what_cannot_run_is_refused(tmp_path, arguments, code):
    async with signed_in(tmp_path) as made:
        with pytest.raises(CallerError) as refused:
            await run(made, **arguments)
        assert refused.value.code is code


@pytest.mark.parametrize(
    "arguments", [["login"], ["logout"], ["mcp"], ["-c", "x=y", "exec", "hello"], ["exec", "--trust", "hello"]]
)
async def test_arguments_that_are_not_for_a_run_are_refused_before_anything_is_opened(tmp_path, arguments):
    async with signed_in(tmp_path) as made:
        before = len(await made.signin.audit(after=0, limit=100))
        with pytest.raises(CallerError) as refused:
            await run(made, *arguments)
        assert refused.value.code is Code.ARGUMENT_REFUSED
        assert len(await made.signin.audit(after=0, limit=100)) == before


async def test_a_credential_that_needs_a_sign_in_is_not_run_with(tmp_path):
    async with signed_in(tmp_path) as made:
        (credential,) = await made.signin.credentials("ada")
        await made.signin.life.say(credential.id, "vendor_refused")
        with pytest.raises(CallerError) as refused:
            await run(made)
        assert refused.value.code is Code.CREDENTIAL_NOT_USABLE


# -- one live copy


async def test_of_several_runs_one_at_a_time_has_the_credential_in_their_order(tmp_path):
    async with signed_in(tmp_path) as made:
        first, guest = await begun(made)
        second, third = [await run(made) for _ in range(2)]
        assert [await made.runs.position(one) for one in (first, second, third)] == [None, 1, 2]
        assert second.machine_id is None
        assert made.guests.empty()
        told = spawn("a test's", read(made, third.id))
        await guest.exit()
        guest = await made.guests.get()
        await guest.began.wait()
        await until(made, second.id, RunStatus.RUNNING)
        assert await made.runs.position(third) == 1
        await guest.exit()
        guest = await made.guests.get()
        await guest.began.wait()
        await guest.exit(4)
        places = [one.position for one in await told if isinstance(one, Waits)]
        assert places[-1] == 1
        assert (await made.runs.get(third.id)).exit_code == 4


async def test_a_run_that_waits_too_long_ends_and_leaves_the_line(tmp_path):
    async with signed_in(tmp_path, run_wait_s=1) as made:
        _, guest = await begun(made)
        waiting = await run(made)
        assert (await over(made, waiting.id)).reason is RunReason.NO_TURN
        await guest.exit()


async def test_runs_of_two_people_do_not_wait_for_each_other(tmp_path):
    async with signed_in(tmp_path) as made:
        made.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST, clock_ns=made.clock.ns)
        session, guest = await made.awaiting(user_id="bob")
        await guest.sign_in(WHOLE)
        await made.machine_ended(session.id)
        made.make_guest = lambda: RunGuest(build=BUILD)
        _, one = await begun(made)
        _, other = await begun(made, owner=Owner("bob"))
        await one.exit()
        await other.exit()


# -- write-back


async def test_what_the_tool_renews_is_stored_before_its_end_is_told_and_the_next_run_gets_it(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        before, _ = await stored(made)
        assert await guest.renew(renewed(1)) is None
        after, token = await stored(made)
        assert (after.id, after.version, token) == (before.id, before.version + 1, f"DUMMY-rt-{1:020}")
        assert await status(made) == (CredentialStatus.ACTIVE, CredentialReason.REFRESHED)
        assert (await made.runs.get(found.id)).status is RunStatus.RUNNING
        await guest.renew(renewed(2))
        await guest.exit()
        _, guest = await begun(made)
        seeds = {seed["path"]: seed["content"] for seed in guest.job["seed"]}
        assert f"DUMMY-rt-{2:020}" in seeds["~/.codex/auth.json"]
        await guest.exit()
        actions = [line.action for line in await made.signin.audit(after=0, limit=100)]
        assert actions.count(AuditAction.CREDENTIAL_REFRESHED) == 2


async def test_another_account_is_refused_and_told(tmp_path):
    async with signed_in(tmp_path) as made:
        _, guest = await begun(made)
        tokens = {**CODEX["tokens"], "id_token": token_of(email="eve@DUMMY.example")}
        files = {"credential": json.dumps({**CODEX, "tokens": tokens}).encode()}
        assert await guest.renew(files) == Code.OTHER_ACCOUNT
        credential, token = await stored(made)
        assert (credential.version, token) == (1, CODEX["tokens"]["refresh_token"])
        await guest.exit()
        denied = [line for line in await made.signin.audit(after=0, limit=100) if line.refused]
        assert [(line.action, line.refused) for line in denied] == [
            (AuditAction.CREDENTIAL_REFRESHED, Code.OTHER_ACCOUNT)
        ]


async def test_a_sign_in_meanwhile_wins_and_the_late_writer_is_refused(tmp_path):
    async with signed_in(tmp_path) as made:
        _, guest = await begun(made)
        made.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST, clock_ns=made.clock.ns)
        session, person = await made.awaiting()
        assert await person.sign_in(renewed(7)) is None
        assert await guest.renew(renewed(8)) == Code.WRITE_BACK_REFUSED
        assert (await stored(made))[1] == f"DUMMY-rt-{7:020}"
        await guest.exit()
        await made.machine_ended(session.id)


async def test_half_a_file_is_refused_and_nothing_is_lost(tmp_path):
    async with signed_in(tmp_path) as made:
        _, guest = await begun(made)
        assert await guest.renew({"credential": b'{"tokens": {}}'}) == Code.CREDENTIAL_INCOMPLETE
        assert (await stored(made))[0].version == 1
        await guest.exit()


async def test_a_renewal_that_a_restart_found_in_hand_is_stored_once(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made, held=False)
        await made.close()
        renewing = spawn("a test's", guest.renew(renewed(3)))
        await made.open()
        assert await renewing is None
        assert (await stored(made))[0].version == 2
        assert (await made.runs.get(found.id)).status is RunStatus.RUNNING
        assert await guest.exit() is None
        assert (await over(made, found.id)).reason is RunReason.EXITED


# -- its end


@pytest.mark.parametrize("how", ["cancelled", "caller_gone", "timed_out"])
async def test_a_run_that_is_ended_has_its_last_renewal_stored_and_the_next_one_begins(tmp_path, how):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made, seconds=1 if how == "timed_out" else None)
        guest.ends_when_asked = False
        waiting = await run(made)
        if how == "cancelled":
            await made.runs.cancel(found.id)
        elif how == "caller_gone":
            await made.runs.caller_gone(found.id)
        assert (await over(made, found.id)).reason == how
        await guest.asked_to_finish.wait()
        # the run has ended, and its copy lives on until its machine is done with it
        assert (await made.runs.get(waiting.id)).status is RunStatus.WAITING
        assert await guest.renew(renewed(5)) is None
        await guest.exit(-15)
        await until(made, waiting.id, RunStatus.RUNNING)
        assert (await stored(made))[0].version == 2


async def test_a_tool_that_does_not_end_is_ended_with_its_machine(tmp_path):
    async with signed_in(tmp_path, run_finish_s=0.5) as made:
        found, guest = await begun(made)
        guest.ends_when_asked = False
        await made.runs.cancel(found.id)
        await machine_gone(made, found.id)
        assert (await made.store.runs.lease(found.id)).ended_at is not None
        assert await status(made) == (CredentialStatus.ACTIVE, CredentialReason.SIGNED_IN)


async def test_a_held_run_that_nobody_reads_ends(tmp_path):
    async with signed_in(tmp_path) as made:
        made.settings.__dict__["run_caller_s"] = 0.5
        found, _ = await begun(made)
        assert (await over(made, found.id)).reason is RunReason.CALLER_GONE


async def test_a_credential_that_is_deleted_ends_its_run_and_who_waits_for_it(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        waiting = await run(made)
        (credential,) = await made.signin.credentials("ada")
        await made.signin.delete_credential(credential.id, by=Actor.DASHBOARD)
        assert (await over(made, found.id)).reason is RunReason.CREDENTIAL_GONE
        await guest.asked_to_finish.wait()
        assert (await over(made, waiting.id)).reason is RunReason.CREDENTIAL_GONE
        await machine_gone(made, found.id)


async def test_a_machine_that_dies_ends_its_run_with_that_reason(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        guest.crash()
        ended = await over(made, found.id)
        assert (ended.reason, ended.exit_code) == (RunReason.MACHINE_ENDED, None)
        assert await status(made) == (CredentialStatus.ACTIVE, CredentialReason.SIGNED_IN)
        _, guest = await begun(made)
        await guest.exit()


# -- what may be burnt


async def test_a_machine_that_dies_in_a_renewal_leaves_a_credential_that_needs_a_sign_in(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        waiting = await run(made)
        assert await guest.connect(RENEWAL_HOST) is EgressAnswer.OK
        guest.crash()
        assert (await over(made, found.id)).reason is RunReason.MACHINE_ENDED
        assert await status(made) == (CredentialStatus.NEEDS_SIGN_IN, CredentialReason.CUT_SHORT)
        assert (await over(made, waiting.id)).reason is RunReason.CREDENTIAL_GONE


async def test_a_machine_that_dies_after_its_renewal_was_stored_leaves_it_active(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        assert await guest.connect(RENEWAL_HOST) is EgressAnswer.OK
        assert await guest.renew(renewed(1)) is None
        guest.crash()
        await over(made, found.id)
        assert await status(made) == (CredentialStatus.ACTIVE, CredentialReason.REFRESHED)


@pytest.mark.parametrize(("code", "file"), [(-9, "whole"), (1, FileState.INCOMPLETE.value)])
async def test_a_tool_that_was_ended_in_a_renewal_may_have_used_it_up(tmp_path, code, file):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        await guest.connect(RENEWAL_HOST)
        await guest.exit(code, file=file)
        await over(made, found.id)
        assert await status(made) == (CredentialStatus.NEEDS_SIGN_IN, CredentialReason.CUT_SHORT)


async def test_a_tool_that_ends_by_itself_has_renewed_it_or_not(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        await guest.connect(RENEWAL_HOST)
        await guest.exit(1)
        await over(made, found.id)
        assert await status(made) == (CredentialStatus.ACTIVE, CredentialReason.SIGNED_IN)


async def test_nothing_goes_to_the_vendor_to_renew_while_that_cannot_be_written_down(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        lease = await made.store.runs.lease(found.id)
        assert lease.renewing_at is None
        await made.store.runs.exited(found.id, code=0, redacted=False, is_clean=True, at=made.clock())
        # its lease is over: a late tool reaches the model's host at most, and renews nothing
        assert await guest.connect(RENEWAL_HOST) is EgressAnswer.FAILED


async def test_a_run_reaches_its_providers_hosts_and_no_others(tmp_path):
    async with signed_in(tmp_path) as made:
        _, guest = await begun(made)
        assert await guest.connect(MODEL_HOST) is EgressAnswer.OK
        assert await guest.connect("example.com") is EgressAnswer.NXDOMAIN
        await guest.exit()


# -- over a restart


async def test_a_run_that_keeps_its_output_goes_on_over_a_restart_and_is_read_whole(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made, held=False)
        guest.write(b"before ")
        await made.restart()
        guest.write(b"after")
        await guest.exit()
        told = await read(made, found.id)
        assert b"".join(one.output for one in told[:-1]) == b"before after"
        assert isinstance(told[-1], Over)


async def test_a_clock_that_goes_forward_ends_a_run_and_stores_what_it_wrote(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        guest.ends_when_asked = False
        made.clock.ahead = timedelta(hours=2)
        assert (await over(made, found.id)).reason is RunReason.TIMED_OUT
        await guest.asked_to_finish.wait()
        assert await guest.renew(renewed(6)) is None
        await guest.exit(0)
