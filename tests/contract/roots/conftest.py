from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.roots import PEERS, Peer, made_of


@pytest.fixture
def made(request, tmp_path) -> Callable[[str], Peer]:
    """Returns a root of that kind, with its key."""

    def make(kind):
        folder = tmp_path / kind
        folder.mkdir()
        return made_of(kind, request, folder)

    return make


@pytest.fixture(params=list(PEERS))
def peer(request, made) -> Peer:
    """Each kind of root."""
    return made(request.param)
