"""What the service reads of a screen: whether a page was painted, and no more than it can bear of a hostile one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.screen.rfb import CHROME_HEIGHT, Painter, RfbError

BANNER = b"RFB 003.008\n"
WIDTH, HEIGHT = 320, 240


def greeting(width=WIDTH, height=HEIGHT, name=b"screen"):
    return BANNER + b"\x01\x01" + b"\0\0\0\0" + struct.pack(">HH16xI", width, height, len(name)) + name


def update(*rectangles):
    return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)


def raw(x, y, width, height, colour=b"\xff"):
    return struct.pack(">HHHHi", x, y, width, height, 0) + colour * (width * height)


def size(width, height):
    return struct.pack(">HHHHi", 0, 0, width, height, -223)


def met(**limits):
    painter = Painter(**limits)
    painter.feed(greeting())
    return painter


def test_the_client_says_3_8_takes_no_security_shares_and_asks_for_raw_pixels():
    painter = met()
    sent = painter.to_send()
    assert sent.startswith(BANNER + b"\x01" + b"\x01" + b"\0\0\0\0\x08\x08\0\x01")
    assert sent.endswith(struct.pack(">BBHHHH", 3, 1, 0, 0, WIDTH, HEIGHT))
    assert painter.to_send() == b""


def test_a_page_that_is_painted_after_the_event_is_seen():
    painter = met()
    assert not painter.feed(update(raw(0, 0, WIDTH, HEIGHT)))
    assert not painter.watch()
    assert painter.feed(update(raw(10, CHROME_HEIGHT, 40, 40, b"\0")))


def test_what_is_painted_before_the_event_does_not_count_while_the_page_is_blank():
    painter = met()
    painter.feed(update(raw(0, 0, WIDTH, CHROME_HEIGHT, b"\x11"), raw(0, CHROME_HEIGHT, WIDTH, 90)))
    painter.feed(update(raw(0, CHROME_HEIGHT + 90, WIDTH, HEIGHT - CHROME_HEIGHT - 90)))
    assert not painter.watch()


def test_a_page_that_was_painted_just_before_the_event_is_seen_at_once():
    painter = met()
    painter.feed(update(raw(0, 0, WIDTH, HEIGHT), raw(10, CHROME_HEIGHT + 5, 60, 60, b"\x07")))
    assert painter.watch()


def test_the_browsers_own_bars_and_a_blinking_cursor_are_no_page():
    painter = met()
    painter.watch()
    assert not painter.feed(update(raw(0, 0, WIDTH, CHROME_HEIGHT)))
    assert not painter.feed(update(raw(50, 200, 2, 20)))


def test_a_resize_and_other_messages_are_followed():
    painter = met()
    painter.feed(b"\x02" + b"\x03\0\0\0" + struct.pack(">I", 5) + b"paste")
    painter.feed(update(size(400, 300)))
    assert painter.to_send().endswith(struct.pack(">BBHHHH", 3, 1, 0, 0, 400, 300))
    painter.watch()
    assert painter.feed(update(raw(0, 250, 400, 50)))


def test_f062_a_page_that_is_still_blank_is_not_painted():
    painter = met()
    painter.watch()
    assert not painter.feed(update(raw(0, 0, WIDTH, HEIGHT)))
    assert not painter.feed(update(raw(0, CHROME_HEIGHT, WIDTH, HEIGHT - CHROME_HEIGHT, b"\x07")))
    assert painter.feed(update(raw(20, CHROME_HEIGHT + 20, 100, 10, b"\x0f")))


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 200",
        b"RFB 004.001\n",
        BANNER + b"\0",
        BANNER + b"\x01\x02",
        BANNER + b"\x01\x01" + b"\0\0\0\x01",
        greeting(0, 100),
        greeting(65535, 65535),
        greeting(8192, 8192),
        greeting()[:-10] + struct.pack(">I", 2**31),
        greeting() + b"\x01",
        greeting() + b"\xff",
        greeting() + b"\x03\0\0\0" + struct.pack(">I", 2**32 - 1),
        greeting() + update(raw(300, 0, 21, 1)),
        greeting() + update(raw(0, 240, 1, 1)),
        greeting() + update(struct.pack(">HHHHi", 0, 0, 1, 1, 16)),
        greeting() + update(size(9000, 1)),
        greeting() + update(size(400, 300), size(400, 300)),
        greeting() + struct.pack(">BxH", 0, 65535),
    ],
)
def test_a_hostile_or_foreign_stream_is_an_error(stream):
    with pytest.raises(RfbError):
        Painter().feed(stream)


def repeat(painter, said, times):
    for _ in range(times):
        painter.feed(said)


def test_a_screen_that_changes_its_size_again_and_again_is_an_error():
    painter, sizes = met(), [update(size(1000 + turn, 800)) for turn in range(1000)]
    with pytest.raises(RfbError, match="keep its size"):
        painter.feed(b"".join(sizes))
    assert painter._width < 1010


def test_a_size_that_is_said_again_allocates_nothing_and_keeps_the_picture():
    painter = met()
    painter.feed(update(raw(10, CHROME_HEIGHT, 40, 40, b"\x07")))
    before = painter._picture
    painter.feed(update(size(WIDTH, HEIGHT)) * 100)
    assert painter._picture is before
    assert painter.watch()


@pytest.mark.parametrize(
    "endless",
    [
        b"\x02",
        update(),
        update(raw(0, 200, 1, 1)),
        update(raw(0, 200, 0, 0)),
        update(raw(0, 0, 1, HEIGHT)),
        b"\x03\0\0\0" + bytes(4),
        update(size(WIDTH, HEIGHT)),
    ],
)
def test_a_server_cannot_have_work_done_for_ever(endless):
    painter = met(work=2000)
    painter.watch()
    with pytest.raises(RfbError, match="too much work"):
        repeat(painter, endless, 2000)


def test_a_look_at_a_picture_is_work_by_its_size():
    large, touched = met(work=20_000), update(raw(0, 200, 1, 1))
    large.feed(update(size(2000, 1500)))
    large.watch()
    with pytest.raises(RfbError, match="too much work"):
        repeat(large, touched, 10)
    small = met(work=20_000)
    small.watch()
    repeat(small, touched, 10)


def test_many_updates_at_once_are_looked_at_once():
    one, many, touched = met(), met(), update(raw(0, 200, 1, 1))
    for painter, times in ((one, 1), (many, 100)):
        painter.feed(update(size(2000, 1500)))
        painter.watch()
        before = painter._work
        painter.feed(touched * times)
        assert before - painter._work < 3000 + 5 * times


def test_a_server_cannot_send_for_ever():
    painter = met(most=100_000)
    with pytest.raises(RfbError, match="without end"):
        painter.feed(update(raw(0, 0, WIDTH, HEIGHT)) * 2)


def test_a_quarter_of_an_hour_of_a_blinking_cursor_on_a_blank_page_is_within_the_limits():
    painter = Painter()
    painter.feed(greeting(1280, 800))
    painter.feed(update(raw(0, 0, 1280, 800)))
    painter.watch()
    spent = painter._work
    painter.feed(update(raw(50, 200, 2, 20, b"\x07")))
    assert (spent - painter._work) * 900 * 2 < spent


@settings(deadline=None)
@given(st.binary(max_size=500), st.booleans())
def test_any_bytes_are_followed_or_an_error_of_ours(received, after_greeting):
    painter = Painter()
    try:
        painter.feed(greeting() if after_greeting else BANNER)
        painter.watch()
        painter.feed(received)
    except RfbError:
        return
    assert len(painter._buffer) < 65536
    assert len(painter.to_send()) < 100_000


rectangle = st.builds(
    raw,
    st.integers(0, 20),
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(0, 40),
    st.binary(min_size=1, max_size=1),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(rectangle, max_size=4), max_size=4), st.integers(1, 5000))
def test_how_the_stream_is_cut_does_not_matter(updates, step):
    stream = greeting() + b"".join(update(*rectangles) for rectangles in updates)
    whole, cut = Painter(), Painter()
    whole.feed(stream)
    for at in range(0, len(stream), step):
        cut.feed(stream[at : at + step])
    assert whole._picture == cut._picture
    assert whole.to_send() == cut.to_send()
    assert whole.watch() == cut.watch()
