"""When machines are short: a line, first come, first served, and nobody in it for ever."""

import asyncio
import contextlib
import time
from datetime import timedelta

from antechamber.model import IdPrefix, Owner, Reason, new_id
from antechamber.providers import CapturedFile
from antechamber.settings import Settings
from antechamber.signin import TOLD_AFTER
from tests.integration.scene import WHOLE, CheckGuest, Scene, scene
from tests.integration.web_service import running
from tests.opening import BY


async def told(stage, session_id, position):
    """Wait until that place is told of a session."""
    while True:
        session = await stage.signin.session(session_id)
        assert not session.status.terminal, session
        if await stage.signin.place_in_line(session) == position:
            return
        with stage.store.changes.watch("machines") as changed:
            await changed.wait(0.1)


async def test_beyond_the_most_machines_a_sign_in_waits_and_begins_when_one_has_ended(site):
    async with scene(site.folder, database_url=site.url, machines=1, sweep_s=20) as stage:
        first, _ = await stage.awaiting(user_id="ada")
        second = await stage.start(user_id="grace")
        third = await stage.start(user_id="edith")
        await told(stage, third.id, 2)
        await told(stage, second.id, 1)
        begun = asyncio.get_running_loop().time()
        await stage.signin.cancel(first.id, by_person=True)
        await stage.until(second.id, "awaiting_sign_in")
        # by the hint of the machine's end: the slow look would have come after twenty seconds
        assert asyncio.get_running_loop().time() - begun < 15
        await told(stage, third.id, 1)
        assert len(stage.host.started) == 2
        assert (await stage.signin.session(third.id)).status == "pending"


async def test_one_that_is_cancelled_in_the_line_leaves_it_and_nothing_of_it_was_ever_started(site):
    async with scene(site.folder, database_url=site.url, machines=1) as stage:
        await stage.awaiting(user_id="ada")
        second, third = await stage.start(user_id="grace"), await stage.start(user_id="edith")
        await told(stage, third.id, 2)
        await stage.signin.cancel(second.id, by_person=True)
        await told(stage, third.id, 1)
        row = await stage.machine_ended(second.id)
        assert (row.state, row.handle, len(stage.host.started)) == ("gone", None, 1)


async def test_who_waits_too_long_is_told_that_no_machine_became_free_and_with_which_place(site):
    async with scene(site.folder, database_url=site.url, machines=1, wait_s=2) as stage:
        await stage.awaiting(user_id="ada")
        second = await stage.start(user_id="grace")
        session = await stage.until(second.id, "failed")
        assert (session.reason, session.detail) == (
            Reason.NO_MACHINE_FREE,
            "it was number 1 in the line for a machine",
        )
        assert session.ended_at - session.created_at < timedelta(seconds=6)
        assert (await stage.machine_ended(second.id)).state == "gone"


async def test_the_time_to_start_runs_from_when_a_node_begins_the_machine(site):
    async with scene(site.folder, database_url=site.url, machines=1, start_s=4, wait_s=60) as stage:
        first, _ = await stage.awaiting(user_id="ada")
        second = await stage.start(user_id="grace")
        assert second.expires_at - second.created_at == timedelta(seconds=60)
        # longer than a machine may take to start
        await asyncio.wait_for(_until_older(stage, second.id, timedelta(seconds=5)), 30)
        await stage.signin.cancel(first.id, by_person=True)
        session = await stage.until(second.id, "starting", "awaiting_sign_in")
        machine = await stage.signin.machine(second.id)
        await stage.until(second.id, "awaiting_sign_in")
        if session.status == "starting":
            assert session.expires_at == machine.state_at + timedelta(seconds=4)


async def _until_older(stage, session_id, age):
    """Wait until a session that waits is so old, by the service's clock."""
    while (session := await stage.signin.session(session_id)).status == "pending":
        if stage.signin.clock() - session.created_at > age:
            return
        with stage.store.changes.watch("nothing") as never:
            await never.wait(0.2)
    raise AssertionError(session)


