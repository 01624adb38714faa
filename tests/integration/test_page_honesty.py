"""What the sign-in page is told so that it can be honest: who runs it, how long the machine lives, a receipt."""

from __future__ import annotations

import pytest

from antechamber.model import Actor, Purpose
from antechamber.web.services import InstalledTool
from tests.integration.web_service import now, running


async def page(service, session_id, browser):
    return (await browser.get(f"/api/auth/session/{session_id}")).json()


@pytest.mark.parametrize("name", [None, "The Acme platform team"])
async def test_the_page_says_who_runs_the_service(tmp_path, name):
    async with running(tmp_path, operator_name=name, sign_in_s=120) as service:
        told = await page(service, *await service.opened())
        assert told["operator"] == (name or service.addresses.sign_in.host)
        assert told["lasts_s"] == 120
        assert told["application"] is None


async def test_there_is_a_receipt_while_what_was_stored_is_the_current_version(tmp_path):
    tool = InstalledTool(sha256="ab" * 32)
    async with running(tmp_path, installed=lambda spec: tool) as service:
        session_id, browser = await service.opened()
        await service.ready(session_id)
        assert (await page(service, session_id, browser))["receipt"] is None
        await service.capture(session_id)
        told = (await page(service, session_id, browser))["receipt"]
        assert told.keys() == {"stored_at", "tool_version", "tool_sha256"}
        assert told["tool_sha256"] == tool.sha256
        assert (await browser.post(f"/api/auth/session/{session_id}/reject", json={})).status_code == 200
        assert (await page(service, session_id, browser))["receipt"] is None


async def test_names_that_the_sign_in_is_known_to_need_are_told_from_others(tmp_path):
    async with running(tmp_path) as service:
        session_id, browser = await service.opened()
        for name in ("auth.openai.com", "openai.com", "auth.openai.com.example.com"):
            await service.store.destinations.record(
                session_id, name, 443, "allowed", bytes_out=1, bytes_in=1, connections=1, at=now()
            )
        rows = (await browser.get(f"/api/auth/session/{session_id}/destinations")).json()["destinations"]
        assert {row["name"] for row in rows if row["known"]} == {"auth.openai.com"}
        assert len(rows) == 3


async def test_the_page_is_told_what_was_done_with_what_the_session_stored_and_with_nothing_else(tmp_path):
    async with running(tmp_path) as service:
        session_id, browser = await service.opened()
        path = f"/api/auth/session/{session_id}/audit"
        assert (await browser.get(path)).json() == {"done": []}
        await service.ready(session_id)
        await service.capture(session_id)
        # another credential of the same person's, and another person's
        for other in ({"provider": "claude_code"}, {"user_id": "eve"}):
            started = await service.start(**other)
            await service.ready(started["session_id"])
            if "user_id" in other:
                await service.capture(started["session_id"])
        owner = (await service.signin.session(session_id)).owner
        await service.signin.open_credential(owner, "codex", purpose=Purpose.CHECK, by=Actor.COMMAND_LINE)
        told = (await browser.get(path)).json()["done"]
        assert [(line["action"], line["actor"], line["purpose"]) for line in told] == [
            ("credential_opened", "command_line", "check"),
            ("credential_stored", "person", None),
        ]
        assert (await browser.post(f"/api/auth/session/{session_id}/reject", json={})).status_code == 200
        assert (await browser.get(path)).json()["done"][0]["action"] == "credential_rejected"
        stranger = await service.browser()
        assert (await stranger.get(path)).status_code == 401
