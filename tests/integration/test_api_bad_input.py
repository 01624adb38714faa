import json

import httpx
import pytest

from tests.integration.web_service import error_of, running

GOOD = {"user_id": "ada", "provider": "codex"}


@pytest.fixture
async def service(site):
    async with running(site.folder, database_url=site.url) as service:
        yield service


@pytest.fixture
async def operator(service):
    return await service.operator()


BAD_BODIES = [
    ({}, "bad_request"),
    ({"user_id": "ada"}, "bad_request"),
    ({**GOOD, "provider": "nobody"}, "unknown_provider"),
    ({**GOOD, "provider": "x" * 65}, "bad_request"),
    ({**GOOD, "provider": ["codex"]}, "bad_request"),
    ({**GOOD, "user_id": ""}, "bad_request"),
    ({**GOOD, "user_id": 7}, "bad_request"),
    ({**GOOD, "user_id": None}, "bad_request"),
    ({**GOOD, "user_id": "x" * 129}, "bad_request"),
    ({**GOOD, "user_id": "a\nb"}, "bad_request"),
    ({**GOOD, "user_id": "a\u202eb"}, "bad_request"),
    ({**GOOD, "user_id": "a\x00b"}, "bad_request"),
    ({**GOOD, "user_id": " ada"}, "bad_request"),
    ({**GOOD, "user_id": "\ud800"}, "bad_request"),
    ({**GOOD, "replace": "yes"}, "bad_request"),
    ({**GOOD, "replace": 1}, "bad_request"),
    ({**GOOD, "display_name": "x" * 201}, "bad_request"),
    ({**GOOD, "purpose": ""}, "bad_request"),
    ({**GOOD, "return_url": "javascript:alert(1)"}, "bad_request"),
    ({**GOOD, "return_url": "http://example.com/"}, "bad_request"),
    ({**GOOD, "return_url": "https://ada:DUMMY@example.com/"}, "bad_request"),
    ({**GOOD, "return_url": "https://"}, "bad_request"),
    ({**GOOD, "return_url": "https:\\\\example.com"}, "bad_request"),
    ({**GOOD, "return_url": "http://localhost:99999/"}, "bad_request"),
    ({**GOOD, "application": "other"}, "unknown_field"),
    ([GOOD], "bad_request"),
    ("codex", "bad_request"),
    (None, "bad_request"),
]


async def test_a_body_that_is_not_as_it_must_be_is_refused_with_its_own_code_and_nothing_is_stored(operator):
    for body, code in BAD_BODIES:
        answer = await operator.post(
            "/api/auth/session", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert error_of(answer) == (422, code), body
    assert (await operator.get("/api/auth/sessions")).json() == {"sessions": [], "older": None}


@pytest.mark.parametrize(
    "url", ["https://example.com/done?x=1#y", "http://localhost:3000/", "http://127.0.0.1/", "http://[::1]:1/"]
)
async def test_a_return_url_of_https_or_of_this_computer_is_taken(operator, url):
    answer = await operator.post("/api/auth/session", json={**GOOD, "return_url": url})
    assert answer.status_code == 201


async def test_a_fault_names_the_field_and_not_what_was_sent(operator):
    answer = await operator.post("/api/auth/session", json={**GOOD, "purpose": "DUMMY\nsecret", "x": "DUMMY"})
    assert "DUMMY" not in answer.text
    answer = await operator.post("/api/auth/session", json={**GOOD, "purpose": "DUMMY\nsecret"})
    assert "purpose" in answer.json()["error"]["message"]
    assert "DUMMY" not in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "wanted"),
    [
        (b"{", "application/json", (422, "bad_request")),
        (b"\xff\xfe", "application/json", (422, "bad_request")),
        (b"[" * 60_000, "application/json", (422, "bad_request")),
        (b'{"user_id":"ada"}', "text/plain", (415, "not_json")),
        (b"user_id=ada", "application/x-www-form-urlencoded", (415, "not_json")),
        (b'{"user_id":"ada"}', "", (415, "not_json")),
        (b"x" * 65_537, "application/json", (413, "body_too_large")),
    ],
)
async def test_what_is_no_json_or_too_much_of_it_is_refused(operator, content, kind, wanted):
    headers = {"Content-Type": kind} if kind else {}
    answer = await operator.post("/api/auth/session", content=content, headers=headers)
    assert error_of(answer) == wanted


async def test_a_body_without_a_length_is_limited_too(operator):
    async def endless():
        for _ in range(80):
            yield b" " * 1024

    answer = await operator.post("/api/auth/session", content=endless(), headers={"Content-Type": "application/json"})
    assert error_of(answer) == (413, "body_too_large")


async def test_a_request_head_without_end_is_cut_off(service):
    stranger = await service.stranger()
    with pytest.raises(httpx.TransportError):
        (await stranger.get("/healthz", headers={"X-Long": "x" * 1_000_000})).raise_for_status()


@pytest.mark.parametrize("key", ["", "with blank", "x" * 256, "caf\u00e9"])
async def test_an_idempotency_key_that_is_no_plain_word_is_refused(operator, key):
    answer = await operator.post("/api/auth/session", json=GOOD, headers={"Idempotency-Key": key.encode()})
    assert error_of(answer) == (422, "bad_request")


@pytest.mark.parametrize(
    "session_id", ["1", "ses_", "ses_ABC", "mac_00000000000000000000", "ses_0000000000000000000i", "ses_" + "0" * 21]
)
async def test_f098_a_malformed_session_id_is_told_from_an_unknown_one(operator, session_id):
    assert error_of(await operator.get(f"/api/auth/session/{session_id}")) == (422, "malformed_id")


async def test_unknown_ids_are_not_found(operator):
    unknown = "ses_00000000000000000000"
    for path in ("", "/credentials", "/events"):
        assert error_of(await operator.get(f"/api/auth/session/{unknown}{path}")) == (404, "session_not_found")
    assert error_of(await operator.post(f"/api/auth/session/{unknown}/cancel")) == (404, "session_not_found")
    assert error_of(await operator.get("/api/credentials/cred_00000000000000000000")) == (404, "credential_not_found")
    assert error_of(await operator.delete("/api/credentials/cred_0")) == (422, "malformed_id")


@pytest.mark.parametrize("wait", ["0", "61", "x", "-1", "nan"])
async def test_a_wait_beyond_its_limits_is_refused(service, operator, wait):
    session_id = (await service.start())["session_id"]
    answer = await operator.get(f"/api/auth/session/{session_id}", params={"wait": wait})
    assert error_of(answer) == (422, "bad_request")


async def test_unknown_routes_and_methods_are_answered_with_an_envelope(operator):
    assert error_of(await operator.get("/api/nothing")) == (404, "not_found")
    assert error_of(await operator.get("/static/nothing.js")) == (404, "not_found")
    assert error_of(await operator.get("/static/../app.py")) == (404, "not_found")
    answer = await operator.put("/api/auth/session", json={})
    assert error_of(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    # every method of the path, though each is a route of its own
    answer = await operator.put("/api/credentials/cred_00000000000000000000", json={})
    assert error_of(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET"
