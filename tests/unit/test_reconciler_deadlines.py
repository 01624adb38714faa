"""Deadlines by the time that has passed, whatever the clock does."""

from datetime import UTC, datetime, timedelta

import pytest

from antechamber.reconciler.deadlines import Deadlines

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def after(seconds):
    return NOON + timedelta(seconds=seconds)


class Both:
    """The two clocks, and the deadlines that follow them."""

    def __init__(self):
        self.passed_s = 1000.0
        self.ahead = timedelta(0)
        self.deadlines = Deadlines(timedelta(seconds=600), lambda: self.passed_s)

    def ask(self, *live):
        at = NOON + timedelta(seconds=self.passed_s - 1000) + self.ahead
        return self.deadlines.passed(live, at)


@pytest.fixture
def both():
    return Both()


def test_what_is_due_by_the_clock_is_due(both):
    assert both.ask(("ses_1", after(10)), ("ses_2", after(0))) == {"ses_2": after(0)}
    both.passed_s += 10
    assert both.ask(("ses_1", after(10))) == {"ses_1": after(10)}


def test_a_clock_that_goes_back_makes_nothing_later(both):
    assert both.ask(("ses_1", after(10))) == {}
    both.ahead = -HOUR
    both.passed_s += 9
    assert both.ask(("ses_1", after(10))) == {}
    both.passed_s += 1
    assert both.ask(("ses_1", after(10))) == {"ses_1": after(10)}


def test_a_clock_that_goes_forward_makes_it_due(both):
    assert both.ask(("ses_1", after(10))) == {}
    both.ahead = HOUR
    assert both.ask(("ses_1", after(10))) == {"ses_1": after(10)}


def test_a_deadline_that_was_moved_on_is_another_one(both):
    assert both.ask(("ses_1", after(10))) == {}
    both.passed_s += 20
    assert both.ask(("ses_1", after(40))) == {}
    both.ahead = -HOUR
    both.passed_s += 20
    assert both.ask(("ses_1", after(40))) == {"ses_1": after(40)}


def test_nothing_is_farther_away_than_the_longest_wait(both):
    both.ahead = -HOUR
    assert both.ask(("ses_1", after(10))) == {}
    both.passed_s += 600
    assert both.ask(("ses_1", after(10))) == {"ses_1": after(10)}


def test_what_is_over_is_forgotten(both):
    assert both.ask(("ses_1", after(10))) == {}
    assert both.ask() == {}
    both.ahead = -HOUR
    both.passed_s += 20
    assert both.ask(("ses_1", after(10))) == {}
