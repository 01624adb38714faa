"""The machine's clipboard comes to the person by their click, and in no other way."""

import struct

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONTROL = 0xFFE3
LIMIT = 64 * 1024
MINE = "what the person had"


@pytest_asyncio.fixture(loop_scope="session")
async def careful(people):
    return await people(permissions=["clipboard-read", "clipboard-write"])


async def clipboard(page):
    return await page.evaluate("navigator.clipboard.readText()")


async def at_the_button(person):
    """Return (page, far end, button) with the drawer open and something on the person's own clipboard."""
    _, page, far = await person.at_screen()
    await page.evaluate("(text) => navigator.clipboard.writeText(text)", MINE)
    await page.get_by_role("button", name="Text").click()
    return page, far, page.get_by_role("button", name="Copy from the browser")


def outcome(page):
    return page.locator("#take-outcome")


async def typed(page, far):
    """Have a key go round, so that what the machine sent before has been taken."""
    await page.get_by_role("button", name="Tab", exact=True).click()
    await far.until(lambda far: far.keys)


async def test_a_text_that_was_copied_in_the_machine_reaches_the_persons_clipboard_by_their_click(careful):
    page, far, button = await at_the_button(careful)
    far.copies("Grüße, Ада 🙂\n\tDUMMY-code")
    await button.click()
    await outcome(page).filter(has_text="On your clipboard: 24 characters.").wait_for()
    assert await clipboard(page) == "Grüße, Ада 🙂\n\tDUMMY-code"
    assert "Grüße, Ада 🙂 ⏎ DUMMY-code" in await outcome(page).inner_text()
    assert "line ends" in await outcome(page).inner_text()


async def test_nothing_is_fetched_and_nothing_written_without_the_click(careful):
    page, far, _ = await at_the_button(careful)
    far.copies("a text that nobody asked for")
    far.provide()
    far.send(struct.pack(">B3xi", 3, 5) + b"plain")
    await typed(page, far)
    assert far.requests == 0
    assert await clipboard(page) == MINE
    assert await outcome(page).inner_text() == ""


async def test_a_second_text_does_not_come_with_the_first_click(careful):
    page, far, button = await at_the_button(careful)
    far.copies("first")
    await button.click()
    await outcome(page).filter(has_text="5 characters").wait_for()
    far.copies("second")
    far.provide()
    await typed(page, far)
    assert await clipboard(page) == "first"
    assert far.requests == 1


async def test_an_empty_clipboard_of_the_machine_is_said(careful):
    page, _, button = await at_the_button(careful)
    await button.click()
    await outcome(page).filter(has_text="holds no text").wait_for()
    assert await clipboard(page) == MINE


@pytest.mark.parametrize("letter", ["x", "\n"])
async def test_sixty_four_kibibytes_pass_and_one_more_does_not(careful, letter):
    page, far, button = await at_the_button(careful)
    far.copies(letter * LIMIT)
    await button.click()
    await outcome(page).filter(has_text="65536 characters").wait_for()
    assert await clipboard(page) == letter * LIMIT
    far.copies(letter * LIMIT + "x")
    await button.click()
    await outcome(page).filter(has_text="too long").wait_for()
    assert await clipboard(page) == letter * LIMIT


async def test_a_few_bytes_that_stand_for_gigabytes_are_not_unpacked(careful):
    page, far, button = await at_the_button(careful)
    far.copies("small")
    far.claimed = 2**32 - 1
    await button.click()
    await outcome(page).filter(has_text="too long").wait_for()
    far.claimed = 100
    await button.click()
    await outcome(page).filter(has_text="holds no text").wait_for()
    far.claimed = None
    await button.click()
    await outcome(page).filter(has_text="5 characters").wait_for()


async def test_a_clipboard_message_without_end_costs_the_machine_its_connection(careful):
    page, far, _ = await at_the_button(careful)
    far.send(struct.pack(">B3xi", 3, -(2**31)))
    again = await careful.far_end(page)
    again.copies("still here")
    await page.get_by_role("button", name="Copy from the browser").click()
    await outcome(page).filter(has_text="10 characters").wait_for()
    assert careful.faults == ["error: Failed while connected: a clipboard message without end"]
    careful.faults.clear()


async def test_what_cannot_be_seen_is_kept_as_it_is_and_pointed_at(careful):
    page, far, button = await at_the_button(careful)
    far.copies("pay \u202e001\u202c\x1b[2J")
    await button.click()
    await outcome(page).filter(has_text="cannot be seen").wait_for()
    assert await clipboard(page) == "pay \u202e001\u202c\x1b[2J"
    assert await page.locator("#take-outcome bdi").inner_text() == "pay �001��[2J"


@pytest.mark.parametrize(("copied", "said"), [("rm DUMMY\n", "line ends"), ("pay\U000e0041\u3164", "cannot be seen")])
async def test_one_line_that_would_run_at_once_and_blank_letters_are_pointed_at(careful, copied, said):
    page, far, button = await at_the_button(careful)
    far.copies(copied)
    await button.click()
    await outcome(page).filter(has_text=said).wait_for()
    assert await clipboard(page) == copied


async def test_where_a_page_may_not_write_the_clipboard_the_person_copies_by_hand(people):
    person = await people(width=390, height=844)
    await person.context.add_init_script("delete Navigator.prototype.clipboard")
    _, page, far = await person.at_screen()
    await page.get_by_role("button", name="Text").click()
    far.copies("by hand\nthen")
    await page.get_by_role("button", name="Copy from the browser").click()
    dialog = page.get_by_role("dialog", name="Copy it by hand")
    field = dialog.get_by_role("textbox", name="Text from the machine")
    assert await field.input_value() == "by hand\nthen"
    assert await page.evaluate("getSelection().toString() || document.activeElement.selectionEnd") in {
        12,
        "by hand\nthen",
    }
    await dialog.get_by_role("button", name="Close").click()
    await page.wait_for_function("document.getElementById('by-hand-text').value === ''")


async def test_what_was_taken_is_forgotten_with_the_drawer(careful):
    page, far, button = await at_the_button(careful)
    far.copies("DUMMY secret")
    await button.click()
    await outcome(page).filter(has_text="DUMMY secret").wait_for()
    await page.keyboard.press("Escape")
    assert await page.locator("#take-outcome").text_content() == ""
