"""One reader of a run's CLI: what it writes, what is typed to it. What comes is a claim, and bounded."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import RUN_PIECE
from antechamber.link.reports import exactly
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from antechamber.link.terminal import Say

T = TypeVar("T")
_WRONG: Final = "a piece of a run"
_STREAMS: Final = frozenset({1, 2})


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes that the CLI wrote on one of its streams."""

    at: int
    """Where they begin in all that it wrote; beyond where the piece before ended, something between was not kept."""
    stream: int
    """1: its output, also a terminal's; 2: its errors."""
    output: bytes
    ended: bool
    """Whether it is the last."""
    again: bool = False
    """Whether a reader has had it before; what it asks of a terminal has been answered then."""

    def __repr__(self) -> str:
        return f"Written({self.at}, {self.stream}, {len(self.output)} bytes, ended={self.ended})"

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + len(self.output)


class RunView:
    """What one reader of a run reads and types, from `GuestLink.read_run` until `GuestLink.leave_run`."""

    def __init__(
        self,
        number: Callable[[], int],
        say: Say,
        *,
        at: int,
        there: Callable[[], Awaitable[object]],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Belong to a reader who begins there.

        `number` gives one that no reader of the guest has had, `there` returns once the guest can be spoken to, and
        `on_end` is called when the last piece has been taken.
        """
        self._number = number
        self._there = there
        self._on_end = on_end
        self.reader = 0
        """The number under which the guest was asked last."""
        self.at = at
        """Where the next piece begins for whoever reads."""
        self._say = say
        self._pieces: asyncio.Queue[Written] = asyncio.Queue(1)
        self._over = asyncio.Event()
        self.replaced = False
        """Whether somebody else reads it now."""
        self._credit = False
        self._has_asked = False
        """Whether what follows the piece that the reader has in hand has been asked for."""
        self._may_type = asyncio.Event()
        self._may_type.set()
        self._typed: dict[str, Any] | None = None
        self._size: dict[str, Any] | None = None

    async def next(self) -> Written | None:
        """Wait for the next piece; none comes before `taken` was said of the one before.

        None when there is another reader now, or when the machine is no longer spoken with.
        """
        piece = await self._unless_over(self._pieces.get())
        if piece is not None:
            self.at = piece.end
            self._has_asked = False
        return piece

    async def there(self) -> None:
        """Return once the guest can be spoken to; raises MachineError machine_ended once nothing comes any more."""

        async def there() -> bool:
            await self._there()
            return True

        if not await self._unless_over(there()) or self.over:
            raise MachineError(Code.MACHINE_ENDED, detail="its reader has ended")

    async def _unless_over(self, coming: Coroutine[Any, Any, T]) -> T | None:
        came, over = spawn("piece", coming), spawn("reader over", self._over.wait())
        try:
            await asyncio.wait({came, over}, return_when=asyncio.FIRST_COMPLETED)
            return came.result() if came.done() else None
        finally:
            await cancel_and_wait(came, over)

    @property
    def over(self) -> bool:
        """Whether nothing comes any more."""
        return self._over.is_set()

    def close(self, *, replaced: bool = False) -> None:
        """Say that nothing comes any more; `replaced`: because somebody else reads it now."""
        self.replaced = self.replaced or replaced
        self._over.set()
        self._may_type.set()

    async def taken(self, piece: Written) -> None:
        """Say that the reader has the piece; what is held for them goes on."""
        if piece.ended:
            self._on_end()
        # a guest that came back meanwhile has been asked already, from where this piece ends
        if not self._has_asked:
            self._has_asked = self._credit = True
            await self._say({"type": "run_taken", "reader": self.reader})

    async def type(self, typed: bytes, *, end: bool = False) -> None:
        """Give the CLI a piece of its input, RUN_PIECE bytes at most, and no more after `end`, once it has the last.

        A guest that goes away with a piece is given it no second time: whether the CLI has it is not known. Raises as
        `there` does, for a piece that the guest was not given.
        """
        await self._may_type.wait()
        self._may_type.clear()
        await self.there()
        await self._say({"type": "run_input", "input": base64.b64encode(typed).decode(), "end": end})

    async def signal(self, name: str) -> None:
        """Send the CLI a signal, a word of `RUN_SIGNALS`; raises as `there` does."""
        await self.there()
        await self._say({"type": "run_signal", "signal": name})

    async def resize(self, columns: int, rows: int) -> None:
        """Give the CLI's terminal that size."""
        self._size = {"type": "run_size", "columns": columns, "rows": rows}
        await self._say(self._size)

    async def begin(self) -> None:
        """Ask the guest for what comes from where the reader is, now or again after it was away."""
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._may_type.set()
        if self._size is not None:
            await self._say(self._size)
        # what the guest says to whom it was asked for before is not for this one: it asks for the same once more
        self.reader = self._number()
        self._has_asked = self._credit = True
        await self._say({"type": "run_open", "reader": self.reader, "at": self.at})

    def put(self, message: dict[str, Any]) -> int | None:
        """Take a message of the guest and return its bytes, None for one that nobody waits for.

        Raises MachineError for what is not of the protocol, as output that was not asked for is.
        """
        if message["type"] == "run_input_taken":
            exactly(message, type=str)
            # of what was typed before the guest was away it may come late
            if self._may_type.is_set():
                return None
            self._may_type.set()
            return 0
        exactly(message, type=str, reader=int, at=int, stream=int, again=bool, output=str, ended=bool)
        try:
            output = base64.b64decode(message["output"], validate=True)
        except (ValueError, binascii.Error):
            raise MachineError(Code.GUEST_PROTOCOL, detail=_WRONG) from None
        is_in_form = len(output) <= RUN_PIECE and message["stream"] in _STREAMS and message["at"] >= 0
        if not is_in_form or not self._credit or self._pieces.full():
            raise MachineError(Code.GUEST_PROTOCOL, detail=_WRONG)
        self._credit = False
        self._pieces.put_nowait(
            Written(message["at"], message["stream"], output, message["ended"], again=message["again"])
        )
        return len(message["output"])
