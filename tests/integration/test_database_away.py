"""PostgreSQL is gone for a while, while sessions are in every phase: then everything goes on.

The time is two seconds here; ANTECHAMBER_TESTS_AWAY_S asks for another (30, say).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from datetime import timedelta

import pytest
from websockets.asyncio.client import connect

from antechamber.errors import Code, OperatorError
from antechamber.model import SessionStatus
from antechamber.signin import now
from antechamber.testing.scripted_guest import SignInGuest
from tests import invariants
from tests.integration.scene import BUILD, PAGE_HOST, WHOLE, SlowGuest, told
from tests.integration.web_service import error_of
from tests.integration.whole_service import metric, whole
from tests.postgres import Server, programs

AWAY_S = float(os.environ.get("ANTECHAMBER_TESTS_AWAY_S", "2"))
QUICK = {"sweep_s": 0.2, "egress_after_capture_s": 0, "start_s": 60 + AWAY_S}

pytestmark = pytest.mark.timeout(120 + 6 * AWAY_S)


@pytest.fixture(scope="module")
def server():
    """A server of these tests' own, which they stop and start."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's programs are not installed; `make test` installs them")
    made = Server(folder)
    yield made
    made.close()


@pytest.fixture
def url(server):
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
async def service(tmp_path, url):
    async with whole(tmp_path, url, **QUICK) as running:
        yield running


@contextlib.asynccontextmanager
async def away(server, *services):
    """Stop the server for so long, and see that every service says so all the while."""
    server.stop()
    until = time.monotonic() + AWAY_S
    try:
        yield
        while time.monotonic() < until:
            for service in services:
                answer = await (await service.operator()).get("/readyz")
                assert answer.status_code == 503, answer.text
                assert answer.json()["error"]["code"] == "store_unavailable"
    finally:
        # not in a thread: the kernel ends the server with the thread that started it
        server.start()


async def ended(service, session_id, status, reason=None):
    """Wait until the session has ended, as it should, and its machine too."""
    while True:
        # the database may still be coming back
        with contextlib.suppress(OperatorError):
            session = await service.signin.session(session_id)
            if session.status.terminal:
                assert (session.status, session.reason) == (status, reason), session
                break
        await asyncio.sleep(0.05)
    await service.stage.machine_ended(session_id)


async def sound(service, url):
    faults = await invariants.broken(url, key=service.stage.folder / "key", settled=False)
    assert faults == []


async def seen(stage, user_id):
    """Return a session whose person sees the screen, and its guest."""
    session, guest = await stage.awaiting(user_id=user_id)
    await stage.signin.consent(session.id)
    await stage.signin.screen_seen(session.id)
    return session, guest


async def test_sessions_of_every_phase_outlive_a_database_that_is_gone_for_a_while(server, url, service):
    stage = service.stage
    stage.make_guest = SlowGuest
    starting = await stage.start(user_id="starting")
    slow = await stage.guests.get()
    await stage.until(starting.id, SessionStatus.STARTING)
    stage.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST)
    waiting, waiting_guest = await stage.awaiting(user_id="waiting")
    typing, typing_guest = await seen(stage, "typing")
    lost, lost_guest = await seen(stage, "lost")
    again, again_guest = await seen(stage, "again")
    assert await again_guest.end_cli(1, "no") is None
    done, done_guest = await seen(stage, "done")
    assert await done_guest.sign_in(WHOLE) is None
    operator = await service.operator()
    async with away(server, service):
        slow.gate.set()
        lost_guest.crash()
        handing_in = asyncio.get_running_loop().create_task(typing_guest.sign_in(WHOLE))
        # whoever asks is told to try again, and is not left without an answer
        refused = await operator.post("/api/auth/session", json={"user_id": "new", "provider": "codex"})
        assert error_of(refused) == (503, Code.STORE_UNAVAILABLE)
        assert refused.json()["error"]["retryable"] is True
        for path in (f"/api/auth/session/{waiting.id}", f"/api/auth/session/{waiting.id}/cancel"):
            answer = await (operator.post(path, json={}) if path.endswith("cancel") else operator.get(path))
            assert error_of(answer) == (503, Code.STORE_UNAVAILABLE)
        assert (await operator.get("/healthz")).status_code == 200, "the service itself is well"
        assert await metric(service, "antechamber_store_up") == 0
        assert await metric(service, "antechamber_store_unavailable_total") > 0
    assert await handing_in is None, "the report is taken, not refused"
    await ended(service, typing.id, "completed")
    await ended(service, lost.id, "failed", "machine_ended")
    await ended(service, done.id, "completed")
    await stage.until(starting.id, SessionStatus.AWAITING_SIGN_IN)
    assert await slow.sign_in(WHOLE) is None
    assert (await stage.signin.again(again.id, 1)).attempt == 2
    await again_guest.again.wait()
    for guest in (waiting_guest, again_guest):
        assert await guest.sign_in(WHOLE) is None
    for session in (starting, waiting, again):
        await ended(service, session.id, "completed")
    assert (await operator.get("/readyz")).status_code == 200
    assert await metric(service, "antechamber_store_up") == 1
    assert not stage.host.running()
    await sound(service, url)


