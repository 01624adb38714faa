"""`doctor`'s checks of the namespace driver, each under the very condition that it is about."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.machine

_ROOT = Path(__file__).parents[3]
_PRINT = """
import asyncio, dataclasses, json, sys
from pathlib import Path
from antechamber.drivers.namespace import NamespaceDriver
from antechamber.settings import Settings
driver = NamespaceDriver(run_dir=Path(sys.argv[1]), settings=Settings(), installation="ins_test", node="nod_test")
checks = asyncio.run(driver.check())
left = [path.name for path in Path(sys.argv[1]).iterdir()]
print(json.dumps({"checks": [dataclasses.asdict(check) for check in checks], "left": left,
                  "own_uids": driver.capabilities.own_uids}))
"""


def _checked(*wrapper, prepare=""):
    with tempfile.TemporaryDirectory(prefix="ac-") as folder:
        Path(folder).chmod(0o755)
        command = shlex.join([sys.executable, "-B", "-c", _PRINT, f"{folder}/run"])
        argv = [*wrapper, "sh", "-c", f"{prepare}exec {command}"]
        ran = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["left"] == [], "the checks leave nothing"
    return found, {check["name"]: check for check in found["checks"]}


def test_all_is_well_here():
    found, checks = _checked()
    assert [check for check in found["checks"] if check["fatal"] and not check["ok"]] == []
    assert {"machine", "browser sandbox", "DNS port", "no network", "system call filter", "own uids"} <= set(checks)
    assert not [check for check in found["checks"] if not check["ok"] and not check["remedy"]], "each has a remedy"
    assert [check["name"] for check in found["checks"] if check["by_nature"]] == ["processor time"]


def test_without_user_namespaces_the_sysctl_is_named():
    _, checks = _checked(
        *("unshare", "--user", "--map-root-user"), prepare="echo 0 > /proc/sys/user/max_user_namespaces && "
    )
    assert not checks["machine"]["ok"]
    assert "max_user_namespaces" in checks["machine"]["remedy"]


def test_where_namespaces_cannot_be_nested_the_browser_sandbox_fails_and_says_so():
    # the keeper's and bubblewrap's own two are within the limit; Chromium's would be one too many
    _, checks = _checked(
        *("unshare", "--user", "--map-root-user"), prepare="echo 3 > /proc/sys/user/max_user_namespaces && "
    )
    assert checks["machine"]["ok"]
    assert not checks["browser sandbox"]["ok"]
    assert checks["browser sandbox"]["fatal"]
    assert checks["browser sandbox"]["remedy"]


def test_root_of_a_namespace_with_one_uid_shares_its_account_and_says_so():
    found, checks = _checked("unshare", "--user", "--map-root-user")
    assert checks["machine"]["ok"]
    assert not found["own_uids"]
    assert (checks["own uids"]["ok"], checks["own uids"]["fatal"]) == (False, False)
    assert checks["own uids"]["remedy"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: a program cannot be hidden for this test")
@pytest.mark.parametrize(("program", "package"), [("bwrap", "bubblewrap"), ("chromium", "chromium")])
def test_f052_f091h_a_missing_program_is_named_with_its_package(program, package):
    _, checks = _checked(
        *("unshare", "--mount", "--propagation", "private"), prepare=f"mount --bind /dev/null /usr/bin/{program} && "
    )
    assert not checks[program]["ok"]
    assert package in checks[program]["remedy"]
