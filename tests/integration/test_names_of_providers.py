"""Under whatever name a sign-in is asked for, and on whatever plan: it is stored, and found again."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from antechamber.model import IdPrefix, new_id
from antechamber.providers import CapturedFile, Providers
from tests.integration.web_service import running
from tests.providers.samples import CODEX, SAMPLES, token

NAMES = [(spec.id, name) for spec in Providers.load().all() for name in (spec.id, *spec.aliases)]
PLANS = {"claude_code": ["pro", "max", "team", "enterprise", None], "codex": ["free", "plus", "pro", "team"]}


def files_of(provider, plan):
    """Return the files that the tool writes for somebody on that plan."""
    files = dict(SAMPLES[provider]["whole"])
    document = json.loads(files["credential"])
    if provider == "claude_code":
        document["claudeAiOauth"]["subscriptionType"] = plan
    if provider == "codex":
        claims = {"chatgpt_plan_type": plan, "chatgpt_account_id": "acc"}
        email = "person@example.com"
        document["tokens"] = CODEX["tokens"] | {
            "id_token": token(email=email, **{"https://api.openai.com/auth": claims})
        }
    files["credential"] = json.dumps(document)
    return {name: CapturedFile(content.encode(), time.time_ns()) for name, content in files.items()}


def test_each_provider_has_a_name_to_try():
    assert {provider for provider, _ in NAMES} == set(SAMPLES)


@pytest.fixture
async def service(site):
    async with running(site.folder, database_url=site.url) as service:
        yield service


@pytest.mark.parametrize("provider", sorted(SAMPLES))
async def test_f004_f031_f033_what_was_stored_is_found_under_every_name_and_for_every_plan(service, provider):
    operator = await service.operator()
    names = [name for of, name in NAMES if of == provider]
    turns = itertools.product(names, PLANS.get(provider, [None]))
    for version, (asked, plan) in enumerate(turns, start=1):
        session_id = (await service.start(provider=asked))["session_id"]
        session = await service.signin.session(session_id)
        await service.ready(session_id)
        await service.signin.capture(session_id, session.machine_id, new_id(IdPrefix.REPORT), files_of(provider, plan))
        poll = (await operator.get(f"/api/auth/session/{session_id}/credentials")).json()
        assert (poll["status"], poll["credential"]["provider"], poll["credential"]["plan"]) == ("ready", provider, plan)
        (found,) = (await operator.get("/api/credentials", params={"user_id": "ada"})).json()["credentials"]
        assert (found["id"], found["provider"], found["version"]) == (poll["credential"]["id"], provider, version)
        stored = (await operator.get(f"/api/credentials/{found['id']}/versions")).json()["versions"]
        newest = max(stored, key=lambda one: one["version"])
        assert (newest["version"], newest["session_id"]) == (version, session_id), "each version names its session"
