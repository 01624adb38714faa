"""What a run's reader types, when its machine is lost from sight and found again."""

from __future__ import annotations

import asyncio
import base64
import itertools
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

from antechamber.guest.protocol import RUN_PIECE
from antechamber.link import RunView
from antechamber.model import RunStatus
from antechamber.reconciler.reading import RunReader
from antechamber.tasks import cancel_and_wait, spawn

RUN = SimpleNamespace(status=RunStatus.RUNNING)


class Line:
    """Runs with one run that goes on, and machines that a test finds and loses."""

    def __init__(self):
        self.changes = self
        self.found = asyncio.Event()
        self.said = asyncio.Queue()
        self.view = None
        self.there = asyncio.Event()
        self._numbers = itertools.count(1)

    @contextmanager
    def watch(self, *_):
        yield self

    async def wait(self, _):
        await self.found.wait()

    async def get(self, _):
        return RUN

    async def position(self, _):
        return None

    async def read_run(self, _, at=0):
        if not self.found.is_set():
            return None
        self.view = RunView(partial(next, self._numbers), self.said.put, at=at, there=self.there.wait)
        await self.view.begin()
        return self.view

    async def leave_run(self, *_):
        self.found.clear()


async def typed(line):
    async with asyncio.timeout(5):
        while (message := await line.said.get())["type"] != "run_input":
            pass
    return base64.b64decode(message["input"]), message["end"]


async def test_what_waits_for_a_machine_that_is_lost_is_typed_to_it_when_it_is_found_again():
    line = Line()
    reader = RunReader(line, line, "run_x")
    telling = spawn("a test's", anext(reader.told()))
    typing = spawn("a test's", reader.type(b"x" * RUN_PIECE + b"rest", end=True))
    line.found.set()
    while line.view is None:
        await asyncio.sleep(0)
    # it is spoken with by then, and away before it could be typed to
    line.view.close(replaced=False)
    while line.found.is_set():
        await asyncio.sleep(0)
    line.there.set()
    line.found.set()
    assert await typed(line) == (b"x" * RUN_PIECE, False)
    # lost once more, with the first piece in hand: what it was given it is given no second time
    line.view.close(replaced=False)
    while line.found.is_set():
        await asyncio.sleep(0)
    assert not typing.done()
    line.found.set()
    assert await typed(line) == (b"rest", True)
    await typing
    await cancel_and_wait(telling)
