"""After the capture: the question, its two answers, and that nothing looks like a failure any more."""

import asyncio

import pytest

from tests.browser.conftest import view
from tests.providers.samples import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_after_the_capture_the_last_picture_stays_and_the_person_is_asked_whether_it_is_them(person):
    session_id, page, far = await person.at_screen(return_url="https://app.example.com/tools")
    await far.until(lambda far: far.frames)
    await person.capture(session_id)
    await view(page, "completed")
    assert await page.get_by_role("heading", level=1).inner_text() == f"Connected as {ACCOUNT}"
    await page.get_by_text("Plan: plus").wait_for()
    await page.get_by_text("Is this you?").wait_for()
    assert await page.locator("#frame canvas.last").count() == 1
    assert await page.get_by_role("toolbar").is_hidden()


async def test_the_service_is_told_that_success_was_shown(person):
    session_id, page, _ = await person.at_screen()
    async with page.expect_response("**/shown") as told:
        await person.capture(session_id)
    assert (await told.value).ok
    assert (await person.service.signin.session(session_id)).success_shown_at is not None


async def test_yes_ends_the_page_with_the_way_back(person):
    session_id, page, _ = await person.at_screen(return_url="https://app.example.com/tools")
    await person.capture(session_id)
    await page.get_by_role("button", name="Yes, that is me").click()
    await page.get_by_role("heading", name="All done").wait_for()
    back = page.get_by_role("link", name="Back to app.example.com")
    assert await back.get_attribute("href") == "https://app.example.com/tools"
    assert await person.service.signin.credentials("ada")
    await page.reload()
    await page.get_by_role("heading", name="All done").wait_for()


async def test_no_deletes_that_version_at_once_and_says_where_to_end_it_at_the_vendor(person):
    session_id, page, _ = await person.at_screen()
    await person.capture(session_id)
    await page.get_by_role("button", name="No, delete it").click()
    await page.get_by_role("heading", name="Deleted").wait_for()
    assert not await person.service.signin.credentials("ada")
    link = page.get_by_role("link", name="chatgpt.com")
    assert await link.get_attribute("rel") == "noopener noreferrer"
    await page.reload()
    await page.get_by_role("heading", name="Deleted").wait_for()
    assert (await person.service.signin.session(session_id)).status == "completed"


async def test_a_deletion_that_did_not_go_through_says_so_and_can_be_tried_again(person):
    session_id, page, _ = await person.at_screen()
    await person.capture(session_id)
    await page.route("**/reject", lambda route: route.abort())
    await page.get_by_role("button", name="No, delete it").click()
    await page.get_by_role("alert").filter(has_text="could not be deleted yet").wait_for()
    await page.unroute("**/reject")
    await page.get_by_role("button", name="No, delete it").click()
    await page.get_by_role("heading", name="Deleted").wait_for()


async def test_a_capture_before_the_first_frame_goes_straight_to_the_question(person):
    session_id, page = await person.sign_in()
    await page.get_by_role("button", name="Agree").click()
    await person.service.ready(session_id)
    await person.capture(session_id)
    await view(page, "completed")


async def test_once_captured_the_page_never_shows_a_failure_whatever_happens_to_screen_and_service(person):
    session_id, page, far = await person.at_screen()
    seen = await page.evaluate_handle(
        """() => {
          const seen = [];
          new MutationObserver(() => seen.push(document.body.dataset.view, document.querySelector('#lost').hidden))
            .observe(document.body, {attributes: true, subtree: true, childList: true});
          return seen;
        }"""
    )
    await person.capture(session_id)
    await far.end()
    await view(page, "completed")
    await page.context.set_offline(True)
    await page.evaluate("dispatchEvent(new Event('online')); document.dispatchEvent(new Event('visibilitychange'))")
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    await page.context.set_offline(False)
    views = {word for word in await seen.json_value() if isinstance(word, str)}
    assert views <= {"screen", "completed"}
    assert await page.get_by_role("heading", level=1).inner_text() == f"Connected as {ACCOUNT}"


async def test_a_service_that_goes_away_during_the_sign_in_is_waited_for_and_the_outcome_is_found(person):
    session_id, page, far = await person.at_screen()
    await page.route("**/api/**", lambda route: route.abort())
    await far.end()
    await page.get_by_role("heading", name="The connection to the screen was lost").wait_for()
    await person.capture(session_id)
    await page.unroute("**/api/**")
    await asyncio.wait_for(view(page, "completed"), 15)
