from pathlib import Path

import pytest

from tests.browser.states import STATES

pytestmark = pytest.mark.asyncio(loop_scope="session")
W = {390: 844, 1440: 900}
WANTED = (
    "open credentials",
    "open health",
    "open health-bad",
    "open machines",
    "open sessions",
    "open session",
    "closed used",
    "sign_in again",
)


@pytest.mark.parametrize("name", [n for n in STATES if n.endswith(WANTED)])
async def test_shot(people, name):
    person = await people(width=390, height=844, reduced_motion="reduce")
    page = await STATES[name].enter(person, people)
    for w, h in W.items():
        await page.set_viewport_size({"width": w, "height": h})
        await page.emulate_media(color_scheme="light" if w == 390 else "dark", reduced_motion="reduce")
        png = await page.screenshot(full_page=True)
        Path(f"/tmp/lo-shots/{name.replace(' ', '_')}-{w}.png").write_bytes(png)
