"""The host's end of a terminal: what a guest may send of it, and what a guest that was away is asked again."""

from __future__ import annotations

import asyncio
import base64

import pytest
from tests.unit.test_link import HELLO, dialled, link_with

from antechamber.errors import Code
from antechamber.guest.protocol import TERMINAL_INPUT, TERMINAL_PIECE


def piece(viewer=1, output=b"hello", **more):
    text = base64.b64encode(output).decode()
    return {"type": "terminal", "viewer": viewer, "output": text, "fresh": False, "writable": False, **more}


async def greeted(guest):
    guest.say(**HELLO)
    assert (await guest.hear())["type"] == "welcome"


async def test_a_piece_reaches_its_viewer_and_the_next_is_asked_for_once_it_is_taken():
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        view = await link.watch_terminal()
        assert await guest.hear() == {"type": "terminal_open", "viewer": 1}
        guest.say(**piece(fresh=True))
        got = await view.next()
        assert (got.output, got.fresh, got.writable) == (b"hello", True, False)
        assert "hello" not in repr(got)
        await view.taken()
        assert await guest.hear() == {"type": "terminal_taken", "viewer": 1}


async def test_what_is_typed_is_cut_into_bounded_messages():
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        view = await link.watch_terminal()
        await guest.hear()
        await view.type(b"x" * (TERMINAL_INPUT + 1))
        sizes = [len(base64.b64decode((await guest.hear())["input"])) for _ in range(2)]
        assert sizes == [TERMINAL_INPUT, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"output": "no base64!"},
        {"output": base64.b64encode(b"x" * (TERMINAL_PIECE + 1)).decode()},
        {"fresh": 1},
        {"more": 1},
    ],
)
async def test_a_piece_that_is_not_of_the_protocol_ends_the_conversation(wrong):
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        await link.watch_terminal()
        await guest.hear()
        guest.say(**(piece() | wrong))
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_a_guest_that_does_not_wait_for_its_viewer_is_not_spoken_with():
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        await link.watch_terminal()
        guest.say(**piece())
        guest.say(**piece())
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_what_comes_late_for_a_viewer_who_left_is_dropped():
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        first = await link.watch_terminal()
        await link.leave_terminal(first)
        guest.say(**piece())
        second = await link.watch_terminal()
        guest.say(**piece())
        guest.say(**piece(viewer=2, output=b"mine"))
        assert (await second.next()).output == b"mine"


async def test_a_guest_that_comes_back_is_asked_again_with_the_size():
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        view = await link.watch_terminal()
        await view.resize(90, 30)
    async with dialled(link) as guest:
        guest.say(**{**HELLO, "has_job": True})
        heard = [await guest.hear() for _ in range(3)]
    assert [message["type"] for message in heard] == ["welcome", "terminal_size", "terminal_open"]


async def test_a_guest_that_is_away_holds_nobody_up():
    link = link_with()
    view = await link.watch_terminal()
    await view.type(b"lost")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await view.next()
    await link.leave_terminal(view)
