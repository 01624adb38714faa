"""Runs over HTTP: asked for, read as a stream, typed into, ended; machines are scripted, all else is real."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from antechamber.machine import Mount
from antechamber.model import Actor, ApiScope, Purpose, RunReason, RunStatus
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing.run_guest import RunGuest
from antechamber.testing.scripted_guest import SignInGuest
from antechamber.web.rates import SOCKETS, STREAMS, TICKETS, Rates
from tests.integration.scene import BUILD, PAGE_HOST, WHOLE
from tests.integration.test_relay import closed
from tests.integration.test_runs import over, signed_in, until
from tests.integration.web_service import error_of, serving

ASK = {"user_id": "ada", "provider": "codex", "argv": ["exec", "say hello"]}


@contextlib.asynccontextmanager
async def served(made, folder, **more):
    """Serve a scene's runs."""
    async with contextlib.AsyncExitStack() as cleanup:
        parts = made.store, made.vault, made.metrics
        yield await serving(
            cleanup,
            made.signin,
            made.reconciler.live,
            made.settings,
            world="demo",
            parts=parts,
            folder=folder,
            node=made.node_id,
            runs=made.runs,
            **more,
        )


@pytest.fixture
async def made(tmp_path):
    async with signed_in(tmp_path, port=0, heartbeat_s=0.3) as made:
        yield made


@pytest.fixture
async def service(made, tmp_path):
    async with served(made, tmp_path) as service:
        yield service


async def started(client, **changes):
    answer = await client.post("/api/runs", json={**ASK, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def begun(made, client, **changes):
    """Return a run and its guest, once its tool runs."""
    run = await started(client, **changes)
    guest = await made.guests.get()
    await guest.began.wait()
    await until(made, run["id"], RunStatus.RUNNING)
    return run, guest


class Stream:
    """A stream of events that is read as it comes."""

    def __init__(self, answer):
        self.answer = answer
        self._lines = answer.aiter_lines()
        self.id = None
        self.beats = 0

    async def next(self):
        """Return (name, data) of the next event, None at the end of the stream."""
        name, data = None, None
        async with asyncio.timeout(20):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.beats += 1
                elif field == "event":
                    name = value
                elif field == "id":
                    self.id = value
                elif field == "data":
                    data = json.loads(value)
                elif not line and data is not None:
                    return name, data
        return None

    async def output(self):
        """Return (stream, what was written) of the next event, which is an output."""
        name, data = await self.next()
        assert name == "output", (name, data)
        return data["stream"], base64.b64decode(data["data"])


@contextlib.asynccontextmanager
async def reading(client, run_id, *, after=None):
    headers = {} if after is None else {"Last-Event-ID": after}
    async with client.stream("GET", f"/api/runs/{run_id}/output", headers=headers) as answer:
        assert answer.status_code == 200
        yield Stream(answer)


async def ended(made, run_id):
    return await until(made, run_id, RunStatus.ENDED)


# -- asking for one


async def test_a_run_is_started_told_of_and_ends_with_its_tools_code(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator, stdin="more of it", timeout=60)
    assert (run["status"], run["user_id"], run["provider"], run["detached"]) == ("starting", "ada", "codex", False)
    assert guest.job["argv"][-2:] == ["exec", "say hello"]
    streams = guest.job["streams"]
    assert (streams["terminal"], streams["held"], base64.b64decode(streams["input"])) == (False, True, b"more of it")
    async with reading(operator, run["id"]) as stream:
        guest.write(b"hello\n")
        assert await stream.output() == (1, b"hello\n")
        guest.write(b"a warning\n", 2)
        assert await stream.output() == (2, b"a warning\n")
        await guest.exit(3)
        assert await stream.next() == ("end", {"reason": "exited", "exit_code": 3, "redacted": False})
        assert await stream.next() is None
    shown = (await operator.get(f"/api/runs/{run['id']}")).json()
    assert (shown["status"], shown["reason"], shown["exit_code"], shown["timeout"]) == ("ended", "exited", 3, 60)
    assert "say hello" not in json.dumps(shown)
    listed = (await operator.get("/api/runs", params={"user_id": "ada"})).json()["runs"]
    assert [one["id"] for one in listed] == [run["id"]]


async def test_a_tool_without_input_has_none_to_wait_for(made, service):
    _, guest = await begun(made, await service.operator())
    assert guest.job["streams"]["input"] == ""
    await guest.exit()


async def test_a_repeat_with_the_same_key_is_the_same_run_and_with_another_body_refused(made, service):
    operator = await service.operator()
    key = {"Idempotency-Key": "nightly-1"}
    answers = [await operator.post("/api/runs", json=ASK, headers=key) for _ in range(2)]
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    other = await operator.post("/api/runs", json={**ASK, "argv": ["exec", "something else"]}, headers=key)
    assert error_of(other) == (422, "idempotency_mismatch")
    guest = await made.guests.get()
    await guest.began.wait()
    await guest.exit()
    assert made.guests.empty()
    # also when it could not be begun any more
    (stored,) = (await operator.get("/api/credentials")).json()["credentials"]
    await over(made, answers[0].json()["id"])
    assert (await operator.delete(f"/api/credentials/{stored['id']}")).status_code == 200
    again = await operator.post("/api/runs", json=ASK, headers=key)
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (201, answers[0].json()["id"], "ended")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"user_id": "nobody"}, 404, "credential_not_found"),
        ({"provider": "none"}, 422, "unknown_provider"),
        ({"workspace": "here"}, 404, "workspace_not_found"),
        ({"workspace": ""}, 422, "bad_request"),
        ({"workdir": "/"}, 422, "unknown_field"),
        ({"argv": "exec"}, 422, "bad_request"),
        ({"argv": ["a\0b"]}, 422, "bad_request"),
        ({"argv": ["x"] * 257}, 422, "bad_request"),
        ({"timeout": 7200}, 422, "bad_request"),
        ({"timeout": 0}, 422, "bad_request"),
        ({"terminal": True, "stdin": "x"}, 422, "bad_request"),
        ({"stdin": "x" * 49_153}, 422, "bad_request"),
    ],
)
async def test_what_cannot_run_is_refused(service, changes, status, code):
    operator = await service.operator()
    assert error_of(await operator.post("/api/runs", json={**ASK, **changes})) == (status, code)
    assert (await operator.get("/api/runs")).json()["runs"] == []


