"""Each sentence that SECURITY.md promises is kept by a test, and the threat model says by which."""

from __future__ import annotations

import pytest

from tests.docs.failures import every_test
from tests.docs.promises import paragraphs, promises, unkept

PROMISES = promises()


def lead(promise):
    return promise.lead


def test_every_promise_is_in_the_list_once_and_in_its_order():
    assert [promise.lead for promise in PROMISES] == list(paragraphs())


@pytest.mark.parametrize("promise", PROMISES, ids=lead)
def test_no_sentence_of_a_promise_is_without_a_test(promise):
    assert unkept(promise, paragraphs()[promise.lead]) == ""


@pytest.mark.parametrize("promise", PROMISES, ids=lead)
def test_the_words_of_a_claim_stand_in_its_promise(promise):
    strange = [claim.says for claim in promise.claims if claim.says not in paragraphs()[promise.lead]]
    strange += [words for words in promise.explains if words not in paragraphs()[promise.lead]]
    assert strange == []


@pytest.mark.parametrize("promise", PROMISES, ids=lead)
def test_the_tests_that_keep_a_promise_exist(promise):
    missing = [test for claim in promise.claims for test in claim.kept_by if test not in every_test()]
    assert missing == []
    assert all(claim.kept_by for claim in promise.claims)
