"""How often something may be asked: a whole flow of twenty persons behind one address meets no limit, a flood each."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from antechamber.model import ApiScope, new_secret
from antechamber.web.rates import (
    BEARERS,
    BINDINGS,
    CHALLENGES,
    HINTS,
    LOGINS,
    OPENINGS,
    SOCKETS,
    STREAMS,
    TICKETS,
    Rates,
)
from tests.integration.web_service import OPERATIONS, error_of, running

ADDRESS = "192.0.2.7"
PEOPLE = 20
TABS = 3
"""In which a person has the page, each with a bad line on which everything is opened anew `AGAIN` times."""
AGAIN = 4
TOO_OFTEN = (429, "too_often")


@pytest.fixture
async def service(tmp_path):
    # no time goes on for it: what is asked at once is all that is asked
    async with running(tmp_path, rates=Rates(lambda: 0.0)) as service:
        yield service


def from_afar(service):
    """Return what sends requests from one address that is not this computer's; streams are not for it."""
    return httpx.ASGITransport(app=service.app, client=(ADDRESS, 40000))


def refusals(service):
    found = service.measured.metrics.registry.get_sample_value
    return found("antechamber_requests_refused_total", {"code": "too_often"})


def is_too_often(answer):
    assert error_of(answer) == TOO_OFTEN
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["retryable"] is True


async def whole_flow(service, client, user):
    """Be a person of an application from the link to the end, as clumsily as a page and its person can be."""
    started = (await client.post("/api/auth/session", json={**OPERATIONS, "user_id": user})).json()
    session_id, here = started["session_id"], f"/api/auth/session/{started['session_id']}"
    code = started["sign_in_url"].partition("#")[2]
    service.way = lambda: from_afar(service)
    browser = await service.browser()
    assert (await browser.get(f"/s/{session_id}")).status_code == 200
    assert (await browser.post(f"{here}/open", json={"code": code})).status_code == 204
    for _ in range(TABS):
        # the link is clicked again, and is spent; the page goes on by its cookie
        assert (await browser.post(f"{here}/open", json={"code": code})).status_code == 403
        way = (await browser.post(f"{here}/binding", json={})).json()
    challenge = parse_qs(urlsplit(way["url"]).query)["challenge"][0]
    bound = await client.post(f"{here}/bind", json={"user_id": user, "challenge": challenge})
    back = {"code": bound.json()["continue_url"].partition("#bound.")[2]}
    assert (await browser.post(f"{here}/return", json=back)).status_code == 204
    assert (await browser.post(f"{here}/consent", json={})).status_code == 200
    await service.ready(session_id)
    service.way = lambda: None
    near = await service.browser()
    near.cookies = browser.cookies
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    for _ in range(TABS * AGAIN):
        async with near.stream("GET", f"{here}/events") as stream:
            assert stream.status_code == 200
        async with client.stream("GET", f"{here}/events") as stream:
            assert stream.status_code == 200
        for name, path in (("screen", "ticket"), ("terminal", "terminal/ticket")):
            ticket = (await near.post(f"{here}/{path}", json={})).json()["ticket"]
            async with connect(
                f"{service.addresses.sign_in.websocket_origin}{here}/{name}",
                origin=service.addresses.sign_in.origin,
                subprotocols=["binary", f"ticket.{ticket}"],
                additional_headers={"Cookie": cookie},
                proxy=None,
            ):
                pass
        assert (await near.get(here)).status_code == 200
    await service.capture(session_id)
    assert (await near.post(f"{here}/shown", json={})).status_code == 200


async def closes_screens(service):
    while True:
        (await service.stage.screens.get()).writer.close()


@pytest.mark.timeout(180)
async def test_f089_the_whole_flow_of_twenty_persons_behind_one_address_meets_no_limit(service):
    _, client = await service.application(*ApiScope)
    operator = await service.operator()
    machines = asyncio.get_running_loop().create_task(closes_screens(service))
    try:
        await asyncio.gather(*(whole_flow(service, client, f"user{number}") for number in range(PEOPLE)))
        for _ in range(PEOPLE):
            async with operator.stream("GET", "/api/changes") as stream:
                assert stream.status_code == 200
    finally:
        machines.cancel()
    assert refusals(service) == 0


async def flood(burst, ask, *, already=0):
    """Ask as often as is allowed, after it was asked `already` so often, and return the answer to once more."""
    for _ in range(burst - already):
        answer = await ask()
        assert answer.status_code != 429
    return await ask()


