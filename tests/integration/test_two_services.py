"""Two whole services on one PostgreSQL, with data directories of their own: what one does is followed on the other.

They look by themselves every half a minute only, so that whatever comes sooner came by a hint.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from antechamber.model import MachineState
from tests.integration.scene import WHOLE
from tests.integration.whole_service import whole

SOON_S = 10
BANNER = b"RFB 003.008\n"


@pytest.fixture
async def services(tmp_path, postgres_url):
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for name in ("one", "other"):
            folder = tmp_path / name
            folder.mkdir()
            if made:
                shutil.copy(tmp_path / "one" / "key", folder / "key")
            made.append(await stack.enter_async_context(whole(folder, postgres_url)))
        yield made


async def ready(services):
    """Return (the service with the machine, the other one, session id, browser at the other one, guest)."""
    one, other = services
    session_id, browser = await one.opened()
    assert (await browser.post(f"/api/auth/session/{session_id}/consent", json={})).status_code == 200
    async with asyncio.timeout(SOON_S):
        await one.stage.until(session_id, "awaiting_sign_in")
        row = await one.signin.machine(session_id)
        here, there = (one, other) if row.node == one.stage.node_id else (other, one)
        guest = await here.stage.guests.get()
    at_the_other = await there.browser()
    at_the_other.cookies = browser.cookies
    return here, there, session_id, at_the_other, guest


async def test_f021_a_sign_in_on_one_is_seen_in_the_stream_and_the_poll_of_the_other_at_once(services):
    here, there, session_id, browser, guest = await ready(services)
    path = f"/api/auth/session/{session_id}"
    async with asyncio.timeout(SOON_S), browser.stream("GET", f"{path}/events") as answer:
        lines = answer.aiter_lines()
        # all that was recorded until now, by whichever service
        kinds = set()
        while "machine_ready" not in kinds:
            line = await anext(lines)
            if line.startswith("data: "):
                kinds.add(json.loads(line.removeprefix("data: "))["kind"])
        operator = await there.operator()
        poll = asyncio.get_running_loop().create_task(operator.get(path, params={"wait": 20}))
        assert await guest.sign_in(WHOLE) is None
        async for line in lines:
            if line.startswith("data: ") and '"captured"' in line:
                break
        assert (await poll).json()["status"] == "completed"
    machine = await here.stage.machine_ended(session_id)
    assert (machine.state, machine.node) == (MachineState.GONE, here.stage.node_id)
    listed = (await (await there.operator()).get("/api/credentials")).json()["credentials"]
    assert [row["session_id"] for row in listed] == [session_id]


async def test_f107_a_cancel_at_one_stops_the_machine_of_the_other_at_once(services):
    here, there, session_id, browser, _ = await ready(services)
    async with asyncio.timeout(SOON_S):
        answer = await browser.post(f"/api/auth/session/{session_id}/cancel", json={})
        assert answer.json()["status"] == "cancelled"
        assert (await here.stage.machine_ended(session_id)).state is MachineState.GONE
    assert not here.stage.host.running()
    assert not there.stage.host.started


async def test_the_screen_of_a_machine_is_shown_by_the_other_service(services):
    here, there, session_id, browser, guest = await ready(services)
    ticket = await there.ticket(session_id, browser)
    async with asyncio.timeout(SOON_S):
        page = await connect(
            f"ws://sign-in.example.test/api/auth/session/{session_id}/screen",
            host="127.0.0.1",
            port=there.port,
            origin=there.addresses.sign_in.origin,
            subprotocols=["binary", f"ticket.{ticket}"],
            additional_headers={"Cookie": f"antechamber_{session_id}={browser.cookies[f'antechamber_{session_id}']}"},
            compression=None,
            proxy=None,
        )
        assert await page.recv() == BANNER
        await page.send(BANNER)
        # what the played screen says next, it says only to whoever has answered its banner
        assert (await page.recv())[0] == 1
        assert (await there.signin.session(session_id)).screen_seen_at is not None
        await guest.sign_in(WHOLE)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await page.recv()
        assert page.close_code == 4010
    assert (await there.signin.session(session_id)).status == "completed"
    assert (await here.stage.machine_ended(session_id)).state is MachineState.GONE


async def test_a_burst_at_both_is_shared_out_and_every_machine_begins_once(services):
    one, other = services
    async with asyncio.timeout(6 * SOON_S):
        started = await asyncio.gather(*((one, other)[n % 2].start(user_id=f"user{n}") for n in range(12)))
        for answer in started:
            await one.stage.until(answer["session_id"], "awaiting_sign_in")
    begun = [spec.machine_id for service in services for spec in service.stage.host.started]
    assert len(begun) == len(set(begun)) == 12


async def test_two_connects_at_once_at_both_are_one_sign_in_with_one_link_that_opens(services):
    for turn in range(4):
        body = {"user_id": f"user{turn}", "provider": "codex"}
        operators = [await service.operator() for service in services]
        answers = await asyncio.gather(*(operator.post("/api/auth/session", json=body) for operator in operators))
        assert sorted(answer.status_code for answer in answers) == [200, 201]
        (session_id,) = {answer.json()["session_id"] for answer in answers}
        opened = []
        for answer in answers:
            browser = await services[0].browser()
            code = answer.json()["sign_in_url"].partition("#")[2]
            answered = await browser.post(f"/api/auth/session/{session_id}/open", json={"code": code})
            opened.append(answered.status_code)
        assert opened.count(204) == 1


@pytest.mark.timeout(200)
async def test_a_cancel_at_one_and_a_capture_at_the_other_at_once_come_to_one_end(services):
    for turn in range(4):
        here, there, session_id, browser, guest = await ready(services)
        cancelling = browser.post(f"/api/auth/session/{session_id}/cancel", json={})
        contenders = [guest.sign_in(WHOLE), cancelling] if turn % 2 else [cancelling, guest.sign_in(WHOLE)]
        answers = await asyncio.gather(*contenders)
        refused, cancelled = answers if turn % 2 else reversed(answers)
        session = await there.signin.session(session_id)
        assert session.status == ("cancelled" if cancelled.status_code == 200 else "completed")
        assert (refused is None) == (session.status == "completed")
        assert (await here.signin.captured(session) is not None) == (session.status == "completed")
        async with asyncio.timeout(SOON_S):
            await here.stage.machine_ended(session_id)


async def test_a_restarted_service_goes_on_with_its_own_machine_while_the_other_serves_its_page(services):
    here, there, session_id, browser, guest = await ready(services)
    await here.stage.close()
    assert (await browser.get(f"/api/auth/session/{session_id}")).json()["status"] == "awaiting_sign_in"
    await here.stage.open()
    assert await guest.sign_in(WHOLE) is None
    async with asyncio.timeout(SOON_S):
        await there.stage.until(session_id, "completed")
