"""A screen whose machine is on another node: passed on there with every check made there, or refused with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from antechamber.model import IdPrefix, new_id, new_secret
from antechamber.web import onward
from tests.integration.back_pressure import held_back_both_ways_apart, held_back_until_read
from tests.integration.proxies import Way
from tests.integration.web_service import error_of, now, running

BANNER = b"RFB 003.008\n"
PUBLIC = {"sign_in_url": "http://sign-in.example.test", "dashboard_url": "http://dashboard.example.test"}


@contextlib.asynccontextmanager
async def two(folder, *, url="own", **settings):
    """Give (the service with the machine, the other one); `url` is where the first says that it is reached."""
    nodes = [new_id(IdPrefix.NODE) for _ in range(2)]
    async with (
        running(folder, node=nodes[0], **PUBLIC, **settings) as one,
        running(folder, node=nodes[1], **PUBLIC, **settings) as other,
    ):
        for service, node in zip((one, other), nodes, strict=True):
            service.node = node
            here = SimpleNamespace(trust=False, port=service.port, plain_port=service.port)
            service.way = functools.partial(Way, here)
            await service.store.nodes.join(node, name=f"node {node[-4:]}", url=None, at=now())
        await reached_at(one, f"http://127.0.0.1:{one.port}" if url == "own" else url)
        yield one, other


async def reached_at(service, url):
    name = (await service.store.nodes.get(service.node)).name
    await service.store.nodes.join(service.node, name=name, url=url, at=now())


async def watched_on(one, other):
    """Return (session id, browser) of a session whose machine runs on one, and whose browser is at the other."""
    session_id, browser = await other.opened()
    row = await one.store.machines.of_session(session_id)
    await one.store.machines.claim(one.node, driver=row.driver, at=now(), until=now() + timedelta(seconds=10))
    begun = await one.store.machines.begin(
        row.id,
        incarnation=row.incarnation,
        node=one.node,
        handle={},
        host_uid=None,
        expires_at=now() + timedelta(minutes=1),
        at=now(),
    )
    assert begun.node == one.node
    await other.ready(session_id)
    assert (await browser.post(f"/api/auth/session/{session_id}/consent", json={})).status_code == 200
    return session_id, browser


def cookie_of(browser, session_id):
    return f"antechamber_{session_id}={browser.cookies[f'antechamber_{session_id}']}"


def screen(service, session_id, *offers, headers=None, cookie=None, kind="screen", **options):
    return connect(
        f"{service.addresses.sign_in.websocket_origin}/api/auth/session/{session_id}/{kind}",
        host="127.0.0.1",
        port=service.port,
        origin=service.addresses.sign_in.origin,
        subprotocols=list(offers),
        additional_headers={**({"Cookie": cookie} if cookie else {}), **(headers or {})},
        compression=None,
        proxy=None,
        **options,
    )


@contextlib.asynccontextmanager
async def watching(one, other, **options):
    """Give (the page's socket at the other service, the machine's end of the screen at the first, the session's id)."""
    session_id, browser = await watched_on(one, other)
    ticket = await other.ticket(session_id, browser)
    cookie = cookie_of(browser, session_id)
    async with screen(other, session_id, "binary", f"ticket.{ticket}", cookie=cookie, **options) as page:
        machine = await one.stage.screens.get()
        try:
            yield page, machine, session_id
        finally:
            machine.writer.close()


async def closed(page):
    try:
        while True:
            await page.recv()
    except ConnectionClosed as end:
        return end.rcvd.code, end.rcvd.reason


async def test_bytes_pass_both_ways_untouched_and_the_clock_starts(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, machine, session_id):
        machine.writer.write(BANNER)
        assert await page.recv() == BANNER
        await page.send(BANNER)
        assert await machine.reader.readexactly(12) == BANNER
        sent = bytes(range(256)) * 4096
        writing = asyncio.get_running_loop().create_task(page.send(sent[: 2**19]))
        assert await machine.reader.readexactly(2**19) == sent[: 2**19]
        await writing
        machine.writer.write(sent)
        got = b""
        while len(got) < len(sent):
            got += await page.recv()
        assert got == sent
        assert (await other.signin.session(session_id)).screen_seen_at is not None
        assert other.stage.screens.empty()


async def test_a_page_that_stops_reading_stops_the_machine_on_the_other_node(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other, max_queue=1) as (page, machine, _):
        await held_back_until_read(page, machine)


async def test_a_machine_that_stops_reading_stops_the_page_and_what_comes_down_still_passes(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, machine, _):
        await held_back_both_ways_apart(page, machine)


async def test_what_the_node_closes_with_reaches_the_page(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, machine, _):
        machine.writer.write_eof()
        assert await closed(page) == (4010, "screen ended")


async def test_a_second_tab_takes_over_whichever_service_it_comes_to(tmp_path):
    async with two(tmp_path) as (one, other):
        session_id, browser = await watched_on(one, other)
        cookie = cookie_of(browser, session_id)

        async def tab(service):
            ticket = await other.ticket(session_id, browser)
            return await screen(service, session_id, "binary", f"ticket.{ticket}", cookie=cookie)

        machines, before = [], None
        for service in (other, one, other):
            page = await tab(service)
            machines.append(await one.stage.screens.get())
            if before is not None:
                assert await closed(before) == (4001, "taken over")
            before = page
        machines[-1].writer.write(BANNER)
        assert await page.recv() == BANNER
        await page.close()
        for machine in machines:
            machine.writer.close()


async def test_a_page_that_goes_away_lets_the_machine_go(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, machine, _):
        await page.close()
        with contextlib.suppress(ConnectionResetError):
            assert await machine.reader.read() == b""


async def test_either_service_that_stops_tells_the_page_to_come_again(tmp_path):
    for index in (0, 1):
        folder = tmp_path / str(index)
        folder.mkdir()
        async with two(folder) as services, watching(*services) as (page, machine, _):
            machine.writer.write(BANNER)
            assert await page.recv() == BANNER
            await services[index].server.stop(timedelta(seconds=5))
            assert await closed(page) == (1012, "service stopping")


async def test_a_node_without_an_address_is_said_in_words_that_a_page_can_read(tmp_path):
    async with two(tmp_path, url=None) as (one, other):
        session_id, browser = await watched_on(one, other)
        refused = await browser.post(f"/api/auth/session/{session_id}/ticket", json={})
        assert error_of(refused) == (421, "wrong_node")
        assert refused.json()["error"]["retryable"]
        cookie = cookie_of(browser, session_id)
        with pytest.raises(InvalidStatus) as caught:
            await screen(other, session_id, "binary", "ticket.x", cookie=cookie)
        assert caught.value.response.status_code == 421
        # everything that is no screen is answered by whoever is asked
        for path in ("", "/destinations"):
            assert (await browser.get(f"/api/auth/session/{session_id}{path}")).status_code == 200
        assert (await browser.post(f"/api/auth/session/{session_id}/cancel", json={})).status_code == 200


async def test_a_node_that_does_not_answer_closes_the_page_with_its_own_code(tmp_path):
    async with two(tmp_path) as (one, other):
        session_id, browser = await watched_on(one, other)
        await one.server.stop(timedelta(seconds=5))
        ticket = await other.ticket(session_id, browser)
        cookie = cookie_of(browser, session_id)
        page = await screen(other, session_id, "binary", f"ticket.{ticket}", cookie=cookie)
        assert await closed(page) == (4011, "node away")


async def test_what_was_passed_on_once_is_not_passed_on_again(tmp_path):
    async with two(tmp_path) as (one, other):
        session_id, browser = await watched_on(one, other)
        # its own address leads a node to the one that asked: nobody goes round in a circle
        await reached_at(one, f"http://127.0.0.1:{other.port}")
        ticket = await other.ticket(session_id, browser)
        cookie = cookie_of(browser, session_id)
        page = await screen(other, session_id, "binary", f"ticket.{ticket}", cookie=cookie)
        assert await closed(page) == (4011, "node away")
        headers = {onward.MARK: one.node}
        with pytest.raises(InvalidStatus) as caught:
            await screen(other, session_id, "binary", f"ticket.{ticket}", cookie=cookie, headers=headers)
        assert caught.value.response.status_code == 421
        # a request that says so of itself is still served where its machine is
        async with screen(
            one, session_id, "binary", f"ticket.{ticket}", cookie=cookie, headers={onward.MARK: other.node}
        ):
            (await one.stage.screens.get()).writer.close()


async def test_nobody_is_dialled_for_a_browser_without_cookie_or_ticket(tmp_path):
    async with two(tmp_path) as (one, other), listener() as dialled:
        session_id, browser = await watched_on(one, other)
        await reached_at(one, f"http://127.0.0.1:{dialled.port}")
        ticket = await other.ticket(session_id, browser)
        cookie = cookie_of(browser, session_id)
        with pytest.raises(InvalidStatus) as caught:
            await screen(other, session_id, "binary", f"ticket.{ticket}")
        assert caught.value.response.status_code == 401
        page = await screen(other, session_id, "binary", f"ticket.{new_secret().reveal()}", cookie=cookie)
        assert await closed(page) == (4003, "ticket not valid")
        assert dialled.requests == []


async def test_only_the_screens_own_request_reaches_the_node_and_no_redirect_is_followed(tmp_path):
    async with two(tmp_path) as (one, other), listener() as elsewhere, listener(elsewhere.port) as dialled:
        session_id, browser = await watched_on(one, other)
        await reached_at(one, f"http://127.0.0.1:{dialled.port}")
        ticket = await other.ticket(session_id, browser)
        cookie = cookie_of(browser, session_id)
        page = await screen(
            other,
            session_id,
            "binary",
            f"ticket.{ticket}",
            cookie=f"other=DUMMY; {cookie}; antechamber_dashboard=DUMMY",
            headers={"X-Other": "DUMMY"},
        )
        assert await closed(page) == (4011, "node away")
        (request,) = dialled.requests
        assert request.path == f"/api/auth/session/{session_id}/screen"
        sent = {name.lower(): value for name, value in request.headers.raw_items()}
        assert sent["host"] == "sign-in.example.test"
        assert sent["origin"] == "http://sign-in.example.test"
        assert sent["cookie"] == cookie
        assert sent[onward.MARK] == other.node
        assert not {name for name in sent if name.startswith(("x-", "user-agent", "authorization"))}
        assert elsewhere.requests == []


class Listener:
    """Something at a node's address that is no service of ours."""

    def __init__(self, redirect_to):
        self.requests = []
        self.redirect_to = redirect_to

    def refuse(self, connection, request):
        self.requests.append(request)
        answer = connection.respond(302 if self.redirect_to else 404, "")
        if self.redirect_to:
            answer.headers["Location"] = f"ws://127.0.0.1:{self.redirect_to}{request.path}"
        return answer


@contextlib.asynccontextmanager
async def listener(redirect_to=None):
    made = Listener(redirect_to)

    async def nothing(connection):
        await connection.close()

    async with serve(nothing, "127.0.0.1", 0, process_request=made.refuse) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


async def test_no_cookie_or_ticket_on_its_way_is_logged_at_any_level(tmp_path, caplog):
    # the library logs whole requests, at a level that an operator may choose
    quiet = logging.getLogger("the browser of this test")
    quiet.disabled = True
    async with two(tmp_path) as (one, other):
        session_id, browser = await watched_on(one, other)
        ticket = await other.ticket(session_id, browser)
        cookie = cookie_of(browser, session_id)
        caplog.set_level(logging.DEBUG)
        async with screen(other, session_id, "binary", f"ticket.{ticket}", cookie=cookie, logger=quiet) as page:
            machine = await one.stage.screens.get()
            machine.writer.write(BANNER)
            assert await page.recv() == BANNER
            machine.writer.close()
    told = caplog.text
    assert "aiosqlite" in told, "nothing at all was heard"
    assert ticket not in told
    assert cookie.partition("=")[2] not in told
