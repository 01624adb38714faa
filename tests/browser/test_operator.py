"""The dashboard for whoever runs the service: stories, filters, machines, credentials' pasts and health."""

import re

import pytest

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import MachineState, Reason, SessionStatus
from antechamber.store import CREATED
from antechamber.store.credentials import DELETED
from antechamber.texts import english
from tests.browser.conftest import view
from tests.browser.states import end, health_bad, history, machine_of
from tests.integration.web_service import now

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_story_tells_each_move_with_its_reason_and_the_machine_s_end_and_what_was_refused_apart(person):
    failed = await history(person)
    page = await person.dashboard(f"/sessions/{failed}")
    await page.get_by_role("heading", name="Codex for me", level=1).wait_for()
    story = page.get_by_role("region", name="What happened")
    lines = await story.get_by_role("listitem").all_inner_texts()
    assert "It was asked for." in lines[0]
    assert "Waiting to start" in lines[0]
    assert any("Failed" in line and english().reasons[Reason.CLI_ENDED].message in line for line in lines)
    assert any("Exit code 137." in line and "Ended by itself" in line for line in lines)
    assert all(re.match(r"\d\d:\d\d:\d\d", line) for line in lines)
    assert not any("cancelled" in line for line in lines)
    refused = await page.get_by_role("region", name="What was refused").get_by_role("listitem").all_inner_texts()
    assert ["It was cancelled." in refused[0], "The sign-in was opened" in refused[1]] == [True, True]
    machine = await page.get_by_role("region", name="Its machine").inner_text()
    assert "killed by signal 9" in machine
    assert "137" in machine


async def test_a_session_has_an_address_of_its_own_and_the_back_button_leads_back(person):
    failed = await history(person)
    page = await person.dashboard("/sessions?status=failed")
    await page.get_by_role("link", name="its story").click()
    await page.get_by_role("heading", name="Codex for me").wait_for()
    assert page.url.endswith(f"/sessions/{failed}")
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    await page.go_back()
    await page.get_by_role("heading", name="Sign-ins", level=1).wait_for()
    assert page.url.endswith("/sessions?status=failed")
    assert await page.get_by_role("link", name="its story").count() == 1
    await page.go_forward()
    await page.get_by_role("heading", name="Codex for me").wait_for()
    await page.reload()
    await page.get_by_role("heading", name="Codex for me").wait_for()


async def test_sign_ins_are_filtered_by_status_tool_and_label_and_the_address_keeps_the_filter(person):
    await history(person)
    page = await person.dashboard("/sessions")
    stories = page.get_by_role("link", name="its story")
    await stories.nth(5).wait_for()
    await page.get_by_label("Status").select_option("Completed")
    await page.wait_for_url("**/sessions?status=completed")
    await page.locator(".list-foot", has_text="2 shown").wait_for()
    await page.get_by_label("Status").select_option("All")
    await page.get_by_label("Tool").select_option("Gemini CLI")
    await page.locator(".list-foot", has_text="1 shown").wait_for()
    await page.get_by_label("Label").fill("nobody")
    await page.get_by_text("No sign-in fits this filter.").wait_for()
    assert await page.evaluate("document.activeElement.id") == "filter-user_id"
    await page.get_by_role("link", name="Show all").click()
    await stories.nth(5).wait_for()


async def test_older_sign_ins_come_page_by_page(person):
    for number in range(28):
        started = await person.service.start(user_id=f"user{number}")
        await person.service.signin.cancel(started["session_id"], by_person=False)
    page = await person.dashboard("/sessions")
    await page.locator(".list-foot", has_text="25 shown").wait_for()
    assert await page.get_by_text("user0", exact=False).count() == 0
    await page.get_by_role("button", name="Show older ones").click()
    await page.locator(".list-foot", has_text="28 shown").wait_for()
    assert await page.get_by_role("button", name="Show older ones").count() == 0


async def test_what_happens_meanwhile_is_shown_without_waiting_for_the_slow_look(person):
    started = await person.service.start(user_id="me")
    page = await person.dashboard(f"/sessions/{started['session_id']}")
    await page.get_by_text("It was asked for.").wait_for()
    await person.service.ready(started["session_id"])
    await page.get_by_text("The sign-in page is painted; the person may come.").wait_for(timeout=4000)
    await end(person, started["session_id"], SessionFact.TIME_RAN_OUT)
    await page.get_by_text("The time ran out.").wait_for(timeout=4000)


async def test_a_live_sign_in_is_stopped_from_its_story_after_a_question(person):
    started = await person.service.start(user_id="me")
    page = await person.dashboard(f"/sessions/{started['session_id']}")
    await page.get_by_role("button", name="Stop this sign-in").click()
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="hidden")
    await page.get_by_role("button", name="Stop this sign-in").click()
    await page.get_by_role("button", name="Stop it").click()
    await page.get_by_text("Cancelled", exact=True).first.wait_for()
    assert (await person.service.signin.session(started["session_id"])).reason is Reason.CANCELLED_BY_CALLER


