"""The remote CLI on the dashboard: a tool started, worked in, found again and ended; its machine is played."""

import asyncio
import re

import pytest

from antechamber.guest.output import KEPT
from antechamber.model import RunReason, RunStatus
from tests.browser.states import run_of, runs_of_each, stored, working
from tests.browser.test_for_everybody import NAMELESS, TOO_WIDE, tab_to
from tests.integration.far_tool import FarTool

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = """() => [...document.querySelectorAll('.run .xterm-accessibility-tree > *')]
  .map((line) => line.textContent.trimEnd()).filter(Boolean)"""


async def shown(page, *lines):
    await page.wait_for_function(f"(lines) => JSON.stringify(({TEXT})()) === JSON.stringify(lines)", arg=list(lines))


async def of(person):
    return (await person.service.runs.list(user_id="me", application=None, limit=5))[0]


async def test_a_tool_is_started_and_worked_in_and_its_end_is_said_in_words(person):
    page, tool = await working(person)
    await shown(page, "Ready to work.", ">")
    assert (tool.run.arguments, tool.run.terminal, tool.run.held, tool.run.owner.user_id) == ((), True, False, "me")
    await page.keyboard.type("hello")
    await page.keyboard.press("Enter")
    assert await tool.hears(6) == b"hello\r"
    tool.writes(b"hello\r\nbye\r\n")
    await tool.ends(3)
    await page.get_by_text("The tool ended by itself. Exit code 3.").wait_for()
    # what it said last stays to be read
    await shown(page, "Ready to work.", "> hello", "bye")
    assert await page.evaluate("Boolean(document.activeElement.closest('.terminal'))")
    await page.keyboard.press("Tab")
    assert not await page.evaluate("Boolean(document.activeElement.closest('.terminal'))")


async def test_a_workspace_is_chosen_and_told_and_the_run_is_started_again_in_it(person):
    await stored(person.service, "me")
    page = await person.dashboard("/runs")
    await page.get_by_label("Workspace, read-only").select_option("site")
    await page.get_by_role("button", name="Open a terminal of Codex for me").click()
    await page.locator("body[data-variant=run]").wait_for()
    assert (await of(person)).workspace == "site"
    await page.locator("dd", has_text="site").wait_for()
    tool = await FarTool.begun(person.service, (await of(person)).id)
    await tool.ends(0)
    await page.get_by_role("button", name="Start it again").click()
    await page.locator("body[data-variant=run]").wait_for()
    assert (await of(person)).workspace == "site"


async def test_the_whole_way_is_gone_by_keyboard_alone(person):
    await stored(person.service, "me")
    page = await person.dashboard("/runs")
    await tab_to(page, "Open a terminal of Codex for me")
    await page.keyboard.press("Enter")
    await page.locator("body[data-variant=run]").wait_for()
    tool = await FarTool.begun(person.service, (await of(person)).id)
    tool.writes(b"> ")
    await shown(page, ">")
    await page.keyboard.type("a")
    await page.keyboard.press("Tab")
    assert await tool.hears(2) == b"a\t"
    for key in ("Control", "Alt", "Shift"):
        await page.keyboard.down(key)
    for key in ("Shift", "Alt", "Control"):
        await page.keyboard.up(key)
    assert await page.evaluate("document.activeElement.textContent") == "End the run"
    await page.keyboard.press("Enter")
    await tab_to(page, "End it")
    await page.keyboard.press("Enter")
    await page.get_by_text("The run was cancelled.").wait_for()
    assert (await of(person)).reason is RunReason.CANCELLED


async def test_closing_asks_first_and_the_run_goes_on_where_one_thinks_better_of_it(person):
    page, tool = await working(person)
    await page.get_by_role("button", name="End the run").click()
    await page.get_by_role("button", name="Let it go on").click()
    assert (await of(person)).status is RunStatus.RUNNING
    await page.locator(".run > .terminal").click()
    await page.keyboard.type("x")
    assert await tool.hears(1) == b"x"


