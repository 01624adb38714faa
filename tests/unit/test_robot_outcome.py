"""What counts as held, and how an outcome is told."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from antechamber.testing.outcome import Moment, Outcome, Timeline, as_json, show
from antechamber.testing.visitor import read_events


def good(**changes):
    outcome = Outcome(
        provider="codex",
        status="completed",
        status_after_machine_gone="completed",
        machine_state="gone",
        machine_exit=137,
        credential_accepted_by="codex login status",
        connect_to_painted_ms=1200,
        file_whole_to_ready_ms=80,
        timeline=[Moment(0, "Connect"), Moment(1200, "painted")],
    )
    for name, value in changes.items():
        setattr(outcome, name, value)
    return outcome


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, True),
        ({"machine_exit": 1}, True),
        ({"machine_exit": None}, True),
        ({"status": "failed"}, False),
        ({"status_after_machine_gone": "failed"}, False),
        ({"status_after_machine_gone": None}, False),
        ({"machine_state": "lost"}, False),
        ({"machine_state": None}, False),
        ({"credential_accepted_by": None}, False),
        ({"trouble": "the code page did not come"}, False),
    ],
)
def test_it_held_only_when_everything_did_and_a_machines_exit_code_is_no_verdict(changes, held):
    assert good(**changes).held is held


def test_json_is_one_object_by_provider():
    told = json.loads(as_json([good(), good(provider="gemini", trouble="no page")]))

    assert list(told) == ["codex", "gemini"]
    assert told["codex"]["held"] is True
    assert told["codex"]["timeline"][1] == {"ms": 1200, "what": "painted"}
    assert {
        "status",
        "status_after_machine_gone",
        "machine_exit",
        "credential_accepted_by",
        "connect_to_painted_ms",
        "file_whole_to_ready_ms",
    } <= set(told["gemini"])


def test_what_a_machine_said_is_not_taken_for_markup():
    page = io.StringIO()

    show(Console(file=page, width=120), good(trouble="codex said [bold]no[/bold]", timeline=[Moment(5, "[red]x")]))

    assert "codex said [bold]no[/bold]" in page.getvalue()
    assert "[red]x" in page.getvalue()


def test_moments_are_counted_from_the_first_and_told_as_they_come():
    told = []
    timeline = Timeline(told.append)

    first = timeline.mark("Connect")
    second = timeline.mark("painted")

    assert 0 <= first <= second
    assert [moment.what for moment in told] == ["Connect", "painted"] == [moment.what for moment in timeline.moments]


async def test_an_event_stream_is_cut_into_messages_and_heartbeats_are_passed_over():
    async def lines():
        for line in (
            "retry: 1000",
            "",
            ": heartbeat",
            "",
            "id: 7",
            'data: {"kind": "captured",',
            'data: "after": "completed"}',
            "",
            "event: end",
            "data:{}",
            "",
            "data: cut off",
        ):
            yield line

    told = [message async for message in read_events(lines())]

    assert [(message.id, message.kind, message.body) for message in told] == [
        ("7", "message", {"kind": "captured", "after": "completed"}),
        ("7", "end", {}),
    ]
