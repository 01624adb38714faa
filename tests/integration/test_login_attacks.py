"""Attacks on an operator's login, each of them refused, with an issuer that is right in everything but one thing."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import time
from datetime import timedelta

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.openid import issuer_of
from antechamber.settings import Settings
from tests.hostile_issuer import HostileIssuer, Stalling, answer, endless, key_of, unsigned
from tests.integration.test_logs import written
from tests.integration.web_service import error_of, now, running

__all__ = ["written"]

DISCOVERY = "/.well-known/openid-configuration"
NOT_BELIEVED = (502, Code.ISSUER_NOT_BELIEVED)
NOT_VALID = (403, Code.LOGIN_NOT_VALID)
UNAVAILABLE = (503, Code.ISSUER_UNAVAILABLE)


class Clock:
    def __init__(self):
        self.ahead = timedelta(0)

    def __call__(self):
        return now() + self.ahead


@pytest.fixture
def issuer():
    with HostileIssuer() as serving:
        yield serving


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def service(tmp_path, issuer, clock):
    async with running(tmp_path, clock=clock, oidc_subjects="ada", oidc_s=1, **issuer.settings) as started:
        yield started


async def browser_of(service):
    return await service.stranger(Origin=service.addresses.dashboard.origin)


async def begun(service, issuer, browser=None):
    """Return (the browser, what the issuer was asked) of a login that was begun."""
    browser = browser or await browser_of(service)
    answered = await browser.post("/api/dashboard/login")
    assert answered.status_code == 200, answered.text
    return browser, issuer.sent_to(answered.json()["url"])


async def is_in(browser):
    return (await browser.get("/api/dashboard")).status_code == 200


async def refused(service, issuer, **otherwise):
    """Begin a login, come back from the issuer, and return how that was refused."""
    browser, asked = await begun(service, issuer)
    answered = await browser.get(issuer.back(asked, **otherwise))
    assert not await is_in(browser)
    assert "antechamber_dashboard" not in browser.cookies
    return error_of(answered)


async def test_an_issuer_that_is_right_in_everything_lets_its_operator_in(service, issuer):
    browser, asked = await begun(service, issuer)
    done = await browser.get(issuer.back(asked))
    assert (done.status_code, done.headers["location"]) == (303, "/#entered")
    assert await is_in(browser)


# -- whose browser it is ---------------------------------------------------------------------------------------------


async def test_a_login_ends_in_the_browser_that_began_it_and_in_no_other(service, issuer):
    _, asked = await begun(service, issuer)
    other = await browser_of(service)
    assert error_of(await other.get(issuer.back(asked))) == NOT_VALID
    assert not await is_in(other)
    assert "/token" not in [path for path, *_ in issuer.asked]


async def test_nobody_is_logged_in_as_somebody_else_by_an_address_that_was_sent_to_them(service, issuer):
    _, attackers = await begun(service, issuer)
    victim, _ = await begun(service, issuer)
    assert error_of(await victim.get(issuer.back(attackers))) == NOT_VALID
    assert not await is_in(victim)


@pytest.mark.parametrize("state", ["", "x", "a" * 4097, "%00", "%F0%9F%92%A3"])
async def test_a_state_that_is_none_of_this_browsers_is_refused(service, issuer, state):
    browser, asked = await begun(service, issuer)
    status, code = error_of(await browser.get(issuer.back(asked, state=state)))
    assert (status, code) in {NOT_VALID, (422, Code.BAD_REQUEST)}
    assert error_of(await browser.get(issuer.back(asked, state=None))) == NOT_VALID
    assert not await is_in(browser)


async def test_a_cookie_that_is_none_of_ours_ends_no_login_and_breaks_nothing(service, issuer):
    _, asked = await begun(service, issuer)
    stranger = await service.stranger()
    for planted in ("x", "a" * 43, f"{'a' * 43}_", f"{'a' * 43}_{'9' * 60}", f"{'a' * 43}_-1", "é", f"{'a' * 43}_²"):
        headers = {"Cookie": f"antechamber_login={planted}".encode()}
        assert error_of(await stranger.get(issuer.back(asked), headers=headers)) == NOT_VALID, planted


async def test_what_stands_twice_in_the_address_is_refused(service, issuer):
    browser, asked = await begun(service, issuer)
    assert error_of(await browser.get(f"{issuer.back(asked)}&code=another")) == NOT_VALID
    assert not await is_in(browser)


async def test_a_login_gives_a_cookie_of_its_own_and_ends_the_one_that_was_there(service, issuer):
    browser = await browser_of(service)
    fixed = (await service.signin.open_dashboard(await service.signin.dashboard_link())).reveal()
    browser.cookies.set("antechamber_dashboard", fixed, domain="127.0.0.1", path="/")
    browser, asked = await begun(service, issuer, browser)
    done = await browser.get(issuer.back(asked))
    (given,) = [one for one in done.headers.get_list("set-cookie") if one.startswith("antechamber_dashboard=")]
    assert fixed not in given
    attacker = await service.stranger(Cookie=f"antechamber_dashboard={fixed}")
    assert not await is_in(attacker)


async def test_another_site_neither_begins_a_login_nor_ends_one(service, issuer):
    for path in ("/api/dashboard/login", "/api/dashboard/logout"):
        for origin in ("http://evil.example", "null", service.addresses.sign_in.origin):
            stranger = await service.stranger(Origin=origin)
            assert error_of(await stranger.post(path)) == (403, Code.WRONG_ORIGIN)
    assert issuer.asked == []


# -- one login, once -------------------------------------------------------------------------------------------------


async def test_a_login_ends_once_even_where_the_issuer_takes_its_code_again(service, issuer):
    browser, asked = await begun(service, issuer)
    kept = f"antechamber_login={browser.cookies['antechamber_login']}"
    assert (await browser.get(issuer.back(asked))).status_code == 303
    assert "antechamber_login" not in browser.cookies
    assert error_of(await browser.get(issuer.back(asked))) == NOT_VALID
    thief = await service.stranger(Cookie=kept)
    assert error_of(await thief.get(issuer.back(asked))) == NOT_VALID
    assert [path for path, *_ in issuer.asked].count("/token") == 2
    assert "antechamber_dashboard" not in thief.cookies


async def test_a_login_ends_within_ten_minutes_or_not_at_all(service, issuer, clock):
    browser, asked = await begun(service, issuer)
    clock.ahead = timedelta(minutes=10)
    kept = {"Cookie": f"antechamber_login={browser.cookies['antechamber_login']}"}
    assert error_of(await browser.get(issuer.back(asked), headers=kept)) == NOT_VALID
    clock.ahead = -timedelta(minutes=2)
    assert error_of(await browser.get(issuer.back(asked), headers=kept)) == NOT_VALID
    assert not await is_in(browser)


async def test_a_stolen_code_is_worth_nothing_without_what_only_the_first_browser_has(service, issuer):
    _, victims = await begun(service, issuer)
    thief, thiefs = await begun(service, issuer)
    await thief.get(issuer.back(thiefs, code="DUMMY-stolen"))
    ((_, _, form),) = [one for one in issuer.asked if one[0] == "/token"]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
    assert challenge.rstrip(b"=").decode() == thiefs["code_challenge"] != victims["code_challenge"]
    assert victims["code_challenge_method"] == "S256"


async def test_a_token_of_an_earlier_login_is_refused(service, issuer):
    _, first = await begun(service, issuer)
    issuer.claims["nonce"] = first["nonce"]
    assert await refused(service, issuer) == NOT_BELIEVED
    issuer.claims["nonce"] = None
    assert await refused(service, issuer) == NOT_BELIEVED


# -- whose answer it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iss", [None, "", "https://evil.example", "http://127.0.0.1"])
async def test_an_answer_of_another_issuer_is_refused_before_its_code_is_shown_to_anybody(service, issuer, iss):
    assert await refused(service, issuer, iss=iss) == NOT_VALID
    assert "/token" not in [path for path, *_ in issuer.asked]


@pytest.mark.parametrize("said", ["https://evil.example", "", None, 7, "/"])
async def test_an_issuer_that_says_that_it_is_another_is_not_asked_for_anything(service, issuer, said):
    issuer.discovery["issuer"] = f"{issuer.url}/" if said == "/" else said
    answered = await (await browser_of(service)).post("/api/dashboard/login")
    assert error_of(answered) == NOT_BELIEVED
    assert [path for path, *_ in issuer.asked] == [DISCOVERY]


# -- what its token says ---------------------------------------------------------------------------------------------

AT = int(time.time())
CLAIMS = {
    "of another issuer": {"iss": "https://evil.example"},
    "of no issuer": {"iss": None},
    "for another client": {"aud": "another"},
    "for nobody": {"aud": None},
    "for many, ours among them and none of them named": {"aud": ["antechamber", "another"]},
    "for many, and used by another": {"aud": ["antechamber", "another"], "azp": "another"},
    "for another, and used by us": {"aud": "another", "azp": "antechamber"},
    "for us, and used by another": {"azp": "another"},
    "for us in a way that is none": {"aud": {"antechamber": True}},
    "over": {"exp": AT - 3600},
    "without an end": {"exp": None},
    "with an end that is none": {"exp": "tomorrow"},
    "with an end beyond all numbers": {"exp": float("nan")},
    "not begun yet": {"nbf": AT + 3600},
    "of a time to come": {"iat": AT + 3600},
    "of no time": {"iat": None},
    "about nobody": {"sub": None},
    "about nobody in letters": {"sub": ""},
    "about a number": {"sub": 7},
    "about somebody with a name without end": {"sub": "a" * 256},
    "about somebody whose name plays with the terminal": {"sub": "ada\x1b[2J"},
    "about somebody whose name runs backwards": {"sub": "ada\u202e"},
    "of another access token": {"at_hash": "DUMMYDUMMYDUMMYDUMMYDQ"},
}


async def test_a_token_is_refused_that_is_not_of_this_issuer_for_us_about_somebody_and_now(service, issuer):
    # by the token alone
    issuer.discovery["userinfo_endpoint"] = None
    for what, issuer.claims in CLAIMS.items():
        assert await refused(service, issuer) == NOT_BELIEVED, what


async def test_clocks_may_differ_by_a_minute(service, issuer):
    at = int(time.time())
    issuer.claims = {"exp": at - 40, "iat": at + 40, "nbf": at + 40}
    browser, asked = await begun(service, issuer)
    assert (await browser.get(issuer.back(asked))).status_code == 303


async def test_a_token_that_nobody_signed_is_refused(service, issuer):
    issuer.sign = unsigned
    assert await refused(service, issuer) == NOT_BELIEVED


async def test_a_token_that_was_signed_with_what_others_have_too_is_refused(service, issuer):
    public = issuer.key.as_pem(private=False)
    for secret in (issuer.secret.encode(), public, json.dumps(issuer.published[0]).encode()):
        issuer.sign_symmetrically(secret)
        assert await refused(service, issuer) == NOT_BELIEVED
    shared = b"DUMMY shared with everybody, and published"
    issuer.sign_symmetrically(shared)
    k = base64.urlsafe_b64encode(shared).rstrip(b"=").decode()
    issuer.published = [{"kty": "oct", "k": k, "kid": issuer.key.kid, "alg": "HS256"}]
    assert await refused(service, issuer) == NOT_BELIEVED


async def test_a_token_that_was_signed_with_another_key_is_refused(service, issuer):
    issuer.key, issuer.header = key_of("another"), {"kid": "k1"}
    assert await refused(service, issuer) == NOT_BELIEVED
    issuer.header = {}
    assert await refused(service, issuer) == NOT_BELIEVED


async def test_a_key_that_the_token_brings_along_is_no_key(service, issuer):
    issuer.key = key_of("another")
    issuer.header = {"jwk": issuer.key.as_dict(private=False), "jku": f"{issuer.url}/keys"}
    assert await refused(service, issuer) == NOT_BELIEVED


async def test_an_algorithm_that_the_issuer_does_not_name_is_none_of_its_own(service, issuer):
    issuer.discovery["id_token_signing_alg_values_supported"] = ["ES256"]
    assert await refused(service, issuer) == NOT_BELIEVED


async def test_what_is_no_token_is_refused(service, issuer):
    for token in (None, 7, "", "x", "a.b.c", ".." * 1000, {"a": 1}):
        issuer.token["id_token"] = token
        assert await refused(service, issuer) == NOT_BELIEVED, token


async def test_keys_that_are_none_open_nothing(service, issuer):
    for keys in ([], {}, None, "x", [7], [{"kty": "RSA"}], [{"kty": "RSA", "n": "a", "e": "b"}]):
        issuer.published = keys
        assert await refused(service, issuer) == NOT_BELIEVED, keys


async def test_a_key_that_the_issuer_has_changed_is_known_at_once(service, issuer):
    browser, asked = await begun(service, issuer)
    issuer.key = key_of("another")
    issuer.published = [issuer.key.as_dict(private=False)]
    assert (await browser.get(issuer.back(asked))).status_code == 303


async def test_what_it_says_of_somebody_must_be_about_the_one_of_the_token(tmp_path, issuer):
    async with running(tmp_path, oidc_emails="ada@example.com", **issuer.settings) as service:
        issuer.claims = {"email": None, "email_verified": None, "sub": "eve"}
        assert await refused(service, issuer) == NOT_BELIEVED


async def test_an_address_is_verified_by_whoever_names_it_and_never_one_by_another(tmp_path, issuer):
    async with running(tmp_path, oidc_emails="bob@example.com", **issuer.settings) as service:
        for of_token, of_user_info in (
            (
                {"email": "bob@example.com", "email_verified": None},
                {"email": "eve@example.com", "email_verified": True},
            ),
            ({"email": None, "email_verified": True}, {"email": "bob@example.com", "email_verified": False}),
        ):
            issuer.claims, issuer.user_info = of_token, {"sub": "ada", **of_user_info}
            assert await refused(service, issuer) == (403, Code.LOGIN_NOT_ALLOWED)
        issuer.user_info = {"sub": "ada", "email": "bob@example.com", "email_verified": True}
        browser, asked = await begun(service, issuer)
        assert (await browser.get(issuer.back(asked))).status_code == 303


# -- how it answers --------------------------------------------------------------------------------------------------

ANSWERS = {
    "that it cannot": (answer(b"{}", status=500), UNAVAILABLE),
    "that it is too much": (answer(b"{}", status=429), UNAVAILABLE),
    "that it is elsewhere": (answer(b"{}", status=302, Location="http://127.0.0.1:9/"), NOT_BELIEVED),
    "with a page": (answer(b"{}", kind="text/html"), NOT_BELIEVED),
    "without saying what": (answer(b"{}", kind=None), NOT_BELIEVED),
    "with what is no JSON": (answer(b"<html>"), NOT_BELIEVED),
    "with a list": (answer(b"[]"), NOT_BELIEVED),
    "with something very deep": (answer(b"[" * 200_000), NOT_BELIEVED),
    "with a number very long": (answer(b'{"a": ' + b"9" * 100_000 + b"}"), NOT_BELIEVED),
    "with what is very large": (answer(b'{"a": "' + b"a" * 300_000 + b'"}'), NOT_BELIEVED),
    "with what is very large once it is unpacked": (
        answer(gzip.compress(b'{"a": "' + b"a" * 10_000_000 + b'"}'), Content_Encoding="gzip"),
        NOT_BELIEVED,
    ),
    "with what is no text": (answer(b"\xff\xfe\x00"), NOT_BELIEVED),
    "without end": (endless, NOT_BELIEVED),
}


@pytest.mark.parametrize("path", ["/token", "/keys"])
async def test_whatever_the_issuer_answers_nobody_is_let_in_and_it_is_said_whose_fault_it_is(service, issuer, path):
    for how, (instead, told) in ANSWERS.items():
        browser, asked = await begun(service, issuer)
        issuer.instead[path] = instead
        assert error_of(await browser.get(issuer.back(asked))) == told, how
        assert not await is_in(browser), how


async def look(issuer):
    """Return the code of the error that a look at the issuer ends with."""
    with pytest.raises(OperatorError) as refusal:
        await issuer_of(Settings(**issuer.settings, oidc_subjects="ada", oidc_s=1)).look()
    return refusal.value.code


async def test_whatever_the_issuer_says_of_itself_it_is_believed_only_where_it_is_whole(issuer):
    for how, (issuer.instead[DISCOVERY], (_, code)) in ANSWERS.items():
        assert await look(issuer) == code, how


async def test_an_issuer_that_goes_on_slowly_is_away_after_its_time(service, issuer):
    browser, asked = await begun(service, issuer)
    issuer.instead["/token"] = stalling = Stalling()
    assert error_of(await browser.get(issuer.back(asked))) == UNAVAILABLE
    stalling.let_go.set()


async def test_many_who_come_at_once_wait_for_no_one_and_the_issuer_is_asked_for_few(service, issuer):
    comers = [await begun(service, issuer) for _ in range(10)]
    issuer.instead["/token"] = stalling = Stalling()
    found = await asyncio.gather(*(browser.get(issuer.back(asked)) for browser, asked in comers))
    stalling.let_go.set()
    assert {error_of(one) for one in found} == {UNAVAILABLE}
    paths = [path for path, *_ in issuer.asked]
    assert (paths.count("/token"), paths.count(DISCOVERY)) == (8, 1)


BAD = ["javascript:alert(1)", "//evil.example/x", "http://evil.example/", "https://a@evil.example/", "data:,x", 7, ""]


async def test_what_is_right_and_comes_as_something_else_than_plain_json_is_not_read(issuer):
    right = json.dumps(issuer.document()).encode()
    issuer.instead[DISCOVERY] = answer(right, kind="application/json; charset=utf-8")
    await issuer_of(Settings(**issuer.settings, oidc_subjects="ada")).look()
    for wrong in (
        answer(right, kind="text/html"),
        answer(right, kind="text/plain"),
        answer(right, kind=None),
        answer(right, status=201),
        answer(gzip.compress(right), Content_Encoding="gzip"),
    ):
        issuer.instead[DISCOVERY] = wrong
        assert await look(issuer) == Code.ISSUER_NOT_BELIEVED


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
async def test_nobody_is_sent_to_an_address_that_is_none(issuer, name):
    for bad in BAD:
        issuer.discovery[name] = bad
        assert await look(issuer) == Code.ISSUER_NOT_BELIEVED, bad


async def test_what_the_issuer_says_is_wrong_is_shown_to_nobody(service, issuer, capsys):
    browser, asked = await begun(service, issuer)
    page = {"Accept": "text/html"}
    evil = "%3Cscript%3Ealert(1)%3C/script%3E%0AInjected:%20line"
    answered = await browser.get(issuer.back(asked, code=None, error=evil, error_description=evil), headers=page)
    assert answered.status_code == 403
    assert "login_refused" in answered.text
    assert "alert" not in answered.text
    assert "Injected" not in answered.text
    issuer.instead["/token"] = answer(
        json.dumps({"error": "x\x1b[2J", "error_description": "DUMMY"}).encode(), status=400
    )
    assert error_of(await browser.get(issuer.back(asked))) == NOT_BELIEVED
    assert "\x1b" not in "".join(capsys.readouterr())


# -- our own addresses -----------------------------------------------------------------------------------------------


async def test_where_the_browser_comes_back_to_is_the_configured_address_whatever_a_request_says(service, issuer):
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    browser = await browser_of(service)
    answered = await browser.post("/api/dashboard/login", headers=headers)
    asked = issuer.sent_to(answered.json()["url"])
    assert asked["redirect_uri"] == f"{service.addresses.dashboard.url}/login/callback"
    answered = await browser.post("/api/dashboard/login", headers={"Host": "evil.example"})
    assert error_of(answered) == (421, Code.WRONG_HOST)


@pytest.mark.parametrize(
    "more", ["&back=https://evil.example", "&next=//evil.example", "&RelayState=https://evil.example"]
)
async def test_a_login_leads_to_the_dashboard_and_nowhere_else(service, issuer, more):
    browser, asked = await begun(service, issuer)
    done = await browser.get(issuer.back(asked) + more)
    assert done.headers["location"] == "/#entered"


async def test_the_sign_in_site_knows_no_login(service, issuer):
    person = await service.browser()
    assert error_of(await person.post("/api/dashboard/login")) == (421, Code.WRONG_HOST)
    assert error_of(await person.get("/login/callback?state=x")) == (421, Code.WRONG_HOST)


async def test_no_secret_of_a_login_is_in_the_log_at_any_level(service, issuer, written):
    browser, asked = await begun(service, issuer)
    kept = browser.cookies["antechamber_login"]
    assert (await browser.get(issuer.back(asked, code="DUMMY-of-the-log"))).status_code == 303
    assert await refused(service, issuer, code="DUMMY-of-the-log", iss="x") == NOT_VALID
    ((_, _, form),) = [one for one in issuer.asked if one[0] == "/token"]
    said = json.dumps(written())
    assert "an operator has signed in" in said
    secrets = ("DUMMY-of-the-log", "DUMMY-access", issuer.secret, kept, asked["state"], asked["nonce"])
    for secret in (*secrets, form["code_verifier"], browser.cookies["antechamber_dashboard"]):
        assert secret not in said
