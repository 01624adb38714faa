"""Both pages by keyboard alone, in every width and scheme, with names for whoever does not see them."""

import re
from pathlib import Path

import pytest

import antechamber.web
from tests.browser.conftest import view
from tests.browser.states import boot

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEB = Path(antechamber.web.__file__).parent
NAMELESS = """() => [...document.querySelectorAll('button, a, input, [role=application]')]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length))
  .map((element) => element.outerHTML)"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const of = (name) => luminance(style.getPropertyValue(`--${name}`));
  const pairs = ['text ground', 'text surface', 'text raised', 'muted ground', 'muted surface', 'muted raised',
    'accent surface', 'accent ground', 'accent accent-soft', 'on-accent accent', 'on-accent accent-strong',
    'surface danger', 'danger surface', 'danger danger-soft', 'text danger-soft', 'warn warn-soft', 'good good-soft'];
  return Object.fromEntries(pairs.map((pair) => {
    const [a, b] = pair.split(' ').map(of);
    return [pair, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }));
}"""


async def tab_to(page, name, most=40):
    """Press Tab until the element with that text or label has the focus."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(
            "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()"
        )
        if focused == name:
            return
    raise AssertionError(f"{name} is not reached by Tab")


async def test_the_whole_way_is_gone_by_keyboard_alone(person):
    page = await person.dashboard()
    await view(page, "open")
    await tab_to(page, "Connect Codex")
    async with person.context.expect_page() as opening:
        await page.keyboard.press("Enter")
    tab = await opening.value
    await view(tab, "consent")
    session = (await person.service.signin.sessions())[0]
    await tab_to(tab, "Agree and go on")
    await tab.keyboard.press("Enter")
    await person.service.ready(session.id)
    far = await person.far_end(tab)
    await tab.keyboard.type("by hand")
    await far.until(lambda far: far.typed == "by hand")
    await person.capture(session.id)
    await view(tab, "completed")
    await tab_to(tab, "Yes, that is me")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("heading", name="All done").wait_for()


async def test_the_focus_goes_to_the_heading_of_each_new_view(person):
    session_id, page = await person.sign_in()
    await boot(person, session_id)
    await view(page, "consent")
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    await page.get_by_role("button", name="Agree").click()
    await view(page, "starting")
    assert await page.evaluate("document.activeElement.textContent") == "Starting your machine"
    assert "Starting" in await page.title()


async def test_what_has_the_focus_can_be_seen(person):
    _, page = await person.sign_in()
    await view(page, "consent")
    await page.keyboard.press("Tab")
    outline = await page.evaluate("getComputedStyle(document.activeElement).outline")
    assert "3px" in outline
    assert "solid" in outline


@pytest.mark.parametrize("width", [390, 1440])
async def test_nothing_is_wider_than_the_window_and_nothing_is_without_a_name(people, width):
    person = await people(width=width, height=844)
    dashboard = await person.dashboard()
    await view(dashboard, "open")
    assert await dashboard.evaluate(TOO_WIDE) == 0
    assert await dashboard.evaluate(NAMELESS) == []
    session_id, page = await person.sign_in(
        purpose="a purpose with averyveryverylongwordthatdoesnotfitinanarrowwindow" * 2
    )
    await view(page, "consent")
    assert await page.evaluate(TOO_WIDE) == 0
    assert await page.evaluate(NAMELESS) == []
    await page.get_by_role("button", name="Agree").click()
    await person.service.ready(session_id)
    await person.far_end(page)
    for drawer in ("Text", "Details"):
        await page.get_by_role("button", name=drawer).click()
        assert await page.evaluate(TOO_WIDE) == 0
        assert await page.evaluate(NAMELESS) == []
    await person.capture(session_id)
    await view(page, "completed")
    assert await page.evaluate(TOO_WIDE) == 0


async def test_both_pages_have_their_landmarks_and_one_main_heading(person):
    dashboard = await person.dashboard()
    await view(dashboard, "open")
    _, page = await person.sign_in()
    await view(page, "consent")
    for shown in (dashboard, page):
        assert await shown.get_by_role("main").count() == 1
        assert await shown.get_by_role("banner").count() == 1
        assert await shown.get_by_role("heading", level=1).count() == 1
        assert await shown.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_pair_of_text_and_ground_has_enough_contrast(people, scheme):
    person = await people(color_scheme=scheme)
    page = await person.dashboard()
    low = {pair: ratio for pair, ratio in (await page.evaluate(CONTRASTS)).items() if ratio < 4.5}
    assert low == {}


async def test_nothing_moves_for_whoever_asked_for_no_motion(people):
    person = await people(reduced_motion="reduce")
    _, page = await person.sign_in()
    await page.get_by_role("button", name="Agree").click()
    await view(page, "starting")
    assert await page.evaluate("document.getAnimations().length") == 0


async def test_no_template_holds_a_text_script_or_style_of_its_own():
    for template in (WEB / "templates").glob("*.html"):
        source = re.sub(r"\{[%{].*?[%}]\}", "", template.read_text())
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src=)", source), template
        words = re.sub(r"<[^>]*>|[✕\s]", "", source)
        assert words == "", f"{template}: {words}"
