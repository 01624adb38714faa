"""What the stand-in's models say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.testing.standin.answers import Answer, Turn, answer_to, fitting


def test_the_last_line_of_a_prompt_is_answered_and_the_same_way_each_time():
    assert answer_to(Turn("Some context.\n\nwhat is two and two\n")).text.endswith(": what is two and two")
    assert answer_to(Turn("x")) == answer_to(Turn("x"))


def test_a_prompt_can_ask_for_one_command_and_is_then_told_what_it_printed():
    assert answer_to(Turn("Be quick.\nrun: cat ~/x")) == Answer(command="cat ~/x")
    assert answer_to(Turn("run: cat ~/x", printed="DUMMY")) == Answer(text="The command printed: DUMMY")


@given(st.text())
def test_the_pieces_of_an_answer_are_its_text(text):
    assert "".join(Answer(text).pieces) == text


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            {"type": "OBJECT", "properties": {"c": {"type": "STRING", "enum": ["flash", "pro"]}}, "required": ["c"]},
            '{"c": "flash"}',
        ),
        ({"type": "array", "items": {"type": "number"}}, "[]"),
        ({"type": "boolean"}, "false"),
        ({"type": "integer"}, "0"),
        ({"type": "string"}, '"DUMMY"'),
        ({}, "{}"),
    ],
)
def test_a_tool_that_asks_for_json_gets_what_fits(schema, value):
    assert json.dumps(fitting(schema)) == value
