"""Providers, and definitions that a test may spoil."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from antechamber.providers import Providers
from antechamber.providers.catalogue import SHIPPED

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def providers():
    return Providers.load()


@pytest.fixture(scope="session")
def samples():
    """The credential files of tests/providers/samples.py, which is a script's neighbour and no package."""
    where = importlib.util.spec_from_file_location("samples", ROOT / "tests" / "providers" / "samples.py")
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module


@pytest.fixture
def definition_of():
    """Read a shipped definition as a table that may be changed."""
    return lambda provider: tomllib.loads((SHIPPED / f"{provider}.toml").read_text())