async def test_wrong_bearers_from_one_address_are_refused_and_soon_so_is_a_right_one_and_nobody_elses(service):
    _, client = await service.application(*ApiScope)
    right = client.headers["Authorization"]
    service.way = lambda: from_afar(service)
    guesser = await service.stranger()

    async def guess():
        made = f"Bearer {'ante_' * (number.pop() % 2)}{new_secret().reveal()}"
        return await guesser.get("/api/auth/sessions", headers={"Authorization": made})

    number = list(range(BEARERS.burst + 1))
    is_too_often(await flood(BEARERS.burst, guess))
    is_too_often(await guesser.get("/api/auth/sessions", headers={"Authorization": right}))
    is_too_often(await guesser.post("/api/auth/session", json={}, headers={"Authorization": "Bearer wrong"}))
    assert (await client.get("/api/auth/sessions")).status_code == 200


async def test_through_a_proxy_wrong_bearers_are_told_to_wait_and_right_ones_pass(service):
    _, client = await service.application(*ApiScope)
    guesser, operator = await service.stranger(Authorization="Bearer ante_wrong"), await service.operator()
    is_too_often(await flood(BEARERS.burst, lambda: guesser.get("/api/auth/sessions")))
    for one in (client, operator):
        assert (await one.get("/api/auth/sessions")).status_code == 200


async def test_wrong_codes_of_the_dashboards_link(service):
    browser = await service.stranger(Origin=service.addresses.dashboard.origin)

    async def guess():
        return await browser.post("/api/dashboard/open", json={"code": new_secret().reveal()})

    is_too_often(await flood(LOGINS.burst, guess))
    code = (await service.signin.dashboard_link()).reveal()
    assert (await browser.post("/api/dashboard/open", json={"code": code})).status_code == 204


async def test_wrong_codes_of_a_session_keep_nobody_from_opening_it(service):
    started = await service.start()
    here = f"/api/auth/session/{started['session_id']}"
    browser = await service.browser()
    paths = ["open", "return", "binding"] * (OPENINGS.burst // 3 + 1)

    async def guess():
        path = paths.pop()
        body = {} if path == "binding" else {"code": new_secret().reveal()}
        return await browser.post(f"{here}/{path}", json=body)

    is_too_often(await flood(OPENINGS.burst, guess))
    code = started["sign_in_url"].partition("#")[2]
    assert (await browser.post(f"{here}/open", json={"code": code})).status_code == 204


async def test_challenges_are_counted_for_the_browser_that_may_have_them_alone(service):
    _, client = await service.application(*ApiScope)
    started = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    here = f"/api/auth/session/{started['session_id']}"
    browser, stranger = await service.browser(), await service.browser()
    await browser.post(f"{here}/open", json={"code": started["sign_in_url"].partition("#")[2]})
    for _ in range(CHALLENGES.burst):
        assert (await stranger.post(f"{here}/binding", json={})).status_code == 401
    is_too_often(await flood(CHALLENGES.burst, lambda: browser.post(f"{here}/binding", json={})))


async def test_what_an_application_says_of_one_browser(service):
    _, client = await service.application(*ApiScope)
    started = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    path = f"/api/auth/session/{started['session_id']}/bind"

    async def say():
        return await client.post(path, json={"user_id": "ada", "challenge": new_secret().reveal()})

    is_too_often(await flood(BINDINGS.burst, say))


async def test_tickets_of_one_session_are_nobody_elses(service):
    session_id, browser, _ = await service.ticketed()
    path = f"/api/auth/session/{session_id}/ticket"
    is_too_often(await flood(TICKETS.burst, lambda: browser.post(path, json={}), already=1))
    # its terminal is another matter
    answer = await browser.post(f"/api/auth/session/{session_id}/terminal/ticket", json={})
    assert answer.status_code == 200


async def test_sockets_of_one_session_are_refused_before_the_handshake(service):
    session_id, browser, _ = await service.ticketed()
    here = f"{service.addresses.sign_in.websocket_origin}/api/auth/session/{session_id}/screen"
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def open_one():
        async with connect(
            here,
            origin=service.addresses.sign_in.origin,
            subprotocols=["binary", f"ticket.{new_secret().reveal()}"],
            additional_headers={"Cookie": cookie},
            proxy=None,
        ):
            pass

    for _ in range(SOCKETS.burst):
        await open_one()
    with pytest.raises(InvalidStatus) as refused:
        await open_one()
    assert refused.value.response.status_code == 429


@pytest.mark.timeout(120)
async def test_streams_of_one_session_and_of_hints(service):
    session_id, browser = await service.opened()
    operator = await service.operator()

    def opening(client, path):
        async def ask():
            async with client.stream("GET", path) as answer:
                if answer.status_code == 429:
                    await answer.aread()
                return answer

        return ask

    events = f"/api/auth/session/{session_id}/events"
    is_too_often(await flood(STREAMS.burst, opening(browser, events)))
    # the operator's are other ones
    assert (await opening(operator, events)()).status_code == 200
    is_too_often(await flood(HINTS.burst, opening(operator, "/api/changes")))
