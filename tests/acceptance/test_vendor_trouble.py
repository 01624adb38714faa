"""What the real tools make of a wrong answer of the vendor, or of somebody in between: nothing is stored."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.acceptance.conftest import FAILED, Scene

pytestmark = [pytest.mark.machine, pytest.mark.timeout(200), pytest.mark.asyncio(loop_scope="module")]

WRONG_STATE = {"callback": "wrong_state"}
NO_STATE = {"callback": "no_state"}
REPLAYED = {"callback": "replay"}
WRONG_CODE = {"callback": "wrong_code"}
DENIED = {"consent": "deny"}
REFUSED = {"token": "refuse"}

WAITS = ("expired", "sign_in_timed_out")
"""The tool tells the browser off and goes on waiting for the right callback, until the session's time is over."""
GIVES_UP = ("failed", "cli_ended")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(request):
    # long enough for two people at once to type on a busy computer
    scene = Scene(sign_in_s=10, again_s=2, grace_failed_s=0, grace_completed_s=0)
    await scene.service.start()
    yield scene
    await scene.close(failed=request.node.stash.get(FAILED, False), name="vendor-trouble")


async def outcome(scene, provider):
    """Let one person do all of their part, and return how their session ended."""
    person = await scene.person(provider, user_id=provider.replace("_", "-"))
    await person.to_the_code()
    await person.from_the_code()
    status = await person.ended()
    told = status, await person.reason()
    await person.leave()
    await scene.service.machine_gone(person.session_id)
    return told


@pytest.mark.parametrize(
    ("modes", "codex", "claude_code"),
    [
        pytest.param(WRONG_STATE, WAITS, GIVES_UP, id="a_wrong_state"),
        pytest.param(NO_STATE, WAITS, GIVES_UP, id="no_state"),
        pytest.param(REPLAYED, WAITS, GIVES_UP, id="a_replayed_callback"),
        pytest.param(WRONG_CODE, GIVES_UP, GIVES_UP, id="a_code_that_is_not_the_vendors"),
        pytest.param(DENIED, GIVES_UP, GIVES_UP, id="a_consent_that_is_denied"),
        pytest.param(REFUSED, GIVES_UP, GIVES_UP, id="a_refused_token"),
    ],
)
async def test_codex_and_claude_code_store_nothing_after(scene, modes, codex, claude_code):
    await (await scene.service.standin()).mode(reset=True, **modes)

    told = await asyncio.gather(outcome(scene, "codex"), outcome(scene, "claude_code"))

    assert told == [codex, claude_code]
    assert await scene.service.stored() == 0


@pytest.mark.parametrize(
    "modes",
    [pytest.param(WRONG_STATE, id="a_wrong_state"), pytest.param(DENIED, id="a_consent_that_is_denied")],
)
async def test_gemini_gives_up_and_stores_nothing_after(scene, modes):
    await (await scene.service.standin()).mode(reset=True, **modes)

    assert await outcome(scene, "gemini") == GIVES_UP
    assert await scene.service.stored() == 0


async def test_after_all_that_the_same_service_lets_the_same_people_sign_in(scene):
    await (await scene.service.standin()).mode(reset=True)

    assert await outcome(scene, "codex") == ("completed", None)
    assert await scene.service.stored() == 1
