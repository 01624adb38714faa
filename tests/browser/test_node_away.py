"""A sign-in whose machine is on another node that cannot be reached: what its person reads, and can do."""

import pytest

from antechamber.model import IdPrefix, new_id
from tests.browser.axe import violations
from tests.browser.conftest import view
from tests.integration.web_service import now
from tests.servers import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

AWAY = "The computer that runs this sign-in does not answer. This page tries again by itself."


async def elsewhere(person, url):
    """Return (session id, page) of a sign-in whose machine is on another node, with that address."""
    session_id, page = await person.sign_in()
    await page.get_by_role("button", name="Agree").click()
    node = new_id(IdPrefix.NODE)
    await person.service.store.nodes.join(node, name="there", url=url, at=now())
    await person.service.begin_machine(session_id, node=node)
    await person.service.ready(session_id)
    await view(page, "screen")
    return session_id, page


@pytest.mark.parametrize("width", [390, 1440])
async def test_whoever_s_machine_is_on_a_node_without_an_address_reads_that_it_does_not_answer(people, width):
    person = await people(width=width, height=844)
    _, page = await elsewhere(person, None)
    await page.get_by_text(AWAY).wait_for()
    await page.get_by_role("button", name="Try now").wait_for()
    # nodes are the operator's matter
    assert "another node" not in await page.locator("body").inner_text()
    assert await violations(page) == []


async def test_whoever_s_machine_is_on_a_node_that_is_away_reads_the_same_and_can_still_cancel(person):
    session_id, page = await elsewhere(person, f"http://127.0.0.1:{free_port()}")
    await page.get_by_text(AWAY).wait_for()
    async with page.expect_request("**/ticket"):
        await page.get_by_role("button", name="Try now").click()
    await page.get_by_text(AWAY).wait_for()
    await page.locator("#cancel-open").click()
    await page.get_by_role("button", name="Stop the sign-in").click()
    await view(page, "cancelled")
    assert (await person.service.signin.session(session_id)).status == "cancelled"


async def test_the_terminal_of_a_node_that_is_away_says_so_too(person):
    _, page = await elsewhere(person, f"http://127.0.0.1:{free_port()}")
    await page.get_by_role("button", name="Details").click()
    await page.get_by_role("button", name="Show what the tool writes").click()
    await page.locator("#terminal-state", has_text=AWAY).wait_for()
