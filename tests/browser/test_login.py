"""Operators in a real Chromium: to a real issuer and back, to where they were, and out of both."""

import pytest
import pytest_asyncio

from tests.browser.conftest import Person, view
from tests.integration.web_service import running
from tests.issuer import RealIssuer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def issuer(tmp_path):
    serving = RealIssuer(tmp_path)
    yield serving
    serving.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path, issuer):
    """The service of whose operators ann is one."""
    named = {"oidc_name": "Example & Sons", "oidc_emails": "ann@example.com", "oidc_s": 2}
    async with running(tmp_path, world="demo", heartbeat_s=1, **named, **issuer.settings) as started:
        issuer.register(started.addresses.dashboard.url)
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def operators(browser, own):
    """Make operators, each with a browser of their own; whatever our pages complained of fails the test."""
    made = []

    async def make(width=1280):
        context = await browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce")
        made.append(Person(context, own))
        return made[-1]

    yield make
    for person in made:
        await person.context.close()
    # the issuer's pages ask for a font of the internet's, which is not there
    theirs = ("Content-Security-Policy", "Content Security Policy", "fonts.googleapis", "opener-policy")
    ours = [fault for one in made for fault in one.faults if not any(word.lower() in fault.lower() for word in theirs)]
    assert ours == []


async def log_in(page, who):
    """Be at the issuer, and become somebody."""
    await page.get_by_role("button", name="Sign in with Example & Sons").click()
    await page.locator("input[name=login]").fill(who)
    await page.locator("input[name=password]").fill("DUMMY")
    await page.locator("button[type=submit]").click()
    await page.get_by_role("button", name="Continue").click()


@pytest.mark.parametrize("width", [390, 1440])
async def test_an_operator_goes_to_the_issuer_comes_back_to_where_they_were_and_goes_out_of_both(operators, own, width):
    operator = await operators(width)
    page = await operator.page(f"{own.addresses.dashboard.url}/sessions?status=failed")
    await view(page, "closed")
    await log_in(page, "ann")
    await view(page, "open")
    assert page.url == f"{own.addresses.dashboard.url}/sessions?status=failed"
    await page.get_by_role("group", name="Signed in").get_by_text("ann@example.com").wait_for()
    assert await page.evaluate("[document.cookie, document.referrer, sessionStorage.length]") == ["", "", 0]
    await page.reload()
    await view(page, "open")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Yes, sign me out").click()
    await page.wait_for_url(lambda url: url.startswith(own.addresses.dashboard.url))
    await view(page, "closed")
    await page.go_back()
    await page.goto(f"{own.addresses.dashboard.url}/credentials")
    await view(page, "closed")


async def test_whoever_is_not_named_is_told_so_in_words_and_led_back(operators, own):
    operator = await operators()
    page = await operator.page(own.addresses.dashboard.url)
    await log_in(page, "eve")
    await page.get_by_role("heading", name="You have signed in, but you are not among those").wait_for()
    await page.get_by_role("link", name="dashboard").click()
    await view(page, "closed")


async def test_who_changes_their_mind_at_the_issuer_is_told_so_and_can_begin_again(operators, own):
    operator = await operators()
    page = await operator.page(own.addresses.dashboard.url)
    await page.get_by_role("button", name="Sign in with Example & Sons").click()
    await page.get_by_role("link", name="Cancel").click()
    await page.get_by_role("heading", name="The issuer did not sign you in.").wait_for()
    await page.get_by_role("link", name="dashboard").click()
    await log_in(page, "ann")
    await view(page, "open")


async def test_an_issuer_that_is_away_is_said_in_the_page_and_whoever_is_in_stays_in(operators, own, issuer):
    inside, outside = await operators(), await operators()
    issuer.close()
    other = await outside.page(own.addresses.dashboard.url)
    await other.get_by_role("button", name="Sign in with Example & Sons").click()
    await other.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    issuer.start()
    # an answer that failed counts for some seconds
    page = await inside.page(own.addresses.dashboard.url)
    while await page.locator("input[name=login]").count() == 0:
        button = page.get_by_role("button", name="Sign in with Example & Sons")
        await button.click()
        await page.locator(".access [role=alert]:not([hidden]), input[name=login]").first.wait_for()
    await page.goto(own.addresses.dashboard.url)
    await log_in(page, "ann")
    await view(page, "open")
    issuer.close()
    await page.reload()
    await view(page, "open")
    await page.get_by_text("ann@example.com").wait_for()


async def test_an_address_that_was_left_in_the_page_leads_nowhere_else(operators, own):
    operator = await operators()
    page = await operator.page(own.addresses.dashboard.url)
    await view(page, "closed")
    await page.get_by_role("button", name="Sign in with Example & Sons").wait_for()
    for left in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        await page.evaluate("(left) => sessionStorage.setItem('antechamber.left-at', left)", left)
        await page.goto(f"{own.addresses.dashboard.url}/#entered")
        await page.reload()
        await view(page, "closed")
        assert page.url == f"{own.addresses.dashboard.url}/"
