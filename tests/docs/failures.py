"""The catalogue of failures: its table, the rules of the house, and the tests that are named after it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACT = "src/antechamber/testing/drivers.py"
"""Tests that are shipped, for whoever writes a driver: they can guard a rule, and have no number in their names."""
LETTERED = {1: "b", 69: "abcdefghijk", 79: "abcdefgh", 81: "abcdefg", 83: "abcdefghi", 84: "b", 86: "abcdefgh"}
LETTERED |= {91: "abcdefghi", 95: "abcdefghi"}
NUMBERS = frozenset(f"F-{number:02}{letter}" for number in range(1, 113) for letter in ("", *LETTERED.get(number, "")))
_NUMBERED = re.compile(r"(?:f\d{3}[a-z]?_)+")


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong, and what must hold instead."""

    number: str
    wrong: str
    holds: str
    rule: int | str | None = None
    """A decision's number or a rule's name, where it cannot happen here."""
    guard: str | None = None
    """`file::name` of the test that keeps the rule."""


@dataclass(frozen=True)
class Named:
    """One test, where it is and what it is called."""

    file: str
    name: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """The failures that its name begins with."""
        found = _NUMBERED.match(self.name.removeprefix("test_"))
        words = found[0].strip("_").split("_") if found else []
        return tuple(f"F-{int(word[1:4]):02}{word[4:]}" for word in words)

    @property
    def sentence(self) -> str:
        """What it says."""
        return _NUMBERED.sub("", self.name.removeprefix("test_"), count=1).replace("_", " ")


def themes() -> Iterator[tuple[str, list[Failure]]]:
    """Return each theme's title with its failures."""
    for theme in tomllib.loads((ROOT / "tests/docs/failures.toml").read_text())["theme"]:
        yield theme.pop("title"), [Failure(number, **told) for number, told in theme.items()]


def failures() -> list[Failure]:
    """Return all of them."""
    return [failure for _, told in themes() for failure in told]


@cache
def every_test() -> tuple[Named, ...]:
    """Return every test that there is."""
    found = []
    for path in [*sorted((ROOT / "tests").rglob("test_*.py")), ROOT / CONTRACT]:
        nodes = ast.walk(ast.parse(path.read_text()))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        names = [node.name for node in functions if node.name.startswith("test_")]
        found += [Named(path.relative_to(ROOT).as_posix(), name) for name in names]
    return tuple(found)


def named_after(number: str) -> list[Named]:
    """Return the tests that are named after a failure."""
    return [test for test in every_test() if number in test.numbers]


def rule(name: int | str) -> tuple[str, str] | None:
    """Return (what the rule says, the link to it from docs/), or None where there is no such rule."""
    if isinstance(name, str):
        is_there = f"**{name}**" in (ROOT / "ARCHITECTURE.md").read_text()
        return (name, "../ARCHITECTURE.md#the-rules-that-keep-it-right") if is_there else None
    for page in (ROOT / "docs/adr").glob(f"{name:04}-*.md"):
        title = page.read_text().partition("\n")[0].removeprefix("# ")
        return title.partition(". ")[2], f"adr/{page.name}"
    return None
