import pytest

from antechamber.model import GuestText, Reason
from tests.integration.web_service import error_of, running


@pytest.fixture
async def service(site):
    async with running(site.folder, database_url=site.url) as service:
        yield service


async def test_f086h_a_started_session_has_a_link_on_the_sign_in_host_with_its_code_in_the_fragment(service):
    operator = await service.operator()
    answer = await operator.post("/api/auth/session", json={"user_id": "ada", "provider": "codex"})
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"session_id", "status", "provider", "sign_in_url", "expires_at"}
    assert (body["status"], body["provider"]) == ("pending", "codex")
    page, _, code = body["sign_in_url"].partition("#")
    assert page == f"{service.addresses.sign_in.url}/s/{body['session_id']}"
    assert len(code) >= 43
    assert "?" not in page


async def test_the_live_session_is_answered_again_with_a_fresh_link_until_one_has_been_opened(service):
    operator = await service.operator()
    first = await service.start()
    answer = await operator.post("/api/auth/session", json={"user_id": "ada", "provider": "codex"})
    second = answer.json()
    assert answer.status_code == 200
    assert second["session_id"] == first["session_id"]
    assert second["sign_in_url"] != first["sign_in_url"]
    browser = await service.browser()
    old = first["sign_in_url"].partition("#")[2]
    refused = await browser.post(f"/api/auth/session/{first['session_id']}/open", json={"code": old})
    assert error_of(refused) == (403, "link_not_valid")
    await service.opened(second)
    third = await operator.post("/api/auth/session", json={"user_id": "ada", "provider": "codex"})
    assert error_of(third) == (409, "already_open")
    replaced = await operator.post("/api/auth/session", json={"user_id": "ada", "provider": "codex", "replace": True})
    assert replaced.status_code == 201
    assert replaced.json()["session_id"] != first["session_id"]
    ended = (await operator.get(f"/api/auth/session/{first['session_id']}")).json()
    assert (ended["status"], ended["reason"]) == ("cancelled", "superseded")


async def test_an_alias_starts_its_provider(service):
    assert (await service.start(provider="gemini_cli"))["provider"] == "gemini"


async def test_an_idempotency_key_answers_the_same_session_and_refuses_another_body(service):
    operator = await service.operator()
    key = {"Idempotency-Key": "order-1"}
    body = {"user_id": "ada", "provider": "codex"}
    first = await operator.post("/api/auth/session", json=body, headers=key)
    again = await operator.post("/api/auth/session", json=body, headers=key)
    assert again.json()["session_id"] == first.json()["session_id"]
    assert again.json()["sign_in_url"] not in {None, first.json()["sign_in_url"]}
    await service.opened(again.json())
    after = await operator.post("/api/auth/session", json=body, headers=key)
    assert after.status_code == 200
    assert (after.json()["session_id"], after.json()["sign_in_url"]) == (first.json()["session_id"], None)
    other = await operator.post("/api/auth/session", json={**body, "user_id": "bob"}, headers=key)
    assert error_of(other) == (422, "idempotency_mismatch")


async def test_f041_the_poll_of_the_predecessor_answers_pending_then_ready_without_a_secret(service):
    session_id, _ = await service.opened()
    operator = await service.operator()
    path = f"/api/auth/session/{session_id}/credentials"
    assert (await operator.get(path)).json() == {"status": "pending", "reason": None, "credential": None}
    await service.ready(session_id)
    await service.capture(session_id)
    answer = (await operator.get(path)).json()
    assert answer["status"] == "ready"
    assert set(answer["credential"]) == {"id", "provider", "plan", "account", "stored_at", "deleted_at"}
    assert answer["credential"]["account"] == "person@example.com"
    for path in (f"/api/auth/session/{session_id}", "/api/credentials", "/api/auth/sessions"):
        text = (await operator.get(path)).text
        assert "DUMMY" not in text
        assert "eyJ" not in text


async def test_a_cancelled_session_cannot_be_cancelled_again_and_says_who_cancelled_it(service):
    session_id = (await service.start())["session_id"]
    operator = await service.operator()
    answer = await operator.post(f"/api/auth/session/{session_id}/cancel")
    assert (answer.json()["status"], answer.json()["reason"]) == ("cancelled", "cancelled_by_caller")
    assert answer.json()["explanation"]["next"]
    again = await operator.post(f"/api/auth/session/{session_id}/cancel", json={})
    assert error_of(again) == (409, "session_ended")
    poll = (await operator.get(f"/api/auth/session/{session_id}/credentials")).json()
    assert (poll["status"], poll["reason"]) == ("cancelled", "cancelled_by_caller")


