"""Credentials over time as the API tells them: status, story, what is said, and what the vendor may still hold."""

from __future__ import annotations

import copy
import json
import time

import pytest

from antechamber.errors import ProviderError
from antechamber.model import IdPrefix, new_id
from antechamber.providers import CapturedFile
from tests.integration.web_service import error_of, running
from tests.providers.samples import CODEX, token

REVOKE = "https://chatgpt.com/#settings/Security"


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def stored(service, **asked):
    session_id, _ = await service.opened(await service.start(**asked))
    await service.ready(session_id)
    await service.capture(session_id)
    operator = await service.operator()
    (credential,) = (await operator.get("/api/credentials")).json()["credentials"]
    return operator, credential


async def capture_of(service, session_id, account):
    document = copy.deepcopy(CODEX)
    document["tokens"]["id_token"] = token(email=account)
    session = await service.signin.session(session_id)
    file = CapturedFile(json.dumps(document).encode(), time.time_ns())
    await service.signin.capture(session_id, session.machine_id, new_id(IdPrefix.REPORT), {"credential": file})


async def test_a_credential_is_shown_with_its_status_and_what_its_end_means(service):
    _, credential = await stored(service)
    assert (credential["status"], credential["status_reason"]) == ("active", "signed_in")
    assert credential["status_at"] == credential["stored_at"]
    assert credential["expires_at"]
    assert (credential["renewable"], credential["ends_at"]) == (True, None)
    assert credential["revoke_url"] == REVOKE


async def test_what_is_said_moves_the_status_and_is_in_the_story(service):
    operator, credential = await stored(service)
    path = f"/api/credentials/{credential['id']}"
    refused = (await operator.post(f"{path}/said", json={"said": "vendor_refused"})).json()
    assert (refused["status"], refused["status_reason"]) == ("needs_sign_in", "vendor_refused")
    revoked = (await operator.post(f"{path}/said", json={"said": "revoked"})).json()
    assert (revoked["status"], revoked["status_reason"]) == ("revoked", "said_revoked")
    assert error_of(await operator.post(f"{path}/said", json={"said": "fine"})) == (422, "bad_request")
    deleted = (await operator.delete(path)).json()
    assert (deleted["status"], deleted["account"], deleted["revoke_url"]) == ("deleted", None, REVOKE)
    told = (await operator.get(f"{path}/story")).json()
    assert told["credential"] == deleted
    story = told["story"]
    assert [(one["kind"], one["before"], one["after"]) for one in story] == [
        ("captured", None, "active"),
        ("vendor_refused", "active", "needs_sign_in"),
        ("said_revoked", "needs_sign_in", "revoked"),
        ("deleted", "revoked", "deleted"),
    ]
    assert error_of(await operator.post(f"{path}/said", json={"said": "revoked"})) == (404, "credential_not_found")
    unknown = "/api/credentials/cred_00000000000000000000"
    assert error_of(await operator.get(f"{unknown}/story")) == (404, "credential_not_found")
    assert error_of(await operator.post(f"{unknown}/said", json={"said": "revoked"})) == (404, "credential_not_found")
    (tombstone,) = (await operator.get("/api/tombstones")).json()["credentials"]
    assert (tombstone["status_reason"], tombstone["revoke_url"]) == ("deleted", REVOKE)


async def test_the_page_says_before_the_click_what_is_stored_and_what_becomes_of_it(service):
    await stored(service)
    for asked in (False, True):
        session_id, browser = await service.opened(await service.start(replace_account=asked, replace=True))
        page = (await browser.get(f"/api/auth/session/{session_id}")).json()
        assert page["before"]["account"] == "person@example.com"
        assert page["replace_account"] is asked


async def test_nothing_is_said_of_a_sign_in_of_before_where_there_is_none(service):
    session_id, browser = await service.opened()
    page = (await browser.get(f"/api/auth/session/{session_id}")).json()
    assert (page["before"], page["replace_account"], page["revoke_url"]) == (None, False, None)


async def test_another_account_fails_the_session_and_says_what_to_do(service):
    operator, before = await stored(service)
    session_id, browser = await service.opened()
    await service.ready(session_id)
    await browser.post(f"/api/auth/session/{session_id}/consent", json={})
    with pytest.raises(ProviderError):
        await capture_of(service, session_id, "other@example.com")
    page = (await browser.get(f"/api/auth/session/{session_id}")).json()
    assert (page["status"], page["reason"]) == ("failed", "other_account")
    assert "other account" in page["explanation"]["message"]
    # at the vendor it was let in all the same
    assert page["revoke_url"] == REVOKE
    assert (page["before"], page["account"]) == (None, None)
    assert (await operator.get("/api/credentials")).json()["credentials"] == [before]


@pytest.mark.parametrize("agreed", [False, True])
async def test_an_ended_sign_in_names_the_vendors_page_once_its_person_had_agreed(service, agreed):
    session_id, browser = await service.opened()
    await service.ready(session_id)
    if agreed:
        await browser.post(f"/api/auth/session/{session_id}/consent", json={})
    path = f"/api/auth/session/{session_id}"
    assert (await browser.get(path)).json()["revoke_url"] is None
    assert (await browser.post(f"{path}/cancel", json={})).json()["revoke_url"] == (REVOKE if agreed else None)
    operator = await service.operator()
    assert (await operator.get(path)).json()["revoke_url"] == (REVOKE if agreed else None)


async def test_a_rejected_sign_in_names_the_vendors_page(service):
    session_id, browser = await service.opened()
    await service.ready(session_id)
    await browser.post(f"/api/auth/session/{session_id}/consent", json={})
    await service.capture(session_id)
    path = f"/api/auth/session/{session_id}"
    assert (await browser.get(path)).json()["revoke_url"] is None
    assert (await browser.post(f"{path}/reject", json={})).json()["revoke_url"] == REVOKE


async def test_the_dashboards_stream_hints_at_a_change_of_a_credential(service):
    operator, credential = await stored(service)
    async with operator.stream("GET", "/api/changes") as stream:
        lines = stream.aiter_lines()
        async for line in lines:
            if line == "event: changed":
                break
        await service.signin.life.say(credential["id"], "said_revoked")
        async for line in lines:
            if line == "event: changed":
                break
