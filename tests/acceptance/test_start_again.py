"""The person has the real tool started again in the same machine after it gave up, and signs in with it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]


@pytest.mark.parametrize("provider", ["codex", "claude_code"])
async def test_after_a_denied_consent_the_tool_is_started_again_and_the_same_session_completes(scene, provider):
    standin = await scene.service.standin()
    await standin.mode(reset=True, consent="deny")
    person = await scene.person(provider)
    await person.to_the_code()
    await person.from_the_code()
    said = await person.gave_up()
    machine = (await scene.service.show(person.session_id))["machine"]["id"]
    await standin.mode(reset=True)

    await person.again()

    await person.sees("email")
    await person.enter(person.email)
    await person.sees("code")
    await person.from_the_code()
    assert await person.ended() == "completed"
    assert said, "the tool says why it stopped"
    assert (await scene.service.show(person.session_id))["machine"]["id"] == machine
    assert await scene.service.stored() == 1
