"""docs/tutorial.md: its commands and its program, run as they stand there; the person's part is played."""

from __future__ import annotations

import re
import shutil

import pytest

from antechamber.testing.visitor import Started
from tests.acceptance.service import ANTECHAMBER
from tests.docs.terminal import BLOCKS, LINK, shell

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]


async def signs_in(person, link):
    """Do the person's part of the link: open it, agree, and work the screen."""
    person.session_id = link[1]
    await person.browser.open(Started(link[1], "", link[2]))
    await person.browser.consent(link[1])
    await person.look()
    await person.sees("email")
    await person.enter(person.email)
    await person.sees("code")
    await person.from_the_code()
    assert await person.ended() == "completed"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here to follow the tutorial with")
async def test_whoever_follows_the_tutorial_gets_what_it_says(scene):
    service = scene.service
    folders = {"ANTECHAMBER_DATA_DIR": str(service.data), "ANTECHAMBER_RUN_DIR": str(service.run)}
    async with shell(service.data, service.base, **folders) as terminal:
        await follow(scene, terminal)


async def follow(scene, shell):
    (_, token), (_, start), (_, wait), (_, program), (_, look) = BLOCKS[1:]

    shell.types(token)
    await shell.says(r'"id": "gemini"')
    ann = await scene.person("codex", user_id="ann")
    shell.types(start)
    link = await shell.says(LINK)
    # the long poll waits while the person is busy
    shell.types(wait)
    await signs_in(ann, link)
    await shell.says(r'completed\n(?s:.*)"status": "ready"(?s:.*)"account": "ann-DUMMY@example.com"')

    before = len(shell.said)
    ben = await scene.person("codex", user_id="ben")
    shell.types(program)
    link = await shell.says(rf"(?s:.{{{before},}})Open this link: {LINK.pattern}")
    await signs_in(ben, link)
    told = await shell.says(r"Signed in as ben-DUMMY@example.com, plan plus: (cred_\w+)")
    kinds = re.findall(r"^  \d\d:\d\d:\d\d  (\w+)$", shell.said[before:], re.MULTILINE)
    assert kinds[0] == "created"
    assert kinds[-1] == "captured"
    assert {"machine_ready", "opened", "consented", "screen_seen"} <= set(kinds)

    # the tests may run an installed wheel, which lies elsewhere
    assert ".venv/bin/antechamber" in look
    shell.types(look.replace(".venv/bin/antechamber", str(ANTECHAMBER)))
    assert await shell.leaves() == 0, shell.said
    after = shell.said.partition(told[0])[2]
    assert link[1] in after
    assert told[1] in after
    assert ann.session_id in after
