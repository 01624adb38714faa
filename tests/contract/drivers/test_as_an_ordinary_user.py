"""Root runs the namespace driver's tests once more as nobody, for whom uids and namespaces work otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from antechamber import assets

_ROOT = Path(__file__).parents[3]
_NOBODY = "65534"

pytestmark = [pytest.mark.machine, pytest.mark.root]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: every other test here runs as an ordinary user already")
@pytest.mark.timeout(600)
def test_the_contract_holds_for_an_ordinary_user():
    closed = assets.closed_parent(_ROOT)
    if closed is not None:
        pytest.skip(f"other accounts cannot enter {closed}")
    files = ("test_namespace.py", "test_namespace_on_the_host.py", "test_browser_sandbox.py", "test_isolation.py")
    ran = subprocess.run(
        [
            *("setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--no-new-privs"),
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
            *(f"tests/contract/drivers/{name}" for name in files),
        ],
        cwd=_ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
