"""The screen in the sign-in page: noVNC over the real relay, to a far end that the test plays."""

import asyncio

import pytest

from tests.browser.conftest import view
from tests.integration.web_service import now

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENTER, BACKSPACE, CONTROL = 0xFF0D, 0xFF08, 0xFFE3


async def test_f083f_what_the_person_types_reaches_the_machine_without_a_click_first(person):
    _, page, far = await person.at_screen()
    await page.keyboard.type("ada@example.com")
    await page.keyboard.press("Enter")
    await far.until(lambda far: far.typed.endswith("\n"))
    assert far.typed == "ada@example.com\n"


async def test_whoever_has_read_a_notice_types_into_the_machine_again(person):
    _, page, far = await person.at_screen()
    await page.evaluate("document.querySelector('#notice').hidden = false")
    await page.get_by_role("button", name="Understood").click()
    await page.keyboard.type("ada")
    await far.until(lambda far: far.typed == "ada")


async def test_f083e_the_picture_fills_the_window_and_follows_its_size(person):
    _, page, far = await person.at_screen()
    await far.until(lambda far: far.size[0] == 1280)
    await page.set_viewport_size({"width": 1000, "height": 700})
    await far.until(lambda far: far.size[0] == 1000)
    box = await page.locator("#frame canvas").bounding_box()
    assert (round(box["width"]), round(box["y"] + box["height"])) == (1000, 700)


async def test_a_narrow_window_asks_for_a_screen_on_which_the_address_bar_fits(people):
    person = await people(width=390, height=844)
    _, page, far = await person.at_screen()
    await far.until(lambda far: far.size[0] == 500)
    box = await page.locator("#frame canvas").bounding_box()
    assert round(box["width"]) == 390


async def test_text_from_the_box_is_typed_as_keys(person):
    _, page, far = await person.at_screen()
    await page.get_by_role("button", name="Text").click()
    await page.get_by_label("Send text to the machine").and_(page.get_by_role("textbox")).fill("Grace Hopper 123!")
    await page.get_by_role("button", name="Send and Enter").click()
    await far.until(lambda far: far.typed.endswith("\n"))
    assert far.typed == "Grace Hopper 123!\n"
    assert await page.locator("#paste-text").input_value() == ""


async def test_text_that_has_no_keys_goes_by_clipboard_and_control_v(person):
    _, page, far = await person.at_screen()
    await page.get_by_role("button", name="Text").click()
    await page.locator("#paste-text").fill("Grüße, Ада 🙂")
    await page.get_by_role("button", name="Send", exact=True).click()
    await far.until(lambda far: far.pasted and (CONTROL, False) in far.keys[-1:])
    assert far.pasted == ["Grüße, Ада 🙂"]
    assert far.keys[-4:] == [(CONTROL, True), (ord("v"), True), (ord("v"), False), (CONTROL, False)]


async def test_the_persons_own_control_v_pastes_their_clipboard_into_the_machine(people):
    person = await people(permissions=["clipboard-read", "clipboard-write"])
    _, page, far = await person.at_screen()
    await page.evaluate("navigator.clipboard.writeText('DUMMY pässword')")
    await page.keyboard.press("Control+v")
    await far.until(lambda far: far.pasted and far.keys[-1] == (CONTROL, False))
    assert far.pasted == ["DUMMY pässword"]


async def test_single_keys_help_where_there_is_no_keyboard(people):
    person = await people(width=390, height=844, has_touch=True, is_mobile=True)
    _, page, far = await person.at_screen()
    await page.get_by_role("button", name="Text").tap()
    await page.get_by_role("button", name="Backspace").tap()
    await page.get_by_role("button", name="Enter", exact=True).tap()
    await far.until(lambda far: len(far.keys) >= 4)
    assert [key for key, down in far.keys if down] == [BACKSPACE, ENTER]


