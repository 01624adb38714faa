"""What runs now on this node, by session or run: the way from a page, or from a deadline, to the machine."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from antechamber.errors import CallerError, Code, MachineError

if TYPE_CHECKING:
    from datetime import timedelta

    from antechamber.link import RunView, TerminalView
    from antechamber.machine import Stream
    from antechamber.model import MachineRow
    from antechamber.reconciler.attendant import Attendant
    from antechamber.reconciler.live import LiveMachine


class Live:
    """What runs now, by session or run; nothing here is the truth, only the way to it."""

    def __init__(self) -> None:
        """Begin with nothing running."""
        self.attendants: dict[str, Attendant] = {}
        self._machine_of: dict[str, str] = {}
        self._opened = asyncio.Event()

    def put(self, row: MachineRow, attendant: Attendant) -> None:
        """Remember a machine's attendant."""
        self.attendants[row.id] = attendant
        if (subject := row.session_id or row.run_id) is not None:
            self._machine_of[subject] = row.id

    def drop(self, row: MachineRow) -> None:
        """Forget it."""
        self.attendants.pop(row.id, None)
        if (subject := row.session_id or row.run_id) is not None:
            self._machine_of.pop(subject, None)

    async def open_screen(self, session_id: str) -> Stream:
        """Return a fresh RFB stream of the session's screen; raises CallerError screen_not_ready."""
        try:
            return await self._in_use(session_id).open_screen()
        except MachineError as error:
            raise CallerError(Code.SCREEN_NOT_READY, detail=error.detail) from error

    async def watch_terminal(self, session_id: str) -> TerminalView:
        """Have one viewer follow what the session's tool writes; raises CallerError screen_not_ready."""
        return await self._in_use(session_id).link.watch_terminal()

    async def leave_terminal(self, session_id: str, view: TerminalView) -> None:
        """End that; nothing happens where the machine has ended."""
        if (live := self._of(session_id)) is not None:
            await live.link.leave_terminal(view)

    async def read_run(self, run_id: str, at: int = 0) -> RunView | None:
        """Have one reader follow what a run's tool writes; None while its machine is not spoken with."""
        live = self._of(run_id)
        return None if live is None else await live.link.read_run(at)

    async def leave_run(self, run_id: str, view: RunView) -> None:
        """End that; nothing happens where the machine has ended."""
        if (live := self._of(run_id)) is not None:
            await live.link.leave_run(view)

    def tell_opened(self) -> None:
        """Wake whoever waits for a machine: one is spoken with from now on."""
        self._opened.set()
        self._opened = asyncio.Event()

    async def last_look(self, session_id: str, *, found: timedelta, within: timedelta, late: timedelta) -> None:
        """Ask the session's guest for a whole file, before a bad end is written; see `LiveMachine.last_look`.

        A machine that is not spoken with at the moment is waited for as long as `found`: after the service's own start,
        or the database's absence, it is found again by and by, and says then what it had to say meanwhile.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(found.total_seconds()):
                while self._of(session_id) is None:
                    await self._opened.wait()
        if (live := self._of(session_id)) is not None:
            await live.last_look(within, late=late)

    def input_ended(self, session_id: str) -> asyncio.Event:
        """Return the event that is set when the person's input ends, or when this service lets the machine go.

        Where no machine is spoken with it is one that nobody sets: that may be for a moment, after the service's start.
        """
        live = self._of(session_id)
        return asyncio.Event() if live is None else live.input_ended

    def _of(self, subject: str) -> LiveMachine | None:
        attendant = self.attendants.get(self._machine_of.get(subject, ""))
        return None if attendant is None else attendant.live

    def _in_use(self, session_id: str) -> LiveMachine:
        """Return the machine that a session's person may use now; raises CallerError screen_not_ready."""
        live = self._of(session_id)
        if live is None or live.input_ended.is_set():
            raise CallerError(Code.SCREEN_NOT_READY)
        return live
