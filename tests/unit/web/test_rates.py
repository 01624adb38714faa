"""How often something may be asked: exact, bounded in memory, and nobody refused for somebody else's guesses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.errors import CallerError, Code
from antechamber.web import rates
from antechamber.web.rates import BEARERS, EVERYBODY, Guesses, Rate, Rates, address_of

FEW = Rate("few", 3, 2.0)


class Clock:
    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted(clock):
    return Rates(clock)


def wait(counted, rate=FEW, key="a"):
    """Take one; return the seconds after which one more is allowed, or None where it was taken."""
    try:
        counted.take(rate, key)
    except CallerError as error:
        return error.retry_after.total_seconds() if error.code is Code.TOO_OFTEN else error
    return None


def test_so_many_at_once_and_then_one_in_each_time(counted, clock):
    assert [wait(counted) for _ in range(4)] == [None, None, None, 2.0]
    clock.at += 1.5
    assert wait(counted) == pytest.approx(0.5)
    clock.at += 0.5
    assert [wait(counted) for _ in range(2)] == [None, 2.0]
    clock.at += 1000
    assert [wait(counted) for _ in range(4)] == [None, None, None, 2.0]


def test_each_key_and_each_rate_has_its_own(counted):
    other = Rate("other", 1, 2.0)
    assert [wait(counted) for _ in range(3)] == [None] * 3
    assert wait(counted, key="b") is None
    assert wait(counted, other) is None


@given(st.lists(st.floats(0, 10), max_size=60))
def test_whoever_waits_as_long_as_is_told_is_never_refused_again(waits):
    clock = Clock()
    counted = Rates(clock)
    for seconds in waits:
        told = wait(counted)
        if told is not None:
            clock.at += told
            assert wait(counted) is None
        clock.at += seconds


@given(st.lists(st.floats(0, 3), max_size=80))
def test_no_more_pass_in_any_time_than_the_rate_says(waits):
    clock, passed = Clock(), []
    counted = Rates(clock)
    for seconds in waits:
        clock.at += seconds
        if wait(counted) is None:
            passed.append(clock.at)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= FEW.burst + (passed[last] - passed[first]) / FEW.every_s + 1e-6


def test_memory_is_bounded_and_the_one_asked_for_longest_ago_goes(counted):
    for number in range(rates.MOST + 500):
        counted.take(FEW, f"key {number}")
    assert len(counted) == rates.MOST
    # the newest are still known
    last = f"key {rates.MOST + 499}"
    assert [wait(counted, key=last) for _ in range(3)] == [None, None, 2.0]


def test_a_limit_that_is_reached_is_one_line_a_minute(counted, clock, capsys):
    for _ in range(200):
        wait(counted)
    clock.at += 61
    for _ in range(60):
        wait(counted)
    lines = [line for line in "".join(capsys.readouterr()).splitlines() if "asked too often" in line]
    assert len(lines) == 2, lines
    assert "few" in lines[0]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("127.0.0.1", EVERYBODY),
        ("127.3.2.1", EVERYBODY),
        ("::1", EVERYBODY),
        ("::ffff:127.0.0.1", EVERYBODY),
        ("testclient", EVERYBODY),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_address_is_one_network_access_and_this_computer_is_none(peer, address):
    assert address_of(peer) == address


def scope(peer):
    return {"client": (peer, 40000)}


def test_an_address_that_has_guessed_too_much_is_refused_before_anything_is_looked_up(counted, clock):
    guesses = Guesses(counted, behind_proxy=False)
    for number in range(BEARERS.burst):
        # of one network access, however many addresses it has
        guesses.may_try(BEARERS, scope(f"2001:db8::{number:x}"))
        guesses.wrong(BEARERS, scope(f"2001:db8::{number:x}"))
    with pytest.raises(CallerError):
        guesses.may_try(BEARERS, scope("2001:db8::1"))
    # nobody else is
    for other in ("2001:db8:0:1::1", "192.0.2.1", "127.0.0.1"):
        guesses.may_try(BEARERS, scope(other))
    clock.at += BEARERS.every_s
    guesses.may_try(BEARERS, scope("2001:db8::1"))


@pytest.mark.parametrize(("behind", "peer"), [(True, "192.0.2.1"), (False, "127.0.0.1"), (True, "::1")])
def test_through_a_proxy_what_others_guess_refuses_nobody_before_it_is_looked_at(counted, behind, peer):
    guesses = Guesses(counted, behind_proxy=behind)
    for _ in range(BEARERS.burst):
        guesses.wrong(BEARERS, scope(peer), "ses_a")
    with pytest.raises(CallerError):
        guesses.wrong(BEARERS, scope(peer), "ses_a")
    guesses.may_try(BEARERS, scope(peer))
    guesses.wrong(BEARERS, scope(peer), "ses_b")


def test_each_rate_has_a_word_of_its_own():
    words = [rate.word for rate in vars(rates).values() if isinstance(rate, Rate)]
    assert len(set(words)) == len(words) == 9
