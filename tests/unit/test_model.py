from __future__ import annotations

import copy
import pickle
import time
import unicodedata
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber import model
from antechamber.model import (
    LIVE_STATUSES,
    TERMINAL_STATUSES,
    GuestText,
    IdPrefix,
    MachineState,
    Secret,
    SessionStatus,
    clean_text,
    is_id,
    new_id,
    new_secret,
)


def test_f084b_each_status_is_live_or_terminal_and_not_both():
    assert set(SessionStatus) == LIVE_STATUSES | TERMINAL_STATUSES
    assert not LIVE_STATUSES & TERMINAL_STATUSES
    assert {state for state in MachineState if state.ended} == {MachineState.GONE, MachineState.LOST}


def test_a_secret_is_not_printed_formatted_or_pickled():
    secret = Secret("DUMMY value")
    assert secret.reveal() == "DUMMY value"
    shown = (f"{secret}", f"{secret!r}", str(secret), "%s" % secret, str([secret]), f"{secret:}")  # noqa: UP031 - one of the ways
    assert all("DUMMY" not in text for text in shown)
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(secret)


def test_secrets_are_equal_by_their_value_and_to_nothing_else():
    assert Secret("DUMMY") == Secret("DUMMY")
    assert Secret("DUMMY") != Secret("other")
    assert Secret("DUMMY") != "DUMMY"
    assert len({Secret("DUMMY"), Secret("DUMMY")}) == 1


def test_new_secrets_are_long_and_different():
    values = {new_secret().reveal() for _ in range(100)}
    assert len(values) == 100
    assert all(len(value) >= 43 for value in values)


@pytest.mark.parametrize("prefix", IdPrefix)
def test_a_new_id_is_an_id_of_its_kind_alone(prefix):
    made = {new_id(prefix) for _ in range(50)}
    assert len(made) == 50
    for one in made:
        assert [kind for kind in IdPrefix if is_id(one, kind)] == [prefix]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ses_",
        "ses_0",
        "ses_" + "0" * 19,
        "ses_" + "0" * 21,
        "ses_" + "i" * 20,
        "SES_" + "0" * 20,
        "ses_" + "0" * 20 + "\n",
        " ses_" + "0" * 20,
        "ses-" + "0" * 20,
        "ses_" + "../" * 6 + "00",
        "mac_" + "0" * 20,
    ],
)
def test_what_is_no_session_id_is_none(text):
    assert not is_id(text, IdPrefix.SESSION)


@given(st.text())
def test_no_text_breaks_the_test_for_ids(text):
    assert is_id(text, IdPrefix.SESSION) in {True, False}


@given(st.text(max_size=2000))
def test_a_guests_text_is_short_and_shows_as_what_it_is(raw):
    text = GuestText(raw)
    assert len(text) <= GuestText.LIMIT
    assert all(unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in text)
    assert text == text.strip()


@given(st.text(max_size=600))
def test_cleaning_twice_changes_nothing_that_is_shown_safely(raw):
    once = GuestText(raw)
    again = GuestText(once)
    assert len(again) <= len(once) + len("[removed]")
    assert set(again) <= set(once) | set("[removed]…")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain words stay", "plain words stay"),
        ("Zürich, 東京 and naïve 🙂", "Zürich, 東京 and naïve 🙂"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://evil.test\x1b\\link", "link"),
        ("\x1bP1;2q\x1b\\after", "after"),
        ("a\x00b\x08c\x7f", "abc"),
        ("\u202egnp.exe", "gnp.exe"),
        ("one\ntwo\r\n\tthree", "one two three"),
        ("one\u2028two\u2029three", "one two three"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("see https://auth.example.test/cb?code=DUMMY&state=1 now", "see [removed] now"),
        ("HTTP://EXAMPLE.TEST/x", "[removed]"),
    ],
)
def test_control_escape_and_bidi_characters_and_urls_are_removed(raw, shown):
    assert GuestText(raw) == shown


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJEVU1NWSJ9.c2lnbmF0dXJl",
        "sk-ant-oat01-DUMMYdummyDUMMY",
        "rt_DUMMYdummy123",
        "ya29.DUMMYdummy-123",
        "gho_DUMMYdummy123456",
        "A1" * 16,
        "DUMMY0/dummy+DUMMY0/dummy+DUMMY0==",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "token: {}.", '"{}"', "got {} here"])
