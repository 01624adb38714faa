"""The log of whole sign-ins and of requests: JSON, with ids, and never a secret."""

import io
import json
import logging
import subprocess
import sys
import warnings

import pytest
import structlog

from antechamber import log
from antechamber.guest.protocol import ReportKind
from antechamber.model import SessionStatus
from tests.integration.scene import WHOLE, scene
from tests.integration.web_service import running

TOKEN = "sk-DUMMY0123456789abcdef0123456789"
OF_A_MACHINE = {"attendant", "errand", "live", "egress", "link"}


@pytest.fixture
def written(monkeypatch):
    """Return what reads the lines that were logged; the configuration of the whole run comes back afterwards."""
    before, root, shown = structlog.get_config(), logging.getLogger(), warnings.showwarning
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log.configure("DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    warnings.showwarning = shown


async def test_each_line_of_a_sign_in_is_json_with_its_session_and_machine(tmp_path, written):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await stage.restart()
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        await stage.machine_ended(session.id)

    lines = written()
    assert all({"timestamp", "level", "event"} <= set(line) and line.keys() & {"part", "logger"} for line in lines)
    ours = [line for line in lines if line.get("part") in OF_A_MACHINE | {"signin"}]
    assert {(line.get("session"), line.get("machine")) for line in ours} == {(session.id, session.machine_id)}
    events = [line["event"] for line in ours]
    for event in ("session created", "machine found again", "session completed", "machine ended"):
        assert events.count(event) == 1
    (completed,) = [line for line in lines if line["event"] == "session completed"]
    assert (completed["owner"], completed["provider"], completed["level"]) == ("ada", "codex", "info")
    assert "DUMMY" not in json.dumps(lines)


async def test_f069e_lines_of_two_machines_at_once_do_not_mix(tmp_path, written):
    async with scene(tmp_path) as stage:
        started = [await stage.awaiting(user_id=user) for user in ("ada", "bob")]
        for _, guest in started:
            guest.crash(1)
        for session, _ in started:
            await stage.machine_ended(session.id)

    pairs = [(line["session"], line["machine"]) for line in written() if line["event"] == "machine ended"]
    assert sorted(pairs) == sorted((session.id, session.machine_id) for session, _ in started)


async def test_what_a_machine_says_is_logged_without_the_secrets_in_it(tmp_path, written):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        said = {"what": "browser", "detail": f"it broke with {TOKEN} at https://x.example/?code={TOKEN}"}
        await guest.link.report(ReportKind.TROUBLE, said)
        ended = await stage.machine_ended(session.id)

    (failed,) = [line for line in written() if line["event"] == "sign-in failed"]
    assert (failed["session"], failed["machine"], failed["reason"]) == (session.id, ended.id, "machine_broken")
    assert "it broke with [removed]" in failed["detail"]
    assert "DUMMY" not in json.dumps(written())


async def test_a_machine_that_says_again_and_again_that_its_tool_ended_fills_no_log(tmp_path, written):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        for attempt in (1, 1, 7, 1, 999):
            body = {"attempt": attempt, "code": 1, "lines": ["once"], "file": "none"}
            await guest.link.report(ReportKind.CLI_ENDED, body)
        await stage.signin.again(session.id, 1)
        await guest.again.wait()
        await guest.end_cli(1, "twice")

    said = [line["detail"] for line in written() if line["event"] == "the tool ended without a sign-in"]
    assert [detail.rpartition(" ")[2] for detail in said] == ["once", "twice"]


@pytest.fixture
async def service(tmp_path, written):
    async with running(tmp_path) as opened:
        yield opened


def served(lines):
    return [line for line in lines if line["event"] == "request served"]


@pytest.mark.parametrize("sent", ["4bf92f3577b34da6a3ce929d0e0e4736", "550E8400-E29B-41D4-A716-446655440000"])
async def test_a_request_keeps_the_id_that_its_sender_gave_it(service, written, sent):
    operator = await service.operator()
    answer = await operator.post(
        "/api/auth/session", json={"user_id": "ada", "provider": "codex"}, headers={"X-Request-Id": sent}
    )
    lines = [line for line in written() if line.get("request") == sent.lower() and line["level"] == "info"]
    assert answer.headers["x-request-id"] == sent.lower()
    assert [line["event"] for line in lines] == ["session created", "request served"]
    assert (lines[1]["method"], lines[1]["path"], lines[1]["status"]) == ("POST", "/api/auth/session", 201)
    assert lines[1]["ms"] > 0


@pytest.mark.parametrize("sent", ["x", "short", TOKEN, "a" * 65, "a b c d e f g h", '{"a": 1, "b": 2}'])
async def test_an_id_that_is_no_plain_number_is_replaced(service, written, sent):
    answer = await (await service.operator()).get("/api/dashboard", headers={"X-Request-Id": sent})
    (line,) = served(written())
    assert line["request"].startswith("req_")
    assert answer.headers["x-request-id"] == line["request"]
    assert "DUMMY" not in json.dumps(written())


async def test_a_request_about_a_session_has_its_id_and_a_refused_one_its_code(service, written):
    session_id, browser = await service.opened()
    await browser.post(f"/api/auth/session/{session_id}/ticket", json={})
    (line,) = [line for line in served(written()) if line["path"].endswith("/ticket")]
    assert (line["session"], line["status"], line["code"]) == (session_id, 403, "consent_needed")
    assert line["level"] == "info"


async def test_requests_that_only_look_are_for_who_looks_closer(service, written):
    operator = await service.operator()
    await operator.get("/api/dashboard")
    await operator.get("/api/nothing")
    assert [(line["level"], line["status"]) for line in served(written())] == [("debug", 200), ("info", 404)]


async def test_f045_no_link_cookie_token_or_query_reaches_the_log(service, written):
    started = await service.start()
    session_id, browser = await service.opened(started)
    link = started["sign_in_url"].partition("#")[2]
    await browser.get(f"/s/{link}", params={"code": TOKEN})
    await browser.get(f"/s/{session_id}", params={"token": link})
    await browser.post(f"/api/auth/session/{session_id}/open", json={"code": link})
    await (await service.stranger(Authorization=f"Bearer {TOKEN}")).get("/api/dashboard")
    said = json.dumps(written())
    secrets = [link, TOKEN, service.token, *browser.cookies.values()]
    assert [secret for secret in secrets if secret in said] == []
    assert "DUMMY" not in said


def test_what_nobody_catches_is_one_clean_line_too():
    program = (
        "import threading, warnings\n"
        "from antechamber import log\n"
        "log.configure()\n"
        "log.take_crashes()\n"
        f"secret = '{TOKEN}'\n"
        "def fail():\n"
        "    raise RuntimeError('in a thread with ' + secret)\n"
        "thread = threading.Thread(target=fail)\n"
        "thread.start()\n"
        "thread.join()\n"
        "warnings.warn('careful with ' + secret)\n"
        "raise ValueError('at the end with ' + secret)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == 1
    assert [line["event"] for line in lines if line.get("part") == "crash"] == ["crashed"] * 2
    assert [line["logger"] for line in lines if "logger" in line] == ["py.warnings"]
    assert len(lines) == 3
    assert "RuntimeError: in a thread with [removed]" in lines[0]["error"]
    assert "DUMMY" not in ended.stderr