async def test_after_a_reload_the_screen_is_as_it_was_and_nothing_is_answered_twice(person):
    page, tool = await working(person)
    tool.writes(b"\x1b[6n\x1b[cone\r\n\x1b[31mtwo\x1b[0m\r\n")
    answer = await tool.hears(len(b"\x1b[2;3R\x1b[?1;2c"))
    assert answer == b"\x1b[2;3R\x1b[?1;2c"
    await shown(page, "Ready to work.", "> one", "two")
    await page.reload()
    await shown(page, "Ready to work.", "> one", "two")
    await page.locator(".run > .terminal").click()
    await page.keyboard.type("y")
    assert await tool.hears(1) == b"y"
    tool.writes(b"\x1b[5n")
    assert await tool.hears(4) == b"\x1b[0n"


async def test_where_the_beginning_is_gone_the_tool_draws_it_anew_for_a_larger_size(person):
    page, tool = await working(person)
    _, rows = await asyncio.wait_for(tool.sizes.get(), 15)
    tool.writes(b"." * (KEPT + 1))
    while not tool.sizes.empty():
        tool.sizes.get_nowait()
    await page.reload()
    told = [(await asyncio.wait_for(tool.sizes.get(), 15))[1]]
    while rows + 1 not in told or told[-1] != rows:
        told.append((await asyncio.wait_for(tool.sizes.get(), 15))[1])
    # never for a smaller one: a terminal has a least size, and what is below it ends the line
    assert min(told) == rows
    tool.writes(b"\x1b[2J\x1b[Hdrawn anew")
    await shown(page, "drawn anew")


async def test_a_dropped_line_is_made_again_and_what_came_meanwhile_is_there(person):
    page, tool = await working(person)
    # as a proxy that is started anew: both ways of the line end at once
    tool.drop()
    tool.writes(b"meanwhile\r\n")
    await shown(page, "Ready to work.", "> meanwhile")
    await page.keyboard.type("z")
    assert await tool.hears(1) == b"z"


async def test_another_page_takes_over_and_gives_it_back(person):
    page, tool = await working(person)
    other = await person.dashboard(f"/runs/{tool.run.id}")
    await shown(other, "Ready to work.", ">")
    await page.get_by_text("Another page or program reads this run now.").wait_for()
    await page.get_by_role("button", name="Use it here").click()
    await other.get_by_text("Another page or program reads this run now.").wait_for()
    await page.locator(".run > .terminal").click()
    await page.keyboard.type("mine")
    assert await tool.hears(4) == b"mine"


async def test_a_run_that_waits_shows_its_place_and_begins_by_itself(person):
    await stored(person.service, "me")
    first = await FarTool.begun(person.service, (await run_of(person, "me")).id)
    page = await person.dashboard("/runs")
    await page.get_by_role("button", name="Open a terminal of Codex for me").click()
    await page.get_by_text("Another run has this sign-in. This one is number 1 in the line.").wait_for()
    await page.locator(".head .mark", has_text="Number 1 in the line").wait_for()
    await first.ends()
    tool = await FarTool.begun(person.service, (await of(person)).id)
    tool.writes(b"here\r\n")
    await shown(page, "here")


async def test_no_title_window_or_clipboard_is_the_tools_and_its_links_open_by_a_second_click_alone(people):
    person = await people(permissions=["clipboard-read", "clipboard-write"])
    page, tool = await working(person)
    await page.evaluate("navigator.clipboard.writeText('mine')")
    title = await page.title()
    tool.writes(
        b"\x1b]0;evil\x07\x1b]2;evil\x07\x1b]52;c;ZXZpbA==\x07\x1b]52;c;?\x07\x1b[18t\x1b[21t\x1b[14t\x1b]10;?\x07"
    )
    tool.writes(b"\x1b]8;;https://vendor-one.com/device\x07https://bank.example\x1b]8;;\x07\r\n")
    tool.writes(b"\x1b]8;;javascript:alert(1)\x07bad\x1b]8;;\x07\r\n")
    await shown(page, "Ready to work.", "> https://bank.example", "bad")
    await page.keyboard.type("x")
    assert await tool.hears(1) == b"x"
    assert await page.title() == title
    assert await page.evaluate("navigator.clipboard.readText()") == "mine"
    box = await page.locator(".run .xterm-screen").bounding_box()
    height = await page.evaluate("document.querySelector('.run .xterm-rows > div').getBoundingClientRect().height")
    for row, column in ((2.5, 12), (1.5, 40)):
        await page.mouse.move(box["x"] + column, box["y"] + height * row)
        await page.mouse.click(box["x"] + column + 2, box["y"] + height * row)
    address = page.get_by_role("link", name="https://vendor-one.com/device")
    assert await address.get_attribute("href") == "https://vendor-one.com/device"
    assert "noopener" in await address.get_attribute("rel")
    assert len(person.context.pages) == 1