def page_of(service, session_id, browser, which, ticket):
    name = f"antechamber_{session_id}"
    return connect(
        f"ws://sign-in.example.test/api/auth/session/{session_id}/{which}",
        host="127.0.0.1",
        port=service.port,
        origin=service.addresses.sign_in.origin,
        subprotocols=["binary", f"ticket.{ticket}"],
        additional_headers={"Cookie": f"{name}={browser.cookies[name]}"},
        compression=None,
        proxy=None,
    )


async def all_hints_followed(service, session_id):
    """Wait until what was done is read by whoever was told of it: a hint that no read can follow may be the end."""
    while (await service.signin.session(session_id)).screen_seen_at is None:
        await asyncio.sleep(0.02)
    while service.store._database._engine.pool.checkedout():
        await asyncio.sleep(0.02)


async def test_an_open_screen_and_an_open_terminal_go_on_while_the_database_is_away(server, service, capsys):
    session_id, browser = await service.opened()
    assert (await browser.post(f"/api/auth/session/{session_id}/consent", json={})).status_code == 200
    await service.stage.until(session_id, SessionStatus.AWAITING_SIGN_IN)
    terminal_ticket = (await browser.post(f"/api/auth/session/{session_id}/terminal/ticket", json={})).json()["ticket"]
    async with (
        page_of(service, session_id, browser, "screen", await service.ticket(session_id, browser)) as screen,
        page_of(service, session_id, browser, "terminal", terminal_ticket) as terminal,
    ):
        assert await screen.recv() == b"RFB 003.008\n"
        # it says nothing by itself
        live = service.stage.reconciler.live._of(session_id)
        while live.link._view is None:
            await asyncio.sleep(0.02)
        await all_hints_followed(service, session_id)
        async with away(server, service):
            said = await told(capsys, "a pass failed")
        await screen.send(b"RFB 003.008\n")
        assert (await screen.recv())[0] == 1, "the same screen answers"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(terminal.recv(), 0.5)
        # a database that is away is no fault of a task
        assert "task failed" not in said + "".join(capsys.readouterr())


async def test_a_credential_that_was_handed_in_before_its_deadline_is_stored_though_the_database_came_back_after_it(
    server, tmp_path, url
):
    async with whole(tmp_path, url, **QUICK | {"last_look_s": 0.2}) as service:
        session, guest = await service.stage.awaiting()
        async with away(server, service):
            handing_in = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
            service.stage.clock.ahead = session.expires_at - now() + timedelta(seconds=1)
        await ended(service, session.id, "completed")
        # asked once more the guest has sent it twice, and was gone before it could hear of both
        handing_in.cancel()
        await sound(service, url)


async def test_a_credential_that_was_handed_in_is_stored_though_its_machine_ends_before_the_database_is_back(
    server, url, service, capsys
):
    session, guest = await service.stage.awaiting()
    async with away(server, service):
        handing_in = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
        await told(capsys, "a report waits", "a pass failed")
        guest.crash(1)
    await ended(service, session.id, "completed")
    handing_in.cancel()
    await sound(service, url)
