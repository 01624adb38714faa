"""A link is no proof of who opened it: an application says who sits at the browser before anything is shown.

Each test is one way to get at somebody's sign-in, or to have somebody sign in for another, over the real API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from antechamber.errors import CallerError, Code
from antechamber.model import ApiScope, new_cookie, new_secret
from tests.integration.web_service import OPERATIONS, error_of, running

BIND_URL = "https://acme.example.test/signed-in?from=antechamber"
ASKED = [
    ("GET", ""),
    ("GET", "/events"),
    ("GET", "/destinations"),
    ("POST", "/consent"),
    ("POST", "/ticket"),
    ("POST", "/terminal/ticket"),
    ("POST", "/again"),
    ("POST", "/shown"),
    ("POST", "/reject"),
    ("POST", "/cancel"),
]


@dataclass
class Acme:
    """An application with users who are signed in with it, in their own browsers."""

    service: object
    client: object
    signed_in: dict = field(default_factory=dict)
    """Who is signed in in which browser."""

    async def start(self, user_id="ada", **body):
        answer = await self.client.post("/api/auth/session", json={**OPERATIONS, "user_id": user_id, **body})
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def browser(self, user_id=None):
        browser = await self.service.browser()
        self.signed_in[browser] = user_id
        return browser

    async def visited(self, browser, url):
        """Have a browser come to the application with that address: it says who is signed in there, and no more."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        return await self.client.post(
            f"/api/auth/session/{asked['session_id']}/bind",
            json={"user_id": self.signed_in[browser], "challenge": asked["challenge"]},
        )


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


@pytest.fixture
async def acme(service):
    _, client = await service.application(ApiScope.SESSIONS_WRITE, bind_url=BIND_URL)
    return Acme(service, client)


async def opened(browser, url):
    """Open a link in a browser; return the answer, and the session's address."""
    page, _, code = url.partition("#")
    base = f"/api/auth/session/{page.rpartition('/')[2]}"
    return await browser.post(f"{base}/open", json={"code": code}), base


async def sent(browser, url):
    """Open a link in a browser, which is then sent on; return the session's address and where to."""
    answer, base = await opened(browser, url)
    assert answer.status_code == 204
    told = await browser.post(f"{base}/binding", json={})
    assert told.status_code == 200, told.text
    assert told.json().keys() == {"application", "url"}
    return base, told.json()["url"]


async def come_back(browser, bound):
    """Have a browser follow the application's redirect; return the answer."""
    page, _, fragment = bound.json()["continue_url"].partition("#")
    base = f"/api/auth/session/{page.rpartition('/')[2]}"
    return await browser.post(f"{base}/return", json={"code": fragment.removeprefix("bound.")})


async def is_refused_everything(browser, base, code):
    for method, path in ASKED:
        body = {"json": {"attempt": 1} if path == "/again" else {}} if method == "POST" else {}
        assert error_of(await browser.request(method, base + path, **body))[1] == code, path


