"""The story of a session in the terminal: readable, and what is to blame told apart (F-96)."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from antechamber.commands.sessions import machine_said, story
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import Reason
from antechamber.texts import english

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def machine(state, **changes):
    told = {
        "id": "mac_1",
        "state": state,
        "driver": "namespace",
        "node": "nod_1",
        "node_name": "host-a",
        "node_seen_at": NOW.isoformat(),
        "exit_code": None,
        "detail": "",
    }
    return told | changes


def event(kind, seconds, about="session", before="starting", after="starting", **fields):
    at = (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return {"about": about, "at": at, "kind": kind, "before": before, "after": after, "reason": None, "fields": fields}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (machine("ready"), "ready on host-a"),
        (machine("ready", node_seen_at=(NOW - timedelta(minutes=5)).isoformat()), "host-a, or the service there"),
        (
            machine("lost", exit_code=137, detail="killed"),
            "ended by itself, while its computer and its service went on",
        ),
        (machine("gone", exit_code=1), "destroyed as it was asked to be, exit code 1"),
        (machine("requested", node_seen_at=None), "no service has begun it yet"),
        (None, "nothing is kept"),
    ],
)
def test_a_silent_computer_an_ended_machine_and_one_that_runs_are_told_apart(told, says):
    assert says in machine_said(told, NOW)


def test_each_move_is_told_with_its_time_its_words_and_the_machines_end():
    found = {
        **dict.fromkeys(("display_name", "purpose", "expires_at", "credential_id", "credential_version")),
        "id": "ses_1",
        "user_id": "[bold]ada[/]",
        "provider": "codex",
        "status": "failed",
        "reason": Reason.CLI_ENDED,
        "created_at": "2026-01-31T12:00:00Z",
        "ended_at": "2026-01-31T12:00:09Z",
        "detail": "exit code 1, file none: Login failed",
        "cli_said": ["Login failed", "Try again"],
        "destinations": {"allowed": 7, "refused": 2, "unknown_name": 1},
        "machine": machine("lost", exit_code=137),
        "events": [
            event("created", 0, before=None, after="pending"),
            event(SessionFact.SIGN_IN_FAILED, 9, after="failed", cli_exit_code=1),
            event(MachineFact.ENDED, 9.5, about="machine", before="ready", after="lost", exit_code=137),
            event(SessionFact.OPENED, 10, before="failed", after="failed", refused=True),
        ],
    }
    console = Console(width=200, highlight=False, color_system=None)
    with console.capture() as captured:
        for line in story(found, now=NOW):
            console.print(line, soft_wrap=True)
    text = captured.get()
    assert "[bold]ada[/]" in text, "a foreign text is shown as it is"
    for words in (
        "7 allowed, 2 refused, 1 unknown name",
        "Login failed",
        "Try again",
        english().reasons[Reason.CLI_ENDED].message,
        english().reasons[Reason.CLI_ENDED].next,
        "+9.0 s  session  sign_in_failed",
        "Exit code 1.  failed",
        "+0.5 s  machine  ended",
        "Exit code 137.  lost",
        "refused",
        "exit code 137",
    ):
        assert words in text, text
