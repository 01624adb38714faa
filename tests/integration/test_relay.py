import asyncio
import contextlib
from datetime import timedelta

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from antechamber.model import new_secret
from antechamber.web import relay
from tests.integration.back_pressure import held_back_both_ways_apart, held_back_until_read
from tests.integration.web_service import error_of, running

BANNER = b"RFB 003.008\n"


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


def screen(service, session_id, *offers, cookie=None, origin=None, **options):
    address = f"{service.addresses.sign_in.websocket_origin}/api/auth/session/{session_id}/screen"
    return connect(
        address,
        origin=origin or service.addresses.sign_in.origin,
        subprotocols=list(offers),
        additional_headers={"Cookie": cookie} if cookie else None,
        compression=None,
        proxy=None,
        **options,
    )


def cookie_of(browser, session_id):
    return f"antechamber_{session_id}={browser.cookies[f'antechamber_{session_id}']}"


@contextlib.asynccontextmanager
async def watching(service, session_id, browser, ticket=None, **options):
    """Give (the page's socket, the machine's end of the screen)."""
    ticket = ticket or await service.ticket(session_id, browser)
    cookie = cookie_of(browser, session_id)
    async with screen(service, session_id, "binary", f"ticket.{ticket}", cookie=cookie, **options) as page:
        assert page.subprotocol == "binary"
        machine = await service.stage.screens.get()
        try:
            yield page, machine
        finally:
            machine.writer.close()


async def closed(page):
    """Return the code and word with which a socket was closed, whatever came before."""
    try:
        while True:
            await page.recv()
    except ConnectionClosed as end:
        return end.rcvd.code, end.rcvd.reason


async def test_bytes_pass_both_ways_untouched_and_the_first_to_the_page_start_the_clock(service):
    session_id, browser, ticket = await service.ticketed()
    before = (await service.signin.session(session_id)).expires_at
    async with watching(service, session_id, browser, ticket) as (page, machine):
        assert (await service.signin.session(session_id)).screen_seen_at is None
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
        session = await service.signin.session(session_id)
        assert session.screen_seen_at is not None
        assert session.expires_at != before


async def test_f048_a_ticket_is_used_once_and_only_by_its_own_session(service):
    session_id, browser, ticket = await service.ticketed()
    cookie = cookie_of(browser, session_id)
    async with watching(service, session_id, browser, ticket) as (page, machine):
        machine.writer.write(BANNER)
        assert await page.recv() == BANNER
        async with screen(service, session_id, "binary", f"ticket.{ticket}", cookie=cookie) as again:
            assert await closed(again) == (4003, "ticket not valid")
        # the one who watches is not disturbed by that
        machine.writer.write(b"more")
        assert await page.recv() == b"more"
    other_id, other = await service.opened(await service.start(user_id="bob"))
    await service.ready(other_id)
    await other.post(f"/api/auth/session/{other_id}/consent", json={})
    stolen = await service.ticket(session_id, browser)
    async with screen(service, other_id, "binary", f"ticket.{stolen}", cookie=cookie_of(other, other_id)) as page:
        assert await closed(page) == (4003, "ticket not valid")
    async with screen(service, session_id, "binary", f"ticket.{new_secret().reveal()}", cookie=cookie) as page:
        assert await closed(page) == (4003, "ticket not valid")


async def test_f048_whoever_lacks_the_cookie_the_origin_or_the_ticket_is_refused_before_the_handshake(service):
    session_id, browser, ticket = await service.ticketed()
    cookie = cookie_of(browser, session_id)
    good = ("binary", f"ticket.{ticket}")
    attempts = [
        ({"cookie": None}, good, 401),
        ({"cookie": f"antechamber_dashboard={service.token}"}, good, 401),
        ({"cookie": cookie, "origin": "http://evil.example"}, good, 403),
        ({"cookie": cookie, "origin": service.addresses.dashboard.origin}, good, 403),
        ({"cookie": cookie}, ("binary",), 403),
        ({"cookie": cookie}, (f"ticket.{ticket}",), 403),
        ({"cookie": cookie}, ("binary", "ticket.", "other"), 403),
        ({"cookie": cookie}, ("binary", f"ticket.{ticket}", f"ticket.{ticket}"), 403),
    ]
    for headers, offers, status in attempts:
        with pytest.raises(InvalidStatus) as caught:
            async with screen(service, session_id, *offers, **headers):
                pass
        assert caught.value.response.status_code == status, (headers, offers)
    assert service.stage.screens.empty()
    # and the ticket is still good for its own browser
    async with watching(service, session_id, browser, ticket) as (page, machine):
        machine.writer.write(BANNER)
        assert await page.recv() == BANNER


