"""docs/tutorial.md as a program meets it: its commands against a running service whose machine is played.

The last step's commands are only looked up: they need an installation, which is not there.
"""

from __future__ import annotations

import re
import shutil

import pytest

from tests.docs.generate import commands
from tests.docs.terminal import BLOCKS, LINK, shell
from tests.integration.web_service import running

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="there is no curl here to follow the tutorial with"
)


def test_the_tutorial_has_the_steps_that_are_followed():
    assert [kind for kind, _ in BLOCKS] == ["setup", "", "", "", "application", ""]


def test_the_commands_of_its_last_step_exist():
    known = dict(commands())
    for line in BLOCKS[-1][1].splitlines():
        program, group, name, *words = line.split()
        assert program == ".venv/bin/antechamber"
        command = known[f"antechamber {group} {name}"]
        options = {opt for parameter in command.params for opt in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


async def test_its_commands_and_its_program_start_wait_and_show_the_result(tmp_path):
    (tmp_path / "data").mkdir()
    (_, token), (_, start), (_, wait), (_, program), _ = BLOCKS[1:]
    async with running(tmp_path) as service:
        (tmp_path / "data" / "operator-token").write_text(service.token)

        async def signs_in(link):
            browser = await service.browser()
            path = f"/api/auth/session/{link[1]}"
            assert (await browser.post(f"{path}/open", json={"code": link[2]})).status_code == 204
            assert (await browser.post(f"{path}/consent", json={})).status_code == 200
            await service.ready(link[1])
            await service.capture(link[1])

        async with shell(tmp_path / "data", service.addresses.dashboard.url) as terminal:
            terminal.types(token)
            await terminal.says(r'"id": "gemini"')
            terminal.types(start)
            link = await terminal.says(LINK)
            terminal.types(wait)
            await signs_in(link)
            await terminal.says(r'completed\n(?s:.*)"status": "ready"(?s:.*)"account": "person@example.com"')
            before = len(terminal.said)
            terminal.types(program)
            link = await terminal.says(rf"(?s:.{{{before},}})Open this link: {LINK.pattern}")
            await signs_in(link)
            await terminal.says(r"Signed in as person@example.com, plan plus: cred_")
            kinds = re.findall(r"^  \d\d:\d\d:\d\d  (\w+)$", terminal.said[before:], re.MULTILINE)
            assert kinds == ["created", "opened", "consented", "machine_booting", "machine_ready", "captured"]
            assert await terminal.leaves() == 0, terminal.said
