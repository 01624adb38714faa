"""A credential's own page: how it stands, what happened to it, and what can be done about it."""

import copy
import json

import pytest

from antechamber.credential_life import CredentialFact
from antechamber.errors import ProviderError
from antechamber.model import CredentialStatus
from antechamber.texts import english
from tests.browser.conftest import view
from tests.browser.states import credential, deleted_credential, history, stored, stored_each
from tests.providers.samples import ACCOUNT, CODEX, token

pytestmark = pytest.mark.asyncio(loop_scope="session")
WORDS = english().pages["dashboard"]["credential"]
VENDOR = "https://chatgpt.com/#settings/Security"


async def stored_of(person, user_id="me"):
    (stored,) = await person.service.signin.credentials(user_id)
    return stored


def of_account(account):
    """Return a credential file that names that account."""
    document = copy.deepcopy(CODEX)
    document["tokens"]["id_token"] = token(email=account)
    return document


async def test_the_list_says_how_each_stands_and_leads_to_its_page(person):
    await history(person)
    stored = await stored_of(person)
    page = await person.dashboard("/credentials")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="Codex for me"))
    await row.get_by_text("Active", exact=True).wait_for()
    assert await page.get_by_text("Need a sign-in").count() == 0

    await person.service.signin.life.say(stored.id, CredentialFact.VENDOR_REFUSED)

    await row.get_by_text("Needs a sign-in", exact=True).wait_for()
    await row.get_by_text(WORDS["reasons"]["vendor_refused"]).wait_for()
    await page.get_by_text("Need a sign-in: 1.", exact=True).wait_for()
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


async def test_the_list_begins_with_what_needs_somebody_and_counts_it(person):
    await stored_each(person.service)
    page = await person.dashboard("/credentials")
    rows = page.locator("#credentials tbody tr")
    await rows.nth(3).wait_for()
    for row, words in zip(
        await rows.all_inner_texts(),
        (
            ("Needs a sign-in", f"{WORDS['reasons']['vendor_refused']} · just now"),
            ("Ended", WORDS["reasons"]["said_revoked"]),
            ("Expires soon", WORDS["reasons"]["expiry_near"], "Sign-in ends in 2 days"),
            ("Active", WORDS["reasons"]["signed_in"]),
        ),
        strict=True,
    ):
        assert [word for word in words if word not in row] == []
    counted = "Need a sign-in: 1. Ended at the vendor, and still stored: 1. Will need a sign-in soon: 1."
    await page.get_by_text(counted, exact=True).wait_for()


async def test_a_sign_in_under_way_is_told_on_the_page_and_its_version_follows_there(person):
    row = await stored(person.service, "me", CredentialFact.CHECK_REFUSED)
    page = await person.dashboard(f"/credentials/{row.id}")
    again = page.get_by_role("button", name="Sign in to Codex again")
    async with person.context.expect_page() as opening:
        await again.click()
    await view(await opening.value, "consent")
    await page.get_by_text("A sign-in for it is under way.").wait_for()
    (session,) = await person.service.store.sessions.list(live=True)
    assert (session.owner.user_id, session.provider, session.replace_account) == ("me", "codex", False)
    await again.click()
    await page.get_by_text("A sign-in is open already").wait_for()
    await person.service.ready(session.id)
    await person.service.capture(session.id)
    await page.get_by_text(WORDS["accounts"]["same"]).wait_for()
    await page.get_by_text("A sign-in for it is under way.").wait_for(state="hidden")


async def test_another_account_is_refused_with_the_way_to_allow_it_and_replaces_the_stored_one_when_allowed(person):
    row = await stored(person.service, "me")
    refused = (await person.service.start(user_id="me"))["session_id"]
    await person.service.ready(refused)
    with pytest.raises(ProviderError):
        await person.service.capture(refused, of_account("other@example.com"))
    page = await person.dashboard(f"/sessions/{refused}")
    await page.get_by_text("page and sign in again from there").wait_for()
    await page.get_by_role("link", name="The credential that stays").click()
    await page.get_by_label("Another account may take its place").check()
    assert await page.evaluate("document.activeElement.id") == "replace-account"
    async with person.context.expect_page() as opening:
        await page.get_by_role("button", name="Sign in to Codex again").click()
    await view(await opening.value, "consent")
    (session,) = await person.service.store.sessions.list(live=True)
    assert session.replace_account
    await person.service.ready(session.id)
    await person.service.capture(session.id, of_account("other@example.com"))
    await page.get_by_text(WORDS["accounts"]["replaced"]).wait_for()
    replaced = await stored_of(person)
    assert (replaced.id, replaced.version, replaced.claims.account) == (row.id, 2, "other@example.com")


async def test_a_refusal_to_start_stays_with_the_label_that_it_was_about(person):
    row = await stored(person.service, "me")
    page = await person.dashboard(f"/credentials/{row.id}")

    async def refuse(route):
        body = {
            "error": {"code": "driver_unavailable", "message": "No machine.", "next": "Run it.", "retryable": False}
        }
        await route.fulfill(status=503, content_type="application/json", body=json.dumps(body))

    await page.route("**/api/auth/session", refuse)
    await page.get_by_role("button", name="Sign in to Codex again").click()
    await page.get_by_role("alert").filter(has_text="No machine.").wait_for()
    await page.get_by_role("link", name="Connect", exact=True).click()
    await page.get_by_role("alert").filter(has_text="No machine.").wait_for()
    await page.get_by_label("Label").fill("ada")
    await page.get_by_role("alert").filter(has_text="No machine.").wait_for(state="hidden")


async def test_a_card_leads_to_the_page_of_its_credential(person):
    await stored(person.service, "me")
    page = await person.dashboard()
    await page.get_by_role("link", name=ACCOUNT).click()
    await page.get_by_role("region", name="Versions").wait_for()


async def test_of_a_malformed_id_the_page_says_that_there_is_none(person):
    page = await person.dashboard("/credentials/nonsense")
    await page.get_by_role("heading", name="No such credential").wait_for()


async def test_a_stopped_sign_in_names_the_vendor_s_page_once_its_person_had_agreed(person):
    session_id, sign_in = await person.sign_in(user_id="me")
    page = await person.dashboard(f"/sessions/{session_id}")
    stop = page.get_by_role("dialog")
    await page.get_by_role("button", name="Stop this sign-in").click()
    await stop.wait_for()
    assert await stop.get_by_role("link").count() == 0
    await page.keyboard.press("Escape")
    await sign_in.get_by_role("button", name="Agree").click()
    await page.get_by_text("The person agreed.").wait_for()
    await page.get_by_role("button", name="Stop this sign-in").click()
    assert await stop.get_by_role("link").get_attribute("href") == VENDOR
    await stop.get_by_role("button", name="Stop it").click()
    held = page.get_by_text("but the vendor may still hold a grant")
    assert await held.get_by_role("link").get_attribute("href") == VENDOR