async def test_what_is_selected_or_shown_is_copied_and_what_is_pasted_is_typed(people):
    person = await people(permissions=["clipboard-read", "clipboard-write"])
    page, tool = await working(person)
    await page.get_by_role("button", name="Copy").click()
    await page.get_by_text("Copied.").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == "Ready to work.\n>"
    await page.evaluate("navigator.clipboard.writeText('pasted')")
    await page.get_by_role("button", name="Paste").click()
    assert await tool.hears(6) == b"pasted"
    await page.keyboard.press("Control+v")
    assert await tool.hears(6) == b"pasted"
    # a click where the first word stands
    await page.locator(".run .xterm-screen").dblclick(position={"x": 10, "y": 8})
    await page.keyboard.press("Control+c")
    async with asyncio.timeout(15):
        while await page.evaluate("navigator.clipboard.readText()") != "Ready":
            await asyncio.sleep(0.05)
    # nothing is selected any more: it interrupts
    await page.keyboard.press("Control+c")
    assert await tool.hears(1) == b"\x03"


async def test_any_colour_of_a_tool_is_shown_and_follows_the_scheme(person):
    page, tool = await working(person)
    tool.writes(b"\x1b[38;2;200;30;30m\x1b[48;2;0;0;90mcoloured\x1b[0m\r\n")
    await shown(page, "Ready to work.", "> coloured")
    colours = "document.querySelectorAll('.run .xterm-rows span')"
    found = f"[...{colours}].filter((one) => one.style.backgroundColor === 'rgb(0, 0, 90)').length"
    assert await page.evaluate(found) == 1
    ground = "getComputedStyle(document.querySelector('.run .xterm-scrollable-element')).backgroundColor"
    light = await page.evaluate(ground)
    await page.emulate_media(color_scheme="dark")
    await page.wait_for_function(f"(light) => {ground} !== light", arg=light)


async def test_on_a_phone_it_fits_and_has_the_keys_that_a_soft_keyboard_lacks(people):
    person = await people(width=390, height=844, has_touch=True, is_mobile=True)
    page, tool = await working(person)
    columns, rows = await asyncio.wait_for(tool.sizes.get(), 15)
    assert 30 <= columns <= 60
    assert rows >= 20
    assert await page.evaluate(TOO_WIDE) == 0
    assert await page.evaluate(NAMELESS) == []
    for name, typed in (("Escape key", b"\x1b"), ("Tab key", b"\t"), ("Up arrow key", b"\x1b[A")):
        await page.get_by_role("button", name=name).tap()
        assert await tool.hears(len(typed)) == typed
    await page.set_viewport_size({"width": 700, "height": 844})
    async with asyncio.timeout(15):
        while (await tool.sizes.get())[0] <= columns:
            pass


async def test_runs_are_listed_with_how_they_stand_and_live_ones_can_be_ended(person):
    run = await runs_of_each(person)
    page = await person.dashboard("/runs")
    await page.get_by_text("The tool ended by itself. Exit code 3.").wait_for()
    await page.get_by_text("The tool was ended by signal 9.").wait_for()
    await page.get_by_text("The run was cancelled.").wait_for()
    await page.get_by_role("button", name="End the run of Codex").last.click()
    await page.get_by_role("button", name="End it").click()
    await page.locator(".session .mark", has_text="Running").wait_for(state="detached")
    assert (await person.service.runs.get(run.id)).reason is RunReason.CANCELLED


async def test_leaving_the_view_leaves_the_run_and_it_is_found_again_in_the_list(person):
    page, tool = await working(person)
    await page.get_by_role("link", name="All runs").click()
    await page.locator("body[data-variant=runs]").wait_for()
    await tool.unread()
    assert (await of(person)).status is RunStatus.RUNNING
    tool.writes(b"while away\r\n")
    await page.get_by_role("link", name="Codex for me").click()
    await shown(page, "Ready to work.", "> while away")


async def test_what_a_machine_that_died_leaves_is_said(person):
    page, tool = await working(person)
    await tool.dies()
    await page.get_by_text(re.compile("machine ended without being asked")).wait_for()