async def test_without_a_free_uid_a_sign_in_waits_as_without_a_free_machine(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.host.uids = [200_001]
        first, _ = await stage.awaiting(user_id="ada")
        second = await stage.start(user_id="grace")
        await told(stage, second.id, 1)
        await stage.signin.cancel(first.id, by_person=True)
        await stage.until(second.id, "awaiting_sign_in")


async def test_a_check_of_a_credential_waits_in_no_line(site):
    async with scene(site.folder, database_url=site.url, machines=1) as stage:
        kept = await stage.start(user_id="keeper")
        await stage.until(kept.id, "awaiting_sign_in")
        files = {"credential": CapturedFile(WHOLE["credential"], time.time_ns())}
        await stage.signin.capture(kept.id, kept.machine_id, new_id(IdPrefix.REPORT), files)
        await stage.machine_ended(kept.id)
        await stage.awaiting(user_id="ada")
        waits = await stage.start(user_id="grace")
        await told(stage, waits.id, 1)
        stage.make_guest = CheckGuest
        verdict = await stage.reconciler.checks.check(Owner("keeper"), "codex", by=BY)
        assert verdict.accepted
        assert (await stage.signin.session(waits.id)).status == "pending"


async def test_several_services_on_one_database_have_one_line_and_each_its_own_room(tmp_path, postgres_url):
    settings = {"world": "demo", "sweep_s": 0.5, "database_url": postgres_url, "machines": 1, "stop_s": 2}
    for name in "ab":
        (tmp_path / name).mkdir()
    stages = [Scene(tmp_path / name, Settings(**settings)) for name in "ab"]
    async with contextlib.AsyncExitStack() as stack:
        await stages[0].open()
        stack.push_async_callback(stages[0].end)
        (tmp_path / "b" / "key").write_bytes((tmp_path / "a" / "key").read_bytes())
        (tmp_path / "b" / "key").chmod(0o600)
        await stages[1].open()
        stack.push_async_callback(stages[1].end)
        one = stages[0]
        sessions = [await one.start(user_id=f"user{number}") for number in range(4)]
        for session in sessions[:2]:
            await one.until(session.id, "awaiting_sign_in")
        await told(one, sessions[3].id, 2)
        nodes = {(await one.signin.machine(session.id)).node for session in sessions[:2]}
        assert nodes == {stage.node_id for stage in stages}
        # whichever node has room next takes the first of the line
        await one.signin.cancel(sessions[1].id, by_person=True)
        await one.until(sessions[2].id, "awaiting_sign_in")
        await told(one, sessions[3].id, 1)
        assert [len(stage.host.running()) for stage in stages] == [1, 1]


async def test_a_place_is_in_the_answers_the_poll_and_the_stream_and_not_in_the_first_second(site):
    async with running(site.folder, database_url=site.url) as service:
        ids = [(await service.start(user_id=f"user{number}"))["session_id"] for number in range(2)]
        operator = await service.operator()
        path = f"/api/auth/session/{ids[1]}"
        first = (await operator.get(path)).json()
        if (await service.signin.session(ids[1])).created_at + TOLD_AFTER > service.signin.clock():
            assert first["waiting"] is None
        assert (await operator.get(f"{path}?wait=20")).json()["waiting"] == {"position": 2}
        listed = (await operator.get("/api/auth/sessions")).json()["sessions"]
        assert [row["waiting"] for row in listed] == [{"position": 2}, {"position": 1}]
        async with operator.stream("GET", f"{path}/events") as stream:
            lines = stream.aiter_lines()
            assert await _next_place(lines) == '{"position": 2}'
            await operator.post(f"/api/auth/session/{ids[0]}/cancel", json={})
            assert await _next_place(lines) == '{"position": 1}'
        ended = (await operator.post(f"{path}/cancel", json={})).json()
        assert ended["waiting"] is None


async def _next_place(lines):
    async with asyncio.timeout(20):
        async for line in lines:
            if line == "event: waiting":
                return (await anext(lines)).removeprefix("data: ")
    raise AssertionError
