"""The sign-in page in a frame: of an origin that the operator lists, and of no other; in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from antechamber.model import ApiScope
from tests.browser import axe
from tests.browser.conftest import Person, installed, view
from tests.browser.test_binding import SIZES, keep
from tests.integration.web_service import OPERATIONS, running

pytestmark = pytest.mark.asyncio(loop_scope="session")

# what a page would have to be given, in the words of docs/how-to/embed.md
FRAME = """<!doctype html><html lang="en"><title>Acme</title><body style="margin:0">
<h1 style="margin:8px;font:20px sans-serif">Acme Builds</h1>
<iframe title="Sign in" src="{url}" allow="clipboard-write" style="border:0;width:100%;height:85vh"></iframe>
<script>
addEventListener("message", (event) => {{ (window.told ??= []).push([event.origin, event.data]); }});
</script>"""
AGAIN = "<!doctype html><script>location.replace(location.href + '&again=1');</script>"


@dataclass
class Embedder:
    """A site with pages that show the sign-in page in a frame, and a `bind_url` for its own users.

    Its cookie is `SameSite=Lax`, as most are.
    """

    port: int = 0
    client: object = None
    shows: str = ""
    asked: list = field(default_factory=list)

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await self._answer(head.split()[1], head, writer)
        except asyncio.IncompleteReadError:
            pass  # a browser connects before it has anything to ask
        finally:
            writer.close()
            await writer.wait_closed()

    async def _answer(self, target, head, writer):
        given = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        who = next((line.partition("user=")[2] for line in head.split("\r\n") if line.startswith("Cookie:")), None)
        headers, body = ["HTTP/1.1 200 OK", "Content-Type: text/html"], FRAME.format(url=self.shows)
        if "challenge" in given:
            self.asked.append(who)
            if who is None and "again" not in given:
                # the first request in the frame comes from another site, and brings no Lax cookie; this page's own does
                body = AGAIN
            else:
                bound = await self.client.post(
                    f"/api/auth/session/{given['session_id']}/bind",
                    json={"user_id": who or "nobody", "challenge": given["challenge"]},
                )
                assert bound.is_success, bound.text
                headers, body = ["HTTP/1.1 303 See Other", f"Location: {bound.json()['continue_url']}"], ""
        headers += [f"Content-Length: {len(body)}", "Connection: close"]
        writer.write("\r\n".join([*headers, "", body]).encode())


@contextlib.asynccontextmanager
async def embedder():
    site = Embedder()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


@contextlib.asynccontextmanager
async def scene(browser, tmp_path, *, width=1440, height=900, scheme="light"):
    """A service that lists one origin, a page of it, a page of another, and a person."""
    async with embedder() as acme, embedder() as other:
        async with running(
            tmp_path, world="demo", installed=installed, heartbeat_s=1, embed_origins=(acme.origin,)
        ) as service:
            context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            person = Person(context, service)
            try:
                yield service, person, acme, other
            finally:
                for far in person.far_ends:
                    await far.end()
                await context.close()
        refused = ("frame-ancestors", "CORS policy")
        assert [fault for fault in person.faults if not any(word in fault for word in refused)] == []


async def framed(page):
    """Return the frame within the page, once something of it is there."""
    frame = next(frame for frame in page.frames if frame.parent_frame is page.main_frame)
    await frame.locator("body").wait_for()
    return frame


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_a_person_signs_in_within_a_page_of_a_listed_origin(browser, tmp_path, width, height, scheme):
    async with scene(browser, tmp_path, width=width, height=height, scheme=scheme) as (service, person, acme, _):
        started = await service.start()
        acme.shows = started["sign_in_url"]
        page = await person.page(acme.origin)
        frame = await framed(page)
        await frame.locator("body[data-view=consent]").wait_for()
        # it says whose page could cover it
        await frame.get_by_text(f"within a page of 127.0.0.1:{acme.port}").wait_for()
        assert await axe.violations(frame) == []
        assert await frame.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        await keep(page, f"embedded-consent-{width}-{scheme}")
        # by the keyboard alone, from the page around it
        await frame.get_by_role("button", name="Agree").focus()
        await page.keyboard.press("Enter")
        await service.ready(started["session_id"])
        async with asyncio.timeout(15):
            machine = await service.stage.screens.get()
        await frame.locator("body[data-view=screen]").wait_for()
        machine.writer.close()
        # the cookie is for this frame within this site, and for nowhere else
        (cookie,) = [one for one in await person.context.cookies() if started["session_id"] in one["name"]]
        assert (cookie["sameSite"], cookie["secure"], cookie["httpOnly"]) == ("None", True, True)
        assert cookie.get("partitionKey"), cookie
        async with page.expect_event("framenavigated", lambda moved: moved == frame):
            await frame.evaluate("location.reload()")
        await frame.locator("body[data-view=screen]").wait_for()
        alone = await person.page(started["sign_in_url"].partition("#")[0])
        await view(alone, "closed")
        await alone.close()
        service.stage.input_ended(started["session_id"]).set()
        await service.capture(started["session_id"])
        await frame.locator("body[data-view=completed]").wait_for()
        told = await page.evaluate("window.told")
        data = {
            "type": "antechamber",
            "event": "ended",
            "session_id": started["session_id"],
            "status": "completed",
        }
        assert told == [[service.addresses.sign_in.origin, data]]
        while not service.stage.screens.empty():
            service.stage.screens.get_nowait().writer.close()


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_a_page_of_an_origin_that_is_not_listed_shows_nothing(browser, tmp_path, width, height):
    async with scene(browser, tmp_path, width=width, height=height) as (service, person, acme, other):
        started = await service.start()
        other.shows = started["sign_in_url"]
        refused = []
        page = await person.page()
        page.on("console", lambda message: refused.append(message.text))
        await page.goto(other.origin)
        async with asyncio.timeout(15):
            while not any("frame-ancestors" in text for text in refused):
                await page.wait_for_event("console")
        await keep(page, f"not-embedded-{width}")
        # nothing ran there: the link is unspent, and no cookie was given
        assert (await service.signin.session(started["session_id"])).opened_at is None
        assert await person.context.cookies() == []
        # a listed origin within one that is not listed is none either: each page around it counts
        acme.shows, other.shows = started["sign_in_url"], acme.origin
        refused.clear()
        await page.goto(other.origin)
        async with asyncio.timeout(15):
            while not any("frame-ancestors" in text for text in refused):
                await page.wait_for_event("console")
        assert (await service.signin.session(started["session_id"])).opened_at is None


async def test_the_dashboard_is_in_nobodys_frame(browser, tmp_path):
    async with scene(browser, tmp_path) as (service, person, acme, _):
        acme.shows = service.addresses.dashboard.url
        refused = []
        page = await person.page()
        page.on("console", lambda message: refused.append(message.text))
        await page.goto(acme.origin)
        async with asyncio.timeout(15):
            while not any("frame-ancestors 'none'" in text for text in refused):
                await page.wait_for_event("console")


async def test_the_binding_goes_through_within_the_frame(browser, tmp_path):
    async with scene(browser, tmp_path) as (service, person, acme, _):
        _, acme.client = await service.application(*ApiScope, bind_url=f"{acme.origin}/bind")
        started = (await acme.client.post("/api/auth/session", json=OPERATIONS)).json()
        await person.context.add_cookies(
            [{"name": "user", "value": "ada", "url": acme.origin, "sameSite": "Lax", "httpOnly": True}]
        )
        acme.shows = started["sign_in_url"]
        page = await person.page(acme.origin)
        frame = await framed(page)
        await frame.locator("body[data-view=consent]").wait_for()
        # the first of the two requests came without the application's own cookie, as docs/how-to/embed.md says
        assert acme.asked == [None, "ada"]
        assert "Acme" in await frame.locator("dl.terms").inner_text()


async def test_what_a_listed_origins_own_page_asks_with_the_frames_cookie_is_refused_and_unread(browser, tmp_path):
    """A cookie that goes along across sites is no protection any more: the origin's check is."""
    async with scene(browser, tmp_path) as (service, person, acme, _):
        started = await service.start()
        acme.shows = started["sign_in_url"]
        page = await person.page(acme.origin)
        frame = await framed(page)
        await frame.locator("body[data-view=consent]").wait_for()
        base = f"{service.addresses.sign_in.origin}/api/auth/session/{started['session_id']}"
        asks = """async ([url, method]) => {
          const body = method === 'POST' ? '{}' : undefined;
          try {
            const answer = await fetch(url, {method, body, credentials: 'include', mode: 'cors'});
            return `${answer.status} ${await answer.text()}`;
          } catch (error) {
            return `${error.name}`;
          }
        }"""
        for method, path in (("POST", "/consent"), ("POST", "/cancel"), ("GET", "")):
            assert await page.evaluate(asks, [base + path, method]) == "TypeError", path
        session = await service.signin.session(started["session_id"])
        assert (session.consented_at, session.ended_at) == (None, None)
