"""The guest's terminal: what it answers to a CLI's questions, and what it types."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.guest.job import Answer
from antechamber.guest.terminal import Terminal


def fed(terminal: Terminal, output: str, step: int) -> tuple[str, str]:
    pieces = [terminal.feed(output[at : at + step]) for at in range(0, len(output), step)]
    return "".join(text for text, _ in pieces), "".join(typed for _, typed in pieces)


@pytest.mark.parametrize(
    ("asked", "told"),
    [("\x1b[6n", "\x1b[1;1R"), ("\x1b[?6n", "\x1b[?1;1R"), ("\x1b[5n", "\x1b[0n"), ("\x1b[c", "\x1b[?1;2c")],
)
@pytest.mark.parametrize("step", [1, 2, 100])
def test_f051_a_question_to_the_terminal_is_answered_also_when_it_comes_in_pieces(asked, told, step):
    assert fed(Terminal([]), f"before{asked}after", step) == ("beforeafter", told)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_answers_are_typed_in_their_order_and_once_each(step):
    terminal = Terminal([Answer(re.compile(r"store[^?]*\?"), "y\r"), Answer(re.compile("more"), "n\r")])
    text = "more? \x1b[1mstore in\x1b[0m plain text? \x1b]0;title\x07 more? store it? "
    assert fed(terminal, text, step)[1] == "y\rn\r"


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab\x1b[]6n?;\x07\\0P"), max_size=300), st.integers(1, 40))
def test_no_output_makes_the_terminal_fail_or_type_what_nobody_asked_for(output, step):
    text, typed = fed(Terminal([]), output, step)
    assert len(text) <= len(output)
    assert set(typed) <= set("\x1b[1;R?0n2c")


def test_a_sequence_that_never_ends_does_not_hold_the_text_back_for_ever():
    text, _ = fed(Terminal([]), "\x1b]" + "x" * 5000, 100)
    assert len(text) > 4000
