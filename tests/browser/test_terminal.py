"""What the tool writes, in the page: shown, typed into where it has a terminal, and never obeyed beyond that."""

import asyncio
import base64

import pytest

from antechamber.lifecycle import SessionFact
from tests.browser.conftest import view
from tests.browser.test_for_everybody import NAMELESS, TOO_WIDE
from tests.integration.web_service import now

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = """() => [...document.querySelectorAll('#terminal .xterm-accessibility-tree > *')]
  .map((line) => line.textContent.trimEnd()).filter(Boolean)"""


class Tool:
    """The machine's end of the terminal that a page has opened."""

    def __init__(self, opened):
        self.view, self.said = opened

    async def writes(self, output, *, fresh=False, writable=True):
        """Write something, and wait until the page has taken it."""
        text = base64.b64encode(output).decode()
        self.view.put({"type": "terminal", "viewer": 1, "output": text, "fresh": fresh, "writable": writable})
        await self.hears("terminal_taken")

    async def hears(self, kind):
        """Return the next message of that kind; what was typed before it is kept out."""
        async with asyncio.timeout(15):
            while (message := await self.said.get())["type"] != kind:
                assert message["type"] != "terminal_input", base64.b64decode(message["input"])
        return message

    async def typed(self, length):
        """Return what was typed, once it is so many bytes."""
        got = b""
        async with asyncio.timeout(15):
            while len(got) < length:
                message = await self.said.get()
                if message["type"] == "terminal_input":
                    got += base64.b64decode(message["input"])
        return got


async def opened(person, page):
    """Open the terminal from the details; return the tool's end."""
    await page.get_by_role("button", name="Details").click()
    await page.get_by_role("button", name="Show what the tool writes").click()
    return await taken(person)


async def taken(person):
    async with asyncio.timeout(15):
        return Tool(await person.service.stage.terminals.get())


async def shown(page, *lines):
    await page.wait_for_function(f"(lines) => JSON.stringify(({TEXT})()) === JSON.stringify(lines)", arg=list(lines))


async def test_what_the_tool_writes_is_shown_and_what_the_person_types_reaches_it(person):
    _, page, _ = await person.at_screen()
    tool = await opened(person, page)
    await tool.writes(b"Which \x1b[1maccount\x1b[0m?\r\n> ", fresh=True)
    await shown(page, "Which account?", ">")
    await page.get_by_text("You can type here.").wait_for()
    await page.keyboard.type("ada")
    await page.keyboard.press("Enter")
    assert await tool.typed(4) == b"ada\r"


async def test_the_tools_terminal_has_the_size_that_the_page_shows(person):
    _, page, _ = await person.at_screen()
    tool = await opened(person, page)
    first = await tool.hears("terminal_size")
    assert first["columns"] > 60
    await page.set_viewport_size({"width": 500, "height": 700})
    second = await tool.hears("terminal_size")
    assert second["columns"] < first["columns"]


async def test_a_tool_without_a_terminal_is_only_read(person):
    _, page, _ = await person.at_screen()
    tool = await opened(person, page)
    await tool.writes(b"Starting\nOpen the page\n", fresh=True, writable=False)
    await shown(page, "Starting", "Open the page")
    await page.get_by_text("To read only").wait_for()
    await page.keyboard.type("nothing")
    await tool.writes(b"more\n")
    await shown(page, "Starting", "Open the page", "more")
    assert await page.evaluate("Boolean(document.activeElement.closest('.terminal'))")
    await page.keyboard.press("Tab")
    assert not await page.evaluate("Boolean(document.activeElement.closest('.terminal'))")


async def test_nothing_that_the_tool_asks_of_a_terminal_is_answered_and_no_title_or_clipboard_is_set(people):
    person = await people(permissions=["clipboard-read", "clipboard-write"])
    _, page, _ = await person.at_screen()
    await page.evaluate("navigator.clipboard.writeText('mine')")
    title = await page.title()
    tool = await opened(person, page)
    asked = b"\x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?6n\x1b[18t\x1b[21t\x1b[14t\x1b[?2026$p\x1b[20$p\x1b[>q"
    asked += b"\x1b]10;?\x07\x1b]11;?\x07\x1b]4;1;?\x07\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x05"
    set_ = b"\x1b]0;evil\x07\x1b]2;evil\x07\x1b]52;c;ZXZpbA==\x07\x1b]52;c;?\x07\x1b]1337;File=:\x07"
    await tool.writes(asked + set_ + b"done\r\n", fresh=True)
    await shown(page, "done")
    await page.keyboard.type("x")
    assert await tool.typed(1) == b"x"
    assert await page.title() == title
    assert await page.evaluate("navigator.clipboard.readText()") == "mine"