async def test_a_user_has_so_many_runs_at_once_and_is_told_when_there_is_room(tmp_path):
    async with signed_in(tmp_path, port=0, owner_runs=2) as made, served(made, tmp_path) as service:
        operator = await service.operator()
        _, guest = await begun(made, operator)
        second = await started(operator)
        refused = await operator.post("/api/runs", json=ASK)
        assert error_of(refused) == (429, "owner_run_limit")
        assert int(refused.headers["Retry-After"]) > 0
        await operator.post(f"/api/runs/{second['id']}/cancel")
        third = await started(operator)
        await operator.post(f"/api/runs/{third['id']}/cancel")
        await guest.exit()


# -- reading it


async def test_a_place_in_the_line_is_told_as_it_changes(made, service):
    operator = await service.operator()
    _, guest = await begun(made, operator)
    second, third = [await started(operator) for _ in range(2)]
    assert (second["position"], third["position"]) == (1, 2)
    async with reading(operator, third["id"]) as stream:
        assert await stream.next() == ("waits", {"position": 2})
        await operator.post(f"/api/runs/{second['id']}/cancel")
        assert await stream.next() == ("waits", {"position": 1})
        await guest.exit()
        guest = await made.guests.get()
        await guest.began.wait()
        guest.write(b"at last")
        assert await stream.output() == (1, b"at last")
        await guest.exit()
        assert (await stream.next())[0] == "end"


