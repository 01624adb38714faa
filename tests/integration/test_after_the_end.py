"""A session whose machine is not there yet, or no more: it is told from the rows, and no screen is given."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import MachineState
from antechamber.store import Kept
from tests.integration import test_terminal
from tests.integration.test_relay import closed, cookie_of, screen
from tests.integration.web_service import error_of, now, running


@pytest.fixture
async def service(site):
    async with running(site.folder, database_url=site.url) as service:
        yield service


async def test_f066_no_ticket_to_the_screen_is_given_before_the_session_waits_for_its_person(service):
    session_id, browser = await service.opened()
    await browser.post(f"/api/auth/session/{session_id}/consent", json={})
    path = f"/api/auth/session/{session_id}/ticket"
    statuses = []
    for fact in (None, SessionFact.MACHINE_BOOTING, SessionFact.MACHINE_READY):
        if fact is not None:
            await service.store.sessions.apply(session_id, fact, at=now(), expires_at=now() + timedelta(minutes=1))
        answer = await browser.post(path, json={})
        statuses.append((str((await service.signin.session(session_id)).status), answer.status_code))
        if not answer.is_success:
            assert error_of(answer) == (409, "screen_not_ready")
    assert statuses == [("pending", 409), ("starting", 409), ("awaiting_sign_in", 200)]


async def ended_by(service, how):
    """Return (session id, browser, tickets of before for screen and terminal) of a session that ended in that way."""
    session_id, browser, ticket = await service.ticketed()
    terminal_ticket = await test_terminal.ticket(browser, session_id)
    if how == "captured":
        await service.capture(session_id)
    elif how == "cancelled":
        await service.signin.cancel(session_id, by_person=False)
    else:
        await service.store.sessions.apply(session_id, SessionFact(how), at=now())
    return session_id, browser, ticket, terminal_ticket


@pytest.mark.parametrize("how", ["captured", "cancelled", "machine_ended", "time_ran_out"])
async def test_f020_f023_a_session_that_has_ended_leads_to_no_machine_and_says_what_to_do(service, how):
    session_id, browser, screen_ticket, terminal_ticket = await ended_by(service, how)
    for path in ("ticket", "terminal/ticket"):
        answer = await browser.post(f"/api/auth/session/{session_id}/{path}", json={})
        assert error_of(answer) == (409, "session_ended")
        assert answer.json()["error"]["next"]
    cookie = cookie_of(browser, session_id)
    for socket, right in ((screen, screen_ticket), (test_terminal.socket, terminal_ticket)):
        page = socket(service, session_id, "binary", f"ticket.{right}", cookie=cookie)
        async with asyncio.timeout(20), page as opened:
            assert await closed(opened) == (4010, "screen ended")
    assert service.stage.screens.empty(), "no machine was asked for its screen"
    assert service.stage.terminals.empty()


async def test_f006_f029_what_has_ended_is_told_though_nothing_is_left_of_its_machine(service):
    session_id, browser = await service.opened()
    row = await service.begin_machine(session_id)
    await service.ready(session_id)
    await service.capture(session_id)
    for fact in (MachineFact.STOP_ASKED, MachineFact.ENDED):
        row, _ = await service.store.machines.apply(
            row.id, fact, incarnation=row.incarnation, at=now(), expires_at=now() + timedelta(minutes=1)
        )
    assert row.state is MachineState.GONE
    none = timedelta(0)
    assert (await service.store.retention.prune(now(), Kept(timedelta(days=1), timedelta(days=1), none))).machines == 1
    operator = await service.operator()
    path = f"/api/auth/session/{session_id}"
    assert (await operator.get(path)).json()["status"] == "completed"
    assert (await operator.get(f"{path}/credentials")).json()["status"] == "ready"
    assert (await operator.get(path, params={"wait": 5})).json()["status"] == "completed"
    assert [one["session_id"] for one in (await operator.get("/api/auth/sessions")).json()["sessions"]] == [session_id]
    assert (await operator.get(f"{path}/story")).json()["session"]["status"] == "completed"
    assert (await browser.get(path)).json()["status"] == "completed"
    assert service.stage.screens.empty()
