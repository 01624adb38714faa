"""One reader of a run, from its place in the line to its end, however often its machine is found again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from antechamber.errors import CallerError, Code, MachineError, OperatorError
from antechamber.guest.protocol import RUN_PIECE
from antechamber.link import RunView, Written
from antechamber.log import get_logger
from antechamber.model import Run, RunStatus
from antechamber.store import RUNS, run_topic

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from antechamber.runs import Runs

T = TypeVar("T")
_log = get_logger("reading")
_LOOK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Waits:
    """The run waits for its credential."""

    position: int
    """Its place in the line, the first is 1."""


@dataclass(frozen=True, slots=True)
class Over:
    """The run has ended; nothing comes after it."""

    run: Run


class Live(Protocol):
    """The way to the machines that run now."""

    async def read_run(self, run_id: str, at: int = 0) -> RunView | None:
        """Have one reader follow what a run's tool writes; None while its machine is not spoken with."""

    async def leave_run(self, run_id: str, view: RunView) -> None:
        """End that; nothing happens where the machine has ended."""


Told: TypeAlias = Waits | Written | Over


class RunReader:
    """Reads one run and types to it."""

    def __init__(self, runs: Runs, live: Live, run_id: str, *, at: int = 0) -> None:
        """Read that run from there on in all that its tool writes."""
        self._runs = runs
        self._live = live
        self._run_id = run_id
        self._at = at
        self._view: RunView | None = None
        self._there = asyncio.Event()
        self._size: tuple[int, int] | None = None
        self._is_whole = False
        """Whether all that its tool wrote has been read."""

    async def told(self) -> AsyncGenerator[Told]:
        """Tell what becomes of the run, to its end; a piece counts as taken when the next is asked for.

        Raises CallerError run_not_found, and run_in_use as soon as somebody else reads it.
        """
        waits = None
        # of the line too: its place changes with other runs
        with self._runs.changes.watch(run_topic(self._run_id), RUNS) as changed:
            while True:
                # before its rows: what is read then is at least as new as the machine that was looked for
                await self._look()
                if self._view is not None:
                    async for piece in self._pieces(self._view):
                        yield piece
                    await self._left(self._view)
                    continue
                run = await self._run()
                if run.status is RunStatus.ENDED:
                    yield Over(run)
                    return
                position = await _once_there(partial(self._runs.position, run))
                if position is not None and position != waits:
                    waits = position
                    yield Waits(position)
                await changed.wait(_LOOK_S)

    async def there(self) -> None:
        """Return once its tool's machine can be spoken to."""
        await self._with_view(RunView.there)

    async def type(self, typed: bytes, *, end: bool = False) -> None:
        """Type to the tool, as soon as it is there; returns when all of it may be followed by more."""
        pieces = [typed[at : at + RUN_PIECE] for at in range(0, len(typed), RUN_PIECE)] or [b""]
        for number, piece in enumerate(pieces, 1):
            await self._with_view(partial(RunView.type, typed=piece, end=end and number == len(pieces)))

    async def signal(self, name: str) -> None:
        """Send the tool a signal, as soon as it is there."""
        await self._with_view(partial(RunView.signal, name=name))

    async def _with_view(self, do: Callable[[RunView], Awaitable[None]]) -> None:
        """Do it once its machine is spoken with, with the next view where the one of now ends before."""
        while True:
            await self._there.wait()
            if (view := self._view) is not None:
                try:
                    return await do(view)
                except MachineError as error:
                    if error.code is not Code.MACHINE_ENDED:
                        raise
            if self._view is view:
                # it is set again with the next one
                self._there.clear()

    async def resize(self, columns: int, rows: int) -> None:
        """Give its terminal that size, now and whenever its machine is found again."""
        self._size = columns, rows
        if self._view is not None:
            await self._view.resize(columns, rows)

    async def close(self) -> None:
        """Read no more."""
        if self._view is not None:
            await self._live.leave_run(self._run_id, self._view)

    async def _run(self) -> Run:
        return await _once_there(partial(self._runs.get, self._run_id))

    async def _look(self) -> None:
        if self._view is None and not self._is_whole:
            self._view = await self._live.read_run(self._run_id, self._at)
            if self._view is not None:
                if self._size is not None:
                    await self._view.resize(*self._size)
                self._there.set()

    async def _pieces(self, view: RunView) -> AsyncIterator[Written]:
        while (piece := await view.next()) is not None:
            yield piece
            self._at = piece.end
            await view.taken(piece)
            if piece.ended:
                self._is_whole = True
                await self._until_over(view)
                return

    async def _until_over(self, view: RunView) -> None:
        """Wait until the end of what was read to its end is in the rows, or until its machine is gone."""
        with self._runs.changes.watch(run_topic(self._run_id)) as changed:
            while not view.over and (await self._run()).status is not RunStatus.ENDED:
                await changed.wait(_LOOK_S)

    async def _left(self, view: RunView) -> None:
        if view.replaced:
            raise CallerError(Code.RUN_IN_USE)
        await self._live.leave_run(self._run_id, view)
        self._view = None
        self._there.clear()


async def _once_there(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the database, as soon as it is there: while it is away the tool works on, and its reader need not go."""
    while True:
        try:
            return await ask()
        except OperatorError as error:
            if error.code is not Code.STORE_UNAVAILABLE:
                raise
            _log.warning("a reader waits for the database", detail=error.detail)
        await asyncio.sleep(_LOOK_S)
