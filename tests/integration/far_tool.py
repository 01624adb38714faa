"""The machine's end of a run, in a test's hand: a tool that writes what the test says, read by the host's ends."""

from __future__ import annotations

import asyncio
import base64
import itertools
from functools import partial

from antechamber.guest.output import Output
from antechamber.link import RunView
from antechamber.model import RunStatus
from antechamber.run_life import RunFact
from tests.integration.web_service import now


class FarTool:
    """The tool of one run of a service whose machines are played."""

    def __init__(self, service, run):
        self._service = service
        self.run = run
        self.output = Output(self._put, held=run.held, on_room=lambda: None)
        self.typed = asyncio.Queue()
        self.sizes = asyncio.Queue()
        self._view = None
        self._readers = itertools.count(1)

    @classmethod
    async def begun(cls, service, run_id):
        """Have the run's tool begin."""
        run = await service.runs.get(run_id)
        assert run.status is RunStatus.STARTING, run
        tool = service.stage.tools[run_id] = cls(service, run)
        await service.runs.begun(run)
        return tool

    def writes(self, written, stream=1):
        self.output.wrote(stream, written)

    async def ends(self, code=0, *, redacted=False):
        """End by itself, all of it told."""
        self.output.ended()
        await self._service.runs.exited(self.run.id, code=code, file="whole", redacted=redacted)

    async def hears(self, length):
        """Return what was typed, once it is so many bytes."""
        got = b""
        async with asyncio.timeout(15):
            while len(got) < length:
                got += await self.typed.get()
        return got

    async def dies(self):
        """End with its machine, and tell nothing."""
        del self._service.stage.tools[self.run.id]
        if self._view is not None:
            self._view.close()
        await self._service.store.runs.apply(self.run.id, RunFact.MACHINE_ENDED, at=now())

    def drop(self):
        """Let whoever reads lose the line, as when the machine is not spoken with for a moment."""
        if self._view is not None:
            self._view.close()

    async def unread(self):
        """Return once nobody reads it."""
        async with asyncio.timeout(15):
            while self._view is not None:
                await asyncio.sleep(0.01)

    async def read(self, at):
        if self._view is not None:
            self._view.close(replaced=True)
        self._view = RunView(partial(next, self._readers), self._hear, at=at, there=lambda: asyncio.sleep(0))
        await self._view.begin()
        return self._view

    def leave(self, view):
        if self._view is view:
            self._view = None

    def _put(self, message):
        if self._view is not None:
            self._view.put(message)

    async def _hear(self, message):
        match message["type"]:
            case "run_input":
                await self.typed.put(base64.b64decode(message["input"]))
                self._put({"type": "run_input_taken"})
            case "run_size":
                await self.sizes.put((message["columns"], message["rows"]))
            case _:
                self.output.take(message)
