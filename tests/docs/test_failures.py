"""Each failure of the predecessor is held off by a test that bears its number, or by a rule that has a guard."""

from __future__ import annotations

import pytest

from tests.docs.failures import CONTRACT, NUMBERS, Named, every_test, failures, named_after, rule

FAILURES = failures()


def called(failure):
    return failure.number


def test_every_failure_is_in_the_catalogue_once():
    listed = [failure.number for failure in FAILURES]
    assert sorted(listed) == sorted(NUMBERS)


@pytest.mark.parametrize("failure", FAILURES, ids=called)
def test_a_failure_has_a_test_of_its_number_or_a_rule_with_a_guard(failure):
    if failure.rule is None:
        assert named_after(failure.number), f"no test is named after {failure.number}, and no rule excludes it"
        assert failure.guard is None
        return
    assert rule(failure.rule) is not None, f"there is no rule {failure.rule!r}"
    assert Named(*(failure.guard or "").rpartition("::")[::2]) in every_test(), f"there is no {failure.guard}"
    assert not named_after(failure.number), "what has a test needs no rule"


def test_no_test_has_a_number_that_the_catalogue_lacks():
    strange = [test for test in every_test() if not set(test.numbers) <= NUMBERS]
    assert strange == []


def test_tests_that_are_shipped_to_others_bear_no_number():
    assert [test for test in every_test() if test.file == CONTRACT and test.numbers] == []


def test_each_failure_says_what_went_wrong_and_what_holds_in_sentences():
    short = [one.number for one in FAILURES if not one.wrong.endswith(".") or not one.holds.endswith(".")]
    assert short == []
