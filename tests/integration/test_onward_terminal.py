"""A tool's terminal whose machine is on another node: passed on there as a screen is, words and bytes."""

import base64
import contextlib
import json
from datetime import timedelta

import pytest
from websockets.exceptions import InvalidStatus

from antechamber.model import new_secret
from tests.integration.test_onward import closed, cookie_of, listener, reached_at, screen, two, watched_on
from tests.integration.test_terminal import piece, ticket
from tests.integration.web_service import error_of


def terminal(service, session_id, given, cookie, **options):
    return screen(service, session_id, "binary", f"ticket.{given}", cookie=cookie, kind="terminal", **options)


@contextlib.asynccontextmanager
async def watching(one, other):
    """Give (the page's socket at the other service, the machine's end at the first, what it was told, session id)."""
    session_id, browser = await watched_on(one, other)
    given = await ticket(browser, session_id)
    async with terminal(other, session_id, given, cookie_of(browser, session_id)) as page:
        view, said = await one.stage.terminals.get()
        yield page, view, said, session_id


async def test_words_and_bytes_pass_both_ways_as_where_the_machine_is(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, view, said, _):
        view.put(piece(b"which account?\r\n> ", fresh=True, writable=True))
        assert json.loads(await page.recv()) == {"fresh": True, "writable": True}
        assert await page.recv() == b"which account?\r\n> "
        assert (await said.get())["type"] == "terminal_taken"
        await page.send(b"ada\r")
        assert base64.b64decode((await said.get())["input"]) == b"ada\r"
        await page.send(json.dumps({"columns": 90, "rows": 30}))
        assert await said.get() == {"type": "terminal_size", "columns": 90, "rows": 30}
        assert other.stage.terminals.empty()


async def test_what_the_node_makes_of_a_wrong_word_or_the_capture_reaches_the_page(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, _, _, _):
        await page.send("no size")
        assert (await closed(page))[0] == 1003
    folder = tmp_path / "again"
    folder.mkdir()
    async with two(folder) as (one, other), watching(one, other) as (page, _, _, session_id):
        one.stage.input_ended(session_id).set()
        assert await closed(page) == (4010, "screen ended")


async def test_a_page_that_goes_away_is_told_to_the_machine(tmp_path):
    async with two(tmp_path) as (one, other), watching(one, other) as (page, _, said, _):
        await page.close()
        assert (await said.get())["type"] == "terminal_close"


async def test_a_terminal_of_a_node_that_cannot_be_reached_is_refused_in_words_or_closed_with_the_screens_code(
    tmp_path,
):
    async with two(tmp_path) as (one, other):
        session_id, browser = await watched_on(one, other)
        cookie = cookie_of(browser, session_id)
        given = await ticket(browser, session_id)
        await one.server.stop(timedelta(seconds=5))
        page = await terminal(other, session_id, given, cookie)
        assert await closed(page) == (4011, "node away")
        await reached_at(one, None)
        refused = await browser.post(f"/api/auth/session/{session_id}/terminal/ticket", json={})
        assert error_of(refused) == (421, "wrong_node")
        with pytest.raises(InvalidStatus) as caught:
            await terminal(other, session_id, "x", cookie)
        assert caught.value.response.status_code == 421


async def test_nobody_is_dialled_without_a_ticket_and_only_the_terminals_own_request_is_made(tmp_path):
    async with two(tmp_path) as (one, other), listener() as dialled:
        session_id, browser = await watched_on(one, other)
        await reached_at(one, f"http://127.0.0.1:{dialled.port}")
        cookie = cookie_of(browser, session_id)
        page = await terminal(other, session_id, new_secret().reveal(), cookie)
        assert await closed(page) == (4003, "ticket not valid")
        assert dialled.requests == []
        page = await terminal(other, session_id, await ticket(browser, session_id), cookie)
        assert await closed(page) == (4011, "node away")
        (request,) = dialled.requests
        assert request.path == f"/api/auth/session/{session_id}/terminal"
