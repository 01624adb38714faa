"""Which jobs the guest understands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.guest.job import BadJobError, parse

SIGN_IN = {
    "kind": "sign_in",
    "argv": ["/opt/cli/tool", "login"],
    "drive": {"how": "pty", "answers": [{"expect": "plain text\\?", "send": "y\r"}]},
    "env": {"TOOL_HOME": "$HOME/.tool"},
    "clear_env": ["CI"],
    "screen": True,
    "browser": True,
    "seed": [{"path": "~/.tool.json", "content": "{}", "mode": 384}],
    "files": {"credential": {"path": "~/.tool/auth.json", "required": ["tokens.access"], "max_bytes": 10**9}},
    "companion_wait_ms": 250,
    "page_wait_s": 45,
}
CHECK = {"kind": "check", "seed": [], "check": {"argv": ["tool", "status"], "accept_json": {"loggedIn": True}}}


def test_a_job_is_read_with_its_defaults_and_limits():
    job = parse(SIGN_IN)
    assert job.files["credential"].required == (("tokens", "access"),)
    assert job.files["credential"].max_bytes == 256 * 1024
    assert (job.companion_wait_s, job.page_wait_s) == (0.25, 45.0)
    assert parse({**SIGN_IN, "drive": {"how": "plain", "answers": []}}).drive.how == "plain"
    check = parse(CHECK).check
    assert check is not None
    assert check.accept_json == {"loggedIn": True}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "walk"},
        {"kind": "run", "files": {}},
        {"kind": "run", "streams": {"terminal": 1}},
        {"argv": []},
        {"argv": "tool login"},
        {"drive": {"how": "expect"}},
        {"drive": {"how": "pty", "answers": [{"expect": "(", "send": ""}]}},
        {"drive": {"how": "pty", "answers": ["y"]}},
        {"env": {"A": 1}},
        {"screen": 1},
        {"files": {}},
        {"files": {"credential": "~/.tool"}},
        {"files": {"credential": {"path": "/etc/passwd"}}},
        {"files": {"credential": {"path": "~/../x"}}},
        {"files": {"credential": {"path": "~/.tool/"}}},
        {"seed": [{"path": "~/x", "content": 1}]},
        {"page_wait_s": "45"},
        {"page_wait_s": True},
    ],
)
def test_f081g_a_job_that_is_not_understood_is_refused_whole(wrong):
    with pytest.raises(BadJobError):
        parse({**SIGN_IN, **wrong})


@pytest.mark.parametrize("check", [None, {}, {"argv": [], "parse": ""}, {"argv": ["x"], "parse": "gemini"}])
def test_a_check_has_a_command_or_a_parser(check):
    with pytest.raises(BadJobError):
        parse({**CHECK, "check": check})


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*SIGN_IN, *CHECK]), st.sampled_from([None, 1, "x", [], {}, [1], {"a": "b"}])))
def test_whatever_a_job_holds_it_is_read_or_refused(wrong):
    for job in (SIGN_IN, CHECK):
        try:
            parse(json.loads(json.dumps({**job, **wrong})))
        except BadJobError:
            continue
