"""The line of those who wait for a machine, as its person and the operator see it."""

import pytest

from antechamber.lifecycle import SessionFact
from tests.browser.conftest import view
from tests.browser.states import boot, end, in_line
from tests.integration.web_service import now

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_person_in_the_line_sees_their_place_come_nearer_and_hears_it_and_then_the_start(person):
    page = await in_line(person, None)
    store = person.service.store
    first, second, mine = sorted(await store.sessions.list(live=True), key=lambda row: row.created_at)
    heard = page.locator("#spoken[aria-live=polite]")
    await heard.filter(has_text="You are number 3 in the line.").wait_for(state="attached")
    await page.get_by_role("heading", name="Waiting for a machine").wait_for()
    await end(person, first.id, SessionFact.CANCELLED)
    await page.locator(".place", has_text="You are number 2 in the line.").wait_for()
    await heard.filter(has_text="You are number 2 in the line.").wait_for(state="attached")
    await end(person, second.id, SessionFact.CANCELLED)
    await page.locator(".place", has_text="You are next in the line.").wait_for()
    await boot(person, mine.id)
    await page.get_by_role("heading", name="Starting your machine").wait_for()
    assert await heard.inner_text() == "A machine is free, and yours is starting."


async def test_a_place_that_is_lost_to_the_clock_is_told_with_its_reason(person):
    session_id, page = await person.sign_in()
    await page.get_by_role("button", name="Agree").click()
    await page.locator("body[data-variant=waiting]").wait_for()
    expires_at = (await person.service.signin.session(session_id)).expires_at
    await person.service.store.sessions.time_out(session_id, at=expires_at)
    await view(page, "failed")
    await page.get_by_text("No machine became free for this sign-in in time.").wait_for()
    assert "is starting" not in await page.locator("#spoken").inner_text()


async def test_whoever_reads_the_page_before_agreeing_sees_the_place_too(person):
    _, page = await person.sign_in()
    await page.get_by_role("status").filter(has_text="You are next in the line.").wait_for()


async def test_the_dashboard_shows_each_place_and_moves_it_on(person):
    ids = [(await person.service.start(user_id=f"user{number}"))["session_id"] for number in range(3)]
    page = await person.dashboard("/sessions")
    await page.get_by_text("Number 3 in the line").wait_for()
    assert await page.get_by_text("in the line").count() == 3
    await end(person, ids[0], SessionFact.CANCELLED)
    await page.get_by_text("Number 3 in the line").wait_for(state="detached")
    await page.get_by_text("Number 1 in the line").wait_for()
    await page.get_by_role("link", name="Codex for user1").click()
    await page.get_by_text("Number 1 in the line").wait_for()
    await person.service.store.sessions.apply(ids[1], SessionFact.MACHINE_BOOTING, at=now())
    await page.get_by_text("Number 1 in the line").wait_for(state="detached")
