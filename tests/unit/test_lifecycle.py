from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.errors import CATALOGUE, Code
from antechamber.lifecycle import (
    MACHINE_TABLE,
    SESSION_TABLE,
    Act,
    Command,
    MachineFact,
    SessionFact,
    decide_machine,
    decide_session,
    diagrams,
)
from antechamber.model import LIVE_STATUSES, TERMINAL_STATUSES, MachineState, Reason, SessionStatus

S, SF, M, MF = SessionStatus, SessionFact, MachineState, MachineFact
session_facts = st.lists(st.tuples(st.sampled_from(SF), st.none() | st.sampled_from(Reason)), max_size=25)
machine_facts = st.lists(st.sampled_from(MF), max_size=25)


def walk(facts) -> list[SessionStatus]:
    way = [S.PENDING]
    for fact, reason in facts:
        way.append(decide_session(way[-1], fact, reason).after)
    return way


@pytest.mark.parametrize("status", S)
def test_the_session_table_says_something_of_every_fact(status):
    assert SESSION_TABLE[status].keys() == set(SF)


@pytest.mark.parametrize("state", M)
def test_the_machine_table_says_something_of_every_fact(state):
    assert MACHINE_TABLE[state].keys() == set(MF)


def test_each_rule_is_whole():
    for status, facts in SESSION_TABLE.items():
        for rule in facts.values():
            assert (rule.act is Act.MOVE) == (rule.to is not None)
            assert (rule.act is Act.REFUSE) == (rule.error is not None)
            assert rule.to is not status
            assert rule.error is None or rule.error in CATALOGUE
    for state, facts in MACHINE_TABLE.items():
        for rule in facts.values():
            assert (rule.act is Act.MOVE) == (rule.to is not None)
            assert rule.to is not state


def test_every_bad_end_has_a_reason_in_the_table_and_a_good_one_none():
    for facts in SESSION_TABLE.values():
        for rule in facts.values():
            if rule.to is not None:
                assert (rule.reason is not None) == (rule.to in TERMINAL_STATUSES - {S.COMPLETED})


@given(session_facts)
def test_f002_f010_terminal_is_absorbing(facts):
    way = walk(facts)
    ends = [status for status in way if status.terminal]
    assert len(set(ends)) <= 1
    assert all(later is ends[0] for later in way[way.index(ends[0]) :]) if ends else True


@given(session_facts)
def test_a_session_never_goes_back(facts):
    order = [S.PENDING, S.STARTING, S.AWAITING_SIGN_IN]
    ranks = [order.index(status) if status in order else len(order) for status in walk(facts)]
    assert ranks == sorted(ranks)


@given(session_facts)
def test_only_a_capture_completes_and_only_once_a_machine_has_begun(facts):
    way = walk(facts)
    for before, after, (fact, _reason) in zip(way, way[1:], facts, strict=False):
        if after is S.COMPLETED and before is not S.COMPLETED:
            assert fact is SF.CAPTURED
            assert before in {S.STARTING, S.AWAITING_SIGN_IN}


@pytest.mark.parametrize("status", sorted(LIVE_STATUSES))
def test_every_live_status_ends_by_time_alone_by_cancelling_and_by_its_machines_end(status):
    for fact in (SF.TIME_RAN_OUT, SF.NOBODY_CAME, SF.CANCELLED, SF.SUPERSEDED, SF.MACHINE_ENDED):
        assert decide_session(status, fact).after.terminal


@pytest.mark.parametrize("fact", SF)
def test_whatever_comes_after_completion_changes_nothing(fact):
    decision = decide_session(S.COMPLETED, fact, Reason.MACHINE_ENDED)
    assert (decision.after, decision.reason) == (S.COMPLETED, None)
    assert decision.act is not Act.MOVE


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_f002_the_end_of_a_machine_is_no_verdict_on_an_ended_session(status):
    assert decide_session(status, SF.MACHINE_ENDED).act is Act.NOTE


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES - {S.COMPLETED}))
def test_a_capture_that_comes_too_late_is_refused_and_told_so(status):
    decision = decide_session(status, SF.CAPTURED)
    assert (decision.act, decision.error) == (Act.REFUSE, Code.CAPTURE_REFUSED)


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_f107_cancelling_what_has_ended_is_refused(status):
    assert decide_session(status, SF.CANCELLED).error is Code.SESSION_ENDED