async def test_the_person_agrees_sees_the_account_and_can_take_it_back_once(service):
    session_id, browser = await service.opened()
    path = f"/api/auth/session/{session_id}"
    page = (await browser.get(path)).json()
    assert page["provider"]["id"] == "codex"
    assert page["provider"]["captures"]
    assert (page["consented"], page["account"], page["practice"]) == (False, None, False)
    assert error_of(await browser.post(f"{path}/ticket", json={})) == (403, "consent_needed")
    assert (await browser.post(f"{path}/consent", json={})).json()["consented"]
    assert error_of(await browser.post(f"{path}/ticket", json={})) == (409, "screen_not_ready")
    await service.ready(session_id)
    assert (await browser.post(f"{path}/ticket", json={})).json()["ticket"]
    assert error_of(await browser.post(f"{path}/reject", json={})) == (409, "not_rejectable")
    await service.capture(session_id)
    page = (await browser.get(path)).json()
    assert (page["status"], page["account"], page["plan"]) == ("completed", "person@example.com", "plus")
    assert page["rejectable"]
    assert page["steps"][0]["step"] == "created"
    assert (await browser.post(f"{path}/shown", json={})).json()["success_shown_at"]
    rejected = (await browser.post(f"{path}/reject", json={})).json()
    assert rejected["rejected_at"]
    assert (rejected["status"], rejected["account"], rejected["rejectable"]) == ("completed", None, False)
    again = await browser.post(f"{path}/reject", json={})
    assert again.json()["rejected_at"] == rejected["rejected_at"]
    operator = await service.operator()
    assert (await operator.get("/api/credentials")).json() == {"credentials": []}
    poll = (await operator.get(f"{path}/credentials")).json()
    assert poll["status"] == "ready"
    assert poll["credential"]["deleted_at"]


async def test_a_credential_is_listed_shown_and_deleted(service):
    session_id, _ = await service.opened()
    await service.ready(session_id)
    await service.capture(session_id)
    operator = await service.operator()
    (listed,) = (await operator.get("/api/credentials", params={"user_id": "ada"})).json()["credentials"]
    assert (listed["provider"], listed["version"], listed["user_id"]) == ("codex", 1, "ada")
    assert (await operator.get("/api/credentials", params={"user_id": "bob"})).json() == {"credentials": []}
    path = f"/api/credentials/{listed['id']}"
    assert (await operator.get(path)).json() == listed
    deleted = (await operator.delete(path)).json()
    assert deleted["deleted_at"]
    assert error_of(await operator.get(path)) == (404, "credential_not_found")
    assert (await operator.delete(path)).json() == deleted


async def test_sessions_are_listed_newest_first_with_their_machine(service):
    first = await service.start()
    second = await service.start(user_id="bob")
    operator = await service.operator()
    listed = (await operator.get("/api/auth/sessions")).json()["sessions"]
    assert [session["session_id"] for session in listed] == [second["session_id"], first["session_id"]]
    assert listed[0]["machine"]["state"] == "requested"
    mine = (await operator.get("/api/auth/sessions", params={"user_id": "ada", "live": "true"})).json()["sessions"]
    assert [session["session_id"] for session in mine] == [first["session_id"]]


async def test_every_provider_is_listed_with_what_a_person_must_know(service):
    operator = await service.operator()
    providers = (await operator.get("/api/providers")).json()["providers"]
    assert {provider["id"] for provider in providers} == {"claude_code", "codex", "gemini"}
    for provider in providers:
        assert provider["captures"]
        assert provider["revoke_url"].startswith("https://")
        assert provider["version"]


async def test_the_service_describes_itself_and_every_route_of_both_hosts(service):
    operator = await service.operator()
    about = (await operator.get("/api/dashboard")).json()
    assert (about["world"], about["practice"], about["ready"]) == ("serve", False, True)
    described = (await operator.get("/openapi.json")).json()
    assert "/api/auth/session/{session_id}/consent" in described["paths"]
    assert described["paths"]["/api/auth/session/{session_id}/consent"]["post"]["servers"] == [
        {"url": service.addresses.sign_in.url}
    ]
    assert "post" in described["paths"]["/api/auth/session"]


