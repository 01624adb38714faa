"""Each status, and each way not to get in, has its own view in the sign-in page."""

from datetime import date

import pytest

from antechamber.lifecycle import SessionFact
from antechamber.model import Actor, IdPrefix, Purpose, Reason, SessionStatus, new_id
from antechamber.providers import Providers
from antechamber.texts import english
from tests.browser.conftest import installed, view
from tests.browser.states import boot
from tests.integration.web_service import now

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEW_OF = (
    "async ([status, agreed]) => (await import('/static/signin/status.js')).viewOf({status, consented_at: agreed})"
)
SETTLE = "async ([a, b]) => (await import('/static/signin/status.js')).settle({status: a}, {status: b}).status"


async def end(service, session_id, fact, reason=None):
    await service.store.sessions.apply(session_id, fact, at=now(), reason=reason)


async def test_f084_every_status_of_the_service_has_a_view_of_its_own_words(person):
    _, page = await person.sign_in()
    await view(page, "consent")
    for status in SessionStatus:
        shown = await page.evaluate(VIEW_OF, [status.value, "2026-01-01T00:00:00Z"])
        assert shown in {"starting", "screen", "completed", "failed", "cancelled", "expired"}
        before = await page.evaluate(VIEW_OF, [status.value, None])
        assert before == (shown if status.terminal else "consent")
        title = await page.evaluate("async (v) => (await import('/static/dom.js')).say(`signIn.titleOf.${v}`)", shown)
        assert title
        assert await page.evaluate(
            "async (s) => (await import('/static/dom.js')).say(`dashboard.statuses.${s}`)", status.value
        )


async def test_f084_a_status_that_the_page_does_not_know_is_never_taken_for_another(person):
    _, page = await person.sign_in()
    await view(page, "consent")
    told = await page.evaluate(
        "async () => { const {viewOf} = await import('/static/signin/status.js');"
        " try { return viewOf({status: 'vm_created'}) } catch (error) { return error.message } }"
    )
    assert told == "unknown status vm_created"


@pytest.mark.parametrize("ended", [status for status in SessionStatus if status.terminal])
async def test_what_has_ended_stays_ended_in_the_page_whatever_comes_later(person, ended):
    _, page = await person.sign_in()
    await view(page, "consent")
    for other in SessionStatus:
        assert await page.evaluate(SETTLE, [ended.value, other.value]) == ended


async def test_before_the_person_agrees_the_page_says_what_is_captured_for_whom_and_who_could_look(person):
    session_id, page = await person.sign_in(purpose="nightly reviews", display_name="Ada")
    await view(page, "consent")
    text = await page.locator("main").inner_text()
    assert "~/.codex/auth.json" in text
    assert "Ada (ada)" in text
    assert "nightly reviews" in text
    assert "No function of this service shows the screen to anybody else" in text
    assert "Whoever administers the computer that it runs on could change that" in text
    assert "If somebody sent you this link, stop." in text
    assert "Passkeys" in text
    assert (await person.service.signin.session(session_id)).consented_at is None


async def test_the_click_that_agrees_is_recorded_and_leads_to_the_start(person):
    session_id, page = await person.sign_in()
    await boot(person, session_id)
    await page.get_by_role("button", name="Agree").click()
    await page.get_by_role("heading", name="Starting your machine").wait_for()
    assert await page.get_by_role("listitem").count() == 4
    assert (await person.service.signin.session(session_id)).consented_at is not None


async def test_whoever_does_not_agree_cancels_the_session(person):
    session_id, page = await person.sign_in()
    await page.get_by_role("button", name="Do not sign in").click()
    await page.get_by_role("button", name="Stop the sign-in").click()
    await view(page, "cancelled")
    assert (await person.service.signin.session(session_id)).reason is Reason.CANCELLED_BY_PERSON
    await page.get_by_text(english().reasons[Reason.CANCELLED_BY_PERSON].message).wait_for()