def test_a_reason_that_came_with_the_fact_wins_but_not_over_completion():
    failed = decide_session(S.AWAITING_SIGN_IN, SF.SIGN_IN_FAILED, Reason.CREDENTIAL_UNUSABLE)
    assert failed.reason is Reason.CREDENTIAL_UNUSABLE
    assert decide_session(S.AWAITING_SIGN_IN, SF.SIGN_IN_FAILED).reason is Reason.CLI_ENDED
    assert decide_session(S.STARTING, SF.CAPTURED, Reason.CLI_ENDED).reason is None


def test_every_end_that_leaves_a_machine_running_stops_it():
    for facts in SESSION_TABLE.values():
        for fact, rule in facts.items():
            if rule.to in TERMINAL_STATUSES and fact is not SF.MACHINE_ENDED:
                assert {Command.STOP_MACHINE_NOW, Command.STOP_MACHINE_AFTER_GRACE} & set(rule.commands)


def test_every_move_is_told_to_those_who_watch():
    moves = [rule for facts in SESSION_TABLE.values() for rule in facts.values() if rule.act is Act.MOVE]
    assert all(Command.TELL_WATCHERS in rule.commands for rule in moves)


def test_input_ends_with_the_capture():
    for status in (S.STARTING, S.AWAITING_SIGN_IN):
        assert Command.END_INPUT in decide_session(status, SF.CAPTURED).commands


@given(machine_facts)
def test_an_ended_machine_stays_ended(facts):
    state, ended = M.REQUESTED, None
    for fact in facts:
        state = decide_machine(state, fact).after
        assert ended is None or state is ended
        ended = state if state.ended else None


@given(machine_facts)
def test_a_machine_that_was_asked_to_stop_is_never_lost(facts):
    state, asked = M.REQUESTED, False
    for fact in facts:
        state = decide_machine(state, fact).after
        asked = asked or state is M.STOPPING
        assert not (asked and state is M.LOST)


@pytest.mark.parametrize("state", [state for state in M if not state.ended])
def test_every_machine_can_be_stopped_and_its_end_is_taken(state):
    assert decide_machine(state, MF.ENDED).after.ended
    assert decide_machine(state, MF.STOP_ASKED).after in {M.STOPPING, M.GONE}


def test_every_status_and_state_can_be_reached():
    for start, table, decide in (
        (S.PENDING, SESSION_TABLE, decide_session),
        (M.REQUESTED, MACHINE_TABLE, decide_machine),
    ):
        reached, new = set(), {start}
        while new:
            reached |= new
            new = {decide(state, fact).after for state in new for fact in table[state]} - reached
        assert reached == set(table)


def test_the_diagram_has_every_move_of_the_tables_and_no_other():
    drawn = set()
    for line in diagrams().splitlines():
        source, arrow, rest = line.strip().partition(" --> ")
        if arrow and source != "[*]" and rest != "[*]":
            target, _, facts = rest.partition(": ")
            drawn |= {(source, target, fact) for fact in facts.split(", ")}
    tables = {
        (str(state), str(rule.to), str(fact))
        for table in (SESSION_TABLE, MACHINE_TABLE)
        for state, facts in table.items()
        for fact, rule in facts.items()
        if rule.to is not None
    }
    assert drawn == tables


def test_the_diagram_begins_and_ends_where_the_machines_do():
    lines = {line.strip() for line in diagrams().splitlines()}
    ends = {str(status) for status in TERMINAL_STATUSES} | {str(state) for state in M if state.ended}
    assert {line.removesuffix(" --> [*]") for line in lines if line.endswith("--> [*]")} == ends
    assert {"[*] --> pending", "[*] --> requested"} <= lines
