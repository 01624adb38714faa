"""The stand-in vendor as a real process: strict where the real ones are, and honest about what it is."""

from __future__ import annotations

import jwt
import pytest

from tests.integration.standin_person import (
    Asked,
    Page,
    browser,
    callback,
    claude,
    codex,
    consent_page,
    gemini,
    open_page,
    running,
    submit,
)

CODEX_TOKEN = "https://auth.openai.com/oauth/token"
CLAUDE_TOKEN = "https://platform.claude.com/v1/oauth/token"
GEMINI_TOKEN = "https://oauth2.googleapis.com/token"
GEMINI_API = "https://cloudcode-pa.googleapis.com/v1internal"
LOOSE = {"verify_signature": False, "verify_aud": False}


@pytest.fixture(scope="module")
def process():
    with running() as client:
        yield client


@pytest.fixture
async def standin(process):
    await process.mode(reset=True)
    return process


@pytest.fixture
async def person(standin):
    async with browser(standin.folder, standin.ca) as client:
        yield client


async def test_codex_signs_in_and_its_refresh_token_rotates(standin, person):
    asked = codex()
    given = await callback(person, asked.url())
    assert given["state"] == asked.state
    tokens = (await person.post(CODEX_TOKEN, data=asked.token_request(given["code"]))).json()
    claims = jwt.decode(tokens["id_token"], options=LOOSE)
    assert claims["email"] == "robin@practice.dev"
    assert claims["https://api.openai.com/auth"]["chatgpt_plan_type"] == "plus"
    assert "DUMMY" in tokens["refresh_token"]
    assert "DUMMY" in jwt.decode(tokens["access_token"], options=LOOSE)["jti"]
    refresh = {"grant_type": "refresh_token", "client_id": asked.fields["client_id"]}
    first = {**refresh, "refresh_token": tokens["refresh_token"]}
    second = (await person.post(CODEX_TOKEN, json=first)).json()
    assert second["refresh_token"] != tokens["refresh_token"]
    assert (await person.post(CODEX_TOKEN, json=first)).status_code == 401
    replayed = {**refresh, "refresh_token": second["refresh_token"]}
    assert (await person.post(CODEX_TOKEN, json=replayed)).status_code == 401, "a reuse ends the whole family"


async def test_codex_gets_no_api_key_and_that_is_a_401_and_nothing_odd(standin, person):
    before = (await standin.odd()).requests
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "client_id": codex().fields["client_id"],
    }
    assert (await person.post(CODEX_TOKEN, data=exchange)).status_code == 401
    assert (await standin.odd()).requests == before


async def test_codex_signs_in_by_device_code(standin, person):
    client_id = {"client_id": codex().fields["client_id"]}
    base = "https://auth.openai.com/api/accounts/deviceauth"
    device = (await person.post(f"{base}/usercode", json=client_id)).json()
    poll = {"device_auth_id": device["device_auth_id"], "user_code": device["user_code"]}
    assert (await person.post(f"{base}/token", json=poll)).status_code == 403
    page = await open_page(person, "https://auth.openai.com/codex/device")
    assert "not known" in Page(await submit(person, page, user_code="XXXX-XXXX")).text
    page = Page(await submit(person, page, user_code=device["user_code"].lower()))
    page = Page(await submit(person, page, email="robin@practice.dev"))
    page = Page(await submit(person, page, code="123456"))
    assert Page(await submit(person, page, "authorize")).name == "done"
    told = (await person.post(f"{base}/token", json=poll)).json()
    request = {
        "grant_type": "authorization_code",
        "code": told["authorization_code"],
        "redirect_uri": "https://auth.openai.com/deviceauth/callback",
        "code_verifier": told["code_verifier"],
        **client_id,
    }
    assert (await person.post(CODEX_TOKEN, data=request)).status_code == 200
    assert (await person.post(f"{base}/token", json=poll)).status_code == 400


async def test_claude_code_signs_in_and_reads_its_profile(standin, person):
    await standin.mode(plan="max")
    asked = claude()
    given = await callback(person, asked.url(code="true"))
    tokens = (await person.post(CLAUDE_TOKEN, json=asked.token_request(given["code"], state=asked.state))).json()
    assert tokens["access_token"].startswith("sk-ant-oat01-DUMMY-")
    assert tokens["scope"] == "user:profile user:inference"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    profile = (await person.get("https://api.anthropic.com/api/oauth/profile", headers=bearer)).json()
    assert profile["account"]["email"] == "robin@practice.dev"
    assert profile["organization"]["organization_type"] == "claude_max"
    roles = await person.get("https://api.anthropic.com/api/oauth/claude_cli/roles", headers=bearer)
    assert roles.json()["organization_uuid"] == tokens["organization"]["uuid"]
    assert (await person.get("https://api.anthropic.com/api/oauth/profile")).status_code == 401
    done = await open_page(person, "https://platform.claude.com/oauth/code/success?app=claude-code")
    assert done.name == "done"


