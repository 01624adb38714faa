"""One try to log in: all that goes to the issuer comes of one secret, and none of it tells another."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.model import Secret
from antechamber.openid import Attempt

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_a_try_is_read_again_from_its_cookie_alone():
    begun = Attempt.begin(NOON)
    read = Attempt.read(Secret(begun.cookie.reveal()))
    assert read == begun
    assert (read.state, read.nonce, read.verifier) == (begun.state, begun.nonce, begun.verifier)
    assert read.has_state(begun.state)


def test_no_two_tries_and_no_two_uses_of_one_have_anything_in_common():
    said = [
        text
        for attempt in (Attempt.begin(NOON), Attempt.begin(NOON))
        for text in (attempt.state, attempt.nonce, attempt.verifier.reveal(), attempt.cookie.reveal())
    ]
    assert len(set(said)) == len(said)
    assert all(len(text) >= 43 for text in said)


def test_the_time_at_which_it_began_cannot_be_changed_without_being_another_try():
    begun = Attempt.begin(NOON)
    secret = begun.cookie.reveal().rpartition("_")[0]
    later = Attempt.read(Secret(f"{secret}_{int((NOON + timedelta(hours=1)).timestamp())}"))
    assert not later.has_state(begun.state)


def test_it_ends_well_within_ten_minutes_and_a_clock_may_go_back_a_little():
    begun = Attempt.begin(NOON)
    for seconds, over in ((-61, True), (-60, False), (0, False), (599, False), (600, True)):
        assert begun.is_over(NOON + timedelta(seconds=seconds)) is over


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]{43}_[0-9]{1,60}", fullmatch=True))
def test_whatever_a_cookie_says_it_is_read_or_is_none(text):
    attempt = Attempt.read(Secret(text))
    assert attempt is None or attempt.cookie.reveal() == text


@pytest.mark.parametrize("state", ["", "\u00e9", "\x00", "a" * 43, "a" * 10_000])
def test_another_state_is_not_its_own(state):
    assert not Attempt.begin(NOON).has_state(state)
