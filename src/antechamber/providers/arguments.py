"""Judges the arguments of a run by the provider's closed list: what is not understood is refused.

It reads less than any tool's own parser does, so that there is one way to read what it lets pass: the subcommand first,
each option by its exact name, its value beside it or after `=`, and one prompt. Left out, because the parsers of the
tools (clap, commander, yargs) read them each in its own way: bundled letters (`-yp`), a value joined to a letter
(`-mX`), shortened names, `--no-X`, other spellings of a name (`--outputFormat`), an option twice, and `--`. No argument
begins with a dash but a listed option: Claude Code looks for some of its options in all arguments, behind `--` too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code

if TYPE_CHECKING:
    from antechamber.providers.definition import Command, Definition, Option

MOST: Final = 64
"""Arguments of a run."""

LONGEST: Final = 65_536
"""Bytes of one argument in UTF-8; the kernel takes twice as many."""

LONGEST_TOGETHER: Final = 131_072
"""Bytes of all arguments of a run."""

_NAME: Final = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9-]{0,39}")


class Why(StrEnum):
    """Why an argument is refused."""

    NOT_LISTED = "not_listed"
    IN_PERSON = "in_person"
    """The owner would have to allow it in person; there is no way yet to do so."""
    FORM = "form"
    """It may be used, and is not written as it must be."""
    TOO_LONG = "too_long"


_NEXT: Final = {
    Why.NOT_LISTED: "Leave it out.",
    Why.IN_PERSON: "Leave it out.",
    Why.TOO_LONG: f"Send at most {MOST} arguments of {LONGEST // 1024} KiB each, {LONGEST_TOGETHER // 1024} KiB in all;"
    " a longer prompt goes to standard input.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run's arguments are not used; tells no value of an option, and nothing of a prompt."""

    argument: str
    """The option's name, `subcommand` and its words, or a place such as `argument 3`."""
    why: Why
    message: str
    next: str

    def error(self) -> CallerError:
        """Return it as what a caller is told."""
        return CallerError(Code.ARGUMENT_REFUSED, message=self.message, next_step=self.next)


class _RefusedError(Exception):
    def __init__(self, argument: str, why: Why, said: str, next_step: str | None = None) -> None:
        super().__init__(said)
        # first letter alone: capitalize() would change an option's name
        self.refusal = Refusal(argument, why, f"{argument[0].upper()}{argument[1:]} {said}.", next_step or _NEXT[why])


def judge(definition: Definition, argv: Sequence[str], *, in_person: bool = False) -> Refusal | None:
    """Return why a run may not have these arguments, or None where it may.

    `argv` is what follows the program and the definition's own arguments. `in_person` says that the credential's owner
    has allowed in person what is listed so.
    """
    try:
        _measure(argv)
        command = _command(definition, argv, in_person=in_person)
        if not command.in_person:
            before = len(command.words.split())
            _Reading(definition, command, in_person=in_person).read(list(argv[before:]), before)
    except _RefusedError as refused:
        return refused.refusal
    return None


def _measure(argv: Sequence[str]) -> None:
    together = 0
    if len(argv) > MOST:
        raise _RefusedError(f"argument {MOST + 1}", Why.TOO_LONG, "is one too many")
    for n, argument in enumerate(argv, 1):
        if not argument or "\0" in argument:
            raise _RefusedError(f"argument {n}", Why.FORM, "is empty or holds a NUL", "Write text.")
        try:
            length = len(argument.encode())
        except UnicodeEncodeError:
            raise _RefusedError(f"argument {n}", Why.FORM, "is no Unicode text", "Write text.") from None
        together += length
        if length > LONGEST or together > LONGEST_TOGETHER:
            raise _RefusedError(f"argument {n}", Why.TOO_LONG, "is too long")


def _command(definition: Definition, argv: Sequence[str], *, in_person: bool) -> Command:
    """Return the longest listed subcommand that the arguments begin with."""
    by_words = {tuple(command.words.split()): command for command in definition.run.commands}
    for length in sorted({len(words) for words in by_words}, reverse=True):
        found = by_words.get(tuple(argv[:length]))
        if found is None:
            continue
        if found.in_person and not in_person:
            raise _RefusedError(f"subcommand {found.words}", Why.IN_PERSON, "is refused")
        return found
    raise _RefusedError("argument 1", Why.NOT_LISTED, "is no subcommand that a run may use")


@dataclass(slots=True)
class _Reading:
    definition: Definition
    command: Command
    in_person: bool
    given: set[str] = field(default_factory=set)
    prompted: bool = False

    def read(self, arguments: list[str], before: int) -> None:
        """Read what follows the subcommand; `before` is how many arguments stand in front."""
        place = before
        while arguments:
            argument = arguments.pop(0)
            place += 1
            if argument.startswith("-"):
                taken = self._option(argument, arguments, place)
                place += taken
            else:
                self._prompt(argument, f"argument {place}")

    def _option(self, argument: str, rest: list[str], place: int) -> int:
        """Take an option and what belongs to it from the rest; return how many of the rest that were."""
        name, joined, value = argument.partition("=")
        option = self._listed(name, place)
        if option.in_person and not self.in_person:
            raise _RefusedError(name, Why.IN_PERSON, "is refused")
        if option.name in self.given:
            raise _RefusedError(name, Why.FORM, "is there twice", "Give it once.")
        self.given.add(option.name)
        if option.value == "none":
            if joined:
                raise _RefusedError(name, Why.FORM, "takes no value", f"Write {name} alone.")
            return 0
        if joined and name == option.short:
            # commander takes the = for a part of the value, clap and yargs do not
            raise _RefusedError(name, Why.FORM, "takes no =", f"Write {option.name}=VALUE.")
        if joined:
            self._value(option, name, value)
            return 0
        if option.value == "joined" or not rest or rest[0].startswith("-"):
            raise _RefusedError(name, Why.FORM, "has no value that it may take", f"Write {option.name}=VALUE.")
        self._value(option, name, rest.pop(0))
        return 1

    def _listed(self, name: str, place: int) -> Option:
        for option in self.definition.run.options:
            if self.command.words in option.commands and name in {option.name, option.short}:
                return option
        told = name if _NAME.fullmatch(name) and (name.startswith("--") or len(name) == 2) else f"argument {place}"
        if len(name) > 2 and name[0] == "-" != name[1]:
            # what follows the letter may be a value, which is not told
            raise _RefusedError(
                f"argument {place}",
                Why.FORM,
                "joins letters, or a value to a letter",
                "Write each option and each value as an argument of its own.",
            )
        raise _RefusedError(told, Why.NOT_LISTED, "is no option that a run may use")

    @staticmethod
    def _value(option: Option, name: str, value: str) -> None:
        if not value or (option.values is not None and re.fullmatch(option.values, value) is None):
            raise _RefusedError(name, Why.FORM, "has a value that it may not have", f"Leave out {name}, or correct it.")

    def _prompt(self, argument: str, told: str) -> None:
        if not self.command.prompt or self.prompted:
            raise _RefusedError(told, Why.NOT_LISTED, "is one too many")
        self.prompted = True
        if len(argument.split()) < 2:
            # one word may be a subcommand's name, a hidden one's too
            raise _RefusedError(
                told,
                Why.FORM,
                "is one word, which the tool may take for a subcommand",
                "Write a prompt of two words or more, or send it to standard input.",
            )