async def test_a_link_shows_its_address_and_opens_by_a_second_click_alone(person):
    _, page, _ = await person.at_screen()
    tool = await opened(person, page)
    link = b"\x1b]8;;https://vendor-one.com/device\x07https://bank.example\x1b]8;;\x07\r\n"
    bad = b"\x1b]8;;javascript:alert(1)\x07bad\x1b]8;;\x07\r\n"
    await tool.writes(link + bad, fresh=True)
    await shown(page, "https://bank.example", "bad")
    box = await page.locator("#terminal .xterm-screen").bounding_box()
    height = await page.evaluate("document.querySelector('#terminal .xterm-rows > div').getBoundingClientRect().height")
    for row in (1.5, 0.5):
        await page.mouse.move(box["x"] + 12, box["y"] + height * row)
        await page.mouse.click(box["x"] + 14, box["y"] + height * row)
    address = page.get_by_role("link", name="https://vendor-one.com/device")
    assert await address.get_attribute("href") == "https://vendor-one.com/device"
    assert "noopener" in await address.get_attribute("rel")
    assert len(person.context.pages) == 1


async def test_a_tool_that_asks_before_it_has_a_page_is_offered_to_the_person(people):
    person = await people(width=390, height=844)
    session_id, page = await person.sign_in(provider="codex")
    await page.get_by_role("button", name="Agree").click()
    apply = person.service.store.sessions.apply
    await apply(session_id, SessionFact.MACHINE_BOOTING, at=now(), expires_at=now())
    await view(page, "starting")
    # of the shipped tools none has a terminal: the page is told that this one has
    await page.route(f"**/api/auth/session/{session_id}", with_a_terminal)
    await apply(session_id, SessionFact.TERMINAL_ASKS, at=now())
    await page.get_by_text("The tool asks something in its terminal").wait_for()
    await page.get_by_role("button", name="Open the terminal").click()
    tool = await taken(person)
    await tool.writes(b"Paste the code: ", fresh=True)
    await shown(page, "Paste the code:")
    assert await page.evaluate(TOO_WIDE) == 0
    assert await page.evaluate(NAMELESS) == []
    await apply(session_id, SessionFact.PAGE_ASKED, at=now())
    await page.locator("#asks").wait_for(state="hidden")


async def with_a_terminal(route):
    answer = await route.fetch()
    await route.fulfill(response=answer, json={**await answer.json(), "cli_terminal": "write"})


async def test_control_alt_and_shift_leave_the_terminal_and_closing_it_forgets_what_it_showed(person):
    _, page, _ = await person.at_screen()
    tool = await opened(person, page)
    await tool.writes(b"DUMMY secret\r\n", fresh=True)
    await shown(page, "DUMMY secret")
    for key in ("Control", "Alt", "Shift"):
        await page.keyboard.down(key)
    for key in ("Shift", "Alt", "Control"):
        await page.keyboard.up(key)
    assert await page.evaluate("document.activeElement.id") == "paste-open"
    await page.locator("#terminal-panel [data-close]").click()
    assert await page.evaluate("document.activeElement.id") == "details-open"
    await shown(page)


async def test_the_terminal_ends_with_the_input_at_the_capture(person):
    session_id, page, _ = await person.at_screen()
    tool = await opened(person, page)
    await tool.writes(b"working\r\n", fresh=True)
    await person.capture(session_id)
    await view(page, "completed")
    assert await page.locator("#terminal-panel").is_hidden()


async def test_a_tool_that_has_none_says_so_in_the_details(person):
    _, page, _ = await person.at_screen(provider="gemini")
    await page.get_by_role("button", name="Details").click()
    await page.get_by_text("has no terminal to show").wait_for()
    assert await page.get_by_role("button", name="Show what the tool writes").is_hidden()