async def test_no_screen_and_no_terminal_opens_to_a_browser_that_is_not_bound(service, acme):
    started = await acme.start("ada")
    eve = await acme.browser("eve")
    await sent(eve, started["sign_in_url"])
    await service.ready(started["session_id"])
    site = service.addresses.sign_in
    cookie = "; ".join(f"{name}={value}" for name, value in eve.cookies.items())
    for which in ("screen", "terminal"):
        for headers, status in (({"Cookie": cookie}, 403), ({}, 401)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(
                    f"ws://{site.host}/api/auth/session/{started['session_id']}/{which}",
                    host="127.0.0.1",
                    port=service.port,
                    origin=site.origin,
                    subprotocols=["binary", f"ticket.{new_secret().reveal()}"],
                    additional_headers=headers,
                    proxy=None,
                )
            assert refused.value.response.status_code == status, (which, headers)


async def test_the_owner_in_one_browser_comes_to_the_consent_and_to_the_screen(service, acme):
    started = await acme.start(purpose="the nightly build")
    ada = await acme.browser("ada")
    base, url = await sent(ada, started["sign_in_url"])
    parts = urlsplit(url)
    assert (parts.hostname, parts.path) == ("acme.example.test", "/signed-in")
    assert {"from", "session_id", "challenge"} == parse_qs(parts.query).keys()
    await is_refused_everything(ada, base, "bind_needed")
    bound = await acme.visited(ada, url)
    assert bound.json()["continue_url"].startswith(f"{service.addresses.sign_in.url}/s/{started['session_id']}#bound.")
    assert error_of(await acme.visited(ada, url)) == (403, "challenge_not_valid")
    await is_refused_everything(ada, base, "bind_needed")
    assert (await come_back(ada, bound)).status_code == 204
    view = (await ada.get(base)).json()
    assert (view["application"], view["owner"], view["opened_at"] is None) == ("Acme", "ada", False)
    await service.ready(started["session_id"])
    assert (await ada.post(f"{base}/consent", json={})).status_code == 200
    assert (await ada.post(f"{base}/ticket", json={})).status_code == 200


async def test_before_the_binding_a_page_learns_the_applications_name_and_nothing_else(service, acme):
    started = await acme.start(user_id="a-secret-name", purpose="a secret purpose", display_name="Secret")
    browser = await acme.browser()
    answer, base = await opened(browser, started["sign_in_url"])
    told = await browser.post(f"{base}/binding", json={})
    everything = answer.text + str(answer.headers) + told.text + str(told.headers)
    assert told.json()["application"] == "Acme"
    for secret in ("a-secret-name", "a secret purpose", "Secret", "codex"):
        assert secret not in everything


async def test_a_link_that_was_sent_on_before_it_was_opened(service, acme):
    """Eve got the link that is Ada's: she is not Ada at the application."""
    started = await acme.start("ada")
    eve = await acme.browser("eve")
    base, url = await sent(eve, started["sign_in_url"])
    refused = await acme.visited(eve, url)
    assert error_of(refused) == (403, "bind_other_person")
    await is_refused_everything(eve, base, "bind_needed")
    # Ada asks her application again: a fresh link, and Eve is out
    again = await acme.start("ada")
    assert again["session_id"] == started["session_id"]
    ada = await acme.browser("ada")
    _, url = await sent(ada, again["sign_in_url"])
    await is_refused_everything(eve, base, "not_signed_in")
    assert (await come_back(ada, await acme.visited(ada, url))).status_code == 204
    story = [event.kind for event in await service.signin.events(started["session_id"])]
    assert story == ["created", "sent_to_bind", "bind_other_person", "bound", "opened"]


async def test_a_link_that_was_sent_on_after_it_was_opened_and_after_the_consent(service, acme):
    started = await acme.start("ada")
    ada, eve = await acme.browser("ada"), await acme.browser("eve")
    base, url = await sent(ada, started["sign_in_url"])
    for _ in range(2):
        answer, _ = await opened(eve, started["sign_in_url"])
        assert error_of(answer) == (403, "link_not_valid")
        assert error_of(await eve.post(f"{base}/binding", json={})) == (401, "not_signed_in")
        await is_refused_everything(eve, base, "not_signed_in")
        if (await ada.get(base)).status_code != 200:
            assert (await come_back(ada, await acme.visited(ada, url))).status_code == 204
            assert (await ada.post(f"{base}/consent", json={})).status_code == 200
    # nor does the way to the application serve again, whoever takes it
    assert error_of(await acme.visited(eve, url)) == (403, "challenge_not_valid")


async def test_the_challenge_of_another_browser(service, acme):
    """Eve opens Ada's link, and has Ada go to the application with the challenge that she got for it."""
    started = await acme.start("ada")
    eve, ada = await acme.browser("eve"), await acme.browser("ada")
    base, url = await sent(eve, started["sign_in_url"])
    bound = await acme.visited(ada, url)
    assert bound.status_code == 200
    # it is Ada's browser that the application sends back
    assert error_of(await come_back(ada, bound)) == (403, "return_not_valid")
    # and what Ada was sent back with is used up, should Eve come by it
    assert error_of(await come_back(eve, bound)) == (403, "return_not_valid")
    for browser, code in ((eve, "bind_needed"), (ada, "not_signed_in")):
        await is_refused_everything(browser, base, code)
    assert "bind_other_browser" in [event.kind for event in await service.signin.events(started["session_id"])]


async def test_the_victims_own_session_in_another_browser_does_not_help_with_it(service, acme):
    """Ada has a sign-in of her own under way: its cookie is not that of the one that Eve's challenge is of."""
    own, planted = await acme.start("ada"), await acme.start("ada", provider="gemini")
    eve, ada = await acme.browser("eve"), await acme.browser("ada")
    await sent(ada, own["sign_in_url"])
    _, url = await sent(eve, planted["sign_in_url"])
    bound = await acme.visited(ada, url)
    assert error_of(await come_back(ada, bound)) == (403, "return_not_valid")


async def test_an_attacker_who_would_have_the_victim_sign_in_for_them(service, acme):
    """Eve sends Ada the link of Eve's own session, so that Ada's account comes to be Eve's."""
    started = await acme.start("eve")
    ada = await acme.browser("ada")
    base, url = await sent(ada, started["sign_in_url"])
    assert error_of(await acme.visited(ada, url)) == (403, "bind_other_person")
    await is_refused_everything(ada, base, "bind_needed")
    # nor when Eve takes the way to the application herself: it is not her browser that was sent
    _, url = base, (await ada.post(f"{base}/binding", json={})).json()["url"]
    eve = await acme.browser("eve")
    bound = await acme.visited(eve, url)
    assert error_of(await come_back(eve, bound)) == (403, "return_not_valid")
    assert error_of(await come_back(ada, bound)) == (403, "return_not_valid")
    await is_refused_everything(ada, base, "bind_needed")


async def test_an_account_that_would_be_planted_with_the_victim(service, acme):
    """Eve would sign in herself, with an account of hers, in the session that is Ada's."""
    started = await acme.start("ada")
    eve = await acme.browser("eve")
    base, url = await sent(eve, started["sign_in_url"])
    assert error_of(await acme.visited(eve, url)) == (403, "bind_other_person")
    await service.ready(started["session_id"])
    await is_refused_everything(eve, base, "bind_needed")
    with pytest.raises(CallerError) as refused:
        await service.signin.ticket(started["session_id"])
    assert refused.value.code is Code.CONSENT_NEEDED


async def test_a_way_back_opens_nothing_to_a_browser_that_had_another_link_or_has_made_itself_a_cookie(service, acme):
    """Eve had opened a link of before: her browser has a cookie of this very session."""
    started = await acme.start("ada")
    eve, mallory, ada = await acme.browser("eve"), await acme.browser("mallory"), await acme.browser("ada")
    base, _ = await sent(eve, started["sign_in_url"])
    _, url = await sent(ada, (await acme.start("ada"))["sign_in_url"])
    bound = await acme.visited(ada, url)
    (name,) = eve.cookies.keys()
    mallory.cookies.set(name, new_cookie().reveal())
    for other in (eve, mallory):
        assert error_of(await come_back(other, bound)) == (403, "return_not_valid")
        await is_refused_everything(other, base, "not_signed_in")
    story = [event.kind for event in await service.signin.events(started["session_id"])]
    assert "opened" not in story
    assert "bind_other_browser" in story


async def test_only_the_sessions_own_application_says_who_it_is(service, acme):
    started = await acme.start("ada")
    ada = await acme.browser("ada")
    base, url = await sent(ada, started["sign_in_url"])
    said = {"user_id": "ada", "challenge": parse_qs(urlsplit(url).query)["challenge"][0]}
    _, other = await service.application(*ApiScope, name="Other")
    assert error_of(await other.post(f"{base}/bind", json=said)) == (404, "session_not_found")
    _, reader = await service.application(ApiScope.SESSIONS_READ)
    assert error_of(await reader.post(f"{base}/bind", json=said)) == (403, "scope_needed")
    operator = await service.operator()
    assert error_of(await operator.post(f"{base}/bind", json=said)) == (403, "not_allowed")
    assert (await acme.client.post(f"{base}/bind", json=said)).status_code == 200


async def test_the_operator_has_no_link_to_a_session_that_binds(service, acme):
    started = await acme.start("ada")
    operator = await service.operator()
    answer = await operator.post(f"/api/auth/session/{started['session_id']}/link", json={})
    assert error_of(answer) == (403, "bind_needed")


async def test_without_a_bind_url_the_operator_opens_the_link_and_nobody_else_has_one(service):
    _, client = await service.application(*ApiScope, bind_url=None)
    started = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    assert started["sign_in_url"] is None
    base = f"/api/auth/session/{started['session_id']}"
    assert error_of(await client.post(f"{base}/link", json={})) == (403, "not_allowed")
    operator = await service.operator()
    url = (await operator.post(f"{base}/link", json={})).json()["sign_in_url"]
    person = await service.browser()
    assert (await opened(person, url))[0].status_code == 204
    view = (await person.get(base)).json()
    assert (view["application"], view["owner"]) == ("Acme", "ada")
    assert error_of(await operator.post(f"{base}/link", json={})) == (409, "already_open")
    again = await client.post("/api/auth/session", json=OPERATIONS)
    assert error_of(again) == (409, "already_open")


async def test_an_application_that_takes_nobody_any_more_gets_no_challenge(service):
    added, client = await service.application(*ApiScope, bind_url=BIND_URL)
    started = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    browser = await service.browser()
    _, base = await opened(browser, started["sign_in_url"])
    for change, back in (
        ({"disabled": True}, {"disabled": False}),
        ({"bind_url": None}, {"bind_url": BIND_URL}),
    ):
        await service.signin.applications.change(added.id, change)
        assert error_of(await browser.post(f"{base}/binding", json={})) == (404, "application_not_found")
        await service.signin.applications.change(added.id, back)
        assert (await browser.post(f"{base}/binding", json={})).status_code == 200


async def test_a_bind_url_is_a_web_address_that_a_question_can_be_added_to(service):
    for url in (
        "http://acme.example.test/",
        "javascript:alert(1)",
        "https://user:word@acme.example.test/",
        "https://acme.example.test/#x",
        "https:///x",
        "https://acme.example.test/\\x",
        "https://acme.example.test/ x",
        "https://acme.example.test/" + "x" * 2048,
        "",
        "https://1.2.3.4.5/",
        "https://a.999/",
        "https://a<b.example.test/",
        "https://a%62.example.test/",
        "https://a..example.test/",
        "https://xn--/",
        "https://@acme.example.test/",
        "https://acme.example.test:0/",
        "https://acmé.example.test/",
        "https://acme.example.test/?challenge=fixed",
        "https://acme.example.test/?x=1&session_id=",
    ):
        with pytest.raises(CallerError) as refused:
            await service.signin.applications.add("Acme", bind_url=url)
        assert refused.value.code is Code.BAD_REQUEST, url
    assert await service.signin.applications.list() == []
    for url in ("https://192.0.2.1/bind", "https://[2001:db8::1]:8443/", "https://xn--acm-dma.example.test/?a=1&b="):
        assert (await service.signin.applications.add(url[8:20], bind_url=url)).bind_url == url


async def test_a_session_that_nobody_could_open_any_more_gives_way_to_one_that_can_be(service):
    added, client = await service.application(*ApiScope, bind_url=BIND_URL)
    first = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    await service.signin.applications.change(added.id, {"bind_url": None})
    second = await client.post("/api/auth/session", json=OPERATIONS)
    assert (second.status_code, second.json()["sign_in_url"]) == (201, None)
    assert (await service.signin.session(first["session_id"])).reason == "superseded"
    operator = await service.operator()
    link = await operator.post(f"/api/auth/session/{second.json()['session_id']}/link", json={})
    assert link.status_code == 200
    await service.signin.applications.change(added.id, {"bind_url": BIND_URL})
    third = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    assert third["sign_in_url"] is not None
    # one that somebody has opened goes on
    browser = await service.browser()
    assert (
        await come_back(
            browser,
            await Acme(service, client, {browser: "ada"}).visited(
                browser, (await sent(browser, third["sign_in_url"]))[1]
            ),
        )
    ).status_code == 204
    await service.signin.applications.change(added.id, {"bind_url": None})
    assert error_of(await client.post("/api/auth/session", json=OPERATIONS)) == (409, "already_open")
