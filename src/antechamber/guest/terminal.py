"""A terminal for CLIs that want one: answers their questions to it, and types what the job says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.guest.job import Answer

_SEEN = 16 * 1024
_LONGEST_SEQUENCE = 256
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS and its like
    r"|\x1b[@-OQ-WYZ\\]"
)
_REPLIES = {
    "\x1b[6n": "\x1b[1;1R",  # where is the cursor? at the top left
    "\x1b[?6n": "\x1b[?1;1R",
    "\x1b[5n": "\x1b[0n",  # is all well? yes
    "\x1b[c": "\x1b[?1;2c",  # what are you? a VT100 with advanced video
    "\x1b[0c": "\x1b[?1;2c",
}


class Terminal:
    """The pure part: output comes in, keystrokes go out."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        """Begin with an empty screen; the answers are given in their order, each once."""
        self._answers = list(answers)
        self._open = ""
        self._seen = ""

    def feed(self, output: str) -> tuple[str, str]:
        """Take output; return the text without its sequences, and what is to be typed."""
        pending = self._open + output
        plain: list[str] = []
        typed: list[str] = []
        at = 0
        for found in _SEQUENCE.finditer(pending):
            plain.append(pending[at : found.start()])
            typed.append(_REPLIES.get(found.group(), ""))
            at = found.end()
        rest = pending[at:]
        escape = rest.find("\x1b")
        if escape >= 0 and len(rest) - escape < _LONGEST_SEQUENCE:
            self._open, rest = rest[escape:], rest[:escape]  # a sequence that is cut in two
        else:
            self._open = ""
        plain.append(rest)
        text = "".join(plain)
        self._seen = (self._seen + text)[-_SEEN:]
        while self._answers and (match := self._answers[0].expect.search(self._seen)):
            typed.append(self._answers.pop(0).send)
            self._seen = self._seen[match.end() :]
        return text, "".join(typed)
