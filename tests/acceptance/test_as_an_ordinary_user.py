"""Root does the whole job once more as somebody without any rights, from a checkout and tools that they can read."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import antechamber
from antechamber.places import place
from antechamber.providers import Providers, install
from antechamber.settings import Settings
from tests.acceptance import processes

ROOT = Path(__file__).parents[2]
PROVIDER = "codex"
UID = 199_902
"""Belongs to nobody: below the machines' uids, above what distributions give out."""

# in a mount namespace of its own the user finds at places that it can enter what root may keep in closed ones
SHOW = 'mount --make-rprivate / && mount --bind "$1" "$2" && shift 2 && exec "$@"'


def show(source, target, command):
    """Return the command that runs this one with a folder shown at another place."""
    return ["unshare", "--mount", "sh", "-c", SHOW, "sh", os.fspath(source), os.fspath(target), *command]


def tool_for(uid, shared):
    """Give the user a copy of the installed tool, as its own installation would have made it."""
    spec = Providers.load().get(PROVIDER)
    installed = install.cli_folder(spec, place(Settings(world="demo")).shared)
    copy = install.cli_folder(spec, shared)
    copy.parent.mkdir()
    subprocess.run(["cp", "--archive", "--reflink=auto", installed, copy], check=True)
    for path in (shared, copy.parent, copy, *copy.rglob("*")):
        os.chown(path, uid, uid)


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="ac-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        for name in ("shared", "home", "checkout"):
            (folder / name).mkdir(mode=0o755)
            os.chown(folder / name, UID, UID)
        yield folder
    finally:
        shutil.rmtree(folder)
        for name in ("antechamber", "antechamber-uids"):
            shutil.rmtree(f"/tmp/{name}-{UID}", ignore_errors=True)


@pytest.mark.machine
@pytest.mark.root
@pytest.mark.timeout(240)
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: every other test here runs as an ordinary user already")
def test_a_person_signs_in_to_codex_on_a_service_without_any_rights(home):
    if not (ROOT / "pyproject.toml").stat().st_mode & stat.S_IROTH:
        pytest.skip("the checkout's files cannot be read by other accounts")
    tool_for(UID, home / "shared")
    (home / "home").chmod(0o700)
    checkout = home / "checkout"
    python = checkout / Path(sys.executable).relative_to(ROOT)
    account = ["--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--no-new-privs"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": os.fspath(home / "home"),
        "LANG": "C.UTF-8",
        # the code that is tested, seen where this account sees it: an editable installation names the closed place
        "PYTHONPATH": os.fspath(checkout / Path(antechamber.__file__).parents[1].relative_to(ROOT)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANTECHAMBER_SHARED_DIR": os.fspath(home / "shared"),
    }
    run = [python, "-c", "from antechamber.cli import main; main()", "demo", "--headless", PROVIDER, "--json"]

    done = subprocess.run(
        show(ROOT, checkout, ["setpriv", *account, "env", "-i", *(f"{k}={v}" for k, v in environment.items()), *run]),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    outcome = json.loads(done.stdout)[PROVIDER]
    assert outcome["status_after_machine_gone"] == "completed"
    assert outcome["credential_accepted_by"].startswith("codex login status")
    assert [one.line for one in processes.everything().values() if one.uid == UID] == []
    assert list(Path(f"/tmp/antechamber-{UID}").iterdir()) == []
    assert list((home / "home").rglob("*.db")) == [], "a demo without a person keeps nothing"
