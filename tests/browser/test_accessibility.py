"""Every page in every state: nothing that axe-core finds, nothing too wide, nothing that moves, nothing that traps."""

import pytest

from antechamber.web.fault_page import KINDS
from tests.browser.axe import violations
from tests.browser.states import STATES

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEIGHTS = {390: 844, 1440: 900}
MODULES = {"sign_in": "/static/signin/status.js", "dashboard": "/static/dashboard/routes.js"}
OVER = "(selector) => [...document.querySelectorAll(selector)].map((element) => element.id)"
OPENED = "dialog, .drawer[id], .veil[id], .live[id], [role=alert][id], .stale, #who"
"""What lies hidden in a page and is opened over a view."""

TOO_WIDE = """() => [document.documentElement,
  ...document.querySelectorAll('main, .panel, .drawer, dialog, .veil, .card')]
  .filter((element) => element.checkVisibility() && element.scrollWidth > element.clientWidth + 1)
  .map((element) => {
    const edge = element.getBoundingClientRect().left + element.clientWidth;
    const over = [...element.querySelectorAll('*')].filter((one) => one.checkVisibility()
      && !one.matches('.unseen') && one.getBoundingClientRect().right > edge + 1);
    return `${element.tagName}.${element.className}: ${element.scrollWidth} > ${element.clientWidth}: `
      + over.slice(-3).map((one) => one.outerHTML.slice(0, 80)).join(' | ');
  })"""
BROKEN = """() => [...document.querySelectorAll('.button')].filter((button) => button.checkVisibility())
  .flatMap((button) => {
    const words = [];
    const texts = document.createTreeWalker(button, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      for (const word of texts.currentNode.data.matchAll(/\\S+/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        if (range.getClientRects().length > 1) {
          words.push(word[0]);
        }
      }
    }
    return words;
  })"""
"""The words of buttons that are broken over two lines."""

MOVING = """() => [...document.querySelectorAll('*')].flatMap((element) =>
  ['', '::before', '::after'].filter((pseudo) => {
    const style = getComputedStyle(element, pseudo || null);
    return style.animationName !== 'none' || style.transitionDuration.split(', ').some((time) => parseFloat(time));
  }).map((pseudo) => `${element.tagName}.${element.className}${pseudo}`))"""
FOCUSED = """() => {
  const element = document.activeElement;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const frame = element.closest('.frame, .terminal');
  return {
    name: element.outerHTML.slice(0, 120),
    body: element === document.body,
    screen: Boolean(frame),
    place: [...document.querySelectorAll('*')].indexOf(element),
    seen: Boolean(frame) || (style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2),
    inside: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""
LOST = "new Promise((done) => setTimeout(() => done(document.activeElement === document.body), 50))"
TABBABLE = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((element) => !element.disabled && element.checkVisibility({visibilityProperty: true}))
  .filter((element) => !document.querySelector('dialog[open]') || element.closest('dialog[open]'))
  .filter((element) => !(element.type === 'radio' && !element.checked))
  .map((element) => [[...document.querySelectorAll('*')].indexOf(element), element.outerHTML.slice(0, 120)])"""

# drawn again when a minute has gone by, as each age on the page is then another
DRAW_ANEW = """() => {
  window.behind = document.querySelector('#content button');
  const then = Date.now;
  Date.now = () => then() + 61_000;
  dispatchEvent(new Event('online'));
}"""
ASKING = [
    name for name, one in STATES.items() if len(one.opened) == 1 and one.opened < {"delete", "ended", "stop", "erase"}
]


@pytest.mark.parametrize("name", STATES)
async def test_no_state_of_a_page_keeps_anybody_out(people, name):
    person = await people(width=390, height=HEIGHTS[390], reduced_motion="reduce")
    page = await STATES[name].enter(person, people)
    found = {"moving": await page.evaluate(MOVING)}
    for width, height in HEIGHTS.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found[width, scheme] = await violations(page)
        found[width, "wide"] = await page.evaluate(TOO_WIDE)
        found[width, "broken"] = await page.evaluate(BROKEN)
        found[width, "tab"] = await faults_of_tab(page)
    await page.set_viewport_size({"width": 390, "height": HEIGHTS[390]})
    await page.evaluate("document.documentElement.style.fontSize = '200%'")
    found["text at 200 %"] = await page.evaluate(TOO_WIDE)
    await page.evaluate("document.documentElement.style.fontSize = ''")
    found["escape"] = await faults_of_escape(page, STATES[name].opened)
    assert [f"{where}: {fault}" for where, faults in found.items() for fault in faults] == []


