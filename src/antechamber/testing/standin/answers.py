"""What the stand-in's models say: always the same to the same prompt, and a command where the prompt asks for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

RUN: Final = "run: "
"""A prompt whose last line begins so has the model ask for that command, once."""

SAYS: Final = "The practice vendor answers: "
FOUND: Final = "The command printed: "


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model is asked with, in whichever vendor's words it came."""

    prompt: str
    """The last text of the person's."""
    printed: str | None = None
    """What the command printed that the model has asked for since; None: it has asked for none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A text, or a command that the tool is to run."""

    text: str = ""
    command: str = ""

    @property
    def pieces(self) -> list[str]:
        """The text in the pieces in which it is streamed; joined they are the text."""
        words = self.text.split(" ")
        return [word if n == 0 else f" {word}" for n, word in enumerate(words)]


def answer_to(turn: Turn) -> Answer:
    """Return what the model says."""
    lines = [line.strip() for line in turn.prompt.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if turn.printed is not None:
        return Answer(text=FOUND + turn.printed)
    if last.startswith(RUN):
        return Answer(command=last.removeprefix(RUN))
    return Answer(text=SAYS + last)


def fitting(schema: dict[str, Any]) -> Any:
    """Return a small value that fits a JSON schema, for a tool that asks the model for JSON; `type` in either case."""
    if schema.get("enum"):
        return schema["enum"][0]
    match str(schema.get("type", "object")).lower():
        case "object":
            return {name: fitting(schema["properties"][name]) for name in schema.get("required", [])}
        case "array":
            return []
        case "boolean":
            return False
        case "number" | "integer":
            return 0
        case _:
            return "DUMMY"
