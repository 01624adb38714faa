"""Plain text of a credential: off, for an application's own alone, with a reason, and on record before it leaves."""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import date, timedelta

import pytest

from antechamber.errors import AntechamberError, CallerError, Code, OperatorError
from antechamber.model import Actor, ApiScope, new_secret
from tests.integration.cli_scene import place
from tests.integration.test_applications import carried_out
from tests.integration.web_service import OPERATIONS, error_of, now, running
from tests.providers.samples import CODEX

REVEAL = ApiScope.CREDENTIALS_REVEAL
OTHERS = tuple(set(ApiScope) - {REVEAL})
DAY = date(2026, 1, 31)
WHY = {"reason": "the nightly build of ticket 4711"}
UNKNOWN = "cred_00000000000000000000"


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def has_stored(service, name="Acme", user_id="ada"):
    """Let an application's user sign in; return (the application, a client that may reveal, the credential's id)."""
    acme, whole = await service.application(*OTHERS, name=name, bind_url=None)
    started = (await whole.post("/api/auth/session", json={**OPERATIONS, "user_id": user_id})).json()
    await service.ready(started["session_id"])
    await service.capture(started["session_id"])
    credential_id = (await service.signin.session(started["session_id"])).captured_credential_id
    return acme, (await service.application(REVEAL, name=name))[1], credential_id


async def allow(service, provider="codex"):
    await service.signin.revealing.allow(provider, DAY, by=Actor.COMMAND_LINE)


async def tries(service):
    lines = await service.signin.audit(after=0, limit=500)
    return [line for line in lines if line.purpose == "reveal"]


def path(credential_id):
    return f"/api/credentials/{credential_id}/reveal"


async def test_it_is_off_until_it_is_allowed_for_that_provider_and_off_again_when_it_is_forbidden(service):
    _, client, credential_id = await has_stored(service)
    for provider in (None, "gemini"):
        if provider:
            await allow(service, provider)
        refused = await client.post(path(credential_id), json=WHY)
        assert error_of(refused) == (403, "reveal_off")
        assert "antechamber providers reveal" in refused.json()["error"]["next"]
    await allow(service)
    assert (await client.post(path(credential_id), json=WHY)).status_code == 200
    assert await service.signin.revealing.forbid("codex", by=Actor.COMMAND_LINE)
    assert error_of(await client.post(path(credential_id), json=WHY)) == (403, "reveal_off")


async def test_it_gives_the_files_as_the_tool_reads_them_and_says_which_version_they_are(service):
    _, client, credential_id = await has_stored(service)
    await allow(service)
    answer = await client.post(path(credential_id), json=WHY)
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["credential"]["id"], told["credential"]["version"]) == (credential_id, 1)
    assert told["credential"]["account"]
    assert told["files"].keys() == {"credential"}
    file = told["files"]["credential"]
    assert (file["path"], file["mode"]) == ("~/.codex/auth.json", "0600")
    assert json.loads(file["content"]) == CODEX


async def test_the_switch_is_a_line_each_time_that_it_is_turned_and_none_when_it_is_not(service):
    revealing = service.signin.revealing
    first = await revealing.allow("codex", DAY, by=Actor.COMMAND_LINE)
    assert await revealing.allow("codex", DAY, by=Actor.COMMAND_LINE) == first
    newer = await revealing.allow("codex", DAY + timedelta(days=1), by=Actor.COMMAND_LINE)
    assert (newer.since, newer.terms_read_on) == (first.since, DAY + timedelta(days=1))
    assert await revealing.allowed() == {"codex": newer}
    assert await revealing.forbid("codex", by=Actor.COMMAND_LINE)
    assert not await revealing.forbid("codex", by=Actor.COMMAND_LINE)
    assert await revealing.allowed() == {}
    lines = (await (await service.operator()).get("/api/audit")).json()["lines"]
    assert [(line["action"], line["provider"], line["fields"], line["actor"]) for line in lines] == [
        ("reveal_allowed", "codex", {"terms_read_on": "2026-01-31"}, "command_line"),
        ("reveal_allowed", "codex", {"terms_read_on": "2026-02-01"}, "command_line"),
        ("reveal_forbidden", "codex", None, "command_line"),
    ]
    tomorrow = now().date() + timedelta(days=1)
    with pytest.raises(CallerError, match="That day has not come yet"):
        await revealing.allow("codex", tomorrow, by=Actor.COMMAND_LINE)
    with pytest.raises(CallerError, match="unknown_provider"):
        await revealing.allow("nonsense", DAY, by=Actor.COMMAND_LINE)


