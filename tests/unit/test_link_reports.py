"""What the host takes from a guest, and what it does not."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import MAX_CREDENTIAL, ReportKind
from antechamber.link.reports import checked
from antechamber.model import GuestText, IdPrefix, new_id

FILE = {"content": base64.b64encode(b"{}").decode(), "mtime_ns": 1, "mode": 384, "new": True}
GOOD = {
    ReportKind.STARTED: {"cli_pid_started": True},
    ReportKind.SCREEN_UP: {},
    ReportKind.BROWSER_SANDBOX: {"ok": True, "renderers": 2, "detail": "depth 1"},
    ReportKind.PAGE_ASKED: {"host": "login.vendor-one.com"},
    ReportKind.CREDENTIAL: {"files": {"credential": FILE, "account": FILE}, "cli_version": "1.2"},
    ReportKind.NOTHING_YET: {},
    ReportKind.TERMINAL_ASKS: {},
    ReportKind.CLI_ENDED: {"attempt": 1, "code": 3, "lines": ["no"], "file": "none"},
    ReportKind.RUN_ENDED: {"code": -15, "file": "whole", "redacted": False},
    ReportKind.CHECKED: {"accepted": False, "code": 1, "lines": []},
    ReportKind.TROUBLE: {"what": "screen", "detail": ""},
}


def report(kind: ReportKind, body: object) -> dict[str, object]:
    return {"type": "report", "id": new_id(IdPrefix.REPORT), "kind": kind.value, "body": body}


def refused(message: object) -> None:
    with pytest.raises(MachineError) as error:
        checked(message)
    assert error.value.code is Code.GUEST_PROTOCOL


@pytest.mark.parametrize("kind", ReportKind)
def test_each_kind_of_report_is_taken_as_the_protocol_describes_it(kind):
    taken = checked(report(kind, GOOD[kind]))
    assert (taken.kind, dict(taken.body)) == (kind, GOOD[kind])


@pytest.mark.parametrize("kind", ReportKind)
def test_a_report_with_a_field_too_many_or_too_few_is_refused(kind):
    refused(report(kind, {**GOOD[kind], "session": "ses_00000000000000000000"}))
    for name in GOOD[kind]:
        refused(report(kind, {other: value for other, value in GOOD[kind].items() if other != name}))


@pytest.mark.parametrize("kind", ReportKind)
def test_a_report_with_a_field_of_another_type_is_refused(kind):
    for name in GOOD[kind]:
        for wrong in (None, 1.5, [1], {"a": 1}):
            refused(report(kind, {**GOOD[kind], name: wrong}))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ReportKind.CREDENTIAL, {"files": {"account": FILE}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "path": "/etc/passwd"}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "content": "not base64!"}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "content": "A" * (2 * MAX_CREDENTIAL)}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "mtime_ns": -1}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "mtime_ns": 2**70}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "mode": True}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {**FILE, "new": 1}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": {name: FILE[name] for name in FILE if name != "new"}}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": FILE, "../x": FILE}}),
        (ReportKind.CREDENTIAL, {"files": {"credential": FILE} | {f"f{number}": FILE for number in range(16)}}),
        (ReportKind.CLI_ENDED, {"file": "whole"}),
        (ReportKind.CLI_ENDED, {"attempt": 0}),
        (ReportKind.CLI_ENDED, {"attempt": True}),
        (ReportKind.CLI_ENDED, {"code": 10**9}),
        (ReportKind.CLI_ENDED, {"lines": ["x"] * 21}),
        (ReportKind.CLI_ENDED, {"lines": ["x" * 5000]}),
        (ReportKind.CLI_ENDED, {"lines": [1]}),
        (ReportKind.RUN_ENDED, {"file": "fine"}),
        (ReportKind.RUN_ENDED, {"code": 256}),
        (ReportKind.RUN_ENDED, {"redacted": 1}),
        (ReportKind.TROUBLE, {"what": "<script>"}),
        (ReportKind.PAGE_ASKED, {"host": "login vendor"}),
        (ReportKind.PAGE_ASKED, {"host": ""}),
        (ReportKind.BROWSER_SANDBOX, {"renderers": -1}),
    ],
)
def test_a_value_that_is_not_of_the_protocol_is_refused(kind, wrong):
    refused(report(kind, {**GOOD[kind], **wrong}))


def test_ids_and_kinds_that_do_not_exist_are_refused():
    good = report(ReportKind.SCREEN_UP, {})
    refused({**good, "id": "rep_short"})
    refused({**good, "id": new_id(IdPrefix.SESSION)})
    refused({**good, "kind": "completed"})
    refused({**good, "session": "x"})
    refused({"type": "report"})


def test_texts_of_a_guest_are_cleaned_on_the_host():
    body = {
        "attempt": 1,
        "code": 1,
        "lines": ["\x1b[31mred\x1b[0m https://login.vendor-one.com/?code=1"],
        "file": "none",
    }
    (line,) = checked(report(ReportKind.CLI_ENDED, body)).body["lines"]
    assert isinstance(line, GuestText)
    assert line == "red [removed]"


def test_a_report_does_not_show_what_it_carries():
    assert FILE["content"] not in repr(checked(report(ReportKind.CREDENTIAL, GOOD[ReportKind.CREDENTIAL])))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.sampled_from(ReportKind), st.data())
def test_whatever_a_guest_puts_in_a_report_it_is_taken_or_an_error_of_ours(kind, data):
    names = [*GOOD[kind], "files", "x"]
    body = data.draw(st.dictionaries(st.sampled_from(names), json | st.sampled_from(list(GOOD[kind].values()) or [1])))
    with contextlib.suppress(MachineError):
        checked(report(kind, body))
