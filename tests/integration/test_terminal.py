"""The way between a page and its tool's terminal: the same doors as to the screen, and no byte after the capture."""

import asyncio
import base64
import contextlib
import json
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from antechamber.errors import Code, OperatorError
from antechamber.guest.protocol import TERMINAL_INPUT, TERMINAL_SIDES
from tests.integration.test_relay import closed, cookie_of
from tests.integration.web_service import error_of, running


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


def socket(service, session_id, *offers, cookie=None):
    return connect(
        f"{service.addresses.sign_in.websocket_origin}/api/auth/session/{session_id}/terminal",
        origin=service.addresses.sign_in.origin,
        subprotocols=list(offers),
        additional_headers={"Cookie": cookie} if cookie else None,
        compression=None,
        proxy=None,
    )


async def ticket(browser, session_id):
    answer = await browser.post(f"/api/auth/session/{session_id}/terminal/ticket", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()["ticket"]


@pytest.fixture
async def watched(service):
    """(the page's socket, the machine's end, what was said to the machine, the session)."""
    session_id, browser, _ = await service.ticketed()
    offers = "binary", f"ticket.{await ticket(browser, session_id)}"
    async with socket(service, session_id, *offers, cookie=cookie_of(browser, session_id)) as page:
        view, said = await service.stage.terminals.get()
        yield page, view, said, session_id


def piece(output, *, fresh=False, writable=False):
    text = base64.b64encode(output).decode()
    return {"type": "terminal", "viewer": 1, "output": text, "fresh": fresh, "writable": writable}


async def test_bytes_pass_both_ways_and_the_next_piece_is_asked_for_when_one_was_taken(watched):
    page, view, said, _ = watched
    view.put(piece(b"name? \x1b]52;c;aGk=\x07", fresh=True, writable=True))
    assert json.loads(await page.recv()) == {"fresh": True, "writable": True}
    assert await page.recv() == b"name? \x1b]52;c;aGk=\x07"
    assert (await said.get())["type"] == "terminal_taken"
    await page.send(b"ada\r")
    assert base64.b64decode((await said.get())["input"]) == b"ada\r"
    await page.send(json.dumps({"columns": 90, "rows": 30}))
    assert await said.get() == {"type": "terminal_size", "columns": 90, "rows": 30}


@pytest.mark.parametrize(
    "wrong", ["text", "[]", '{"columns": 90}', '{"columns": 1, "rows": 30}', '{"columns": true, "rows": 30}']
)
async def test_a_text_that_is_no_size_ends_it(watched, wrong):
    page, _, _, _ = watched
    await page.send(wrong)
    assert (await closed(page))[0] == 1003


async def test_after_the_capture_it_is_closed_and_nothing_more_is_typed(service, watched):
    page, _, said, session_id = watched
    service.stage.input_ended(session_id).set()
    assert await closed(page) == (4010, "screen ended")
    with pytest.raises(ConnectionClosed):
        await page.send(b"after")
    assert (await said.get())["type"] == "terminal_close"


async def test_a_second_tab_takes_over_and_the_screen_is_not_disturbed(service):
    session_id, browser, _ = await service.ticketed()
    cookie = cookie_of(browser, session_id)
    async with socket(
        service, session_id, "binary", f"ticket.{await ticket(browser, session_id)}", cookie=cookie
    ) as first:
        await service.stage.terminals.get()
        second = socket(service, session_id, "binary", f"ticket.{await ticket(browser, session_id)}", cookie=cookie)
        async with second:
            assert await closed(first) == (4001, "taken over")


async def test_whoever_lacks_the_cookie_or_the_ticket_is_refused(service):
    session_id, browser, _ = await service.ticketed()
    good = await ticket(browser, session_id)
    cookie = cookie_of(browser, session_id)
    for offers, held in ((("binary", f"ticket.{good}"), None), (("binary",), cookie)):
        with pytest.raises(InvalidStatus):
            async with socket(service, session_id, *offers, cookie=held):
                pass
    async with socket(service, session_id, "binary", "ticket.x", cookie=cookie) as page:
        assert await closed(page) == (4003, "ticket not valid")
    assert service.stage.terminals.empty()


async def test_a_ticket_is_given_while_the_machine_starts_but_never_before_consent_or_after_the_end(service):
    session_id, browser = await service.opened()
    address = f"/api/auth/session/{session_id}/terminal/ticket"
    assert error_of(await browser.post(address, json={})) == (403, "consent_needed")
    await browser.post(f"/api/auth/session/{session_id}/consent", json={})
    assert error_of(await browser.post(address, json={}))[1] == "screen_not_ready"
    await service.ready(session_id)
    assert (await browser.post(address, json={})).status_code == 200
    await service.signin.cancel(session_id, by_person=True)
    assert error_of(await browser.post(address, json={})) == (409, "session_ended")


async def test_a_tool_that_has_nothing_to_show_gets_no_ticket_and_the_page_is_told(service):
    session_id, browser = await service.opened(await service.start(provider="gemini"))
    await browser.post(f"/api/auth/session/{session_id}/consent", json={})
    await service.ready(session_id)
    assert (await browser.get(f"/api/auth/session/{session_id}")).json()["cli_terminal"] == "none"
    refused = await browser.post(f"/api/auth/session/{session_id}/terminal/ticket", json={})
    assert error_of(refused)[1] == "screen_not_ready"


async def test_a_stopping_service_tells_the_page_to_come_again(service, watched):
    page, _, _, _ = watched
    stopping = asyncio.get_running_loop().create_task(service.server.stop(timedelta(seconds=5)))
    assert await closed(page) == (1012, "service stopping")
    await stopping


async def test_a_terminal_whose_machine_this_service_lets_go_is_to_be_opened_again(service, watched):
    page, _, _, session_id = watched
    ended = service.stage.ended.pop(session_id)
    ended.set()
    assert await closed(page) == (4004, "screen not ready")


async def test_a_ticket_that_the_database_cannot_be_asked_about_is_no_fault_of_the_page(service, monkeypatch, capsys):
    session_id, browser, _ = await service.ticketed()
    offers = "binary", f"ticket.{await ticket(browser, session_id)}"

    async def away(*_, **__):
        raise OperatorError(Code.STORE_UNAVAILABLE)

    monkeypatch.setattr(service.signin, "redeem_ticket", away)
    async with socket(service, session_id, *offers, cookie=cookie_of(browser, session_id)) as page:
        assert await closed(page) == (4004, "screen not ready")
    assert "request broke" not in "".join(capsys.readouterr())


least, most = TERMINAL_SIDES
sides = st.integers(least, most)
wrong_sides = st.one_of(st.integers(max_value=least - 1), st.integers(most + 1), st.floats(), st.booleans(), st.text())
good_sizes = st.builds(lambda columns, rows: {"columns": columns, "rows": rows}, sides, sides)
wrong = st.one_of(
    st.text(max_size=20),
    st.builds(lambda size, name, value: json.dumps({**size, name: value}), good_sizes, st.just("rows"), wrong_sides),
    st.builds(lambda size, name: json.dumps({**size, name: 80}), good_sizes, st.sampled_from(["x", "Rows", ""])),
    st.sampled_from(["[" * 3000, '{"columns": 80}', "[80, 24]", "9" * 5000, '{"columns": 1e2, "rows": 24}']),
)


@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(good_sizes | st.binary(max_size=2 * TERMINAL_INPUT), max_size=5), st.none() | wrong)
async def test_what_a_page_types_and_its_sizes_reach_the_machine_up_to_the_first_message_that_is_neither(
    typing, messages, end
):
    service, session_id, browser = typing
    offers = "binary", f"ticket.{await ticket(browser, session_id)}"
    async with socket(service, session_id, *offers, cookie=cookie_of(browser, session_id)) as page:
        _, said = await service.stage.terminals.get()
        for message in messages:
            await page.send(message if isinstance(message, bytes) else json.dumps(message))
        if end is not None:
            await page.send(end)
            with contextlib.suppress(ConnectionClosed):
                await page.send(b"DUMMY")
            assert (await closed(page))[0] == 1003
    typed, sizes = b"", []
    while (told := await asyncio.wait_for(said.get(), 20))["type"] != "terminal_close":
        if told["type"] == "terminal_input":
            piece = base64.b64decode(told["input"])
            assert 0 < len(piece) <= TERMINAL_INPUT
            typed += piece
        else:
            assert told["type"] == "terminal_size"
            sizes.append({"columns": told["columns"], "rows": told["rows"]})
    assert typed == b"".join(message for message in messages if isinstance(message, bytes))
    assert sizes == [message for message in messages if not isinstance(message, bytes)]


@pytest.fixture
async def typing(service):
    session_id, browser, _ = await service.ticketed()
    return service, session_id, browser