async def test_who_may_use_the_service_sees_whether_it_is_allowed(service):
    await allow(service)
    told = (await (await service.operator()).get("/api/providers")).json()["providers"]
    shown = {one["id"]: one["reveal"] for one in told}
    assert shown.pop("codex")["terms_read_on"] == DAY.isoformat()
    assert set(shown.values()) == {None}


@pytest.mark.parametrize("body", [{}, {"reason": None}, {"reason": ""}, {"reason": " \u200b\x1b[0m\n"}])
async def test_without_a_reason_nothing_is_given(service, body):
    _, client, credential_id = await has_stored(service)
    await allow(service)
    assert error_of(await client.post(path(credential_id), json=body)) == (422, "reason_missing")
    assert [line.refused for line in await tries(service)] == ["reason_missing"]


async def test_each_try_is_a_line_with_the_key_and_the_reason_granted_or_not(service):
    acme, client, credential_id = await has_stored(service)
    other, of_other, _ = await has_stored(service, name="Other")
    _, unscoped = await service.application(*OTHERS, name="Unscoped")
    operator = await service.operator()
    await allow(service)
    asked = [
        (client, credential_id, 200),
        (of_other, credential_id, 404),
        (client, UNKNOWN, 404),
        (unscoped, credential_id, 403),
        (operator, credential_id, 403),
    ]
    for who, wanted, status in asked:
        answer = await who.post(path(wanted), json=WHY)
        assert answer.status_code == status, answer.text
        assert status == 200 or "DUMMY" not in answer.text
    keys = {key.application: key.id for key in await service.signin.applications.keys() if REVEAL in key.scopes}
    told = await tries(service)
    assert [(line.outcome, line.refused, line.credential_id, line.actor) for line in told] == [
        ("granted", None, credential_id, "application"),
        ("denied", "credential_not_found", credential_id, "application"),
        ("denied", "credential_not_found", UNKNOWN, "application"),
        ("denied", "scope_needed", credential_id, "application"),
        ("denied", "not_allowed", credential_id, "operator_token"),
    ]
    assert [line.api_key for line in told[:3]] == [keys[acme.id], keys[other.id], keys[acme.id]]
    assert told[0].reason == WHY["reason"]
    owners = {line.owner for line in told if line.credential_id == credential_id}
    assert len(owners) == 1
    assert told[2].owner is None


async def test_neither_the_operators_token_nor_the_dashboard_is_given_any(service):
    _, _, credential_id = await has_stored(service)
    await allow(service)
    operator = await service.operator()
    refused = await operator.post(path(credential_id), json=WHY)
    assert error_of(refused) == (403, "not_allowed")
    assert "antechamber credentials reveal" in refused.json()["error"]["next"]
    dashboard = await service.stranger(Origin=service.addresses.dashboard.origin)
    code = (await service.signin.dashboard_link()).reveal()
    assert (await dashboard.post("/api/dashboard/open", json={"code": code})).status_code == 204
    assert error_of(await dashboard.post(path(credential_id), json=WHY)) == (403, "not_allowed")
    stranger = await service.stranger(Authorization=f"Bearer ante_{new_secret().reveal()}")
    assert error_of(await stranger.post(path(credential_id), json=WHY)) == (401, "not_signed_in")
    assert error_of(await (await service.browser()).post(path(credential_id), json=WHY))[0] in {401, 421}
    described = (await operator.get("/openapi.json")).json()["paths"]["/api/credentials/{credential_id}/reveal"]
    assert described["post"]["security"] == [{"api_key": ["credentials:reveal"]}]


