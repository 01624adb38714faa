"""A start that is cancelled while its keeper's first word is waited for closes that descriptor, and no other."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest

from antechamber.drivers import keepers
from antechamber.errors import MachineError
from antechamber.tasks import spawn


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_descriptor_that_has_its_number_by_then_stays_open(turns):
    reading, writing = os.pipe()
    waiting = spawn("first word", keepers._first_word(reading))
    for _ in range(turns):
        await asyncio.sleep(0)
    if not turns:
        # before its first step nothing of it has the descriptor
        waiting.cancel()
        await asyncio.wait({waiting})
        os.close(reading)
    else:
        waiting.cancel()
        await asyncio.wait({waiting})
    os.close(writing)
    # the same numbers, given to somebody else
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    assert reading in others
    del waiting
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    for other in others:
        os.fstat(other)
        os.close(other)


@pytest.mark.parametrize(
    ("said", "heard"),
    [(b'{"started": true}\n', {"started": True}), (b"", {}), (b'{"started": false}', {"started": False})],
)
async def test_the_word_is_heard_in_pieces_too_and_an_end_without_one_is_none(said, heard):
    reading, writing = os.pipe()
    hearing = spawn("first word", keepers._first_word(reading))
    for at in range(0, len(said), 5):
        os.write(writing, said[at : at + 5])
        await asyncio.sleep(0.01)
    os.close(writing)
    assert await hearing == heard
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(reading)


async def test_a_keeper_that_says_nothing_in_time_is_given_up(monkeypatch):
    monkeypatch.setattr(keepers, "_FIRST_WORD_S", 0.05)
    reading, writing = os.pipe()
    with pytest.raises(MachineError, match="said nothing in time"):
        await keepers._first_word(reading)
    os.close(writing)