async def test_a_route_of_both_hosts_is_described_with_both_and_each_route_with_what_opens_it(service):
    described = (await (await service.operator()).get("/openapi.json")).json()
    both = described["paths"]["/api/auth/session/{session_id}"]["get"]
    assert [server["url"] for server in both["servers"]] == [
        service.addresses.dashboard.url,
        service.addresses.sign_in.url,
    ]
    answers = both["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [answer["$ref"].rpartition("/")[2] for answer in answers] == ["SessionView", "PageView"]
    opened_by = {
        path: {scheme for way in operation["security"] for scheme in way}
        for path, item in described["paths"].items()
        for operation in item.values()
    }
    assert described["components"]["securitySchemes"].keys() == set.union(*opened_by.values())
    operators, persons, keys = {"operator_token", "dashboard_cookie"}, {"session_cookie"}, {"api_key"}
    assert opened_by["/api/credentials"] == operators | keys
    assert opened_by["/api/audit"] == operators
    assert described["paths"]["/api/credentials"]["get"]["security"][-1] == {"api_key": ["credentials:read"]}
    assert opened_by["/metrics"] == {*operators, "metrics_token"}
    assert opened_by["/api/auth/session/{session_id}/ticket"] == persons
    assert opened_by["/api/auth/session/{session_id}/cancel"] == operators | persons | keys
    exchanges = {f"/api/auth/session/{{session_id}}/{word}" for word in ("open", "binding", "return")}
    open_to_all = {"/healthz", "/readyz", "/api/dashboard/open", "/api/dashboard/login", *exchanges}
    assert {path for path, schemes in opened_by.items() if not schemes} == open_to_all


async def test_health_answers_on_both_hosts_without_credentials(service):
    for site in (service.addresses.dashboard, service.addresses.sign_in):
        stranger = await service.stranger(site.url)
        assert (await stranger.get("/healthz")).json() == {"status": "ok"}
        assert (await stranger.get("/readyz")).json() == {"status": "ready"}


async def test_a_service_with_a_fault_is_not_ready_and_says_why_to_the_operator_alone(site):
    async def faults():
        return ["No machine can be started here."]

    async with running(site.folder, database_url=site.url, faults=faults) as service:
        stranger = await service.stranger()
        answer = await stranger.get("/readyz")
        assert error_of(answer) == (503, "driver_unavailable")
        operator = await service.operator()
        about = (await operator.get("/api/dashboard")).json()
        assert (about["ready"], about["faults"]) == (False, ["No machine can be started here."])


async def test_a_tool_that_gave_up_is_started_again_by_the_sessions_own_browser_alone(service):
    session_id, browser, _ = await service.ticketed()
    address = f"/api/auth/session/{session_id}/again"
    assert error_of(await browser.post(address, json={"attempt": 1})) == (409, "cli_runs")
    await service.signin.screen_seen(session_id)
    said = [GuestText("no such account")]
    await service.signin.cli_ended(session_id, 1, said, reason=Reason.CLI_ENDED, detail="", code=1)
    seen = (await browser.get(f"/api/auth/session/{session_id}")).json()
    assert (seen["status"], seen["attempt"], seen["cli_said"]) == ("awaiting_sign_in", 1, ["no such account"])
    assert seen["gave_up_at"] is not None
    operator = await service.operator()
    assert error_of(await operator.post(address, json={"attempt": 1})) == (421, "wrong_host")
    assert "cli_said" not in (await operator.get(f"/api/auth/session/{session_id}")).json()
    stranger = await service.browser()
    assert error_of(await stranger.post(address, json={"attempt": 1})) == (401, "not_signed_in")
    for attempt in (1, 1.0):
        after = (await browser.post(address, json={"attempt": attempt})).json()
        assert (after["attempt"], after["gave_up_at"], after["cli_said"]) == (2, None, [])
    assert error_of(await browser.post(address, json={"attempt": 2})) == (409, "cli_runs")
    for wrong in ("2", 2.5, 1e300, True):
        assert error_of(await browser.post(address, json={"attempt": wrong}))[0] == 422
    assert error_of(await browser.post(address, json={}))[0] == 422
