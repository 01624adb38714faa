"""The field for a phone's soft keyboard: edits in it become keys and pastes at the machine."""

import pytest
import pytest_asyncio

from tests.browser.conftest import view

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENTER, BACKSPACE, TAB, CONTROL = 0xFF0D, 0xFF08, 0xFF09, 0xFFE3
DIFFERENCE = """async ([before, after]) => {
  const { erase, add } = (await import('/static/signin/live.js')).difference(before, after);
  return [erase, add];
}"""
ROOM_FOR_BOTH = """() => {
  const [screen, written] = ['#frame canvas', '#live-text'].map(
    (each) => document.querySelector(each).getBoundingClientRect());
  return screen.height > 400 && screen.bottom <= written.top && written.bottom <= 844;
}"""
PHONE = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}


@pytest_asyncio.fixture(loop_scope="session")
async def phone(people):
    return await people(**PHONE)


async def writing(person):
    """Return (session id, page, far end, field) with the keyboard's field open."""
    session_id, page, far = await person.at_screen()
    await page.get_by_role("button", name="Keyboard").tap()
    field = page.get_by_role("textbox", name="What you write here is typed on the machine")
    await field.wait_for()
    assert await page.evaluate("document.activeElement.id") == "live-text"
    return session_id, page, far, field


def spelled(far):
    """Return what the machine's field shows: what was typed and pasted, less what was erased."""
    pasted = iter(far.pasted)
    shown, held = [], False
    for keysym, down in far.keys:
        if keysym == CONTROL:
            held = down
        elif down and held and keysym == ord("v"):
            shown += next(pasted, "")  # the text comes after the keys
        elif down and keysym == BACKSPACE:
            shown = shown[:-1]
        elif down and keysym < 0x100:
            shown.append(chr(keysym))
        elif down and keysym == ENTER:
            shown.append("\n")
    return "".join(shown)


async def compose(cdp, text):
    """Show a text as an input method does while it is being chosen."""
    await cdp.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})


async def test_letters_go_to_the_machine_as_they_are_written(phone):
    _, page, far, _ = await writing(phone)
    await page.keyboard.type("ada@example.com")
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")
    await far.until(lambda far: spelled(far).endswith("\n"))
    assert spelled(far) == "ada@example.co\n"


async def test_a_word_that_the_keyboard_corrects_is_corrected_at_the_machine(phone):
    _, page, far, _ = await writing(phone)
    await page.keyboard.type("teh ")
    await page.evaluate(
        """() => {
          const field = document.getElementById('live-text');
          field.setRangeText('the', 1, 4, 'end');
          field.dispatchEvent(new InputEvent('input', {inputType: 'insertReplacementText', data: 'the'}));
        }"""
    )
    await far.until(lambda far: spelled(far) == "the ")


async def test_a_composed_word_goes_once_it_is_itself_and_its_letters_before(phone):
    _, page, far, _ = await writing(phone)
    cdp = await page.context.new_cdp_session(page)
    for text in ("h", "he", "hel"):
        await cdp.send(
            "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
        )
    await far.until(lambda far: spelled(far) == "hel")
    await cdp.send("Input.insertText", {"text": "hello "})
    await far.until(lambda far: spelled(far) == "hello ")
    for text in ("に", "にほ", "日本"):
        await cdp.send(
            "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
        )
    await cdp.send("Input.insertText", {"text": "日本"})
    await far.until(lambda far: spelled(far) == "hello 日本")
    assert far.pasted == ["日本"]


async def test_letters_without_keys_arrive_whole_and_in_order_however_quickly_they_are_written(phone):
    _, page, far, _ = await writing(phone)
    far.slow = True
    await page.keyboard.type("aäbößc")
    await far.until(lambda far: spelled(far) == "aäbößc")
    assert far.pasted == ["ä", "ö", "ß"]


async def test_an_empty_field_still_erases_at_the_machine(phone):
    _, page, far, _ = await writing(phone)
    for _ in range(3):
        await page.keyboard.press("Backspace")
    await far.until(lambda far: [key for key, down in far.keys if down] == [BACKSPACE] * 3)


async def test_the_difference_of_two_texts_is_what_erasing_and_adding_makes_of_it(person):
    _, page = await person.sign_in()
    await view(page, "consent")
    for before, after, expected in [
        ("", "a", [0, "a"]),
        ("abc", "abc", [0, ""]),
        ("abc", "ab", [1, ""]),
        ("abc", "abd", [1, "d"]),
        ("xabc", "abc", [4, "abc"]),
        ("ab", "ab👨‍👩‍👧", [0, "👨‍👩‍👧"]),
        ("ab👨‍👩‍👧", "ab", [1, ""]),
        ("👨", "👨‍👩‍👧", [1, "👨‍👩‍👧"]),
        ("🇩🇪", "🇫🇷", [1, "🇫🇷"]),
        ("e", "e\u0301", [1, "e\u0301"]),
        ("e\u0301", "", [2, ""]),
    ]:
        assert await page.evaluate(DIFFERENCE, [before, after]) == expected, (before, after)


async def test_what_is_hidden_is_kept_from_suggestions_and_forgotten_when_the_field_closes(phone):
    _, page, far, _ = await writing(phone)
    await page.get_by_role("checkbox", name="Hide").tap()
    assert await page.locator("#live-text").get_attribute("type") == "password"
    await page.keyboard.type("DUMMY")
    await far.until(lambda far: spelled(far) == "DUMMY")
    await page.locator("#live [data-close]").tap()
    assert (await page.locator("#live-text").input_value()).strip("\u200b") == ""
    assert await page.evaluate("document.activeElement.id") == "live-open"


async def test_nothing_written_stays_after_enter(phone):
    _, page, far, _ = await writing(phone)
    await page.keyboard.type("DUMMY")
    await page.get_by_role("button", name="Enter").tap()
    await far.until(lambda far: spelled(far) == "DUMMY\n")
    assert await page.locator("#live-text").input_value() == "\u200b"
    assert await page.evaluate("document.activeElement.id") == "live-text"


async def test_the_screen_stays_in_sight_and_a_tap_on_it_leaves_the_keyboard_up(phone):
    _, page, far, _ = await writing(phone)
    # noVNC takes the new size of its room with the next frame that is drawn
    await page.wait_for_function(ROOM_FOR_BOTH)
    await page.locator("#frame canvas").tap()
    await page.get_by_role("button", name="Tab", exact=True).tap()
    await far.until(lambda far: (TAB, True) in far.keys)
    assert await page.evaluate("document.activeElement.id") == "live-text"


async def test_every_control_is_within_a_narrow_window_with_its_name_and_the_time_left(phone):
    _, page, _, _ = await writing(phone)
    for name in ("Keyboard", "Text", "Details", "Cancel"):
        box = await page.get_by_role("toolbar").get_by_role("button", name=name).bounding_box()
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= 390, name
    assert (await page.get_by_role("timer").bounding_box())["x"] >= 0


async def test_the_field_goes_with_the_input_at_the_capture(phone):
    session_id, page, _, field = await writing(phone)
    await page.keyboard.type("DUMMY")
    await phone.capture(session_id)
    await view(page, "completed")
    assert await field.is_hidden()
    assert await page.locator("#live-text").input_value() == "\u200b"


async def test_a_device_with_keys_of_its_own_is_not_offered_the_field(person):
    _, page, _ = await person.at_screen()
    assert await page.locator("#live-open").is_hidden()
