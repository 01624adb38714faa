"""The promises of SECURITY.md, and the tests that keep them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.docs.failures import ROOT, Named

_PROMISES = re.compile(r"^## What is promised\n(.*?)^## ", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """Words of a promise, and the tests that fail where they are not true."""

    says: str
    kept_by: tuple[Named, ...]


@dataclass(frozen=True)
class Promise:
    """One paragraph of SECURITY.md."""

    lead: str
    claims: tuple[Claim, ...]
    explains: tuple[str, ...] = ()
    """Its sentences that promise nothing."""


def promises() -> list[Promise]:
    """Return what the list says."""
    told = tomllib.loads((Path(__file__).parent / "promises.toml").read_text())["promise"]
    return [
        Promise(
            one["lead"],
            tuple(Claim(claim["says"], tuple(_named(test) for test in claim["kept_by"])) for claim in one["claim"]),
            tuple(one.get("explains", ())),
        )
        for one in told
    ]


def _named(test: str) -> Named:
    file, _, name = test.rpartition("::")
    return Named(file, name)


def paragraphs() -> dict[str, str]:
    """Return each promise of SECURITY.md by its words in bold, with what follows them, as one line."""
    found = _PROMISES.search((ROOT / "SECURITY.md").read_text())
    assert found is not None, "SECURITY.md has no section of promises"
    lines = [" ".join(paragraph.split()) for paragraph in found[1].strip().split("\n\n")]
    parted = [re.fullmatch(r"\*\*(.+?)\*\*(.*)", line) for line in lines]
    assert all(parted), "a promise begins with its words in bold"
    return {one[1]: one[2] for one in parted if one is not None}


def unkept(promise: Promise, paragraph: str) -> str:
    """Return what of a paragraph no test keeps and nothing explains."""
    for words in sorted([*(claim.says for claim in promise.claims), *promise.explains], key=len, reverse=True):
        paragraph = paragraph.replace(words, " ", 1)
    return " ".join(paragraph.split())
