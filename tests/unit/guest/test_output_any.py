"""Whatever a CLI writes, in whatever pieces: no secret passes, and its reader gets all of it in order."""

from __future__ import annotations

import base64
import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from antechamber.guest.output import FEWEST_HELD, KEPT, REMOVED, SHORTEST_SECRET, Output, Redactor
from antechamber.guest.protocol import RUN_PIECE

# few letters, so that one secret begins as another does, and what is none looks like one
secrets = st.text("ab", min_size=SHORTEST_SECRET, max_size=SHORTEST_SECRET + 4).map(str.encode)
sets = st.lists(secrets, min_size=1, max_size=3, unique=True)
texts = st.lists(st.text("abc\n", max_size=12).map(str.encode), min_size=1, max_size=5)


def told(redactor, stream, cuts):
    """Feed a stream in pieces, and its end; return what was shown."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    shown = [redactor.feed(stream[start:end]) for start, end in itertools.pairwise(places)]
    return b"".join(shown) + redactor.feed(b"", last=True)


def expected(stream, looked_for):
    """Replace the leftmost secret, the longest where several begin there, over and over."""
    shown, at = b"", 0
    while at < len(stream):
        here = [secret for secret in looked_for if stream.startswith(secret, at)]
        shown += REMOVED if here else stream[at : at + 1]
        at += len(max(here, key=len)) if here else 1
    return shown


def in_one_piece(stream, cuts, looked_for):
    """Return the cuts that leave the first bytes of each secret together."""
    heads = {
        at + inner
        for secret in looked_for
        for at in range(len(stream))
        if stream.startswith(secret[:FEWEST_HELD], at)
        for inner in range(1, FEWEST_HELD)
    }
    return [place for cut in cuts if (place := cut % (len(stream) + 1)) not in heads]


@settings(max_examples=400, deadline=None)
@given(sets, texts, st.lists(st.integers(0), max_size=8))
@example([b"a" * 16, b"a" * 16 + b"bbbb"], [b"", b"bbbb", b""], [16])
@example([b"ab" * 8 + b"aaaabb", b"aaaabb" + b"ba" * 6], [b"", b"c"], [])
def test_no_secret_passes_however_the_stream_is_cut(looked_for, between, cuts):
    stream = b"".join(text + looked_for[number % len(looked_for)] for number, text in enumerate(between))
    redactor = Redactor(looked_for)
    assert told(redactor, stream, in_one_piece(stream, cuts, looked_for)) == expected(stream, looked_for)
    assert redactor.found


@settings(max_examples=200, deadline=None)
@given(sets, st.binary(max_size=200), st.lists(st.integers(0), max_size=8))
def test_what_is_no_secret_passes_whole(looked_for, stream, cuts):
    redactor = Redactor(looked_for)
    if not any(secret in stream for secret in looked_for):
        assert told(redactor, stream, cuts) == stream
        assert not redactor.found


@given(sets, st.integers(0, FEWEST_HELD - 1))
def test_a_few_bytes_are_shown_at_once(looked_for, few):
    assert Redactor(looked_for).feed(b"c" + looked_for[0][:few]) == b"c" + looked_for[0][:few]


class Reading(RuleBasedStateMachine):
    """One output, the reader that it has, and a host that is away now and then."""

    held = True

    def __init__(self) -> None:
        super().__init__()
        self.said = []
        self.output = Output(self.said.append, held=self.held, on_room=self._room)
        self.written = bytearray()
        self.streams = bytearray()
        self.rooms = 0
        self.reader = 0
        self.at = 0
        self.missed = 0
        self.ended = self.over = False

    def _room(self) -> None:
        self.rooms += 1
        assert not self.output.full

    @precondition(lambda self: not self.ended and not self.output.full)
    @rule(stream=st.sampled_from((1, 2)), size=st.sampled_from((0, 1, 7, RUN_PIECE, 3 * RUN_PIECE + 1, KEPT)))
    def write(self, stream: int, size: int) -> None:
        piece = bytes((len(self.written) + n) % 251 for n in range(size))
        self.written += piece
        self.streams += bytes((stream,)) * size
        self.output.wrote(stream, piece)

    @precondition(lambda self: not self.ended)
    @rule()
    def end(self) -> None:
        self.ended = True
        self.output.ended()

    @rule()
    def open(self) -> None:
        self.reader += 1
        self.said.clear()  # what was on its way is lost
        self.output.take({"type": "run_open", "reader": self.reader, "at": self.at})

    @rule()
    def leave(self) -> None:
        self.output.take({"type": "run_close", "reader": self.reader})

    @precondition(lambda self: self.said)
    @rule()
    def take(self) -> None:
        (message,) = self.said
        self.said.clear()
        if message["reader"] != self.reader:
            return
        output, at = base64.b64decode(message["output"]), message["at"]
        assert at >= self.at
        assert len(output) <= RUN_PIECE
        self.missed += at - self.at
        self.at = at + len(output)
        assert output == self.written[at : self.at]
        assert set(self.streams[at : self.at]) <= {message["stream"]}
        assert not message["ended"] or (self.ended and self.at == len(self.written))
        self.over = self.over or message["ended"]
        self.output.take({"type": "run_taken", "reader": self.reader})

    @rule(reader=st.integers(-1, 3))
    def say_what_was_not_asked(self, reader: int) -> None:
        self.output.take({"type": "run_taken", "reader": self.reader + 1 + abs(reader)})
        self.output.take({"type": "run_open", "reader": reader, "at": -1})

    @invariant()
    def one_message_is_on_its_way_at_most(self) -> None:
        assert len(self.said) <= 1

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        most = 2 * KEPT if self.held else KEPT
        assert sum(len(piece) for *_, piece in self.output._pieces) <= most

    def teardown(self) -> None:
        if not self.ended:
            self.end()
        self.open()
        while self.said and not self.over:
            self.take()
        if self.held:
            assert self.missed == 0
        assert self.over
        assert self.at == len(self.written)


class Left(Reading):
    """The same where a slow reader misses the oldest of it."""

    held = False


def test_a_held_output_reaches_its_reader_whole_and_in_order():
    run_state_machine_as_test(Reading, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


def test_what_is_not_held_reaches_its_reader_in_order_and_says_what_is_missing():
    run_state_machine_as_test(Left, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


def test_a_reader_that_begins_beyond_the_end_is_told_of_the_end_once():
    said = []
    output = Output(said.append, held=False, on_room=lambda: None)
    output.wrote(1, b"x")
    output.ended()
    output.take({"type": "run_open", "reader": 1, "at": 99})
    assert [message["ended"] for message in said] == [True]
