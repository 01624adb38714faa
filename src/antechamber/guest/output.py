"""What a run's CLI writes: kept in order, without what is secret, and sent as far as its reader takes it."""

from __future__ import annotations

import base64
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from antechamber.guest.protocol import RUN_PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEPT = 1024 * 1024
"""Bytes that are kept: the last so many stay for a reader who comes back; of a held run so many may wait besides."""
SHORTEST_SECRET = 16
"""Characters from which a text of a credential file is looked for: a shorter one stands in much that is none."""
FEWEST_HELD = 6
"""So many first bytes of a secret are held back until more is known, no fewer: a person waits for what they type."""
REMOVED = b"[removed]"


class Redactor:
    """Replaces exact secrets in one stream, also where a piece ends within one. A net, not a wall."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        """Look for these."""
        self._secrets: set[bytes] = set()
        self._any: re.Pattern[bytes] | None = None
        self._held = b""
        self.found = False
        self.add(secrets)

    def add(self, secrets: Iterable[bytes]) -> None:
        """Look for these too."""
        self._secrets |= {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        # the longest first: one may begin as another does
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._any = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None

    def feed(self, piece: bytes, *, last: bool = False) -> bytes:
        """Return what may be shown; what may be the beginning of a secret is held back until more is known."""
        text, shown, at = self._held + piece, b"", 0
        while True:
            found = None if self._any is None else self._any.search(text, at)
            held = (
                len(text) if last else min((_begins(text, at, secret) for secret in self._secrets), default=len(text))
            )
            # a whole one may be the beginning of a longer one
            if found is None or found.start() >= held:
                self._held = text[held:]
                return shown + text[at:held]
            self.found = True
            shown += text[at : found.start()] + REMOVED
            at = found.end()


def _begins(text: bytes, at: int, secret: bytes) -> int:
    """Return from where on, at the earliest, the rest of a text is the beginning of a secret; its end where nowhere.

    A beginning of a few bytes is none.
    """
    at = max(at, len(text) - len(secret) + 1)
    while (at := text.find(secret[:FEWEST_HELD], at)) >= 0:
        if secret.startswith(text[at:]):
            return at
        at += 1
    return len(text)


def secrets_of(value: Any) -> set[bytes]:
    """Return the texts of a credential file's JSON that are worth looking for."""
    if isinstance(value, str):
        return {value.encode(errors="surrogatepass")} if len(value) >= SHORTEST_SECRET else set()
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(secrets_of, value)) if isinstance(value, list) else set()


class Output:
    """All that a run's CLI writes, and its one reader."""

    def __init__(self, say: Callable[[dict[str, Any]], None], *, held: bool, on_room: Callable[[], None]) -> None:
        """Begin with nothing; `say` gives a message to the host, which may be away.

        `held`: what the reader has not taken stays, and `full` says when nothing more may be written; `on_room` is
        called when something may be again. Else the oldest goes, and a slow reader misses it. What the reader has taken
        stays as long as there is room: they may have lost it on their way, and come back for it.
        """
        self._say = say
        self._held = held
        self._on_room = on_room
        self._pieces: deque[tuple[int, int, bytes]] = deque()
        self._kept = 0
        self.written = 0
        self._ended = False
        self._reader: int | None = None
        self._at = 0
        self._most = 0
        """Where the reader was who came farthest."""
        self._credit = False
        self._on_its_way = 0

    @property
    def full(self) -> bool:
        """Whether nothing may be written until the reader has taken something."""
        return self._held and self.written - self._at >= KEPT

    def wrote(self, stream: int, piece: bytes) -> None:
        """Take what was written on that stream."""
        for start in range(0, len(piece), RUN_PIECE):
            part = piece[start : start + RUN_PIECE]
            self._pieces.append((self.written, stream, part))
            self.written += len(part)
            self._kept += len(part)
        self._forget()
        self._go_on()

    def ended(self) -> None:
        """Say that nothing more is written."""
        self._ended = True
        self._go_on()

    def take(self, message: dict[str, Any]) -> None:
        """Do what the host asks; what is not of the protocol is ignored."""
        reader, at = message.get("reader"), message.get("at")
        match message["type"]:
            case "run_open" if type(reader) is int and type(at) is int and at >= 0:
                self._reader, self._credit = reader, True
                # nobody has what is not written yet
                self._moved(min(at, self.written))
                self._go_on()
            case "run_taken" if reader == self._reader and not self._credit:
                self._credit = True
                self._moved(self._at + self._on_its_way)
                self._go_on()
            case "run_close" if reader == self._reader:
                self._reader = None
            case _:
                pass

    def _moved(self, at: int) -> None:
        """Take it that the reader has all before there."""
        was_full = self.full
        self._at = at
        self._most = max(self._most, at)
        self._forget()
        if was_full and not self.full:
            self._on_room()

    def _forget(self) -> None:
        """Drop the oldest where there is too much, of a held run only what its reader has."""
        while self._kept > KEPT:
            start, _, oldest = self._pieces[0]
            if self._held and start + len(oldest) > self._at:
                return
            self._pieces.popleft()
            self._kept -= len(oldest)

    def _go_on(self) -> None:
        if self._reader is None or not self._credit:
            return
        at, stream, piece = self._next()
        if not piece and not self._ended:
            return
        self._credit = False
        self._on_its_way = len(piece)
        # of what was dropped the reader learns by `at`
        self._at = at
        self._say(
            {
                "type": "run_output",
                "reader": self._reader,
                "at": at,
                "stream": stream,
                "again": at < self._most,
                "output": base64.b64encode(piece).decode(),
                "ended": self._ended and at + len(piece) >= self.written,
            }
        )

    def _next(self) -> tuple[int, int, bytes]:
        """Return the first piece that the reader has not, with what follows on its stream, for one message.

        None is partly what a reader has had and partly new: who answers what is asked in it must answer once.
        """
        begun: tuple[int, int] | None = None
        piece = b""
        for start, stream, kept in self._pieces:
            rest = kept[max(0, self._at - start) :]
            if not rest:
                continue
            if begun is None:
                begun = start + len(kept) - len(rest), stream
            elif begun[1] != stream or len(piece) + len(rest) > RUN_PIECE:
                break
            piece += rest
        if begun is None:
            return self._at, 1, b""
        return (*begun, piece[: self._most - begun[0]] if begun[0] < self._most else piece)