async def test_control_alt_and_shift_leave_the_screen_for_the_page_s_own_controls(person):
    _, page, far = await person.at_screen()
    assert await page.evaluate("document.activeElement.tagName") == "CANVAS"
    await page.keyboard.press("Tab")
    await far.until(lambda far: far.keys)
    assert await page.evaluate("document.activeElement.tagName") == "CANVAS"
    for key in ("Control", "Alt", "Shift"):
        await page.keyboard.down(key)
    for key in ("Shift", "Alt", "Control"):
        await page.keyboard.up(key)
    assert await page.evaluate("document.activeElement.id") == "paste-open"
    assert await page.get_by_role("application").get_attribute("aria-label")


async def test_f086_a_lost_connection_is_made_again_and_the_last_picture_stays_meanwhile(person):
    _, page, far = await person.at_screen()
    await far.end()
    again = await person.far_end(page)
    await page.keyboard.type("x")
    await again.until(lambda far: far.typed == "x")
    assert await page.locator("#frame canvas").count() == 1


async def test_f086g_f088_a_screen_that_stays_away_is_said_and_tried_again_with_growing_waits(person):
    _, page, far = await person.at_screen()
    tickets = []
    page.on("request", lambda request: tickets.append(request.url) if request.url.endswith("/ticket") else None)
    person.service.stage.ready = False
    await far.end()
    await page.get_by_role("heading", name="The connection to the screen was lost").wait_for()
    assert await page.locator("#frame canvas.last").count() == 1
    await asyncio.wait_for(seen(page, tickets, 3), 15)
    await page.get_by_role("button", name="Try now").click()
    person.service.stage.ready = True
    await person.far_end(page)
    assert len(tickets) < 12


async def seen(page, urls, count):
    while len(urls) < count:
        await page.wait_for_event("request")


async def test_a_second_tab_takes_over_and_the_first_can_take_it_back(person):
    _, first, _ = await person.at_screen()
    second = await person.page(first.url)
    await person.far_end(second)
    await first.get_by_role("heading", name="This sign-in is open in another tab").wait_for()
    await first.get_by_role("button", name="Use it here").click()
    await person.far_end(first)
    await second.get_by_role("heading", name="This sign-in is open in another tab").wait_for()


async def test_the_time_left_is_shown_by_the_service_s_clock(person):
    _, page, _ = await person.at_screen()
    left = page.get_by_role("timer")
    assert (await left.inner_text()).startswith(("9:", "10:"))


async def test_the_names_that_the_machine_asked_for_are_listed(person):
    session_id, page, _ = await person.at_screen()
    await person.service.store.destinations.record(
        session_id, "auth.openai.com", 443, "allowed", bytes_out=900, bytes_in=1_234_567, connections=2, at=now()
    )
    await page.get_by_role("button", name="Details").click()
    await page.get_by_text("auth.openai.com").wait_for()
    await page.get_by_text("1.2 MB / 900 B").wait_for()
    assert "of this sign-in" in await page.locator("#destinations").inner_text()
    assert await page.locator("#compare").is_hidden()
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.id") == "details-open"


async def test_a_name_that_is_none_of_the_sign_in_s_own_is_marked_and_is_to_be_compared_with_the_address_bar(person):
    session_id, page, _ = await person.at_screen()
    for name, verdict in (("auth.openai.com", "allowed"), ("login.example.com", "allowed"), ("x.test", "refused")):
        await person.service.store.destinations.record(
            session_id, name, 443, verdict, bytes_out=1, bytes_in=1, connections=1, at=now()
        )
    await page.get_by_role("button", name="Details").click()
    marked = page.get_by_role("listitem").filter(has_text="not known to be of this sign-in")
    await marked.first.wait_for()
    assert [(await row.inner_text()).split()[0] for row in await marked.all()] == ["login.example.com"]
    words = await page.locator("#compare").inner_text()
    assert "Codex" in words
    assert "address bar" in words


async def test_cancel_asks_first_and_ends_the_session(person):
    _, page, _ = await person.at_screen()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Go on signing in").click()
    await page.get_by_role("dialog").wait_for(state="hidden")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Stop the sign-in").click()
    await view(page, "cancelled")
    assert await page.get_by_role("toolbar").is_hidden()