async def test_machines_that_run_stand_apart_from_those_that_ended_with_exit_code_and_detail(person):
    await history(person)
    page = await person.dashboard("/machines")
    running = page.get_by_role("region", name="Running")
    await running.get_by_role("row").nth(1).wait_for()
    told = await running.inner_text()
    assert "Ready" in told
    assert "Ending" in told
    over = await page.get_by_role("region", name="Ended last").inner_text()
    assert "Ended by itself" in over
    assert "137" in over
    assert "killed by signal 9" in over


async def test_an_exit_code_of_a_machine_that_was_told_to_end_says_that_it_was_us(person):
    session_id = (await person.service.start(user_id="me"))["session_id"]
    await machine_of(
        person.service, session_id, MachineFact.BOOT_BEGAN, MachineFact.READY, MachineFact.STOP_ASKED, MachineFact.ENDED
    )
    page = await person.dashboard("/machines")
    over = page.get_by_role("region", name="Ended last")
    await over.get_by_text("137: stopped by us", exact=True).wait_for()
    assert "Ended by itself" not in await over.inner_text()
    await over.get_by_role("link", name="The sign-in of machine").click()
    story = page.get_by_role("region", name="What happened")
    await story.get_by_text("It ended. Exit code 137: stopped by us.").wait_for()


async def test_the_operator_reads_of_a_persons_cancelling_what_the_person_does_not(person):
    started = await person.service.start(user_id="me")
    await person.service.signin.cancel(started["session_id"], by_person=True)
    page = await person.dashboard(f"/sessions/{started['session_id']}")
    await page.get_by_text("Its person cancelled it. Nothing was stored.").first.wait_for()
    await page.get_by_role("link", name="All sign-ins").click()
    await page.get_by_text("Its person cancelled it. Nothing was stored.").wait_for()
    assert "You cancelled" not in await page.content()


async def test_a_sign_in_that_a_newer_one_replaced_says_so_where_its_account_stood(person):
    await history(person)
    page = await person.dashboard("/sessions?status=completed")
    rows = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="its story"))
    await rows.nth(1).wait_for()
    newer, older = await rows.all_inner_texts()
    assert "person@example.com" in newer
    assert "replaced by a newer sign-in" in older


async def test_a_limit_of_the_driver_is_told_in_health_and_asks_nothing(person):
    page = await person.dashboard("/health")
    await page.get_by_text("Everything that was looked at is as it should be.").wait_for()
    check = page.get_by_role("listitem").filter(has_text="memory limit")
    assert (await check.inner_text()).split("\n")[0] == "a limit"
    assert "limit all" in await check.inner_text()


async def test_health_says_first_what_is_wrong_and_what_to_do(person):
    page = await health_bad(person, None)
    needs = page.get_by_role("region", name="What needs doing")
    await needs.get_by_role("listitem").nth(2).wait_for()
    lines = await needs.get_by_role("listitem").all_inner_texts()
    assert "The database cannot be reached" in lines[0]
    assert "sysctl kernel.unprivileged_userns_clone=1" in lines[1]
    assert "Only 0.9 GiB are free" in lines[2]
    top = await needs.bounding_box()
    panel = await page.get_by_role("region", name="Service").bounding_box()
    assert top["y"] < panel["y"]


async def test_f084_every_word_of_the_two_state_machines_has_a_text(person):
    page = await person.dashboard()
    await view(page, "open")
    names = [f"facts.{fact}" for fact in (*SessionFact, CREATED, DELETED)]
    names += [f"machineFacts.{fact}" for fact in MachineFact]
    names += [f"states.{state}" for state in MachineState] + [f"statuses.{status}" for status in SessionStatus]
    missing = await page.evaluate(
        "async (names) => { const {sayIf} = await import('/static/dom.js');"
        " return names.filter((name) => !sayIf(`dashboard.${name}`)) }",
        names,
    )
    assert missing == []


async def test_where_the_machine_went_is_not_shown_to_operators(person):
    started = await person.service.start(user_id="me")
    session_id = started["session_id"]
    await person.service.store.destinations.record(
        session_id, "auth.example.org", 443, "allowed", bytes_out=1, bytes_in=1, connections=1, at=now()
    )
    await machine_of(person.service, session_id, MachineFact.BOOT_BEGAN)
    page = await person.dashboard(f"/sessions/{session_id}")
    await page.get_by_role("region", name="Its machine").wait_for()
    assert "auth.example.org" not in await page.content()