async def test_a_stream_that_was_cut_goes_on_where_it_was_and_nothing_is_lost(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    async with reading(operator, run["id"]) as stream:
        guest.write(b"one ")
        assert await stream.output() == (1, b"one ")
        seen = stream.id
        guest.write(b"two ")
        # it was sent, and who asks again from before it has not got it
        assert await stream.output() == (1, b"two ")
    guest.write(b"three")
    async with reading(operator, run["id"], after=seen) as stream:
        got = b""
        while got != b"two three":
            got += (await stream.output())[1]
        await guest.exit(0)
        assert (await stream.next())[1]["exit_code"] == 0


async def test_what_is_not_kept_any_more_is_counted(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator, detached=True)
    guest.write(b"x" * 1_500_000)
    async with reading(operator, run["id"]) as stream:
        name, first = await stream.next()
        assert (name, first["lost"]) == ("output", first["at"])
        assert 1_500_000 - 2**20 <= first["lost"] < 500_000
        await guest.exit()


async def test_an_id_beyond_the_end_reads_on_from_the_end(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    guest.write(b"before")
    async with reading(operator, run["id"], after="999999999999") as stream:
        async with asyncio.timeout(20):
            await guest.until(lambda: guest.output._reader)
        guest.write(b"after")
        assert await stream.output() == (1, b"after")
        await guest.exit()
        assert (await stream.next())[0] == "end"


async def test_a_quiet_stream_has_heartbeats(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    async with reading(operator, run["id"]) as stream:
        coming = spawn("next", stream.next())
        async with asyncio.timeout(20):
            while stream.beats < 2:
                await asyncio.sleep(0.05)
        await guest.exit()
        assert (await coming)[0] == "end"


async def test_a_later_reader_takes_over(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    async with reading(operator, run["id"]) as first:
        guest.write(b"a")
        assert await first.output() == (1, b"a")
        async with reading(operator, run["id"]) as second:
            assert await second.output() == (1, b"a")
            assert await first.next() == ("replaced", {})
            assert await first.next() is None
            await guest.exit()
            assert (await second.next())[0] == "end"


async def test_a_stopping_service_says_so_and_the_run_is_read_on_after_it(made, tmp_path):
    async with served(made, tmp_path) as service:
        operator = await service.operator()
        run, guest = await begun(made, operator)
        async with reading(operator, run["id"]) as stream:
            guest.write(b"before ")
            await stream.output()
            stopping = spawn("stop", service.server.stop())
            assert await stream.next() == ("closing", {})
            assert await stream.next() is None
            await stopping
    await made.restart()
    async with (
        served(made, tmp_path) as service,
        reading(await service.operator(), run["id"], after=stream.id) as stream,
    ):
        guest.write(b"after")
        assert await stream.output() == (1, b"after")
        await guest.exit()
        assert (await stream.next())[1]["reason"] == "exited"


async def test_a_machine_that_dies_ends_the_stream_without_a_code(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    async with reading(operator, run["id"]) as stream:
        guest.write(b"half of")
        await stream.output()
        guest.crash()
        assert await stream.next() == ("end", {"reason": "machine_ended", "exit_code": None, "redacted": False})


async def test_the_stream_of_a_run_that_has_ended_tells_its_end(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    await guest.exit(5)
    await ended(made, run["id"])
    async with reading(operator, run["id"]) as stream:
        while (told := await stream.next())[0] != "end":
            assert told[0] == "output"
        assert told[1]["exit_code"] == 5


# -- ending it


async def test_cancel_ends_a_run_once(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    cancelled = await operator.post(f"/api/runs/{run['id']}/cancel", json={})
    assert (cancelled.status_code, cancelled.json()["reason"]) == (200, "cancelled")
    await guest.asked_to_finish.wait()
    assert error_of(await operator.post(f"/api/runs/{run['id']}/cancel")) == (409, "run_ended")


@pytest.mark.parametrize("detached", [False, True])
async def test_a_caller_that_goes_away_leaves_no_run_behind(tmp_path, detached):
    waits = {"run_caller_s": 30 if detached else 1, "run_left_s": 1 if detached else 30}
    async with signed_in(tmp_path, port=0) as made, served(made, tmp_path) as service:
        made.settings.__dict__.update(waits)
        operator = await service.operator()
        run, guest = await begun(made, operator, detached=detached)
        async with reading(operator, run["id"]) as stream:
            guest.write(b"x")
            await stream.output()
        assert (await ended(made, run["id"])).reason is RunReason.CALLER_GONE


# -- who may


async def test_an_application_runs_its_own_users_credentials_alone_and_sees_no_others_run(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    _, acme = await service.application(ApiScope.CREDENTIALS_USE)
    _, reader = await service.application(ApiScope.CREDENTIALS_READ, name="Reader")
    assert error_of(await acme.post("/api/runs", json=ASK)) == (404, "credential_not_found")
    assert (await acme.get("/api/runs")).json()["runs"] == []
    for method, path in (("GET", ""), ("GET", "/output"), ("POST", "/cancel"), ("POST", "/terminal/ticket")):
        assert error_of(await acme.request(method, f"/api/runs/{run['id']}{path}")) == (404, "run_not_found")
        assert error_of(await reader.request(method, f"/api/runs/{run['id']}{path}")) == (403, "scope_needed")
    assert error_of(await reader.post("/api/runs", json=ASK)) == (403, "scope_needed")
    await guest.exit()


async def test_an_applications_run_is_its_own_and_its_stream_ends_with_its_key(made, service):
    application, acme = await service.application(ApiScope.CREDENTIALS_USE, ApiScope.SESSIONS_WRITE, bind_url=None)
    await signed_in_for(made, application.id)
    run, guest = await begun(made, acme)
    assert run["application"] == application.id
    assert [one["id"] for one in (await acme.get("/api/runs")).json()["runs"]] == [run["id"]]
    (key,) = await service.signin.applications.keys(application.id)
    (opened,) = [line for line in await service.signin.audit(after=0, limit=100) if line.purpose is Purpose.RUN]
    assert (opened.actor, opened.api_key) == (Actor.APPLICATION, key.id)
    async with reading(acme, run["id"]) as stream:
        guest.write(b"x")
        await stream.output()
        await service.signin.applications.revoke(key.id)
        assert await stream.next() == ("closing", {})
    await guest.exit()


async def test_a_terminal_ends_with_its_key_and_is_to_be_opened_again_where_that_cannot_be_told(made, service):
    application, acme = await service.application(ApiScope.CREDENTIALS_USE, ApiScope.SESSIONS_WRITE, bind_url=None)
    await signed_in_for(made, application.id)
    run, guest = await begun(made, acme, argv=[], terminal=True, detached=True)
    bearer = acme.headers["Authorization"].removeprefix("Bearer ")
    async with terminal(service, run["id"], await ticket(acme, run["id"]), bearer=bearer) as page:
        async with made.store._database.write() as write:
            await write.connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO away")
        assert (await closed(page))[0] == 4004
        async with made.store._database.write() as write:
            await write.connection.exec_driver_sql("ALTER TABLE away RENAME TO api_keys")
    async with terminal(service, run["id"], await ticket(acme, run["id"]), bearer=bearer) as page:
        (key,) = await service.signin.applications.keys(application.id)
        await service.signin.applications.revoke(key.id)
        assert (await closed(page))[0] == 4003
    await guest.exit()


async def test_tickets_sockets_and_streams_of_a_run_are_answered_so_often_and_no_other_runs_for_it(made, tmp_path):
    async with served(made, tmp_path, rates=Rates(lambda: 0.0)) as service:
        operator = await service.operator()
        run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
        await guest.exit()
        await over(made, run["id"])
        other, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
        for _ in range(TICKETS.burst):
            await ticket(operator, other["id"])
        too_often = (429, "too_often")
        assert error_of(await operator.post(f"/api/runs/{other['id']}/terminal/ticket", json={})) == too_often
        for _ in range(STREAMS.burst):
            assert (await operator.get(f"/api/runs/{run['id']}/output")).status_code == 200
        assert error_of(await operator.get(f"/api/runs/{run['id']}/output")) == too_often
        for _ in range(SOCKETS.burst):
            async with terminal(service, run["id"], "wrong"):
                pass
        with pytest.raises(InvalidStatus) as refused:
            await terminal(service, run["id"], "wrong")
        assert refused.value.response.status_code == 429
        async with reading(operator, other["id"]), terminal(service, other["id"], "wrong"):
            pass
        await guest.exit()


async def signed_in_for(made, application):
    """Have ada of an application sign in."""
    made.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST, clock_ns=made.clock.ns)
    session, guest = await made.awaiting(application=application)
    assert await guest.sign_in(WHOLE) is None
    await made.machine_ended(session.id)
    made.make_guest = lambda: RunGuest(build=BUILD, clock_ns=made.clock.ns)


async def test_a_workspace_is_where_the_tool_works_and_of_one_application_alone(tmp_path):
    own, acmes = [(tmp_path / name) for name in ("own", "acmes")]
    for folder in (own, acmes, own / "site", acmes / "shop"):
        folder.mkdir(mode=0o755)
    async with (
        signed_in(tmp_path, port=0, workspace_roots=f"{own},app_none={acmes}") as made,
        served(made, tmp_path) as service,
    ):
        operator = await service.operator()
        assert (await operator.get("/api/workspaces")).json() == {"workspaces": ["site"]}
        shop = await operator.post("/api/runs", json={**ASK, "workspace": "shop"})
        assert error_of(shop) == (404, "workspace_not_found")
        run, guest = await begun(made, operator, workspace="site")
        assert (run["workspace"], guest.job["folder"]) == ("site", "/workspace")
        machine = await made.store.machines.get((await made.runs.get(run["id"])).machine_id)
        spec = await made.reconciler.spec_of(machine)
        assert Mount(own / "site", "/workspace") in spec.mounts
        _, acme = await service.application(ApiScope.CREDENTIALS_USE)
        assert (await acme.get("/api/workspaces")).json() == {"workspaces": []}
        await guest.exit()
        await over(made, run["id"])
        assert (await operator.get(f"/api/runs/{run['id']}")).json()["workspace"] is None


async def test_a_workspace_that_has_gone_before_its_runs_turn_ends_that_run(tmp_path):
    (tmp_path / "own" / "site").mkdir(parents=True)
    async with (
        signed_in(tmp_path, port=0, workspace_roots=str(tmp_path / "own")) as made,
        served(made, tmp_path) as service,
    ):
        operator = await service.operator()
        _, guest = await begun(made, operator)
        waiting = await started(operator, workspace="site")
        (tmp_path / "own" / "site").rmdir()
        await guest.exit()
        ended = await over(made, waiting["id"])
        assert (ended.reason, "workspace_not_found" in ended.detail) == (RunReason.DID_NOT_START, True)


# -- its terminal


async def ticket(client, run_id):
    answer = await client.post(f"/api/runs/{run_id}/terminal/ticket", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()["ticket"]


def terminal(service, run_id, given, *, bearer=None, origin=None, **options):
    site = service.addresses.dashboard
    return connect(
        f"{site.websocket_origin}/api/runs/{run_id}/terminal",
        origin=site.origin if origin is None else origin,
        subprotocols=["binary", f"ticket.{given}"],
        additional_headers={"Authorization": f"Bearer {bearer or service.token}"},
        compression=None,
        proxy=None,
        **options,
    )


async def heard(page, length):
    got = b""
    async with asyncio.timeout(20):
        while len(got) < length:
            got += await page.recv(decode=False)
    return got


async def test_a_terminal_is_written_to_typed_into_resized_and_told_its_end(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
    assert guest.job["streams"] == {"terminal": True, "held": False}
    async with terminal(service, run["id"], await ticket(operator, run["id"])) as page:
        guest.write(b"\x1b[1mname\x1b[0m? ")
        assert await heard(page, 14) == b"\x1b[1mname\x1b[0m? "
        await page.send(json.dumps({"columns": 90, "rows": 30}))
        await page.send(b"ada\r")
        async with asyncio.timeout(20):
            await guest.until(lambda: bytes(guest.input) == b"ada\r" and guest.sizes == [(90, 30)])
        await guest.exit(2)
        assert json.loads(await page.recv()) == {"end": {"reason": "exited", "exit_code": 2, "redacted": False}}
        assert await closed(page) == (4010, "screen ended")


async def test_who_comes_back_sees_all_of_it_again_and_who_was_there_is_told(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
    guest.write(b"a screen")
    async with terminal(service, run["id"], await ticket(operator, run["id"])) as first:
        assert await heard(first, 8) == b"a screen"
        async with terminal(service, run["id"], await ticket(operator, run["id"])) as second:
            assert json.loads(await second.recv()) == {"again": True}
            assert await heard(second, 8) == b"a screen"
            assert await closed(first) == (4001, "taken over")
            guest.write(b"and more")
            assert json.loads(await second.recv()) == {"again": False}
            assert await heard(second, 8) == b"and more"
    await guest.exit()


async def test_a_run_that_waits_says_its_place_and_what_is_typed_meanwhile_reaches_its_tool(made, service):
    operator = await service.operator()
    _, guest = await begun(made, operator)
    run = await started(operator, argv=[], terminal=True, detached=True)
    async with terminal(service, run["id"], await ticket(operator, run["id"])) as page:
        assert json.loads(await page.recv()) == {"waits": 1}
        await page.send(b"early")
        await page.send(json.dumps({"columns": 70, "rows": 24}))
        await guest.exit()
        guest = await made.guests.get()
        await guest.began.wait()
        async with asyncio.timeout(20):
            await guest.until(lambda: bytes(guest.input) == b"early" and guest.sizes)
        assert guest.sizes[0] == (70, 24)
        await guest.exit()


async def test_a_ticket_opens_one_runs_terminal_once(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
    other = await started(operator, argv=[], terminal=True)
    given = await ticket(operator, run["id"])
    async with terminal(service, other["id"], given) as page:
        assert await closed(page) == (4003, "ticket not valid")
    async with terminal(service, run["id"], given) as page:
        guest.write(b"x")
        assert await heard(page, 1) == b"x"
    async with terminal(service, run["id"], given) as page:
        assert await closed(page) == (4003, "ticket not valid")
    await operator.post(f"/api/runs/{other['id']}/cancel")
    await guest.exit()
    await ended(made, run["id"])
    assert error_of(await operator.post(f"/api/runs/{run['id']}/terminal/ticket")) == (409, "run_ended")


async def test_a_ticket_of_a_terminal_opens_neither_the_dashboard_nor_a_sign_in(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
    given = await ticket(operator, run["id"])
    for code in (given, f"{run['id']}.{given}"):
        origin = {"Origin": service.addresses.dashboard.origin}
        stranger = await service.stranger(**origin)
        assert error_of(await stranger.post("/api/dashboard/open", json={"code": code})) == (403, "link_not_valid")
    await guest.exit()


async def test_a_run_without_a_terminal_has_no_ticket(made, service):
    operator = await service.operator()
    run, guest = await begun(made, operator)
    assert error_of(await operator.post(f"/api/runs/{run['id']}/terminal/ticket")) == (409, "no_terminal")
    await guest.exit()


@pytest.mark.parametrize("how", ["no right", "another application", "another page"])
async def test_nobody_else_comes_to_a_terminal(made, service, how):
    operator = await service.operator()
    run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
    given = await ticket(operator, run["id"])
    _, acme = await service.application(ApiScope.CREDENTIALS_USE)
    wrong = {
        "no right": {"bearer": "nonsense"},
        "another application": {"bearer": acme.headers["Authorization"].removeprefix("Bearer ")},
        "another page": {"origin": "http://evil.example"},
    }[how]
    with pytest.raises(InvalidStatus) as refused:
        await terminal(service, run["id"], given, **wrong)
    assert refused.value.response.status_code == {"no right": 401, "another application": 404, "another page": 403}[how]
    # and the ticket is not used up by it
    async with terminal(service, run["id"], given) as page:
        guest.write(b"x")
        assert await heard(page, 1) == b"x"
    await guest.exit()


@pytest.mark.parametrize("wrong", ["text", "[]", '{"columns": 90}', '{"columns": 1, "rows": 30}'])
async def test_a_text_that_is_no_size_ends_a_terminal(made, service, wrong):
    operator = await service.operator()
    run, guest = await begun(made, operator, argv=[], terminal=True, detached=True)
    async with terminal(service, run["id"], await ticket(operator, run["id"])) as page:
        await page.send(wrong)
        assert (await closed(page))[0] == 1003
    await guest.exit()


async def test_a_page_that_is_away_while_its_run_waits_keeps_nothing(made, service):
    operator = await service.operator()
    _, guest = await begun(made, operator)
    run = await started(operator, argv=[], terminal=True)
    async with terminal(service, run["id"], await ticket(operator, run["id"])) as page:
        await page.recv()
    waiting = spawn("none left", service.app.closing._none_left.wait())
    try:
        async with asyncio.timeout(20):
            await waiting
    finally:
        await cancel_and_wait(waiting)
    await guest.exit()
