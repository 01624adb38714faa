"""The dashboard: getting in, connecting a tool, and what is stored."""

import json
import re

import pytest

from antechamber.model import SessionStatus
from antechamber.providers import Providers
from tests.browser.conftest import view
from tests.browser.states import boot, one_sign_in_too_many
from tests.providers.samples import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def signed_in(person, user_id="me"):
    """Have one credential stored; return its session's id."""
    started = await person.service.start(user_id=user_id)
    await person.service.ready(started["session_id"])
    await person.service.capture(started["session_id"])
    return started["session_id"]


async def test_the_printed_link_opens_the_dashboard_once_and_leaves_the_address_bar(people):
    person, other = await people(), await people()
    code = (await person.service.signin.dashboard_link()).reveal()
    url = f"{person.service.addresses.dashboard.url}/#code={code}"
    page = await person.page(url)
    await view(page, "open")
    assert "#" not in page.url
    await page.reload()
    await view(page, "open")
    stranger = await other.page(url)
    await view(stranger, "closed")
    await stranger.get_by_text("This link has been used, or is too old.").wait_for()
    await stranger.get_by_text(".venv/bin/antechamber link --world demo", exact=True).wait_for()


async def test_each_tool_has_a_card_with_what_one_must_know_beforehand(person):
    page = await person.dashboard()
    await view(page, "open")
    for name in ("Claude Code", "Codex", "Gemini CLI"):
        card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name))
        assert "Passkeys" in await card.inner_text()
        assert await card.get_by_role("button", name=f"Connect {name}").count() == 1
    await page.get_by_text("enterprise licences of Gemini Code Assist").wait_for()


async def test_connect_opens_the_sign_in_page_in_a_new_tab_that_knows_nothing_of_this_one(person):
    page = await person.dashboard()
    async with person.context.expect_page() as opening:
        await page.get_by_role("button", name="Connect Codex").click()
    tab = await opening.value
    await view(tab, "consent")
    assert tab.url.startswith(person.service.addresses.sign_in.url)
    assert await tab.evaluate("[window.opener, document.referrer]") == [None, ""]
    (session,) = await person.service.store.sessions.list(live=True)
    await boot(person, session.id)
    await page.get_by_text("Sign-in under way").wait_for()


async def test_a_sign_in_that_is_open_elsewhere_can_be_started_over(person):
    page = await person.dashboard()
    async with person.context.expect_page() as opening:
        await page.get_by_role("button", name="Connect Codex").click()
    first = await opening.value
    await view(first, "consent")
    await page.get_by_role("button", name="Connect Codex").click()
    async with person.context.expect_page() as opening:
        await page.get_by_role("button", name="Start over").click()
    await view(await opening.value, "consent")
    await view(first, "cancelled")


async def test_f109_a_refusal_is_said_in_the_card_and_no_empty_tab_stays(person):
    page = await person.dashboard()
    await view(page, "open")

    async def refuse(route):
        body = {
            "error": {"code": "driver_unavailable", "message": "No machine.", "next": "Run it.", "retryable": False}
        }
        await route.fulfill(status=503, content_type="application/json", body=json.dumps(body))

    await page.route("**/api/auth/session", refuse)
    await page.get_by_role("button", name="Connect Codex").click()
    await page.get_by_role("alert").filter(has_text="No machine.").wait_for()
    assert [one.url for one in person.context.pages] == [page.url]


async def test_one_sign_in_too_many_is_said_with_the_time_at_which_the_next_one_is_allowed(person):
    page = await one_sign_in_too_many(person, None)
    said = page.get_by_role("alert").filter(has_text="as many sign-ins were started within an hour")
    await said.get_by_text("Wait until the first of them is an hour old").wait_for()
    assert re.search(r"Try again at \d\d:\d\d:\d\d\.", await said.inner_text())
    assert [one.url for one in person.context.pages] == [page.url]


