from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from antechamber.store import file_url


@dataclass(frozen=True)
class Site:
    """Where an installation lies: its folder, and its database."""

    folder: Path
    url: str


@pytest.fixture(params=["sqlite", "postgres"])
def site(request, tmp_path) -> Iterator[Site]:
    """A site on each kind of database."""
    if request.param == "sqlite":
        yield Site(tmp_path, file_url(tmp_path / "test.db"))
    else:
        yield Site(tmp_path, request.getfixturevalue("postgres_url"))
