"""The whole way of an application's user: from its link to the application and back, in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import view
from tests.browser.states import STATES, asked_by_an_application, stays

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES = ((1440, 900), (390, 844))
PICTURES = Path(__file__).parents[2] / "test-results" / "pictures"


async def keep(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png")


@dataclass
class Acme:
    """An application on an address of its own, which knows who is signed in with it by a cookie of its own."""

    port: int = 0
    client: object = None
    asked: list = field(default_factory=list)

    @property
    def url(self):
        return f"http://localhost:{self.port}/antechamber"

    async def answer(self, reader, writer):
        try:
            await self._answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        except asyncio.IncompleteReadError:
            pass  # a browser connects before it has anything to ask
        finally:
            writer.close()
            await writer.wait_closed()

    async def _answer(self, request, writer):
        target = request.split()[1]
        who = next((line.partition("user=")[2] for line in request.split("\r\n") if line.startswith("Cookie:")), "")
        given = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if "challenge" not in given:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.asked.append(given)
        bound = await self.client.post(
            f"/api/auth/session/{given['session_id']}/bind",
            json={"user_id": who or "nobody", "challenge": given["challenge"]},
        )
        if bound.is_success:
            head = f"HTTP/1.1 303 See Other\r\nLocation: {bound.json()['continue_url']}\r\n"
        else:
            head = "HTTP/1.1 403 Forbidden\r\n"
        said = b"" if bound.is_success else b"This link is not yours."
        writer.write(f"{head}Content-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode() + said)


@contextlib.asynccontextmanager
async def acme_of(person):
    acme = Acme()
    server = await asyncio.start_server(acme.answer, "127.0.0.1", 0)
    acme.port = server.sockets[0].getsockname()[1]
    async with server:
        acme.client, acme.started = await asked_by_an_application(person, bind_url=acme.url)
        yield acme


async def signed_in(person, acme, user):
    await person.context.add_cookies([{"name": "user", "value": user, "url": acme.url}])


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_the_owner_is_led_to_the_application_and_back_and_sees_who_asks(people, width, height):
    person = await people(width=width, height=height)
    async with acme_of(person) as acme:
        await signed_in(person, acme, "ann")
        page = await person.page(acme.started["sign_in_url"])
        await view(page, "consent")
        terms = await page.locator("dl.terms").inner_text()
        assert "Acme Builds" in terms
        assert "ann" in terms
        assert len(acme.asked) == 1
        # neither of the secrets stays in the address bar or the history
        assert page.url.endswith(f"/s/{acme.started['session_id']}")
        await keep(page, f"bound-consent-{width}")
        await page.get_by_role("button", name="Agree").click()
        await view(page, "starting")
        # a reload is the same browser still
        await page.reload()
        await view(page, "starting")


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_whoever_is_somebody_else_is_told_by_the_application_and_finds_nothing_on_coming_back(
    people, width, height
):
    person = await people(width=width, height=height)
    async with acme_of(person) as acme:
        await signed_in(person, acme, "eve")
        page = await person.page(acme.started["sign_in_url"])
        await page.get_by_text("This link is not yours.").wait_for()
        await page.goto(acme.started["sign_in_url"].partition("#")[0])
        await view(page, "binding")
        words = await page.locator("body").inner_text()
        assert "Acme Builds" in words
        assert "ann" not in words
        assert "Codex" not in words
        # it is not sent on by itself again, and says where the way leads
        link = page.get_by_role("link", name="Go on to localhost")
        assert len(acme.asked) == 1
        await keep(page, f"binding-{width}")
        await signed_in(person, acme, "ann")
        await link.click()
        await view(page, "consent")
        assert len(acme.asked) == 2


async def test_a_way_back_in_another_browser_opens_nothing(people):
    ann, eve = await people(), await people()
    async with acme_of(ann) as acme:
        await signed_in(ann, acme, "ann")
        held = await eve.page()
        await held.route("**/antechamber?**", stays)
        await held.goto(acme.started["sign_in_url"])
        await view(held, "binding")
        url = await held.get_by_role("link", name="Go on to localhost").get_attribute("href")
        page = await ann.page(url)
        await view(page, "closed")
        await page.get_by_role("heading", name="This sign-in is not open in this browser").wait_for()


async def test_the_operator_opens_a_sign_in_whose_application_cannot_say_who_it_is(people):
    operator = await people()
    client, started = await asked_by_an_application(operator, bind_url=None, name="Acme")
    assert started["sign_in_url"] is None
    page = await operator.dashboard(f"/sessions/{started['session_id']}")
    await page.get_by_role("heading", name="Codex for ann · Acme").wait_for()
    await keep(page, "opened-by-the-operator")
    async with operator.context.expect_page() as opened:
        await page.get_by_role("button", name="Open the sign-in page").click()
    sign_in = await opened.value
    await view(sign_in, "consent")
    assert "Acme" in await sign_in.locator("dl.terms").inner_text()
    await page.get_by_role("button", name="Open the sign-in page").wait_for(state="detached")
    del client


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_the_dashboard_says_what_each_key_may_and_when_it_was_used(people, width, height):
    operator = await people(width=width, height=height)
    page = await STATES["dashboard open applications"].enter(operator, people)
    acme = page.get_by_role("region", name="Acme Builds")
    words = await acme.inner_text()
    for word in ("sessions:write", "credentials:reveal", "Works", "http://localhost:9/acme"):
        assert word in words
    assert "Never" not in words
    other = await page.get_by_role("region", name="Acme Unlimited").inner_text()
    for word in ("Disabled", "Revoked", "Expired", "Never", "Its links are opened here"):
        assert word in other
    await keep(page, f"applications-{width}")


async def test_a_service_that_is_away_for_a_moment_is_asked_again_for_the_way(people):
    person = await people()
    async with acme_of(person) as acme:
        await signed_in(person, acme, "ann")
        page = await person.page()
        tries = []

        async def away_once(route):
            tries.append(route.request.url)
            await (route.abort() if len(tries) == 1 else route.continue_())

        await page.route("**/binding", away_once)
        await page.goto(acme.started["sign_in_url"])
        await view(page, "consent")
        assert len(tries) == 2


async def test_a_page_that_is_told_to_wait_waits_and_goes_on_with_its_link(people):
    person = await people()
    started = await person.service.start()
    page = await person.page()
    tries = []

    async def too_often_once(route):
        tries.append(route.request.url)
        if len(tries) > 1:
            await route.continue_()
            return
        said = {"code": "too_often", "message": "This was asked too often.", "next": "Wait.", "retryable": True}
        await route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": said})

    await page.route("**/open", too_often_once)
    await page.goto(started["sign_in_url"])
    await view(page, "closed")
    await page.get_by_text("This was asked too often.").wait_for()
    await view(page, "consent")
    assert len(tries) == 2


async def test_what_an_application_calls_its_user_emphasises_nothing(people):
    person = await people()
    started = await person.service.start(user_id="ada** and of nobody else. **x", purpose="**all** of it")
    page = await person.page(started["sign_in_url"])
    await view(page, "consent")
    strong = await page.locator("dl.terms strong").all_inner_texts()
    assert strong[:2] == ["ada** and of nobody else. **x", "**all** of it"]
