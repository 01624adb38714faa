"""`antechamber run`: the real tools at work with a captured sign-in, in the practice world."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from dataclasses import dataclass

import pytest

from antechamber.providers import Providers
from antechamber.tasks import spawn
from tests.acceptance.service import ANTECHAMBER
from tests.acceptance.test_canaries import stored

ASKED = {
    spec.id: ["say hello" if argument == "{prompt}" else argument for argument in spec.definition.run.one_shot]
    for spec in Providers.load().all()
}


RENEWS_WHEN_REFUSED = frozenset({"codex", "claude_code"})
"""Gemini CLI looks at its file's `expiry_date` alone, and ends where a token is refused before that."""
NEAR_ITS_END_S = 200
"""Of a token that Gemini CLI renews before it uses it: it does so five minutes before its end.

Not of those that it gets then: with these it renews at each request, and ends now and then with a file half written.
"""
WHOLE_HOUR_S = 3600
IN_A_ROW = int(os.environ.get("RUNS_IN_A_ROW", "3"))
REFRESH_TOKEN = {
    "codex": ("tokens", "refresh_token"),
    "claude_code": ("claudeAiOauth", "refreshToken"),
    "gemini": ("refresh_token",),
}


@dataclass(frozen=True)
class Ran:
    code: int
    output: str
    errors: str


async def run(service, provider, *arguments, given=b"", **options):
    """Run the command as somebody at a shell without a terminal does."""
    places = {"ANTECHAMBER_DATA_DIR": os.fspath(service.data), "ANTECHAMBER_RUN_DIR": os.fspath(service.run)}
    said = [f"--{name}={value}" for name, value in options.items()]
    process = await asyncio.create_subprocess_exec(
        ANTECHAMBER, "run", "--world=demo", *said, provider, "--", *arguments,
        env={**os.environ, **places},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate(given)
    return Ran(process.returncode, output.decode(), errors.decode())


async def families(service, vendor):
    standin = await service.standin()
    return [family for family in await standin.families() if family["vendor"] == vendor]


async def access_over(service, vendor):
    """Have the next run find its access token refused, so that it renews it."""
    (family,) = await families(service, vendor)
    await (await service.standin()).end_family(family["id"], access_only=True)


async def last_refresh_token(service, person, provider):
    """Return the SHA-256 of the refresh token that is stored; the service has ended."""
    files = (await stored(service, person))["files"]
    document = json.loads(files["credential"]["content"])
    for name in REFRESH_TOKEN[provider]:
        document = document[name]
    return hashlib.sha256(document.encode()).hexdigest()


@pytest.mark.machine
@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", ["codex", "claude_code", "gemini"])
async def test_a_real_tool_answers_and_what_it_renews_is_the_one_live_copy(scene, provider):
    service = scene.service
    standin = await service.standin()
    rotates = provider in RENEWS_WHEN_REFUSED  # as their vendors do, and Google does not
    await standin.mode(**({"rotate": True} if rotates else {"token_lifetime_s": NEAR_ITS_END_S}))
    person = await scene.signed_in(provider)
    if not rotates:  # only now: it renews while it signs in too
        await standin.mode(token_lifetime_s=NEAR_ITS_END_S, renewed_lifetime_s=WHOLE_HOUR_S)
    ran = await run(service, provider, *ASKED[provider])
    assert (ran.code, "say hello" in ran.output) == (0, True), ran
    for _ in range(IN_A_ROW):
        if rotates:
            await access_over(service, provider)
        ran = await run(service, provider, *ASKED[provider])
        assert (ran.code, "say hello" in ran.output) == (0, True), ran
    (family,) = await families(service, provider)
    (credential,) = await service.control.call("credentials.list")
    assert (family["revoked"], family["reuses"]) == (False, 0)
    assert family["renewals"] >= (IN_A_ROW if rotates else 1), family
    assert (credential["status"], credential["status_reason"]) == ("active", "refreshed")
    assert credential["version"] == 1 + family["rotations"] if rotates else credential["version"] > 1, family
    await service.end(signal.SIGTERM)
    assert await last_refresh_token(service, person, provider) == family["refresh_sha256"]


@pytest.mark.machine
@pytest.mark.timeout(400)
async def test_ten_runs_at_once_and_kills_in_between_never_cost_the_family(scene):
    """Whoever renews does so with the one live copy: no token is used twice, and the last one is the stored one."""
    service, provider = scene.service, "codex"
    person = await scene.signed_in(provider)
    standin = await service.standin()
    await standin.mode(rotate=True)
    await access_over(service, provider)
    ran = await asyncio.gather(*(run(service, provider, *ASKED[provider]) for _ in range(10)))
    assert [(one.code, "say hello" in one.output) for one in ran] == [(0, True)] * 10, ran
    for seconds in (0.5, 1.5, 3.0):
        await access_over(service, provider)
        running = spawn("a run", run(service, provider, *ASKED[provider]))
        # an instant of the run that nobody chose; what it was in the middle of is what the test is about
        await asyncio.sleep(seconds)
        await service.end(signal.SIGKILL)
        await running
        await service.start()
    ran = await run(service, provider, *ASKED[provider])
    assert (ran.code, "say hello" in ran.output) == (0, True), ran
    (family,) = await families(service, provider)
    assert (family["revoked"], family["reuses"]) == (False, 0), family
    await service.end(signal.SIGTERM)
    assert await last_refresh_token(service, person, provider) == family["refresh_sha256"]
