"""The link's frames, however the stream is cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.guest.protocol import MAX_FRAME, Framer, ProtocolError, encode

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
message = st.dictionaries(st.text(max_size=8), json, max_size=5).map(lambda table: {**table, "type": "report"})


@settings(deadline=None)
@given(st.lists(message, max_size=6), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(messages, data):
    stream = b"".join(map(encode, messages))
    framer = Framer()
    found = []
    at = 0
    while at < len(stream):
        step = data.draw(st.integers(1, 200))
        found += framer.feed(stream[at : at + step])
        at += step
    assert found == messages


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_messages_or_a_protocol_error(received):
    try:
        messages = Framer().feed(received)
    except ProtocolError:
        return
    assert all(isinstance(message["type"], str) for message in messages)


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">I", 0),
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 2) + b"{}",
        struct.pack(">I", 12) + b'{"type": 12}',
        struct.pack(">I", 3) + b"\xff{}",
        struct.pack(">I", 20000) + b"[" * 20000,
    ],
)
def test_what_is_no_object_with_a_type_is_a_protocol_error(frame):
    with pytest.raises(ProtocolError):
        Framer().feed(frame)


def test_a_message_that_is_too_long_is_not_sent():
    with pytest.raises(ProtocolError):
        encode({"type": "report", "body": "x" * MAX_FRAME})


# the last is what a byte of a file's name becomes that is no UTF-8
names = st.text(max_size=8) | st.text(st.sampled_from('ab" \udcff'), max_size=8)


@settings(derandomize=True)
@given(st.dictionaries(names, names, max_size=5))
def test_whatever_text_a_message_has_it_is_framed_and_comes_out_the_same(table):
    message = {**table, "type": "report"}
    assert Framer().feed(encode(message)) == [message]


@settings(derandomize=True)
@given(st.lists(message, max_size=4), st.integers(MAX_FRAME + 1, 2**32 - 1), st.binary(max_size=40), st.data())
def test_messages_before_a_frame_that_is_too_long_come_out_and_the_frame_is_refused_by_its_head(
    messages, length, rest, data
):
    stream = b"".join(map(encode, messages)) + struct.pack(">I", length) + rest
    framer, found, at = Framer(), [], 0

    def feed_all():
        nonlocal at
        while at <= len(stream):
            step = data.draw(st.integers(1, 200))
            found.extend(framer.feed(stream[at : at + step]))
            at += step
        # what is left to be said of what has come
        found.extend(framer.feed(b""))

    with pytest.raises(ProtocolError):
        feed_all()
    assert found == messages