async def faults_of_tab(page):
    """Press Tab until it has gone once through the page; return what somebody without a mouse could complain of."""
    await page.evaluate("document.activeElement.blur()")
    expected = await page.evaluate(TABBABLE)
    passed, faults = {}, []
    for _ in range(2 * len(expected) + 4):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(FOCUSED)
        if focused["body"]:
            # between the last control and the first: a browser's own bar would come here
            continue
        if focused["place"] in passed:
            break
        passed[focused["place"]] = focused["name"]
        if focused["screen"]:
            # the screen and a terminal take Tab for themselves, and the chord is the way out
            await page.keyboard.press("Control+Alt+Shift")
            if (await page.evaluate(FOCUSED))["screen"]:
                faults.append("the screen keeps the focus")
            break
        if not focused["seen"]:
            faults.append(f"no outline: {focused['name']}")
        if not focused["inside"]:
            faults.append(f"out of sight: {focused['name']}")
    order = list(passed)
    first = order.index(min(order)) if order else 0
    if order[first:] + order[:first] != sorted(order):
        faults.append(f"out of order: {list(passed.values())}")
    missed = [name for place, name in expected if place not in passed]
    return faults + ([] if focused["screen"] else [f"not reached: {name}" for name in missed])


async def faults_of_escape(page, opened):
    """Press Escape; return what stays open though it is a dialog or a drawer, or lost the focus."""
    faults = []
    # a dialog lies over a drawer
    for one in sorted(opened, key=lambda one: one.endswith("-panel")):
        element = page.locator(f"#{one}")
        if await element.evaluate("(element) => element.matches('dialog, .drawer')"):
            await element.locator("button").first.focus()
            await page.keyboard.press("Escape")
            await element.wait_for(state="hidden")
            # a dialog's close event comes after it is closed
            if await page.evaluate(LOST):
                faults.append(f"{one} lost the focus")
    return faults


@pytest.mark.parametrize("name", ASKING)
async def test_a_dialog_gives_the_keyboard_back_though_the_page_behind_it_was_drawn_anew(people, name):
    """What opened it is gone then, and the browser alone would leave the keyboard nowhere."""
    person = await people(reduced_motion="reduce")
    page = await STATES[name].enter(person, people)
    (dialog,) = STATES[name].opened
    await page.evaluate(DRAW_ANEW)
    await page.wait_for_function("() => !behind.isConnected")
    await page.locator(f"#{dialog}").get_by_role("button").first.focus()

    await page.keyboard.press("Escape")

    await page.locator(f"#{dialog}").wait_for(state="hidden")
    assert not await page.evaluate(LOST)
    focused = page.locator("#content button:focus")
    assert await focused.count() == 1
    await focused.press("Enter")
    await page.locator(f"#{dialog}").wait_for(state="visible")


async def test_every_state_that_the_pages_know_is_in_the_list(person):
    started = await person.service.start()
    pages = {"sign_in": await person.page(started["sign_in_url"]), "dashboard": await person.dashboard()}
    for name, page in pages.items():
        views = await page.evaluate("async (path) => (await import(path)).VIEWS", MODULES[name])
        known = {(view, variant) for view, variants in views.items() for variant in ["", *variants]}
        # the sign-in page always says why it is closed, and the dashboard which of its sections is open
        known -= {("closed", "")} if name == "sign_in" else {("open", "")}
        mine = [state for state in STATES.values() if state.page == name]
        assert {(state.view, state.variant) for state in mine} == known
        over = await page.evaluate(OVER, OPENED)
        assert {opened for state in mine for opened in state.opened} == set(over)
    assert {state.variant for state in STATES.values() if state.page == "fault"} == set(KINDS)
