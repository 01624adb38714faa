"""Access tokens that end, refresh tokens that rotate, and families that are revoked: what a run's vendor does."""

from __future__ import annotations

import hashlib

import httpx
import jwt
import pytest

from tests.integration.standin_person import browser, callback, claude, codex, gemini, running

TOKEN = {
    "codex": "https://auth.openai.com/oauth/token",
    "claude_code": "https://platform.claude.com/v1/oauth/token",
    "gemini": "https://oauth2.googleapis.com/token",
}
ASKED = {"codex": codex, "claude_code": claude, "gemini": gemini}
SECRET = {"gemini": {"client_secret": "DUMMY"}}
NEEDS_ACCESS = {
    "codex": ("GET", "https://chatgpt.com/backend-api/wham/accounts/check"),
    "claude_code": ("GET", "https://api.anthropic.com/api/oauth/profile"),
    "gemini": ("POST", "https://cloudcode-pa.googleapis.com/v1internal:loadCodeAssist"),
}
ROTATING = ("codex", "claude_code")
ALL = (*ROTATING, "gemini")


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


async def sign_in(person, provider):
    asked = ASKED[provider]()
    given = await callback(person, asked.url(), email=f"{provider}@practice.dev")
    request = asked.token_request(given["code"], **SECRET.get(provider, {}))
    return (await person.post(TOKEN[provider], data=request)).json()


async def renew(person, provider, token):
    client = ASKED[provider]().fields["client_id"]
    form = {"grant_type": "refresh_token", "client_id": client, "refresh_token": token, **SECRET.get(provider, {})}
    return await person.post(TOKEN[provider], data=form)