async def test_the_operator_token_opens_no_screen(service):
    session_id, _, ticket = await service.ticketed()
    headers = {"Authorization": f"Bearer {service.token}"}
    for site in (service.addresses.sign_in, service.addresses.dashboard):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(
                f"{site.websocket_origin}/api/auth/session/{session_id}/screen",
                origin=site.origin,
                subprotocols=["binary", f"ticket.{ticket}"],
                additional_headers=headers,
                proxy=None,
            ):
                pass
        assert caught.value.response.status_code in {401, 421}
    operator = await service.operator()
    assert error_of(await operator.post(f"/api/auth/session/{session_id}/ticket", json={})) == (421, "wrong_host")


async def test_a_second_tab_of_the_same_browser_takes_over_and_the_first_is_told(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (first, old):
        old.writer.write(BANNER)
        assert await first.recv() == BANNER
        async with watching(service, session_id, browser) as (second, new):
            assert await closed(first) == (4001, "taken over")
            # the first one's way to the machine is gone before the second one's is opened
            assert await old.reader.read() == b""
            new.writer.write(BANNER)
            assert await second.recv() == BANNER


async def test_a_browser_that_is_refused_is_told_to_the_one_who_watches(service):
    session_id, browser, _ = await service.ticketed()
    async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
        lines = answer.aiter_lines()
        with pytest.raises(InvalidStatus):
            async with screen(service, session_id, "binary", "ticket.x"):
                pass
        async for line in lines:
            if line == "event: notice":
                assert await anext(lines) == 'data: {"notice": "screen_refused"}'
                break


async def test_a_page_that_stops_reading_stops_the_machines_sending_and_memory_stays_bounded(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser, max_queue=1) as (page, machine):
        await held_back_until_read(page, machine)


async def test_a_machine_that_stops_reading_stops_the_page_and_what_comes_down_still_passes(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (page, machine):
        await held_back_both_ways_apart(page, machine)


async def test_after_the_capture_no_byte_of_the_page_reaches_the_machine(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (page, machine):
        await page.send(b"before")
        assert await machine.reader.readexactly(6) == b"before"
        service.stage.input_ended(session_id).set()
        await page.send(b"after")
        machine.writer.write(b"the last picture")
        assert await page.recv() == b"the last picture"
        machine.writer.write_eof()
        assert await closed(page) == (4010, "screen ended")
        assert await machine.reader.read() == b""
    async with screen(
        service,
        session_id,
        "binary",
        f"ticket.{await service.ticket(session_id, browser)}",
        cookie=cookie_of(browser, session_id),
    ) as page:
        assert await closed(page) == (4010, "screen ended")


async def test_f086f_the_end_of_the_screen_closes_the_page_with_its_own_code(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (page, machine):
        machine.writer.write(BANNER)
        machine.writer.close()
        assert await closed(page) == (4010, "screen ended")


async def test_f083g_f086f_a_screen_that_cannot_be_opened_says_so(service):
    session_id, browser, ticket = await service.ticketed()
    service.stage.ready = False
    cookie = cookie_of(browser, session_id)
    async with screen(service, session_id, "binary", f"ticket.{ticket}", cookie=cookie) as page:
        assert await closed(page) == (4004, "screen not ready")


async def test_a_text_message_ends_the_relay(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (page, _):
        await page.send("text")
        assert (await closed(page))[0] == 1003


async def test_a_page_that_goes_away_lets_the_machine_go(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (page, machine):
        await page.close()
        with contextlib.suppress(ConnectionResetError):
            assert await machine.reader.read() == b""


async def test_a_stopping_service_tells_the_page_to_come_again(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser) as (page, machine):
        machine.writer.write(BANNER)
        assert await page.recv() == BANNER
        await service.server.stop(timedelta(seconds=5))
        assert await closed(page) == (1012, "service stopping")


async def test_a_page_that_neither_reads_nor_goes_does_not_hold_a_stop_up(service):
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser, max_queue=1) as (page, machine):
        writing = asyncio.get_running_loop().create_task(flood(machine))
        await asyncio.wait({writing}, timeout=1)
        begun = asyncio.get_running_loop().time()
        await service.server.stop(timedelta(seconds=5))
        assert asyncio.get_running_loop().time() - begun < 15
        writing.cancel()
        await asyncio.wait({writing})
        page.transport.abort()


async def test_a_page_that_takes_nothing_for_long_loses_the_screen(service, monkeypatch):
    monkeypatch.setattr(relay, "STALL_S", 0.2)
    session_id, browser, _ = await service.ticketed()
    async with watching(service, session_id, browser, max_queue=1) as (page, machine):
        # it ends by itself: the way to the machine is cut
        await flood(machine)
        assert service.app.closing.count == 0
        page.transport.abort()


async def flood(machine):
    with contextlib.suppress(ConnectionError):
        while True:
            machine.writer.write(bytes(2**16))
            await machine.writer.drain()
