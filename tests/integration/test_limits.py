"""How many sign-ins there may be, as a caller is told of it; and that nothing else of a page's flow is counted."""

import asyncio
import contextlib
from collections import Counter

import pytest
from websockets.asyncio.client import connect

from antechamber.model import ApiScope, Reason
from tests.integration.web_service import error_of, running

ADA = {"user_id": "ada", "provider": "codex"}


@contextlib.asynccontextmanager
async def limited(site, **limits):
    async with running(site.folder, database_url=site.url, **limits) as service:
        yield service, await service.operator()


async def test_f078_one_sign_in_too_many_is_answered_429_with_the_seconds_until_the_next_is_allowed(site):
    async with limited(site, owner_starts_an_hour=1) as (service, operator):
        assert (await operator.post("/api/auth/session", json=ADA)).status_code == 201
        refused = await operator.post("/api/auth/session", json={**ADA, "provider": "gemini"})
        assert error_of(refused) == (429, "owner_start_limit")
        assert refused.json()["error"]["retryable"] is True
        assert 3590 <= int(refused.headers["retry-after"]) <= 3600
        assert (await operator.post("/api/auth/session", json={**ADA, "user_id": "grace"})).status_code == 201
        # how many were refused by which limit is in the metrics
        assert (
            service.measured.metrics.registry.get_sample_value(
                "antechamber_requests_refused_total", {"code": "owner_start_limit"}
            )
            == 1
        )


async def test_two_connects_at_once_do_not_pass_a_limit_of_one(site):
    async with limited(site, live=1) as (_, operator):
        tools = ("codex", "gemini", "claude_code") * 2
        answers = await asyncio.gather(
            *(
                operator.post("/api/auth/session", json={"user_id": f"user{number}", "provider": tool})
                for number, tool in enumerate(tools)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201, *[429] * 5]
        waits = [int(answer.headers["retry-after"]) for answer in answers if answer.status_code == 429]
        assert all(1 <= wait <= 600 for wait in waits)


async def test_one_applications_limit_is_told_to_it_and_is_nobody_elses(site):
    async with limited(site) as (service, operator):
        acme, client = await service.application(*ApiScope, bind_url=None)
        other, others = await service.application(*ApiScope, bind_url=None, name="Other")
        path = f"/api/applications/{acme.id}/limits"
        set_to = await operator.post(path, json={"live": 1, "starts_an_hour": 0})
        assert (set_to.status_code, set_to.json()["live"], set_to.json()["starts_an_hour"]) == (200, 1, 0)
        assert (await client.post("/api/auth/session", json=ADA)).status_code == 201
        refused = await client.post("/api/auth/session", json={**ADA, "user_id": "grace"})
        assert error_of(refused) == (429, "application_live_limit")
        assert 1 <= int(refused.headers["retry-after"]) <= 600
        assert (await others.post("/api/auth/session", json=ADA)).status_code == 201
        assert (await operator.post("/api/auth/session", json=ADA)).status_code == 201
        # neither its own nor another's limits are an application's to set
        for one in (acme, other):
            answer = await client.post(f"/api/applications/{one.id}/limits", json={"live": 0, "starts_an_hour": 0})
            assert error_of(answer) == (403, "not_allowed")
        nobody = "/api/applications/app_00000000000000000000/limits"
        answer = await operator.post(nobody, json={"live": 0, "starts_an_hour": 0})
        assert error_of(answer) == (404, "application_not_found")
        for wrong in ({"live": -1, "starts_an_hour": 0}, {"live": 1}, {"live": True, "starts_an_hour": 0}):
            assert error_of(await operator.post(path, json=wrong)) == (422, "bad_request")


async def test_a_repeated_request_and_a_live_sign_in_are_answered_beyond_every_limit(site):
    limits = {"owner_live": 1, "owner_starts_an_hour": 1, "live": 1, "starts_an_hour": 1}
    async with limited(site, **limits) as (_, operator):
        key = {"Idempotency-Key": "order-1"}
        first = await operator.post("/api/auth/session", json=ADA, headers=key)
        again = await operator.post("/api/auth/session", json=ADA, headers=key)
        live = await operator.post("/api/auth/session", json=ADA)
        ids = {answer.json()["session_id"] for answer in (first, again, live)}
        assert (first.status_code, again.status_code, live.status_code, len(ids)) == (201, 200, 200, 1)
        session_id = ids.pop()
        await operator.post(f"/api/auth/session/{session_id}/cancel", json={})
        ended = await operator.get(f"/api/auth/session/{session_id}")
        assert ended.json()["reason"] == Reason.CANCELLED_BY_CALLER
        assert (await operator.post("/api/auth/session", json=ADA, headers=key)).status_code == 200


async def test_nought_is_no_limit(site):
    limits = dict.fromkeys(("owner_live", "owner_starts_an_hour", "live", "starts_an_hour"), 0)
    async with limited(site, **limits) as (_, operator):
        for number in range(15):
            answer = await operator.post("/api/auth/session", json={**ADA, "user_id": f"user{number}"})
            assert answer.status_code == 201


@pytest.mark.parametrize("rounds", [60])
async def test_f089_a_whole_flow_of_the_page_is_one_start_and_nothing_else_of_it_is_limited_by_count(tmp_path, rounds):
    limits = {"owner_live": 1, "owner_starts_an_hour": 1, "live": 1, "starts_an_hour": 1}
    async with running(tmp_path, **limits) as service:
        asked = Counter()
        operator, (session_id, browser) = await service.operator(), await service.opened()
        here = f"/api/auth/session/{session_id}"

        async def ask(client, method, path, expected=200):
            answer = await client.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code == expected, answer.text
            asked[(method, path.replace(session_id, "ID"))] += 1
            return answer

        await service.ready(session_id)
        for _ in range(rounds):
            # what the page does again and again where its line is bad: it is opened anew, and its screen too
            await ask(browser, "GET", f"/s/{session_id}")
            await ask(browser, "GET", here)
            await ask(browser, "GET", f"{here}/destinations")
            await ask(browser, "POST", f"{here}/consent")
            ticket = (await ask(browser, "POST", f"{here}/ticket")).json()["ticket"]
            cookie = f"antechamber_{session_id}={browser.cookies[f'antechamber_{session_id}']}"
            async with connect(
                f"{service.addresses.sign_in.websocket_origin}{here}/screen",
                origin=service.addresses.sign_in.origin,
                subprotocols=["binary", f"ticket.{ticket}"],
                additional_headers={"Cookie": cookie},
                proxy=None,
            ):
                machine = await service.stage.screens.get()
                machine.writer.close()
            async with browser.stream("GET", f"{here}/events") as stream:
                assert stream.status_code == 200
            # and what the dashboard does meanwhile
            for path in ("/api/dashboard", "/api/providers", "/api/auth/sessions?limit=20", "/api/credentials", here):
                await ask(operator, "GET", path)
            answer = await operator.post("/api/auth/session", json=ADA)
            assert error_of(answer) == (409, "already_open")
        assert sum(asked.values()) == rounds * 10
        assert (await service.signin.session(session_id)).status == "awaiting_sign_in"
