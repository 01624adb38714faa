"""The host's end of a run's streams: what a guest may send of them, and what a guest that was away is asked again."""

from __future__ import annotations

import asyncio
import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_link import HELLO, dialled, link_with

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import RUN_PIECE, ReportKind
from antechamber.link.conversation import BURST
from antechamber.link.running import RunView
from antechamber.tasks import spawn


def piece(reader=1, output=b"hello", **more):
    text = base64.b64encode(output).decode()
    return {
        "type": "run_output",
        "reader": reader,
        "at": 0,
        "stream": 1,
        "output": text,
        "ended": False,
        "again": False,
        **more,
    }


async def greeted(guest):
    guest.say(**HELLO)
    assert (await guest.hear())["type"] == "welcome"


@contextlib.asynccontextmanager
async def reading(link, at=0):
    """Give a guest that was asked for what its CLI writes, and whoever reads it."""
    async with dialled(link) as guest:
        await greeted(guest)
        view = await link.read_run(at)
        assert await guest.hear() == {"type": "run_open", "reader": view.reader, "at": at}
        yield guest, view


async def test_a_piece_reaches_its_reader_and_the_next_is_asked_for_once_it_is_taken():
    async with reading(link_with()) as (guest, view):
        guest.say(**piece(stream=2))
        got = await view.next()
        assert (got.output, got.stream, got.end, got.ended) == (b"hello", 2, 5, False)
        assert "hello" not in repr(got)
        await view.taken(got)
        assert await guest.hear() == {"type": "run_taken", "reader": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"output": "no base64!"},
        {"output": base64.b64encode(b"x" * (RUN_PIECE + 1)).decode()},
        {"stream": 0},
        {"stream": 3},
        {"stream": True},
        {"at": -1},
        {"at": 1.5},
        {"ended": 1},
        {"more": 1},
    ],
)
async def test_a_piece_that_is_not_of_the_protocol_ends_the_conversation(wrong):
    async with reading(link_with()) as (guest, _):
        guest.say(**(piece() | wrong))
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_a_guest_that_does_not_wait_for_its_reader_is_not_spoken_with():
    async with reading(link_with()) as (guest, _):
        guest.say(**piece())
        guest.say(**piece())
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_output_that_nobody_reads_is_dropped_and_counts_as_speech():
    link = link_with()
    async with dialled(link) as guest:
        await greeted(guest)
        for _ in range(BURST + 50):
            guest.say(**piece())
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_input_that_was_not_waited_for_counts_as_speech_however_often_it_is_taken():
    async with reading(link_with(clock=lambda: 0.0)) as (guest, _):
        for quarter in range(4):
            for _ in range(BURST // 4 - 1):
                guest.say(type="run_input_taken")
            guest.report(ReportKind.NOTHING_YET, {})
            if quarter < 3:  # with its hello it is one too many at the end of the fourth
                assert (await guest.hear())["type"] == "ack"
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_as_much_may_come_as_its_reader_takes():
    async with reading(link_with()) as (guest, view):
        for number in range(2 * BURST):
            guest.say(**piece(output=b"x" * RUN_PIECE, at=number * RUN_PIECE))
            await view.taken(await view.next())
            assert (await guest.hear())["type"] == "run_taken"
        assert view.at == 2 * BURST * RUN_PIECE


async def test_a_later_reader_takes_the_place_of_an_earlier_one():
    link = link_with()
    async with reading(link) as (guest, first):
        second = await link.read_run(3)
        assert await guest.hear() == {"type": "run_open", "reader": 2, "at": 3}
        assert await first.next() is None
        assert first.replaced
        guest.say(**piece(1, b"late"))
        guest.say(**piece(2, b"mine", at=3))
        assert (await second.next()).output == b"mine"
        await link.leave_run(first)
        assert link.unread_for == 0, "whoever was replaced leaves nobody alone"


async def test_what_is_typed_goes_piece_by_piece_as_the_cli_takes_it():
    async with reading(link_with()) as (guest, view):
        await view.type(b"x" * RUN_PIECE)
        typing = spawn("typing", view.type(b"x", end=True))
        first = await guest.hear()
        assert (len(base64.b64decode(first["input"])), first["end"]) == (RUN_PIECE, False)
        await asyncio.sleep(0)
        assert not typing.done()
        guest.say(type="run_input_taken")
        last = await guest.hear()
        assert (base64.b64decode(last["input"]), last["end"]) == (b"x", True)
        await typing


async def test_a_guest_that_comes_back_is_asked_from_where_its_reader_is():
    link = link_with()
    async with reading(link) as (guest, view):
        await view.resize(90, 30)
        guest.say(**piece())
        await view.taken(await view.next())
    async with dialled(link) as guest:
        guest.say(**{**HELLO, "has_job": True})
        heard = [await guest.hear() for _ in range(3)]
    assert heard[1:] == [
        {"type": "run_size", "columns": 90, "rows": 30},
        {"type": "run_open", "reader": 2, "at": 5},
    ]


async def test_a_guest_that_comes_back_while_a_piece_is_in_hand_says_nothing_twice():
    link = link_with()
    async with reading(link) as (guest, view):
        guest.say(**piece(1, b"first"))
        got = await view.next()
    async with dialled(link) as guest:
        # what it says before it is asked is for whom it was asked for before
        guest.say(**{**HELLO, "has_job": True})
        guest.say(**piece(1, b"stale", at=5))
        heard = [await guest.hear() for _ in range(2)]
        assert heard[1] == {"type": "run_open", "reader": 2, "at": 5}
        await view.taken(got)
        guest.say(**piece(2, b"other", at=5))
        got = await view.next()
        assert (got.output, view.at) == (b"other", 10)
        await view.taken(got)
        assert await guest.hear() == {"type": "run_taken", "reader": 2}, "the first was none that this guest knows of"


async def test_whoever_waits_for_a_guest_that_never_comes_is_told_so():
    link = link_with()
    view = await link.read_run()
    waiting = [spawn("typing", view.type(b"x")), spawn("signal", view.signal("INT")), spawn("there", view.there())]
    await asyncio.sleep(0)
    link.close_run()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [getattr(end, "code", end) for end in ends] == [Code.MACHINE_ENDED] * 3


async def test_a_guest_that_is_away_is_told_to_finish_when_it_is_back():
    link = link_with()
    await link.finish_run()
    async with dialled(link) as guest:
        await greeted(guest)
        assert await guest.hear() == {"type": "run_finish"}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["reader", "at", "stream", "output", "ended", "x"])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["run_output", "run_input_taken"]), st.dictionaries(fields, json))
async def test_whatever_a_guest_says_of_a_run_it_is_taken_or_an_error_of_ours(word, table):
    async def say(_):
        pass

    view = RunView(lambda: 1, say, at=0, there=asyncio.Event().wait)
    await view.begin()
    message = {**(piece() if word == "run_output" else {}), **table, "type": word}
    refused = None
    try:
        view.put(message)
    except MachineError as error:
        refused = error.code
    assert refused in {None, Code.GUEST_PROTOCOL}
    assert refused or set(message) == (set(piece()) if word == "run_output" else {"type"})
