"""An account with subordinate uids gives each machine one of them; tried with an /etc/subuid of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from antechamber import assets

_ROOT = Path(__file__).parents[3]
_NOBODY = "65534"
_FIRST, _COUNT = 400_000, 1_000

pytestmark = [pytest.mark.machine, pytest.mark.root]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: /etc/subuid cannot be another one for this test")
@pytest.mark.skipif(not Path("/usr/bin/newuidmap").exists(), reason="uidmap is not installed")
@pytest.mark.timeout(240)
def test_the_contract_holds_with_subordinate_uids(tmp_path):
    closed = assets.closed_parent(_ROOT)
    if closed is not None:
        pytest.skip(f"other accounts cannot enter {closed}")
    table = tmp_path / "subuid"
    table.write_text(f"nobody:{_FIRST}:{_COUNT}\n")
    mounts = "; ".join(f"touch /etc/{name}; mount --bind {table} /etc/{name}" for name in ("subuid", "subgid"))
    # no --no-new-privs here: newuidmap is setuid, and is what this is about
    command = [
        *("setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups"),
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
        *(f"tests/contract/drivers/{name}" for name in ("test_namespace.py", "test_namespace_on_the_host.py")),
    ]
    ran = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts}; exec "$@"', "sh", *command],
        cwd=_ROOT,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/nonexistent",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
    assert "cannot start programs under other uids" not in ran.stdout, "the tests of own uids ran"
