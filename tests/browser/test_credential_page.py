"""A credential's own page: how it stands, what happened to it, and what can be done about it."""

import pytest

from antechamber.credential_life import CredentialFact
from antechamber.model import CredentialStatus
from antechamber.texts import english
from tests.browser.states import credential, deleted_credential, history

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORDS = english().pages["dashboard"]["credential"]


async def stored_of(person, user_id="me"):
    (stored,) = await person.service.signin.credentials(user_id)
    return stored


async def test_the_list_says_how_each_stands_and_leads_to_its_page(person):
    await history(person)
    stored = await stored_of(person)
    page = await person.dashboard("/credentials")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="Codex for me"))
    await row.get_by_text("Active", exact=True).wait_for()
    assert await page.get_by_text("need a look").count() == 0

    await person.service.signin.life.say(stored.id, CredentialFact.VENDOR_REFUSED)

    await row.get_by_text("Needs a sign-in", exact=True).wait_for()
    await row.get_by_text(WORDS["reasons"]["vendor_refused"]).wait_for()
    await page.get_by_text("Of these, 1 need a look").wait_for()
    await page.get_by_role("link", name="Connect", exact=True).click()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Codex"))
    await card.get_by_text("Needs a sign-in", exact=True).wait_for()
    await page.go_back()
    await row.get_by_role("link", name="Codex for me").click()
    await page.get_by_role("heading", name="Codex for me", level=1).wait_for()
    assert page.url.endswith(f"/credentials/{stored.id}")
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    await page.reload()
    await page.get_by_role("heading", name="Codex for me", level=1).wait_for()


async def test_a_page_tells_both_versions_with_their_sign_ins_and_what_was_said(person):
    page = await credential(person, None)
    story = page.get_by_role("region", name="What happened")
    await story.get_by_text(WORDS["facts"]["vendor_refused"]).wait_for()
    lines = await story.get_by_role("listitem").all_inner_texts()
    assert [WORDS["facts"]["captured"] in line for line in lines] == [True, True, False]
    assert "Needs a sign-in" in lines[2]
    assert await story.get_by_role("link", name="The sign-in that stored version 1").count() == 1
    versions = page.get_by_role("region", name="Versions")
    assert await versions.get_by_role("listitem").count() == 2
    await versions.get_by_role("link", name="The sign-in that stored version 2").click()
    await page.get_by_text("version 2 of it").click()
    await page.get_by_role("region", name="Versions").wait_for()


async def test_a_sign_in_begins_from_the_page_for_the_credential_s_own_label(person):
    await history(person, user_id="build-farm")
    stored = await stored_of(person, "build-farm")
    page = await person.dashboard(f"/credentials/{stored.id}")
    async with page.context.expect_page():
        await page.get_by_role("button", name="Sign in to Codex again").click()
    async with page.expect_response("**/api/auth/sessions*"):
        pass
    begun = [one for one in await person.service.signin.sessions(live=True) if one.provider == "codex"]
    assert [one.owner.user_id for one in begun] == ["build-farm"]


async def test_that_it_was_ended_at_the_vendor_is_believed_after_a_second_click(person):
    page = await credential(person, None)
    stored = await stored_of(person)
    said = page.get_by_role("button", name="It was ended there")
    await said.click()
    assert await page.evaluate("document.activeElement.id") == "ended-keep"
    await page.keyboard.press("Enter")
    await page.get_by_role("dialog").wait_for(state="hidden")
    assert (await stored_of(person)).status is CredentialStatus.NEEDS_SIGN_IN
    await said.click()
    await page.get_by_role("button", name="Yes, it ended").click()
    await page.get_by_text(WORDS["next"]["revoked"]).wait_for()
    assert (await person.service.signin.credential(stored.id)).status is CredentialStatus.REVOKED
    assert await said.count() == 0


async def test_what_is_deleted_from_its_page_stays_as_what_it_was_and_where_the_grant_is_ended(person):
    page = await credential(person, None)
    await page.get_by_role("button", name="Delete the credential of Codex").click()
    await page.get_by_role("button", name="Delete it").click()
    await page.get_by_text(WORDS["next"]["deleted"]).wait_for()
    vendor = page.get_by_role("region", name="At OpenAI")
    assert "was not told of the deletion, and may still hold the sign-in" in await vendor.inner_text()
    assert await vendor.get_by_role("link").count() == 1
    assert await page.get_by_role("button", name="Sign in to Codex again").count() == 0
    await page.get_by_role("region", name="What happened").get_by_text(WORDS["facts"]["deleted"]).wait_for()


async def test_a_tombstone_has_a_page_that_the_list_and_the_label_lead_to(person):
    page = await deleted_credential(person, None)
    await page.get_by_role("heading", name="Codex for me", level=1).wait_for()
    await page.get_by_role("link", name="All credentials").click()
    await page.get_by_role("heading", name="Deleted", level=2).wait_for()
    await page.get_by_role("link", name="Codex for me").click()
    await page.get_by_text(WORDS["reasons"]["deleted"]).wait_for()


async def test_a_label_s_page_says_how_its_credentials_stand(person):
    await history(person)
    stored = await stored_of(person)
    await person.service.signin.life.say(stored.id, CredentialFact.SAID_REVOKED)
    page = await person.dashboard("/owners?user_id=me")
    held = page.get_by_role("region", name="Credentials")
    await held.get_by_text("Ended", exact=True).wait_for()
    await held.get_by_role("link", name="Codex").click()
    await page.get_by_text(WORDS["reasons"]["said_revoked"]).first.wait_for()