async def works(person, provider, tokens):
    method, url = NEEDS_ACCESS[provider]
    answer = await person.request(method, url, headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


async def family(standin, provider):
    return [found for found in await standin.families() if found["vendor"] == provider][-1]


@pytest.mark.parametrize("provider", ROTATING)
async def test_a_refresh_token_is_good_once_and_its_second_use_ends_every_token_of_the_sign_in(
    standin, person, provider
):
    first = await sign_in(person, provider)
    second = (await renew(person, provider, first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert await works(person, provider, second)
    told = await family(standin, provider)
    assert (told["renewals"], told["rotations"], told["reuses"], told["revoked"]) == (1, 1, 0, False)
    assert told["refresh_sha256"] == hashlib.sha256(second["refresh_token"].encode()).hexdigest()
    assert (await renew(person, provider, first["refresh_token"])).status_code in {400, 401}
    told = await family(standin, provider)
    assert (told["reuses"], told["revoked"]) == (1, True)
    assert not await works(person, provider, second)
    assert (await renew(person, provider, second["refresh_token"])).status_code in {400, 401}


async def test_gemini_keeps_its_refresh_token_and_gets_none_with_a_new_access_token(standin, person):
    first = await sign_in(person, "gemini")
    for _ in range(2):
        assert "refresh_token" not in (await renew(person, "gemini", first["refresh_token"])).json()
    told = await family(standin, "gemini")
    assert (told["renewals"], told["rotations"], told["revoked"]) == (2, 0, False)


@pytest.mark.parametrize(
    ("provider", "reused", "revoked"),
    [
        ("codex", (401, "refresh_token_reused"), (401, "refresh_token_invalidated")),
        ("claude_code", (400, "invalid_grant"), (400, "invalid_grant")),
        ("gemini", None, (400, "invalid_grant")),
    ],
)
async def test_a_dead_refresh_token_is_refused_in_the_vendors_own_form(standin, person, provider, reused, revoked):
    def said(answer):
        error = answer.json()["error"]
        return answer.status_code, error["code"] if isinstance(error, dict) else error

    first = await sign_in(person, provider)
    latest = first
    if reused is not None:
        latest = (await renew(person, provider, first["refresh_token"])).json()
        assert said(await renew(person, provider, first["refresh_token"])) == reused
    else:
        await standin.end_family((await family(standin, provider))["id"])
    assert said(await renew(person, provider, latest["refresh_token"])) == revoked


@pytest.mark.parametrize("provider", ALL)
async def test_an_access_token_ends_when_its_time_is_over_and_the_refresh_token_does_not(standin, person, provider):
    await standin.mode(token_lifetime_s=1)
    tokens = await sign_in(person, provider)
    assert tokens["expires_in"] == 1
    await standin.beacons(after=1_000_000, wait=1.05)
    assert not await works(person, provider, tokens)
    assert (await family(standin, provider))["refused"] == 1
    await standin.mode(token_lifetime_s=None)
    assert await works(person, provider, (await renew(person, provider, tokens["refresh_token"])).json())


async def test_renewed_access_tokens_can_last_longer_than_the_first(standin, person):
    await standin.mode(token_lifetime_s=60, renewed_lifetime_s=600)
    tokens = await sign_in(person, "codex")
    again = (await renew(person, "codex", tokens["refresh_token"])).json()
    assert (tokens["expires_in"], again["expires_in"]) == (60, 600)


@pytest.mark.parametrize("provider", ALL)
async def test_access_tokens_alone_or_the_whole_sign_in_can_be_ended_from_outside(standin, person, provider):
    tokens = await sign_in(person, provider)
    await standin.end_family((await family(standin, provider))["id"], access_only=True)
    assert not await works(person, provider, tokens)
    tokens = {**tokens, **(await renew(person, provider, tokens["refresh_token"])).json()}
    assert await works(person, provider, tokens)
    await standin.end_family((await family(standin, provider))["id"])
    assert not await works(person, provider, tokens)
    assert (await renew(person, provider, tokens["refresh_token"])).status_code in {400, 401}
    with pytest.raises(httpx.HTTPStatusError):
        await standin.end_family("none of them")


@pytest.mark.parametrize("provider", ALL)
async def test_an_answer_without_a_refresh_token_leaves_the_one_that_was_sent_good(standin, person, provider):
    tokens = await sign_in(person, provider)
    await standin.mode(refresh="no_refresh_token")
    for _ in range(2):
        answer = (await renew(person, provider, tokens["refresh_token"])).json()
        assert "refresh_token" not in answer
        assert await works(person, provider, answer)


@pytest.mark.parametrize(("provider", "rotate"), [("codex", False), ("claude_code", False), ("gemini", True)])
async def test_a_vendor_can_be_made_to_rotate_or_not_to(standin, person, provider, rotate):
    await standin.mode(rotate=rotate)
    tokens = await sign_in(person, provider)
    answer = (await renew(person, provider, tokens["refresh_token"])).json()
    assert (answer["refresh_token"] != tokens["refresh_token"]) is rotate
    assert (await family(standin, provider))["rotations"] == rotate


async def test_the_tokens_of_another_account_can_come_in_an_answer(standin, person):
    tokens = await sign_in(person, "codex")
    await standin.mode(refresh="other_account")
    answer = (await renew(person, "codex", tokens["refresh_token"])).json()
    loose = {"verify_signature": False, "verify_aud": False}
    assert jwt.decode(answer["id_token"], options=loose)["email"] == "somebody.else-DUMMY@example.com"
    assert answer["refresh_token"] != tokens["refresh_token"]


async def test_what_an_honest_client_meets_is_not_odd_and_a_token_that_was_never_given_out_is(standin, person):
    tokens = await sign_in(person, "codex")
    await standin.end_family((await family(standin, "codex"))["id"], access_only=True)
    before = (await standin.odd()).requests
    assert not await works(person, "codex", tokens)
    assert (await standin.odd()).requests == before
    assert not await works(person, "codex", {"access_token": "DUMMY-invented"})
    assert [odd.why for odd in (await standin.odd()).requests[len(before) :]] == ["no valid access token"]


async def test_no_token_is_ever_told_by_the_control_socket(standin, person):
    for provider in ALL:
        tokens = await sign_in(person, provider)
        said = repr(await standin.families())
        assert tokens["access_token"] not in said
        assert tokens["refresh_token"] not in said
