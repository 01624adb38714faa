"""An application's limits are set where its keys are seen, by the keyboard too."""

from __future__ import annotations

import pytest

from tests.browser import axe
from tests.browser.test_binding import SIZES, keep

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_the_operator_sets_an_applications_limits_by_the_keyboard_alone(people, width, height, scheme):
    operator = await people(width=width, height=height, color_scheme=scheme)
    of = operator.service.signin.applications
    acme = await of.add("Acme Builds", bind_url=None)
    page = await operator.dashboard("/applications")
    region = page.get_by_role("region", name="Acme Builds")
    await region.get_by_text("The installation's alone").wait_for()
    await region.get_by_role("button", name="Limits of Acme Builds").focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Limits of Acme Builds")
    await dialog.wait_for()
    # the first field has the focus, and what is wrong is said where it is
    await page.keyboard.press("Control+a")
    await page.keyboard.type("-1")
    await page.keyboard.press("Enter")
    await dialog.get_by_role("alert").get_by_text("whole number").wait_for()
    assert await axe.violations(page) == []
    await keep(page, f"application-limits-{width}-{scheme}")
    await page.keyboard.press("Control+a")
    await page.keyboard.type("50")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Control+a")
    await page.keyboard.type("300")
    await page.keyboard.press("Enter")
    await dialog.wait_for(state="hidden")
    await region.get_by_text("50 open at once, 300 started an hour").wait_for()
    kept = await of.get(acme.id)
    assert (kept.live, kept.starts_an_hour) == (50, 300)
    await keep(page, f"application-limited-{width}-{scheme}")