async def spoil(service):
    """Make what is stored such that nobody can open it: who tries has an error of its own."""
    async with service.store._database.write() as write:
        await write.connection.exec_driver_sql("UPDATE provider_credentials SET ciphertext = zeroblob(99)")


async def test_what_cannot_be_put_on_record_is_not_opened(service, monkeypatch):
    _, client, credential_id = await has_stored(service)
    await allow(service)
    await spoil(service)

    async def away(*_, **__):
        raise OperatorError(Code.STORE_UNAVAILABLE)

    with monkeypatch.context() as patched:
        patched.setattr("antechamber.store.audit._append", away)
        assert error_of(await client.post(path(credential_id), json=WHY)) == (503, "store_unavailable")
    assert await tries(service) == []
    assert error_of(await client.post(path(credential_id), json=WHY)) == (500, "open_failed")


async def test_the_line_is_committed_before_anything_is_opened(service):
    _, client, credential_id = await has_stored(service)
    await allow(service)
    await spoil(service)
    assert error_of(await client.post(path(credential_id), json=WHY)) == (500, "open_failed")
    assert [line.outcome for line in await tries(service)] == ["granted"]
    with pytest.raises(AntechamberError, match="open_failed"):
        await service.signin.revealing.reveal(credential_id, "why", by=Actor.COMMAND_LINE)
    assert [line.outcome for line in await tries(service)] == ["granted", "granted"]


async def test_a_deleted_credential_and_one_of_a_key_that_was_revoked_are_not_given(service):
    acme, client, credential_id = await has_stored(service)
    await allow(service)
    await service.signin.delete_credential(credential_id, by=Actor.DASHBOARD)
    assert error_of(await client.post(path(credential_id), json=WHY)) == (404, "credential_not_found")
    for key in await service.signin.applications.keys(acme.id):
        await service.signin.applications.revoke(key.id)
    assert error_of(await client.post(path(credential_id), json=WHY)) == (401, "not_signed_in")


