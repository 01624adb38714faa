"""Whoever moves over finds every name that they know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antechamber.model import MachineState, Reason, SessionStatus

PAGE = (Path(__file__).parents[2] / "docs" / "from-the-predecessor.md").read_text()

ENDPOINTS = (
    "POST /api/auth/start",
    "GET /api/auth/session/:id",
    "/api/auth/session/:id/vm",
    "/api/auth/session/:id/heartbeat",
    "/api/auth/session/:id/oauth-url",
    "/api/auth/session/:id/credentials",
    "/api/auth/session/:id/credentials/status",
    "/api/auth/session/:id/novnc",
    "…/novnc/websock",
    "/api/auth/session/:id/open-url",
    "/api/auth/session/:id/cancel",
    "POST /api/auth/rotate",
    "GET /api/auth/credentials/:userId",
    "GET /api/auth/sessions/:userId",
    "GET /api/auth/validate/:userId/:provider",
    "POST /api/prompts/execute",
    "POST /api/vm/auth",
    "/metrics",
    "/health",
    "/dashboard/remote-cli",
)
FIELDS = ("userId", "sessionId", "success", "novncURL", "browserIP", "timeout_at", "completed_at")
PROVIDERS = ("claude_code", "claude_code_max", "claude_code_pro", "codex", "codex_cli", "gemini", "gemini_cli")
SESSION_STATUSES = (
    "started",
    "url_captured",
    "user_authenticating",
    "completed",
    "failed",
    "timeout",
    "vm_created",
    "awaiting_user_auth",
    "cancelled",
    "ready",
    "pending",
    "authenticating",
)
POLL_ANSWERS = ("ready", "no_vm", "agent_error", "agent_unreachable", "failed", "cancelled", "error")
PAGE_STATES = ("creating_vm", "vm_ready", "authenticating", "completed", "failed", "cancelled")
MACHINE_STATUSES = ("creating", "running", "hibernated", "stopping", "stopped", "failed", "destroyed")
PROMPT_EVENTS = ("connected", "content", "metadata", "done", "error")
STATUS_CODES = ("200, 202, 403, 404, 409", "404, 410")
LOG_LINES = (
    '"Session marked as completed after credential storage"',
    '"Failed to update session status to completed"',
    '"Authentication Failed"',
)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", [*FIELDS, *PROMPT_EVENTS])
def test_each_field_and_event_occurs_as_code(name):
    assert re.search(rf"`[^`]*\b{re.escape(name)}\b[^`]*`", PAGE), f"{name} is not mentioned"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_each_endpoint_occurs(endpoint):
    assert re.search(rf"`[^`]*{re.escape(endpoint)}`", PAGE)


@pytest.mark.parametrize("codes", STATUS_CODES)
def test_the_endpoints_status_codes_occur(codes):
    assert codes in section("Endpoints")


@pytest.mark.parametrize("line", LOG_LINES)
def test_each_log_line_and_message_occurs(line):
    assert line in PAGE


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Providers", PROVIDERS),
        ("Session statuses", SESSION_STATUSES),
        ("Poll answers", POLL_ANSWERS),
        ("Page states", PAGE_STATES),
        ("Machines", MACHINE_STATUSES),
    ],
)
def test_each_word_occurs_in_its_own_section(title, names):
    missing = [name for name in names if f"`{name}`" not in section(title)]
    assert missing == []


def test_the_words_of_today_occur_too_and_are_the_real_ones():
    assert [status for status in SessionStatus if f"`{status}`" not in section("Session statuses")] == []
    assert [state for state in MachineState if f"`{state}`" not in section("Machines")] == []
    for reason in re.findall(r"reason `(\w+)` or `(\w+)`", PAGE):
        assert set(reason) <= set(Reason)


def test_it_says_first_what_is_deliberately_gone():
    assert "**The poll never carries a credential.**" in PAGE.partition("\n## ")[0]
