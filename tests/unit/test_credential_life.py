from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.credential_life import (
    CREDENTIAL_TABLE,
    REASONS,
    CredentialFact,
    decide_credential,
    diagram,
    fact_of_time,
    same_account,
)
from antechamber.errors import CATALOGUE
from antechamber.lifecycle import Act
from antechamber.model import CredentialReason, CredentialStatus

CS, CF, R = CredentialStatus, CredentialFact, CredentialReason
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
facts = st.lists(st.sampled_from(CF), max_size=25)


def walk(happened):
    way = [(CS.ACTIVE, R.SIGNED_IN)]
    for fact in happened:
        decision = decide_credential(way[-1][0], fact, way[-1][1])
        way.append((decision.after, decision.reason or way[-1][1]))
    return way


@pytest.mark.parametrize("status", CS)
def test_the_table_says_something_of_every_fact(status):
    assert CREDENTIAL_TABLE[status].keys() == set(CF)


def test_each_rule_is_whole():
    for status, rules in CREDENTIAL_TABLE.items():
        for fact, rule in rules.items():
            assert (rule.act is Act.MOVE) == (rule.to is not None) == (rule.reason is not None)
            assert (rule.act is Act.REFUSE) == (rule.error is not None)
            assert rule.error is None or rule.error in CATALOGUE
            # only a new version begins its status anew
            assert rule.to is not status or fact in {CF.CAPTURED, CF.REFRESHED}
            assert rule.takes_back is None or rule.takes_back in REASONS[status]


def test_every_reason_belongs_to_one_status_and_each_status_has_one():
    owners = [status for reason in R for status in CS if reason in REASONS[status]]
    assert len(owners) == len(R)
    assert set(owners) == set(CS)


@given(facts)
def test_a_status_always_has_a_reason_of_its_own(happened):
    assert all(reason in REASONS[status] for status, reason in walk(happened))


@given(facts)
def test_deleted_is_for_ever(happened):
    way = [status for status, _ in walk(happened)]
    if CS.DELETED in way:
        assert set(way[way.index(CS.DELETED) :]) == {CS.DELETED}


@given(facts)
def test_a_revoked_credential_is_revoked_until_a_sign_in_or_its_deletion(happened):
    way = walk(happened)
    for (before, _), (after, _), fact in zip(way, way[1:], happened, strict=False):
        if before is CS.REVOKED and after is not CS.REVOKED:
            assert fact in {CF.CAPTURED, CF.DELETED, CF.REJECTED}


@pytest.mark.parametrize("status", [status for status in CS if status is not CS.DELETED])
def test_a_sign_in_makes_any_credential_active_and_a_deletion_ends_any(status):
    assert decide_credential(status, CF.CAPTURED).after is CS.ACTIVE
    assert decide_credential(status, CF.DELETED).after is CS.DELETED
    assert decide_credential(status, CF.REJECTED).reason is R.REJECTED


def test_an_offline_yes_takes_back_an_offline_no_and_nothing_else():
    assert decide_credential(CS.NEEDS_SIGN_IN, CF.CHECK_ACCEPTED, R.CHECK_REFUSED).after is CS.ACTIVE
    for reason in REASONS[CS.NEEDS_SIGN_IN] - {R.CHECK_REFUSED}:
        decision = decide_credential(CS.NEEDS_SIGN_IN, CF.CHECK_ACCEPTED, reason)
        assert (decision.act, decision.after) == (Act.NOTE, CS.NEEDS_SIGN_IN)


def test_every_status_can_be_reached():
    reached, new = set(), {CS.ACTIVE}
    while new:
        reached |= new
        new = {rule.to for status in new for rule in CREDENTIAL_TABLE[status].values() if rule.to} - reached
    assert reached == set(CS)


def test_time_says_nothing_of_what_names_no_end():
    assert fact_of_time(None, NOON, DAY) is None


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timedelta(days=-2), None),
        (timedelta(days=-1, microseconds=-1), None),
        (timedelta(days=-1), CF.EXPIRY_NEAR),
        (timedelta(microseconds=-1), CF.EXPIRY_NEAR),
        (timedelta(0), CF.EXPIRED),
        (timedelta(days=400), CF.EXPIRED),
    ],
)
def test_an_end_is_near_and_then_passed(after, said):
    assert fact_of_time(NOON, NOON + after, DAY) is said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a@example.test", "a@example.test", True),
        ("A@Example.test ", "a@example.test", True),
        ("a@example.test", "b@example.test", False),
        (None, "b@example.test", None),
        ("a@example.test", None, None),
        (None, None, None),
    ],
)
def test_accounts_are_one_other_or_not_known(one, other, same):
    assert same_account(one, other) is same


def test_the_diagram_has_every_move_of_the_table_and_no_other():
    drawn = set()
    for line in diagram().splitlines():
        source, arrow, rest = line.strip().partition(" --> ")
        if arrow and source != "[*]" and rest != "[*]":
            target, _, named = rest.partition(": ")
            drawn |= {(source, target, fact) for fact in named.split(", ")}
    assert drawn == {
        (str(status), str(rule.to), str(fact))
        for status, rules in CREDENTIAL_TABLE.items()
        for fact, rule in rules.items()
        if rule.to
    }