def test_what_looks_like_a_token_is_removed(token, frame):
    assert token not in GuestText(frame.format(token))
    assert "[removed]" in GuestText(frame.format(token))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (
            "localhost:1455/auth/callback?code=ac_abc123&state=zzz9",
            "localhost:1455/auth/callback?code=[removed]&state=[removed]",
        ),
        ("code=4/0AbCdEfGhIjKlMnOp", "code=[removed]"),
        ("paste 4/0AbCdEfGhIjKlMnOp here", "paste [removed] here"),
        ("Bearer abcdefghijklmnopqrstuvwxyz", "Bearer [removed]"),
        ("authorization: bearer abc123", "authorization: bearer [removed]"),
        ("key " + "Q" * 33, "key [removed]"),
        ("a1b2c3d4.e5f6a7b8.c9d0e1f2a3b4.c5d6e7f8a9", "[removed]"),
        ("A1B2-C3D4-E5F6-A7B8-C9D0-E1F2", "[removed]"),
        ("aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeF", "[removed]"),
        ("ftp://u:p@h/x?token=1", "[removed]"),
        ("vnc+unix://DUMMY", "[removed]"),
        ("token=DUMMY", "token=[removed]"),
        ("&access_token=DUMMY&id_token=D.U.M", "&access_token=[removed]&id_token=[removed]"),
        ('{"refresh_token": "DUMMY", "a": 1}', '{"refresh_token": "[removed]", "a": 1}'),
        ("STATE=DUMMY;", "STATE=[removed]"),
        ("?code%3DDUMMY", "?code%3D[removed]"),
        ("/a/long/path/to/callback-2/code=DUMMY", "/a/long/path/to/callback-2/code=[removed]"),
    ],
)
def test_what_goes_with_the_name_or_the_shape_of_a_secret_is_removed(raw, shown):
    assert GuestText(raw) == shown


@pytest.mark.parametrize(
    "text",
    [
        "the machine's screen, browser or agent failed",
        "Bearer authentication is not known here",
        "the bearer of this message",
        "/usr/lib/python3/dist-packages",
        "/usr/lib/python3.11/site-packages/antechamber/providers/capture.py:42",
        "/usr/lib/x86_64-linux-gnu/libnss3.so",
        "/tmp/pytest-of-person/pytest-0/test_a_session_completes0/scene.db",
        "1.2.3.4",
        "linux-image-6.1.0-13-amd64_6.1.55-1",
        "auth.openai.com",
        "ip-10-0-0-12.eu-west-1.compute.internal:443",
        "Mozilla/5.0 Chrome/120.0.6099.109",
        "exit code=1, and more",
        "exit code 127, file none",
        "antechamber.errors.ModuleWasNotFoundError",
        "internationalization-of-everything",
    ],
)
def test_words_paths_versions_and_hosts_stay(text):
    assert GuestText(text) == text


@pytest.mark.parametrize("prefix", IdPrefix)
@pytest.mark.parametrize("frame", ["{}", "machine {}.", "/run/antechamber/machines/{}/link.sock"])
def test_our_own_ids_stay(prefix, frame):
    text = frame.format(new_id(prefix))
    assert GuestText(text) == text


def test_what_stands_beside_one_of_our_ids_does_not():
    secret = "A1b2" * 8
    assert secret not in GuestText(f"{new_id(IdPrefix.SESSION)}/{secret}")


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "A", "1", "a/", "a.", "a-", "1a_", "a+", "=", "a1", "://", "a:", "code=", "code", "Bearer ", "bearer a"),
        *(" ", "eyJ", "eyJaaaaaaaa.", "sk-", "4/0", "ses_", "ses_" + "0" * 20, "Aaa", "access_token "),
        *("\x1b]", "\x1b[0", "\x1bP"),
    ],
)
def test_the_time_that_cleaning_takes_grows_no_faster_than_the_text(piece):
    """Steps cannot be counted, so time must do: 8 times the text may take 24 times as long, where a square takes 64."""

    def seconds(length):
        text = (piece * length)[:length]
        began = time.process_time()
        clean_text(text, length)
        return time.process_time() - began

    assert min(seconds(80_000) for _ in range(2)) < 24 * max(min(seconds(10_000) for _ in range(3)), 0.002)


def test_a_token_that_an_escape_sequence_cuts_in_two_is_removed_too():
    assert "DUMMYdummy" not in GuestText("sk-ant-\x1b[0mDUMMYdummyDUMMY")


def test_a_long_text_ends_with_an_ellipsis():
    text = clean_text("word " * 200, 20)
    assert len(text) == 20
    assert text.endswith("…")


def test_the_rows_are_frozen():
    rows = [kind for kind in vars(model).values() if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")]
    assert rows
    for kind in rows:
        row = object.__new__(kind)
        with pytest.raises(FrozenInstanceError):
            setattr(row, fields(kind)[0].name, "other")
