"""The worked example of docs/how-to/a-provider-of-your-own.md: installed by the command, and signed in with."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from antechamber.control import Client
from antechamber.settings import Settings
from tests.acceptance.acme import ACCOUNT, Acme, served

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "providers"
ANTECHAMBER = Path(sys.executable).with_name("antechamber")


def command(*words, environment):
    done = subprocess.run([ANTECHAMBER, *words], env=environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.machine
@pytest.mark.timeout(180)
async def test_the_examples_tool_is_installed_by_its_hash_signs_in_on_a_machine_and_takes_its_own_credential():
    with tempfile.TemporaryDirectory(prefix="ac-", dir="/tmp") as made:
        folder = Path(made)
        folder.chmod(0o711)
        settings = Settings(
            world="demo",
            port=0,
            providers_dir=EXAMPLE,
            **{f"{name}_dir": folder / name for name in ("data", "run", "shared")},
        )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTECHAMBER_")},
            "ANTECHAMBER_PROVIDERS_DIR": str(EXAMPLE),
            **{f"ANTECHAMBER_{name.upper()}_DIR": str(folder / name) for name in ("data", "run", "shared")},
        }
        assert "acme" in await asyncio.to_thread(command, "providers", "check", environment=environment)
        said = await asyncio.to_thread(command, "providers", "install", "acme", environment=environment)
        assert "Acme 1.0.0 installed" in said
        listed = await asyncio.to_thread(command, "providers", "list", "--json", environment=environment)
        assert [one["installed"] for one in json.loads(listed) if one["id"] == "acme"] == [True]

        async with Acme(folder) as vendor, served(settings, vendor) as said:
            await _sign_in(vendor, said)


async def _sign_in(vendor, said):
    headers = {"Authorization": f"Bearer {said.token.reveal()}"}
    async with httpx.AsyncClient(base_url=said.dashboard_url, headers=headers, timeout=60, trust_env=False) as api:
        started = (await api.post("/api/auth/session", json={"user_id": "ada", "provider": "acme"})).json()
        path = f"/api/auth/session/{started['session_id']}"
        async with asyncio.timeout(90):
            while (session := (await api.get(path, params={"wait": 30})).json())["status"] != "completed":
                assert session["ended_at"] is None, session
        assert {"/authorize", "/token"} <= set(vendor.asked)
        held = (await api.get(f"{path}/credentials")).json()["credential"]
        assert (held["provider"], held["account"]) == ("acme", ACCOUNT)
        # the tool itself, in a machine of its own, takes what it wrote
        checked = await Client(said.places.control).call("credentials.check", user_id="ada", provider="acme")
        assert (checked["accepted"], checked["by"]) == (True, "acme status")
