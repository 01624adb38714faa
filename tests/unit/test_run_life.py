from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.errors import CATALOGUE, Code
from antechamber.lifecycle import Act
from antechamber.model import RunReason, RunStatus
from antechamber.run_life import RUN_TABLE, RunFact, decide_run, diagram

S, F, R = RunStatus, RunFact, RunReason
facts = st.lists(st.sampled_from(F), max_size=25)


def walk(happened):
    way, reasons = [S.WAITING], []
    for fact in happened:
        decision = decide_run(way[-1], fact)
        way.append(decision.after)
        reasons += [decision.reason] if decision.reason is not None else []
    return way, reasons


@pytest.mark.parametrize("status", S)
def test_the_table_says_something_of_every_fact(status):
    assert RUN_TABLE[status].keys() == set(F)


def test_each_rule_is_whole():
    for status, rules in RUN_TABLE.items():
        for rule in rules.values():
            assert (rule.act is Act.MOVE) == (rule.to is not None)
            assert (rule.to is S.ENDED) == (rule.reason is not None)
            assert (rule.act is Act.REFUSE) == (rule.error is not None)
            assert rule.error is None or rule.error in CATALOGUE
            assert rule.to is not status


def test_every_reason_is_the_end_of_something():
    assert {rule.reason for rules in RUN_TABLE.values() for rule in rules.values()} - {None} == set(R)


@given(facts)
def test_a_run_only_goes_on_and_ends_once_for_one_reason(happened):
    way, reasons = walk(happened)
    order = list(S)
    assert [order.index(status) for status in way] == sorted(order.index(status) for status in way)
    assert len(reasons) == (way[-1] is S.ENDED)


@given(facts)
def test_no_tool_begins_before_its_turn(happened):
    way, _ = walk(happened)
    for before, after, fact in zip(way, way[1:], happened, strict=False):
        if before is S.WAITING and after is not S.WAITING:
            assert (after is S.STARTING) == (fact is F.GRANTED)


@pytest.mark.parametrize("fact", F)
def test_what_has_ended_stays_so_and_only_who_cancels_it_is_told(fact):
    decision = decide_run(S.ENDED, fact)
    assert decision.after is S.ENDED
    assert decision.error is (Code.RUN_ENDED if fact is F.CANCELLED else None)


@pytest.mark.parametrize("status", [S.WAITING, S.STARTING, S.RUNNING])
def test_a_live_run_can_be_ended_from_outside_at_any_time(status):
    for fact, reason in ((F.CANCELLED, R.CANCELLED), (F.CALLER_GONE, R.CALLER_GONE)):
        assert decide_run(status, fact).reason is reason


@pytest.mark.parametrize(
    ("status", "reason"), [(S.WAITING, R.NO_TURN), (S.STARTING, R.DID_NOT_START), (S.RUNNING, R.TIMED_OUT)]
)
def test_what_a_time_that_ran_out_means_is_where_it_was(status, reason):
    assert decide_run(status, F.TIME_RAN_OUT).reason is reason


def test_the_diagram_shows_every_status():
    assert all(status in diagram() for status in S)
