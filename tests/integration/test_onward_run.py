"""A run whose machine is on another node: its terminal is passed on there, its stream is refused by name."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from antechamber.model import new_secret
from tests.integration.far_tool import FarTool
from tests.integration.test_onward import closed, listener, reached_at, two
from tests.integration.web_service import error_of

ASK = {"user_id": "ada", "provider": "codex", "argv": [], "terminal": True, "detached": True}


async def run_on(one):
    """Return (run's id, its tool) of a run that was asked of that service."""
    started = await one.start()
    await one.ready(started["session_id"])
    await one.capture(started["session_id"])
    answer = await (await one.operator()).post("/api/runs", json=ASK)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], await FarTool.begun(one, answer.json()["id"])


async def ticket(client, run_id):
    answer = await client.post(f"/api/runs/{run_id}/terminal/ticket", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()["ticket"]


def terminal(service, run_id, given, **headers):
    site = service.addresses.dashboard
    return connect(
        f"{site.websocket_origin}/api/runs/{run_id}/terminal",
        host="127.0.0.1",
        port=service.port,
        origin=site.origin,
        subprotocols=["binary", f"ticket.{given}"],
        additional_headers=headers,
        compression=None,
        proxy=None,
    )


async def cookie(service):
    """Return the dashboard's cookie, as a page sends it."""
    code = (await service.signin.dashboard_link()).reveal()
    page = await service.stranger(Origin=service.addresses.dashboard.origin)
    assert (await page.post("/api/dashboard/open", json={"code": code})).status_code == 204
    ((name, value),) = page.cookies.items()
    return f"{name}={value}"


async def test_a_page_at_another_node_works_in_the_terminal_as_where_it_is(tmp_path):
    async with two(tmp_path) as (one, other):
        run_id, tool = await run_on(one)
        given = await ticket(await other.operator(), run_id)
        async with terminal(other, run_id, given, Cookie=await cookie(other)) as page:
            tool.writes(b"> ")
            assert await page.recv() == b"> "
            await page.send(b"ada\r")
            assert await tool.hears(4) == b"ada\r"
            await page.send(json.dumps({"columns": 90, "rows": 30}))
            assert await tool.sizes.get() == (90, 30)
            await tool.ends(2)
            assert json.loads(await page.recv()) == {"end": {"reason": "exited", "exit_code": 2, "redacted": False}}
            assert await closed(page) == (4010, "screen ended")


async def test_its_output_is_read_at_its_own_node_alone_and_its_end_anywhere(tmp_path):
    async with two(tmp_path) as (one, other):
        run_id, tool = await run_on(one)
        away = await other.operator()
        assert error_of(await away.get(f"/api/runs/{run_id}/output")) == (421, "wrong_node")
        assert (await away.get(f"/api/runs/{run_id}")).json()["status"] == "running"
        await tool.ends(2)
        assert '"exit_code": 2' in (await away.get(f"/api/runs/{run_id}/output")).text


async def test_a_node_that_cannot_be_reached_is_said(tmp_path):
    async with two(tmp_path) as (one, other):
        run_id, _ = await run_on(one)
        away = await other.operator()
        given = await ticket(away, run_id)
        here = await cookie(other)
        await one.server.stop(timedelta(seconds=5))
        assert await closed(await terminal(other, run_id, given, Cookie=here)) == (4011, "node away")
        await reached_at(one, None)
        assert error_of(await away.post(f"/api/runs/{run_id}/terminal/ticket", json={})) == (421, "wrong_node")
        with pytest.raises(InvalidStatus) as refused:
            await terminal(other, run_id, given, Cookie=here)
        assert refused.value.response.status_code == 421


async def test_nobody_is_dialled_without_a_ticket(tmp_path):
    async with two(tmp_path) as (one, other), listener() as dialled:
        run_id, _ = await run_on(one)
        await reached_at(one, f"http://127.0.0.1:{dialled.port}")
        page = await terminal(other, run_id, new_secret().reveal(), Cookie=await cookie(other))
        assert await closed(page) == (4003, "ticket not valid")
        assert dialled.requests == []