async def test_tries_are_counted_by_key_refused_ones_too_and_one_too_many_is_told_once(tmp_path):
    async with running(tmp_path, reveals_an_hour=3) as service:
        _, client, credential_id = await has_stored(service)
        _, other = await service.application(REVEAL, name="Acme")
        await allow(service)
        answers = [await client.post(path(credential_id), json={}), await client.post(path(UNKNOWN), json=WHY)]
        answers += await asyncio.gather(*(client.post(path(credential_id), json=WHY) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 404, 422, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert error_of(refused) == (429, "reveal_limit")
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        # what the wall refuses is counted, and fills nothing either
        for _ in range(3):
            assert (await client.post(path(UNKNOWN), json=WHY)).status_code == 404
        told = [line.refused for line in await tries(service)]
        assert sorted(map(str, told)) == ["None", "credential_not_found", "reason_missing", "reveal_limit"]
        assert (await other.post(path(credential_id), json=WHY)).status_code == 200


async def test_its_owner_reads_on_their_page_that_and_why_it_was_given_out(service):
    _, _, credential_id = await has_stored(service, user_id="eve")
    session_id, browser = await service.opened()
    await service.ready(session_id)
    await service.capture(session_id)
    own = (await service.signin.session(session_id)).captured_credential_id
    assert own != credential_id
    await allow(service)
    marked = "the <b>nightly</b> build\u202e of \x1b[31mticket 4711"
    await service.signin.revealing.reveal(own, marked, by=Actor.COMMAND_LINE)
    with pytest.raises(CallerError, match="reason_missing"):
        await service.signin.revealing.reveal(own, None, by=Actor.COMMAND_LINE)
    told = (await browser.get(f"/api/auth/session/{session_id}/audit")).json()["done"]
    assert [(line["purpose"], line["outcome"], line["reason"]) for line in told[:2]] == [
        ("reveal", "denied", None),
        ("reveal", "granted", "the <b>nightly</b> build of ticket 4711"),
    ]
    assert "DUMMY" not in json.dumps(told)


async def test_before_they_agree_the_page_says_that_it_may_be_given_out(service):
    session_id, browser = await service.opened()
    told = [(await browser.get(f"/api/auth/session/{session_id}")).json()["revealed"]]
    await allow(service)
    told.append((await browser.get(f"/api/auth/session/{session_id}")).json()["revealed"])
    assert told == [False, True]


async def test_a_reason_goes_with_its_owner_and_the_line_stays(service):
    _, client, credential_id = await has_stored(service)
    _, whole = await service.application(ApiScope.ADMIN)
    await allow(service)
    why = {"reason": "asked for by Ada Lovelace"}
    assert (await client.post(path(credential_id), json=why)).status_code == 200
    assert [line.reason for line in await tries(service)] == [why["reason"]]
    await carried_out(service, whole, "ada")
    assert [(line.outcome, line.reason) for line in await tries(service)] == [("granted", None)]


async def test_no_log_and_no_error_has_what_was_given_out_or_why(service, caplog, capfd):
    _, client, credential_id = await has_stored(service)
    await allow(service)
    with caplog.at_level("DEBUG"):
        assert (await client.post(path(credential_id), json=WHY)).status_code == 200
        await client.post(path(UNKNOWN), json=WHY)
    said = "".join(capfd.readouterr())
    assert "a credential is revealed" in said
    assert WHY["reason"] not in said
    secrets = [value for value in CODEX["tokens"].values() if isinstance(value, str) and len(value) > 16]
    assert len(secrets) > 1
    assert not [secret for secret in secrets if secret in said + caplog.text]


@pytest.mark.parametrize("answering", [True, False], ids=["asked_of_the_service", "read_from_the_store"])
async def test_the_command_line_allows_it_and_gives_it_out_to_a_file_of_its_own(answering):
    with place() as here:
        async with here.opened() as installation:
            _, credential_id = await installation.complete("ada")
            if answering:
                async with installation.answering(here.data):
                    await given_out(here, credential_id)
        if not answering:
            await given_out(here, credential_id)


async def given_out(here, credential_id):
    file = here.root / "given.json"
    asked = ("credentials", "reveal", credential_id, "--reason", "moving house", "--to", str(file))
    assert (await here.says_meanwhile("providers", "reveal")).out.strip() == "none"
    assert (await here.says_meanwhile(*asked)).error()[2] == "reveal_off"
    assert not file.exists()
    unsure = await here.says_meanwhile("providers", "reveal", "codex", "--terms-read-on", "2026-01-31", typed="n\n")
    assert unsure.code == 1
    assert "credentials:reveal" in unsure.err
    shown = await here.says_meanwhile("providers", "reveal", "codex", "--terms-read-on", "2026-01-31", "--yes")
    assert "2026-01-31" in shown.out
    wrong = await here.says_meanwhile("providers", "reveal", "codex", "--terms-read-on", "31.1.2026", "--yes")
    assert wrong.error()[2] == "bad_request"
    done = await here.says_meanwhile(*asked)
    assert (done.code, done.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(json.loads(file.read_text())["files"]["credential"]["content"]) == CODEX
    before = file.read_bytes()
    assert (await here.says_meanwhile(*asked)).error()[2] == "misconfigured"
    assert file.read_bytes() == before
    assert (await here.says_meanwhile("credentials", "reveal", credential_id, "--stdout")).error()[
        2
    ] == "reason_missing"
    assert (await here.says_meanwhile("credentials", "reveal", credential_id, "--reason", "x")).code == 2
    printed = await here.says_meanwhile("credentials", "reveal", credential_id, "--stdout", "--reason", "to look")
    assert printed.json == json.loads(before)
    assert "forbidden" in (await here.says_meanwhile("providers", "reveal", "codex", "--off")).out
    lines = [json.loads(line) for line in (await here.says_meanwhile("audit", "export")).out.splitlines()]
    told = [(line["outcome"], line["refused"], line["reason"]) for line in lines if line["purpose"] == "reveal"]
    assert told == [
        ("denied", "reveal_off", "moving house"),
        ("granted", None, "moving house"),
        ("denied", "reason_missing", None),
        ("granted", None, "to look"),
    ]
