"""Whatever a guest says, in whatever pieces: what is of the protocol is taken up to the first thing that is not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_link import HELLO, dialled, link_with
from tests.unit.test_link_reports import GOOD

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import ReportKind, encode
from antechamber.model import IdPrefix

ids = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=20, max_size=20).map(f"{IdPrefix.REPORT}_".__add__)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
good = st.builds(
    lambda ident, kind: {"type": "report", "id": ident, "kind": kind.value, "body": GOOD[kind]},
    ids,
    st.sampled_from(ReportKind),
)
words = st.sampled_from(["type", "id", "kind", "body", "incarnation", "session"])
bad = st.one_of(
    st.builds(lambda message, name: {**message, f"{name}_": 1}, good, words),
    st.builds(lambda message, name, value: {**message, name: value}, good, words, st.floats() | st.none()),
    st.dictionaries(words, values, max_size=4).map(lambda table: {**table, "type": "hello"}),
    values.filter(lambda value: not isinstance(value, dict)),
)
garbage = st.binary(min_size=5, max_size=40).map(lambda noise: b"\xff" + noise)
"""Frames that are too long."""


def framed(message):
    if isinstance(message, dict):
        return encode(message)
    # what `encode` itself would not take for a message
    return (whole := encode({"type": message}))[:4] + b" " + whole[5:]


async def said(link, stream, cuts):
    """Send a stream in pieces, and its end; return the code of the error with which the host hung up, if it did."""
    async with dialled(link) as guest:
        places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
        with contextlib.suppress(ConnectionError):
            for start, end in itertools.pairwise(places):
                guest.writer.write(stream[start:end])
                await guest.writer.drain()
                # lets the other end take it as the piece that it is
                await asyncio.sleep(0)
            guest.writer.write_eof()
        try:
            await guest.serving
        except MachineError as error:
            return error.code
    return None


@settings(max_examples=150, derandomize=True)
@given(st.lists(good, max_size=4, unique_by=lambda message: message["id"]), bad, st.lists(st.integers(0), max_size=6))
async def test_what_is_of_the_protocol_is_taken_up_to_the_first_thing_that_is_not(messages, wrong, cuts):
    taken = []
    stream = b"".join(map(framed, [HELLO, *messages, wrong, *messages]))
    assert await said(link_with(taken=taken), stream, cuts) is Code.GUEST_PROTOCOL
    assert [report.id for report in taken] == [message["id"] for message in messages]


@settings(max_examples=100, derandomize=True)
@given(
    st.lists(good, max_size=4, unique_by=lambda message: message["id"]), garbage, st.lists(st.integers(0), max_size=6)
)
async def test_what_came_whole_before_bytes_that_are_no_frame_is_taken_however_it_is_cut(messages, noise, cuts):
    taken = []
    stream = b"".join(map(framed, [HELLO, *messages])) + noise
    assert await said(link_with(taken=taken), stream, cuts) is Code.GUEST_PROTOCOL
    assert [report.id for report in taken] == [message["id"] for message in messages]


@settings(max_examples=100, derandomize=True)
@given(st.lists(good, max_size=4, unique_by=lambda message: message["id"]), st.integers(1), st.lists(st.integers(0)))
async def test_of_a_stream_that_breaks_off_every_whole_report_is_taken_and_nothing_of_the_last(messages, short, cuts):
    taken = []
    frames = [framed(message) for message in messages]
    stream = framed(HELLO) + b"".join(frames)
    if frames:
        stream = stream[: -(short % len(frames[-1])) or None]
    whole = messages if not frames or not short % len(frames[-1]) else messages[:-1]
    assert await said(link_with(taken=taken), stream, cuts) is None
    assert [report.id for report in taken] == [message["id"] for message in whole]


@settings(max_examples=150, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=200),
        values.map(framed),
        st.dictionaries(words, values).map(lambda table: encode({**HELLO, **table})),
    ),
    st.lists(st.integers(0), max_size=4),
)
async def test_whoever_does_not_say_hello_as_it_must_is_not_spoken_with(stream, cuts):
    taken = []
    code = await said(link_with(job={"kind": "DUMMY"}, taken=taken), stream, cuts)
    assert code in {None, Code.GUEST_PROTOCOL, Code.GUEST_VERSION}
    assert taken == []