@pytest.mark.parametrize(
    ("any_account", "says"), [(False, "another one is refused"), (True, "whatever account it is of")]
)
async def test_whoever_signs_in_again_reads_before_the_click_what_is_stored_and_what_becomes_of_it(
    person, any_account, says
):
    _, page = await person.sign_in()
    await page.get_by_text("Agree and go on").wait_for()
    assert await page.get_by_text("What is stored now").count() == 0
    stored = await person.service.start(user_id="somebody")
    await person.service.ready(stored["session_id"])
    await person.service.capture(stored["session_id"])
    again = await person.service.start(user_id="somebody", replace_account=any_account)
    page = await person.page(again["sign_in_url"])
    term = page.get_by_role("definition").filter(has_text="This one takes its place")
    text = await term.inner_text()
    assert "person@example.com" in text
    assert says in text


async def test_an_ended_sign_in_names_the_vendors_page_once_its_person_had_agreed(person):
    for agrees in (False, True):
        _, page = await person.sign_in()
        if agrees:
            await page.get_by_role("button", name="Agree").click()
            await page.get_by_role("button", name="Cancel").first.click()
        else:
            await page.get_by_role("button", name="Do not sign in").click()
        await page.get_by_role("button", name="Stop the sign-in").click()
        await view(page, "cancelled")
        assert await page.get_by_text("it may go on holding that").count() == agrees
        assert await page.get_by_role("link", name="chatgpt.com").count() == agrees


ENDING_FACT = {
    Reason.CANCELLED_BY_PERSON: SessionFact.CANCELLED,
    Reason.CANCELLED_BY_CALLER: SessionFact.CANCELLED,
    Reason.SUPERSEDED: SessionFact.SUPERSEDED,
    Reason.NOBODY_CAME: SessionFact.NOBODY_CAME,
    Reason.SIGN_IN_TIMED_OUT: SessionFact.TIME_RAN_OUT,
}


async def test_every_reason_is_shown_with_its_sentence_and_the_next_step(person):
    page = await person.page()
    for reason in Reason:
        started = await person.service.start(return_url="https://app.example.com/tools")
        await person.service.ready(started["session_id"])
        await end(person.service, started["session_id"], ENDING_FACT.get(reason, SessionFact.SIGN_IN_FAILED), reason)
        session = await person.service.signin.session(started["session_id"])
        assert session.reason is reason
        await page.goto(started["sign_in_url"])
        await view(page, session.status.value)
        text = (await page.locator("main").inner_text()).replace("`", "")
        assert english().reasons[reason].message.replace("`", "") in text
        assert english().reasons[reason].next.replace("`", "") in text
        back = page.get_by_role("link", name="Back to app.example.com")
        assert await back.get_attribute("href") == "https://app.example.com/tools"


async def test_a_used_link_says_so_in_another_browser_and_the_first_is_told(people):
    first, other = await people(), await people()
    started = await first.service.start()
    page = await first.page(started["sign_in_url"])
    await view(page, "consent")
    stranger = await other.page(started["sign_in_url"])
    await view(stranger, "closed")
    await stranger.get_by_role("heading", name="This link has been used").wait_for()
    await page.get_by_text("in another browser and was refused").wait_for()


async def test_a_used_link_opens_again_in_the_browser_that_it_belongs_to(person):
    started = await person.service.start()
    await view(await person.page(started["sign_in_url"]), "consent")
    await view(await person.page(started["sign_in_url"]), "consent")


async def test_another_browser_and_an_unknown_session_are_told_apart_from_a_used_link(person):
    started = await person.service.start()
    address = started["sign_in_url"].partition("#")[0]
    page = await person.page(address)
    await page.get_by_role("heading", name="This sign-in is not open in this browser").wait_for()
    base = person.service.addresses.sign_in.url
    page = await person.page(f"{base}/s/{new_id(IdPrefix.SESSION)}#a-code")
    await view(page, "closed")
    page = await person.page(f"{base}/s/nonsense")
    await page.get_by_role("heading", name="There is no such sign-in").wait_for()


async def test_the_code_of_the_link_leaves_the_address_bar_and_the_history(person):
    _, page = await person.sign_in()
    await view(page, "consent")
    assert "#" not in page.url
    await page.reload()
    await view(page, "consent")


