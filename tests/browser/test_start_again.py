"""A tool that gave up before its person: what it said, and the click that starts it again."""

import pytest

from antechamber.lifecycle import SessionFact
from antechamber.model import GuestText, Reason
from tests.browser.conftest import view
from tests.integration.web_service import now

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK = """async (address) => {
  const asked = {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"attempt": 1}'};
  return (await fetch(address, asked)).status;
}"""


async def give_up(service, session_id, attempt=1, *lines):
    """End the tool as the session's machine tells of it."""
    await service.signin.screen_seen(session_id)
    said = [GuestText(line) for line in lines or ("Login failed: access_denied",)]
    return await service.signin.cli_ended(session_id, attempt, said, reason=Reason.CLI_ENDED, detail="", code=1)


async def asks_for_its_page(service, session_id):
    """Have the tool's present run ask for its page, as the session's machine tells of it."""
    await service.store.sessions.apply(session_id, SessionFact.PAGE_ASKED, at=now())


async def test_the_page_says_what_the_tool_said_and_starts_it_again_by_one_click(person):
    session_id, page, far = await person.at_screen()
    await give_up(person.service, session_id)
    await view(page, "gaveUp")
    assert await page.evaluate("document.activeElement.textContent") == "Codex stopped without a sign-in"
    assert await page.get_by_role("region", name="What it said last").inner_text() == "Login failed: access_denied"
    await page.get_by_role("button", name="Start again").click()
    await view(page, "again")
    assert await page.evaluate("document.activeElement.textContent") == "Starting Codex again"
    assert not await page.locator("#frame").is_visible()
    assert (await person.service.signin.session(session_id)).attempt == 2
    await asks_for_its_page(person.service, session_id)
    await view(page, "screen")
    # the same connection to the same screen goes on
    await page.keyboard.type("again")
    await far.until(lambda far: far.typed == "again")


async def test_a_second_run_that_gives_up_is_asked_about_anew(person):
    session_id, page, _ = await person.at_screen()
    for attempt in (1, 2):
        await give_up(person.service, session_id, attempt, f"run {attempt} failed")
        await page.get_by_text(f"run {attempt} failed").wait_for()
        await page.get_by_role("button", name="Start again").click()
        await view(page, "again")
        await asks_for_its_page(person.service, session_id)
        await view(page, "screen")
    assert (await person.service.signin.session(session_id)).attempt == 3


async def test_a_reload_and_a_second_click_start_it_once(person):
    session_id, page, _ = await person.at_screen()
    await give_up(person.service, session_id)
    await view(page, "gaveUp")
    await page.reload()
    await view(page, "gaveUp")
    address = f"/api/auth/session/{session_id}/again"
    for _ in range(2):
        assert await page.evaluate(ASK, address) == 200
    await view(page, "again")
    assert (await person.service.signin.session(session_id)).attempt == 2


async def test_whoever_does_not_want_it_again_stops_the_sign_in(person):
    session_id, page, _ = await person.at_screen()
    await give_up(person.service, session_id)
    await page.locator("#panel").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Stop the sign-in").click()
    await view(page, "cancelled")


async def test_the_time_to_decide_is_shown_and_its_end_is_a_failed_sign_in(person):
    session_id, page, _ = await person.at_screen()
    await give_up(person.service, session_id)
    await view(page, "gaveUp")
    assert (await page.get_by_role("timer").inner_text()).startswith(("1:", "2:00"))


async def test_a_refusal_is_said_and_can_be_tried_again(person):
    session_id, page, _ = await person.at_screen()
    await give_up(person.service, session_id)
    await view(page, "gaveUp")
    await page.route("**/again", lambda route: route.abort())
    await page.get_by_role("button", name="Start again").click()
    await page.get_by_role("alert").filter(has_text="does not answer").wait_for()
    await page.unroute("**/again")
    await page.get_by_role("button", name="Start again").click()
    await view(page, "again")


async def test_a_run_that_never_asks_for_its_page_leaves_the_screen_to_its_person(person):
    started = await person.service.start()
    page = await person.page()
    await page.clock.install()
    await page.goto(started["sign_in_url"])
    await page.get_by_role("button", name="Agree").click()
    await person.service.ready(started["session_id"])
    await person.far_end(page)
    await give_up(person.service, started["session_id"])
    await view(page, "gaveUp")
    await page.get_by_role("button", name="Start again").click()
    await view(page, "again")
    await page.clock.run_for(16_000)
    await view(page, "screen")


@pytest.mark.parametrize("width", [390, 1440])
async def test_long_words_of_a_tool_fit_the_window(people, width):
    person = await people(width=width, height=844)
    session_id, page, _ = await person.at_screen()
    await give_up(person.service, session_id, 1, *["a very long line " * 20, "x" * 900] * 10)
    await view(page, "gaveUp")
    too_wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(too_wide) == 0
    button = page.get_by_role("button", name="Start again")
    await button.scroll_into_view_if_needed()
    await button.click()
    await view(page, "again")
