"""docs/events.md: every kind of event is on it, and its examples are what a service says."""

from __future__ import annotations

import asyncio
import json
import re
import shutil

import pytest

from antechamber import story
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.store.credentials import DELETED
from antechamber.store.sessions import CREATED
from antechamber.web import events
from tests.docs.generate import DOCS, listed
from tests.integration.web_service import running

PAGE = (DOCS / "events.md").read_text()


def block(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_kind_that_the_code_can_record_is_described():
    assert set(story.SESSION_EVENTS) == {CREATED, DELETED, *SessionFact}
    assert set(story.MACHINE_EVENTS) == set(MachineFact)


async def test_every_named_message_of_a_stream_is_on_the_page(tmp_path):
    async with running(tmp_path) as service:
        session_id, browser = await service.opened()
        service.app.closing.closed = False
        names = set()
        async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
            stranger = await service.browser()
            await stranger.post(f"/api/auth/session/{session_id}/open", json={"code": "x" * 43})
            await service.signin.cancel(session_id, by_person=True)
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    names.add(line.removeprefix("event: "))

    documented = {name for name, _ in listed(events.__doc__, r"\w+")}
    assert names == {"notice", "end"}
    assert names < documented
    assert [name for name in documented if f"| `{name}` |" not in PAGE] == []


async def stream_of_a_completed_session(service):
    session_id, _ = await service.opened()
    await service.ready(session_id)
    await service.capture(session_id)
    return session_id


async def test_the_example_has_the_form_of_what_a_service_sends(tmp_path):
    async with running(tmp_path) as service:
        session_id = await stream_of_a_completed_session(service)
        operator = await service.operator()
        said = (await operator.get(f"/api/auth/session/{session_id}/events")).text

    def form(text):
        """Return the messages with every value that differs from run to run left out."""
        messages = []
        for message in text.strip().split("\n\n"):
            lines = [line.partition(": ") for line in message.splitlines()]
            names = [name for name, _, _ in lines]
            found = json.loads({name: value for name, _, value in lines}.get("data", "{}"))
            fields = sorted(found.get("fields", ()))
            messages.append((names, sorted(found), found.get("kind"), found.get("after"), fields))
        return messages

    example = block("")[0]
    assert form(example) == [one for one in form(said) if one[2] in {None, "created", "captured"}]
    shown = [json.loads(line[6:]) for line in example.splitlines() if line.startswith("data: ") and len(line) > 8]
    assert [story.odd(event["kind"], event["fields"]) for event in shown] == [[], []]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here to run the examples with")
async def test_the_commands_do_what_they_say(tmp_path):
    async with running(tmp_path) as service:
        session = await stream_of_a_completed_session(service)
        lines = [
            "set -eu -o pipefail",
            f"dashboard={service.addresses.dashboard.url} session={session} token={service.token}",
            *block("sh"),
        ]
        shell = await asyncio.create_subprocess_exec(
            "bash", "-c", "\n".join(lines), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(shell.communicate(), 60)

    assert shell.returncode == 0, err.decode()
    said = out.decode()
    assert said.count('"kind":"created"') == 1, "the second command begins after it"
    assert said.count('"kind":"captured"') == 2
    assert said.rstrip().endswith("204")