async def test_a_service_that_does_not_answer_is_waited_for(person):
    started = await person.service.start()
    page = await person.page()
    refused = True

    async def answer(route):
        await (route.abort() if refused else route.continue_())

    await page.route("**/api/**", answer)
    await page.goto(started["sign_in_url"])
    await page.get_by_role("heading", name="The service cannot be reached").wait_for()
    refused = False
    await view(page, "consent")


async def test_the_practice_banner_stays_in_every_view(person):
    session_id, page = await person.sign_in()
    banner = page.get_by_role("note").filter(has_text="Practice world.")
    await view(page, "consent")
    assert await banner.is_visible()
    await page.get_by_role("button", name="Agree").click()
    await view(page, "starting")
    assert await banner.is_visible()
    await end(person.service, session_id, SessionFact.SUPERSEDED)
    await view(page, "cancelled")
    assert await banner.is_visible()
    assert "any 6-digit code" in await banner.inner_text()


async def test_before_the_click_one_reads_who_runs_it_what_the_machine_is_and_how_long_it_lives(person):
    _, page = await person.sign_in(purpose="the nightly build", display_name="Ada")
    await view(page, "consent")
    terms = await page.locator("dl.terms").inner_text()
    for words in ("the nightly build", "Ada (ada)", "A simulated machine", "10 minutes", "is destroyed", "localhost"):
        assert words in terms, words
    assert "If somebody sent you this link, stop." in await page.locator(".note.warn").inner_text()


async def test_afterwards_there_is_a_receipt_with_the_tool_and_where_it_is_ended(person):
    session_id, page, _ = await person.at_screen()
    await person.capture(session_id)
    await page.get_by_role("button", name="Yes, that is me").click()
    receipt = page.get_by_role("region", name="Receipt")
    words = await receipt.inner_text()
    provider = (await person.service.signin.session(session_id)).provider
    spec = next(one for one in Providers.load().all() if one.id == provider)
    for said in (spec.version, installed(spec).sha256[:16], session_id, "person@example.com", "ada"):
        assert said in words, said
    assert await receipt.get_by_role("link").get_attribute("href") == spec.revoke_url


async def test_its_person_sees_what_was_done_with_it_and_can_still_delete_it(person):
    session_id, page, _ = await person.at_screen()
    await person.capture(session_id)
    signin = person.service.signin
    session = await signin.session(session_id)
    await signin.open_credential(session.owner, session.provider, purpose=Purpose.CHECK, by=Actor.COMMAND_LINE)
    await page.get_by_role("button", name="Yes, that is me").click()
    done = page.get_by_role("region", name="What was done with it")
    await done.get_by_role("listitem").nth(1).wait_for()
    lines = await done.get_by_role("listitem").all_inner_texts()
    assert ["It was opened, for the tool" in lines[0], "It was stored." in lines[1]] == [True, True]
    assert "on the command line" in lines[0]
    await page.get_by_role("button", name="Delete it here").click()
    await page.get_by_role("heading", name="Deleted").wait_for()
    assert (await signin.session(session_id)).rejected_at is not None


async def test_its_person_is_told_that_it_may_be_given_out_and_reads_why_it_was(person):
    signin = person.service.signin
    await signin.revealing.allow("codex", date(2026, 1, 31), by=Actor.COMMAND_LINE)
    _, page = await person.sign_in(user_id="bob")
    assert "in plain text" in await page.locator("dl.terms").inner_text()
    session_id, page, _ = await person.at_screen()
    await person.capture(session_id)
    (stored,) = await signin.credentials()
    await signin.revealing.reveal(stored.id, "<b>moving</b> house", by=Actor.COMMAND_LINE)
    await page.get_by_role("button", name="Yes, that is me").click()
    line = page.get_by_role("region", name="What was done with it").get_by_role("listitem").first
    said = [words for words in (await line.inner_text()).splitlines() if words]
    assert said[:2] == ["It was opened, to be given out in plain text.", "“<b>moving</b> house”"]