async def test_sessions_are_listed_with_their_status_and_live_ones_can_be_stopped(person):
    page = await person.dashboard()
    started = await person.service.start(user_id="me")
    await page.reload()
    await page.get_by_text("Number 1 in the line").first.wait_for()
    await boot(person, started["session_id"])
    await page.get_by_text("Starting", exact=True).wait_for()
    await page.get_by_role("button", name="Stop the sign-in to Codex").click()
    assert await page.evaluate("document.activeElement.id") == "stop-keep"
    await page.get_by_role("button", name="Stop it").click()
    await page.get_by_text("Cancelled", exact=True).wait_for()
    await page.get_by_text("It was cancelled here or by the application that asked for it.").wait_for()
    assert (await person.service.signin.session(started["session_id"])).status is SessionStatus.CANCELLED


async def test_a_stored_credential_is_shown_with_account_plan_and_version(person):
    await signed_in(person)
    page = await person.dashboard("/credentials")
    row = page.get_by_role("row").filter(has_text=ACCOUNT)
    assert "plus" in await row.inner_text()
    await page.get_by_role("link", name="Connect", exact=True).click()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Codex"))
    await card.get_by_text(f"as {ACCOUNT}, plan plus").wait_for()
    await card.get_by_role("button", name="Sign in to Codex again").wait_for()


async def test_a_credential_is_deleted_only_after_a_second_click(person):
    await signed_in(person)
    page = await person.dashboard("/credentials")
    delete = page.get_by_role("button", name="Delete the credential of Codex")
    await delete.click()
    assert await page.evaluate("document.activeElement.id") == "delete-keep"
    await page.keyboard.press("Enter")
    await page.get_by_role("dialog").wait_for(state="hidden")
    assert await person.service.signin.credentials(None)
    await delete.click()
    await page.get_by_role("button", name="Delete it").click()
    await page.get_by_text("What a sign-in brings is kept here, sealed.").wait_for()
    await page.get_by_role("heading", name="Deleted").wait_for()
    assert await page.get_by_role("main").get_by_text(ACCOUNT).count() == 0
    assert not await person.service.signin.credentials(None)


async def test_what_a_caller_wrote_is_shown_as_text_and_never_becomes_markup(person):
    label = "<img src=x onerror=alert(1)>"
    await signed_in(person, user_id=label)
    page = await person.dashboard("/credentials")
    await page.get_by_role("cell", name=label).wait_for()
    await page.get_by_role("link", name="Sign-ins").click()
    await page.get_by_role("link", name="its story").click()
    await page.get_by_role("heading", name=label).wait_for()
    assert await page.locator("main img").count() == 0


async def test_the_label_chooses_whose_card_is_shown_and_is_remembered(person):
    await signed_in(person, user_id="build-farm")
    page = await person.dashboard()
    await view(page, "open")
    assert await page.get_by_text("Connected", exact=True).count() == 0
    await page.get_by_label("Label").fill("build-farm")
    await page.get_by_text("Connected", exact=True).wait_for()
    await page.reload()
    await page.get_by_text("Connected", exact=True).wait_for()


async def test_f096_a_service_that_does_not_answer_is_said_what_is_shown_is_marked_and_it_is_found_again(person):
    await signed_in(person)
    page = await person.dashboard()
    await view(page, "open")
    await page.route("**/api/**", lambda route: route.abort())
    await page.evaluate("dispatchEvent(new Event('online'))")
    await page.locator("#health", has_text="The service does not answer.").wait_for()
    await page.locator("#stale", has_text="What is shown is of").wait_for()
    await page.get_by_text("Completed").first.wait_for()
    await page.unroute("**/api/**")
    await page.get_by_role("button", name="Try now").click()
    await page.locator("#health", has_text="Running").wait_for()
    await page.locator("#stale").wait_for(state="hidden")


async def test_the_version_and_hash_of_each_tool_can_be_read(person):
    page = await person.dashboard("/health")
    for spec in Providers.load().all():
        await page.get_by_text(f"{spec.name} {spec.version}").first.wait_for()
    assert await page.get_by_text("SHA-256").count() == 3
