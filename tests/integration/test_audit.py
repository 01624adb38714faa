"""The audit as the service writes and shows it: by which right a thing was done, and nothing opened off the record."""

from __future__ import annotations

import json

import pytest

from antechamber.errors import AntechamberError, Code, OperatorError
from antechamber.model import Actor, Purpose
from tests.integration.cli_scene import place
from tests.integration.scene import ADA, WHOLE, CheckGuest, scene
from tests.integration.test_credentials_api import stored
from tests.integration.web_service import error_of, running
from tests.opening import BY, opened

FIELDS = {
    "seq",
    "id",
    "at",
    "actor",
    "action",
    "outcome",
    "owner",
    "purpose",
    "provider",
    "credential_id",
    "version",
    "session_id",
    "refused",
    "api_key",
    "reason",
    "fields",
    "operator",
}


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def lines_of(client, **asked):
    answer = await client.get("/api/audit", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["lines"]


async def test_it_tells_who_did_what_and_holds_neither_a_name_nor_a_value(service):
    # no random id has a capital, so none holds this name by chance
    operator, credential = await stored(service, user_id="Ada")
    assert (await operator.delete(f"/api/credentials/{credential['id']}")).status_code == 200
    lines = await lines_of(operator)
    assert [(line["actor"], line["action"]) for line in lines] == [
        ("person", "credential_stored"),
        ("operator_token", "credential_deleted"),
    ]
    assert all(line.keys() == FIELDS for line in lines)
    said = json.dumps(lines)
    assert credential["user_id"] == "Ada"
    assert "Ada" not in said
    assert credential["account"] not in said
    assert await lines_of(operator, after=lines[0]["seq"]) == lines[1:]
    assert await lines_of(operator, limit=1) == lines[:1]
    assert await lines_of(operator, user_id=credential["user_id"]) == lines
    assert await lines_of(operator, user_id="nobody") == []


async def test_the_dashboard_is_told_from_the_token(service):
    _, credential = await stored(service)
    code = (await service.signin.dashboard_link()).reveal()
    dashboard = await service.stranger(Origin=service.addresses.dashboard.origin)
    assert (await dashboard.post("/api/dashboard/open", json={"code": code})).status_code == 204
    assert (await dashboard.delete(f"/api/credentials/{credential['id']}")).status_code == 200
    assert (await lines_of(dashboard))[-1]["actor"] == "dashboard"


async def test_nobody_but_the_operator_reads_it(service):
    _, browser = await service.opened()
    assert error_of(await browser.get("/api/audit"))[0] in {401, 421}
    stranger = await service.stranger(Origin=service.addresses.dashboard.origin)
    assert error_of(await stranger.get("/api/audit")) == (401, "not_signed_in")


@pytest.mark.parametrize("wrong", [{"after": -1}, {"limit": 0}, {"limit": 501}, {"after": "x"}, {"after": 2**63}])
async def test_what_cannot_be_asked_is_said(service, wrong):
    operator = await service.operator()
    assert error_of(await operator.get("/api/audit", params=wrong)) == (422, "bad_request")


async def test_a_check_is_on_record_before_the_credential_is_opened(tmp_path, monkeypatch):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(session.id)
        stage.make_guest = CheckGuest
        unseal, seen = type(stage.vault).unseal, []

        def watched(vault, *given):
            seen.append("opened")
            return unseal(vault, *given)

        opening = stage.store.credentials.open

        async def granted(*given, **named):
            answer = await opening(*given, **named)
            seen.append([line.action for line in await stage.store.audit.list()][-1])
            return answer

        monkeypatch.setattr(type(stage.vault), "unseal", watched)
        monkeypatch.setattr(stage.store.credentials, "open", granted)
        assert (await stage.reconciler.checks.check(ADA, "codex", by=BY)).accepted
        assert seen == ["credential_opened", "opened"]
        line = (await stage.signin.audit(after=0, limit=100))[-1]
        assert (line.actor, line.purpose, line.session_id) == (Actor.COMMAND_LINE, Purpose.CHECK, None)


async def test_what_cannot_be_put_on_record_is_not_opened(tmp_path, monkeypatch):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(session.id)

        def never(*_):
            raise AssertionError("it was opened")

        async def away(*_, **__):
            raise OperatorError(Code.STORE_UNAVAILABLE)

        with monkeypatch.context() as patched:
            patched.setattr(type(stage.vault), "unseal", never)
            patched.setattr("antechamber.store.audit._append", away)
            with pytest.raises(AntechamberError, match="store_unavailable"):
                await opened(stage.signin, ADA, "codex")
            with pytest.raises(AntechamberError, match="store_unavailable"):
                await stage.reconciler.checks.check(ADA, "codex", by=BY)
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


@pytest.mark.parametrize("answering", [True, False], ids=["asked_of_the_service", "read_from_the_store"])
async def test_the_command_line_lists_and_exports_it(answering):
    with place() as here:
        async with here.opened() as installation:
            _, credential = await installation.complete("ada")
            if answering:
                async with installation.answering(here.data):
                    await exported(here, credential)
        if not answering:
            await exported(here, credential)


async def exported(here, credential_id):
    assert (await here.says_meanwhile("credentials", "delete", credential_id, "--yes")).code == 0
    whole = [json.loads(line) for line in (await here.says_meanwhile("audit", "export")).out.splitlines()]
    assert [(line["action"], line["actor"]) for line in whole] == [
        ("credential_stored", "person"),
        ("credential_deleted", "command_line"),
    ]
    assert all(line.keys() == FIELDS for line in whole)
    rest = (await here.says_meanwhile("audit", "export", "--after", str(whole[0]["seq"]))).out.splitlines()
    assert [json.loads(line) for line in rest] == whole[1:]
    assert (await here.says_meanwhile("audit", "list", "--user", "ada", "--json")).json == whole
    assert (await here.says_meanwhile("audit", "list", "--user", "bob", "--json")).json == []
    shown = (await here.says_meanwhile("audit", "list")).out
    assert "credential_deleted" in shown
    assert "command_line" in shown
