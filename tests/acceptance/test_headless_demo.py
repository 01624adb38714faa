"""The whole job, as a newcomer's `antechamber demo --headless` does it: real CLIs, real Chromium, real VNC bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from antechamber.egress import BROWSER_BACKGROUND_HOSTS, matches
from antechamber.providers import Providers

ANTECHAMBER = Path(sys.executable).with_name("antechamber")
CHECKED_BY = {"codex": "codex login status", "claude_code": "claude auth status", "gemini": "gemini file"}


def run_robot(provider, folder):
    command = [ANTECHAMBER, "demo", "--headless", provider, "--json", "--screens", folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.machine
@pytest.mark.timeout(200)
@pytest.mark.parametrize("provider", ["codex", "claude_code", "gemini"])
def test_a_person_signs_in_and_the_session_stays_completed_after_the_machine_is_gone(provider, tmp_path):
    done = run_robot(provider, tmp_path)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    outcome = json.loads(done.stdout)[provider]
    assert outcome["status"] == "completed"
    assert outcome["status_after_machine_gone"] == "completed"
    assert outcome["machine_state"] == "gone"
    assert outcome["credential_accepted_by"].startswith(CHECKED_BY[provider])
    assert outcome["connect_to_painted_ms"] > 0
    assert outcome["file_whole_to_ready_ms"] >= 0
    spec = Providers.load().get(provider)
    asked = {use["name"] for use in outcome["destinations"]}
    known = (*spec.sign_in_hosts, *spec.background_hosts, *BROWSER_BACKGROUND_HOSTS)
    assert asked, "a sign-in asks for names"
    assert not [name for name in asked if not matches(name, known)], "a new name: list it, or find out why"
    for use in outcome["destinations"]:
        background = matches(use["name"], (*spec.background_hosts, *BROWSER_BACKGROUND_HOSTS))
        assert use["verdict"] == ("background" if background else "allowed")
