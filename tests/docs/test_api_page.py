"""docs/api.md: its examples work, and every way in which the service speaks is on it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil

import pytest

from antechamber.web import closes, refusals, relay
from tests.docs.generate import DOCS, listed
from tests.integration.web_service import running

PAGE = (DOCS / "api.md").read_text()
SCRIPTS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_close_code_of_the_relay_is_on_the_page():
    codes = {str(value.code) for value in vars(closes).values() if isinstance(value, closes.Close)}

    assert codes == {code for code, _ in listed(relay.__doc__, r"\d{4}")}
    assert [code for code in codes if f"| `{code}` |" not in PAGE] == []


async def test_each_route_says_with_which_errors_it_answers(tmp_path):
    async with running(tmp_path) as service:
        described = (await (await service.operator()).get("/openapi.json")).json()["paths"]

    assert {(method.upper(), path) for path, item in described.items() for method in item} == set(refusals.OF_ROUTES)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here to run the examples with")
async def test_f104_the_examples_do_what_they_say(tmp_path):
    (tmp_path / "operator").mkdir()
    async with running(tmp_path) as service:
        (tmp_path / "operator" / "operator-token").write_text(service.token)
        lines = [
            "set -eu -o pipefail",
            f"data={tmp_path}/operator jar={tmp_path}/jar",
            f"dashboard={service.addresses.dashboard.url} sign_in={service.addresses.sign_in.url}",
        ]
        for script in SCRIPTS:
            lines += [f"echo; echo '#'; {script}" if script.startswith("token=") else f"echo; echo '#'\n{script}"]
        shell = await asyncio.create_subprocess_exec(
            "bash", "-c", "\n".join(lines), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(shell.communicate(), 60)

    assert shell.returncode == 0, err.decode()
    said = out.decode()
    assert '"status":"pending"' in said
    assert "True" in said, "the consent is recorded"
    assert '"code":"screen_not_ready"' in said, "the scripted machine never has a screen"
    assert '"code":"cli_runs"' in said, "nothing gave up"
    assert '"code":"credential_not_found"' in said, "nobody has signed in"
    assert "cancelled_by_caller" in said
    assert said.rstrip().endswith("event: end\ndata: {}")


def test_the_examples_answers_are_json_and_have_the_fields_that_the_models_have():
    answers = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]

    assert [set(answer) for answer in answers] == [
        {"session_id", "status", "provider", "sign_in_url", "expires_at"},
        {"status", "reason", "credential"},
        {"ticket", "expires_at"},
    ]
