"""What the guest shows of the CLI's output to one viewer: bounded, in order, and only as far as it is taken."""

from __future__ import annotations

import asyncio
import base64

import pytest

from antechamber.guest import view as guest_view
from antechamber.guest.protocol import TERMINAL_INPUT, TERMINAL_PIECE
from antechamber.guest.view import KEPT, View


class Seen:
    """A viewer's end: the messages that came."""

    def __init__(self):
        self.messages = asyncio.Queue()
        self.view = View(self.messages.put_nowait)
        self.number = 0

    def open(self):
        self.number += 1
        self.view.take({"type": "terminal_open", "viewer": self.number})

    def taken(self):
        self.view.take({"type": "terminal_taken", "viewer": self.number})

    async def next(self):
        async with asyncio.timeout(10):
            message = await self.messages.get()
        assert message["viewer"] == self.number
        return base64.b64decode(message["output"]), message["fresh"], message["writable"]


@pytest.fixture
def seen():
    return Seen()


async def test_a_viewer_gets_what_was_written_before_and_what_comes_then(seen):
    seen.view.began()
    seen.view.wrote(b"before ")
    seen.open()
    assert await seen.next() == (b"before ", True, False)
    seen.view.wrote(b"after")
    assert seen.messages.empty()
    seen.taken()
    assert await seen.next() == (b"after", False, False)


async def test_nothing_is_sent_before_anybody_looks_or_after(seen):
    seen.view.began()
    seen.view.wrote(b"secret")
    seen.open()
    await seen.next()
    seen.view.take({"type": "terminal_close", "viewer": 1})
    seen.taken()
    seen.view.wrote(b"more")
    await asyncio.sleep(guest_view._PAUSE_S * 3)
    assert seen.messages.empty()


async def test_a_slow_viewer_begins_anew_with_what_is_kept_and_the_cli_is_not_held_up(seen):
    seen.view.began()
    seen.view.wrote(b"first")
    seen.open()
    await seen.next()
    seen.view.wrote(b"x" * (KEPT * 3) + b"y" * KEPT)
    seen.taken()
    output, fresh, _ = await seen.next()
    assert (output, fresh) == (b"y" * TERMINAL_PIECE, True)
    got = len(output)
    while got < KEPT:
        seen.taken()
        output, fresh, _ = await seen.next()
        assert not fresh
        got += len(output)
    assert got == KEPT


async def test_a_new_run_begins_anew_and_its_end_ends_typing(seen):
    typed = []
    seen.view.began()
    seen.view.wrote(b"old")
    seen.open()
    await seen.next()
    seen.view.began(typed.append, lambda columns, rows: None)
    seen.taken()
    assert await seen.next() == (b"", True, True)
    seen.view.wrote(b"name? ")
    seen.view.ended()
    seen.taken()
    assert await seen.next() == (b"name? ", True, False)


async def test_typing_reaches_the_terminal_from_its_own_viewer_alone(seen):
    typed = []
    seen.view.began(typed.append, lambda columns, rows: None)
    seen.open()
    text = base64.b64encode(b"ada").decode()
    for viewer, words in [(1, text), (2, text), (1, "no base64!"), (1, 7), (None, text)]:
        seen.view.take({"type": "terminal_input", "viewer": viewer, "input": words})
    seen.view.take({"type": "terminal_input", "viewer": 1, "input": base64.b64encode(b"z" * 9999).decode()})
    assert typed == [b"ada", b"z" * TERMINAL_INPUT]


async def test_a_size_is_kept_for_the_next_run_and_a_wrong_one_is_not_taken(seen):
    sizes = []
    seen.view.take({"type": "terminal_size", "columns": 90, "rows": 30})
    for columns, rows in [(0, 30), (90, 10_000), ("90", 30), (True, 30), (None, None)]:
        seen.view.take({"type": "terminal_size", "columns": columns, "rows": rows})
    seen.view.began(lambda typed: None, lambda columns, rows: sizes.append((columns, rows)))
    assert sizes == [(90, 30)]
