"""The command line itself, before any command."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"sqlalchemy", "fastapi", "starlette", "uvicorn", "tink", "alembic", "authlib", "httpx", "prometheus_client"}


def test_what_only_some_commands_need_is_loaded_by_them_alone():
    """Every command waits for what is loaded here, `antechamber run` in front of each start of a tool."""
    said = subprocess.run(
        [sys.executable, "-c", "import sys, antechamber.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY & set(said.stdout.split()) == set()
