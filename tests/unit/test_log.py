"""Logs: every value that our code did not choose the form of is redacted, on the way out."""

import io
import json
import logging
import sys

import pytest
import structlog

from antechamber import log
from antechamber.model import GuestText, Secret

TOKEN = "sk-DUMMY0123456789abcdef0123456789"
WEB_TOKEN = "eyJhbGciOiJub25lIn0.eyJEVU1NWSI6MX0.DUMMY"
LINK = f"https://auth.example.com/callback?code={TOKEN}"


@pytest.fixture
def written(monkeypatch):
    """Return what reads the lines that were logged; the process's own configuration comes back afterwards."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log.configure("DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize("secret", [TOKEN, WEB_TOKEN, LINK, f"Bearer {TOKEN}"])
@pytest.mark.parametrize("wrap", [str, lambda text: [text], lambda text: {"deep": {"er": (text,)}}, ValueError])
def test_tokens_and_addresses_are_removed_however_deep_they_lie(written, secret, wrap):
    log.get_logger("test").info("something came", detail=wrap(f"it said {secret} and went"))

    (line,) = written()
    assert TOKEN not in str(line)
    assert "DUMMY" not in str(line)
    assert "it said " in str(line["detail"])
    assert "[removed]" in str(line["detail"])


def test_a_secret_is_three_stars_wherever_it_is(written):
    log.get_logger("test").info("given", link=Secret(TOKEN), all={"a": [Secret(TOKEN)]})

    (line,) = written()
    assert (line["link"], line["all"]) == ("***", {"a": ["***"]})


def test_escape_and_bidi_characters_do_not_reach_a_terminal(written):
    log.get_logger("test").info("said", line="\x1b]0;owned\x07\x1b[31mred\u202edetrevni\nnew line")

    assert written()[0]["line"] == "reddetrevni new line"


def test_ids_stay_whole(written):
    session = "ses_0123456789abcdefghjk"
    log.get_logger("test").bind(session=session).info("session completed", count=3, ok=True, nothing=None)

    (line,) = written()
    assert (line["session"], line["event"], line["part"]) == (session, "session completed", "test")
    assert (line["count"], line["ok"], line["nothing"]) == (3, True, None)
    assert {"level", "timestamp"} <= set(line)


def fail(password):
    local = f"local {password}"
    raise RuntimeError("it broke at " + LINK) from ValueError(local[:5])


def test_a_traceback_shows_no_local_variables_and_no_secrets(written):
    try:
        fail(TOKEN)
    except RuntimeError:
        log.get_logger("test").exception("broken")

    (line,) = written()
    assert "in fail" in line["exception"]
    assert "RuntimeError: it broke at [removed]" in line["exception"]
    assert "DUMMY" not in line["exception"]


def test_what_libraries_log_is_redacted_too(written):
    logging.getLogger("some.library").error("request to %s failed", LINK)
    try:
        fail(TOKEN)
    except RuntimeError:
        logging.getLogger("some.library").exception("broken with %s", TOKEN)

    lines = written()
    assert [line["logger"] for line in lines] == ["some.library"] * 2
    assert "DUMMY" not in str(lines)


def test_uvicorns_request_lines_and_chatter_are_not_logged(written):
    logging.getLogger("uvicorn.access").warning("GET /s/secret")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com")

    assert written() == []


def test_a_long_value_is_cut(written):
    log.get_logger("test").info("long", detail="word " * 5000)

    assert len(written()[0]["detail"]) <= 4000


def test_the_level_is_obeyed(written):
    log.configure("WARNING")
    log.get_logger("test").info("not this")
    logging.getLogger("some.library").info("nor this")

    assert written() == []


def test_a_guests_text_is_clean_before_it_is_logged(written):
    log.get_logger("test").warning("guest", said=GuestText(f"\x1b[1mtoken {TOKEN}"))

    assert written()[0]["said"] == "token [removed]"


def test_before_anything_is_configured_secrets_are_hidden_already(capsys, monkeypatch):
    before = structlog.get_config()
    structlog.reset_defaults()
    structlog.configure(processors=before["processors"])
    try:
        log.get_logger("test").error("early", detail=f"token {TOKEN}", link=Secret(TOKEN))
    finally:
        structlog.configure(**before)

    said = capsys.readouterr()
    assert "early" in said.out + said.err
    assert "DUMMY" not in said.out + said.err