async def test_gemini_signs_in_and_its_refresh_token_stays(standin, person):
    asked = gemini()
    given = await callback(person, asked.url(access_type="offline"))
    request = asked.token_request(given["code"], client_secret="DUMMY")
    tokens = (await person.post(GEMINI_TOKEN, data=request)).json()
    assert jwt.decode(tokens["id_token"], options=LOOSE)["email"] == "robin@practice.dev"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    user = await person.get("https://www.googleapis.com/oauth2/v2/userinfo", headers=bearer)
    assert user.json()["email"] == "robin@practice.dev"
    loaded = (await person.post(f"{GEMINI_API}:loadCodeAssist", headers=bearer, json={})).json()
    assert loaded["currentTier"]["id"] == "standard-tier"
    assert (await person.post(f"{GEMINI_API}:onboardUser", headers=bearer, json={})).json()["done"]
    assert (await person.post(f"{GEMINI_API}:retrieveUserQuota", headers=bearer, json={})).json()["buckets"]
    told = await person.post("https://oauth2.googleapis.com/tokeninfo", headers=bearer)
    assert told.json()["email"] == "robin@practice.dev"
    again = {
        "grant_type": "refresh_token",
        "client_id": asked.fields["client_id"],
        "client_secret": "DUMMY",
        "refresh_token": tokens["refresh_token"],
    }
    for _ in range(2):
        refreshed = (await person.post(GEMINI_TOKEN, data=again)).json()
        assert "refresh_token" not in refreshed
        assert refreshed["access_token"] != tokens["access_token"]
    success = "https://developers.google.com/gemini-code-assist/auth_success_gemini"
    assert (await open_page(person, success)).name == "done"


@pytest.mark.parametrize("make", [codex, claude, gemini])
async def test_each_page_can_be_used_by_keyboard_alone_and_says_that_it_is_practice(person, make):
    page = await open_page(person, make().url())
    for name, focus, typed in (("email", "email", "robin@practice.dev"), ("code", "code", "000000")):
        assert (page.name, page.focus, page.focused) == (name, focus, 1)
        assert "Practice vendor" in page.text
        assert "nothing leaves this computer" in page.text
        page = Page(await submit(person, page, **{focus: typed}))
    assert (page.name, page.focus, page.focused) == ("consent", "choice", 1)
    assert list(page.buttons) == ["authorize", "cancel"], "Enter is for the first, which has the focus"


@pytest.mark.parametrize("make", [codex, claude, gemini])
@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "app_other"},
        {"client_id": None},
        {"response_type": "token"},
        {"state": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.dev/auth/callback"},
        {"redirect_uri": "http://127.0.0.1.evil.dev:1455/auth/callback"},
        {"redirect_uri": "http://127.0.0.1@evil.dev:1455/auth/callback"},
        {"redirect_uri": "http://localhost:1455/elsewhere"},
        {"redirect_uri": "http://localhost/auth/callback"},
        {"redirect_uri": "http://localhost:99999999/callback"},
        {"code_challenge": "short", "code_challenge_method": "S256"},
        {"code_challenge_method": "plain", "code_challenge": "a" * 43},
    ],
)
async def test_a_bad_authorize_request_gets_an_error_page_and_no_redirect(standin, person, make, wrong):
    answer = await person.get(make().url(**wrong))
    assert answer.status_code == 400
    assert Page(answer).name == "error"


@pytest.mark.parametrize("make", [codex, claude])
async def test_pkce_is_needed_where_the_cli_uses_it(person, make):
    assert (await person.get(make().url(code_challenge=None, code_challenge_method=None))).status_code == 400


async def test_a_code_is_worth_one_try_and_only_with_all_that_it_was_given_for(person):
    for other in (
        {"code_verifier": "x" * 43},
        {"code_verifier": None},
        {"redirect_uri": "http://localhost:1/auth/callback"},
    ):
        asked = codex()
        code = (await callback(person, asked.url()))["code"]
        assert (await person.post(CODEX_TOKEN, data=asked.token_request(code, **other))).status_code == 400
        assert (await person.post(CODEX_TOKEN, data=asked.token_request(code))).status_code == 400
    asked = codex()
    code = (await callback(person, asked.url()))["code"]
    assert (await person.post(CODEX_TOKEN, data=asked.token_request(code, client_id="app_other"))).status_code == 401
    asked = codex()
    code = (await callback(person, asked.url()))["code"]
    assert (await person.post(CODEX_TOKEN, data=asked.token_request(code))).status_code == 200
    assert (await person.post(CODEX_TOKEN, data=asked.token_request(code))).status_code == 400


async def test_a_page_out_of_turn_or_of_a_finished_sign_in_leads_nowhere(person):
    page = await open_page(person, codex().url())
    for later in ("code", "consent"):
        assert (await person.get(page.action.replace("/email", f"/{later}"))).status_code == 410
    assert (await person.get("https://auth.openai.com/practice/nobody/email")).status_code == 410
    consent = await consent_page(person, codex().url())
    assert (await submit(person, consent, "authorize")).status_code == 303
    assert (await submit(person, consent, "authorize")).status_code == 410


@pytest.mark.parametrize(("field", "typed"), [("email", "nobody"), ("email", "a b@c"), ("email", "")])
async def test_a_wrong_entry_is_asked_for_again(person, field, typed):
    page = Page(await submit(person, await open_page(person, codex().url()), **{field: typed}))
    assert page.name == "email"
    assert "not an e-mail address" in page.text


async def test_what_a_person_types_is_shown_as_text(person):
    page = Page(await submit(person, await open_page(person, codex().url()), email="<b>x</b>@practice.dev"))
    assert page.name == "code"
    assert "<b>x</b>@practice.dev" in page.text


async def test_cancel_is_told_to_the_cli_as_access_denied(person):
    asked = claude()
    assert await callback(person, asked.url(), "cancel") == {
        "error": "access_denied",
        "error_description": "The person said no.",
        "state": asked.state,
    }


async def test_asked_for_by_another_client_a_vendors_page_does_not_open_for_it(person):
    stray = Asked("https://claude.com/cai/oauth/authorize", codex().fields["client_id"], "http://localhost:1/callback")
    assert (await person.get(stray.url())).status_code == 400
