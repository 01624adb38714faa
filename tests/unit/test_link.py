"""The conversation between the host and a guest, spoken over real sockets by a guest that may lie."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import timedelta

import pytest

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import MAX_FRAME, PROTOCOL, Framer, ReportKind, encode
from antechamber.link import Ack, GuestLink, Refuse
from antechamber.link.conversation import AT_ONCE
from antechamber.machine import Stream
from antechamber.model import IdPrefix, new_id
from antechamber.tasks import spawn

INCARNATION = new_id(IdPrefix.INCARNATION)
HELLO = {"type": "hello", "protocol": PROTOCOL, "build": "b1", "incarnation": INCARNATION, "has_job": False}


class Guest:
    """The other end of one connection."""

    def __init__(self, reader, writer, serving):
        self.reader, self.writer, self.serving = reader, writer, serving
        self._framer, self._come = Framer(), []

    def say(self, **message):
        self.writer.write(encode(message))

    def report(self, kind, body, ident=None):
        ident = ident or new_id(IdPrefix.REPORT)
        self.say(type="report", id=ident, kind=kind.value, body=body)
        return ident

    async def hear(self):
        while not self._come:
            received = await self.reader.read(65536)
            assert received, "the host hung up"
            self._come += self._framer.feed(received)
        return self._come.pop(0)

    async def verdict(self):
        """The error with which the host ended this connection."""
        with pytest.raises(MachineError) as error:
            await self.serving
        return error.value.code


@contextlib.asynccontextmanager
async def dialled(link):
    here, there = socket.socketpair()
    stream = Stream(*await asyncio.open_connection(sock=here))
    reader, writer = await asyncio.open_connection(sock=there)
    serving = spawn("serve", link.serve(stream))
    try:
        yield Guest(reader, writer, serving)
    finally:
        writer.transport.abort()
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.exception()


def link_with(reply=None, *, job=None, taken=None, clock=None, build="b1"):
    async def take(report):
        if taken is not None:
            taken.append(report)
        return reply or Ack()

    more = {"clock": clock} if clock else {}
    return GuestLink(incarnation=INCARNATION, build=build, job=job, on_report=take, **more)


async def test_a_guest_without_a_job_gets_it_and_one_that_has_it_does_not():
    link = link_with(job={"kind": "check"})
    async with dialled(link) as guest:
        guest.say(**HELLO)
        assert await guest.hear() == {"type": "welcome", "job": {"kind": "check"}}
        assert link.connected
    async with dialled(link) as guest:
        guest.say(**{**HELLO, "has_job": True})
        assert await guest.hear() == {"type": "welcome"}
    assert not link.connected


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"protocol": PROTOCOL + 1}, Code.GUEST_VERSION),
        ({"protocol": "1"}, Code.GUEST_VERSION),
        ({"build": "another"}, Code.GUEST_VERSION),
        ({"build": None}, Code.GUEST_VERSION),
        ({"incarnation": new_id(IdPrefix.INCARNATION)}, Code.GUEST_PROTOCOL),
        ({"has_job": 1}, Code.GUEST_PROTOCOL),
        ({"more": 1}, Code.GUEST_PROTOCOL),
        ({"type": "report"}, Code.GUEST_PROTOCOL),
        ({"type": "welcome"}, Code.GUEST_PROTOCOL),
    ],
)
async def test_f056_a_guest_of_another_version_or_incarnation_is_not_spoken_with(wrong, code):
    link = link_with(job={"kind": "check"})
    async with dialled(link) as guest:
        guest.say(**{**HELLO, **wrong})
        assert await guest.verdict() is code
        assert await guest.reader.read() == b""
        assert not link.connected


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"build": "another"}, None),
        ({"build": 1}, Code.GUEST_PROTOCOL),
        ({"build": "another", "protocol": PROTOCOL + 1}, Code.GUEST_VERSION),
    ],
)
async def test_a_guest_that_may_be_of_another_release_is_spoken_with_as_long_as_it_speaks_the_same_protocol(said, code):
    link = link_with(build=None)
    async with dialled(link) as guest:
        guest.say(**{**HELLO, **said})
        if code is None:
            assert (await guest.hear())["type"] == "welcome"
        else:
            assert await guest.verdict() is code


async def test_a_report_is_taken_and_acknowledged_and_its_repetition_is_only_acknowledged():
    taken = []
    link = link_with(taken=taken)
    async with dialled(link) as guest:
        guest.say(**HELLO)
        await guest.hear()
        ident = guest.report(ReportKind.SCREEN_UP, {})
        assert await guest.hear() == {"type": "ack", "id": ident}
    async with dialled(link) as guest:
        guest.say(**HELLO)
        await guest.hear()
        guest.report(ReportKind.SCREEN_UP, {}, ident)
        assert await guest.hear() == {"type": "ack", "id": ident}
        guest.report(ReportKind.STARTED, {"cli_pid_started": True}, ident)
        assert await guest.verdict() is Code.GUEST_PROTOCOL
    assert [report.id for report in taken] == [ident]


async def test_a_refused_report_is_answered_with_its_code():
    async with dialled(link_with(Refuse(Code.CAPTURE_REFUSED))) as guest:
        guest.say(**HELLO)
        await guest.hear()
        ident = guest.report(ReportKind.SCREEN_UP, {})
        assert await guest.hear() == {"type": "refuse", "id": ident, "code": "capture_refused"}


@pytest.mark.parametrize(
    "frame", [b"\0\0\0\0", (MAX_FRAME + 1).to_bytes(4, "big"), b"\0\0\0\x02[]", b"GET / HTTP/1.1\r\n"]
)
async def test_bytes_that_are_no_frames_end_the_conversation(frame):
    async with dialled(link_with()) as guest:
        guest.say(**HELLO)
        await guest.hear()
        guest.writer.write(frame)
        assert await guest.verdict() is Code.GUEST_PROTOCOL


@pytest.mark.parametrize("message", [{"type": "ack", "id": "x"}, {"type": "surprise"}, HELLO])
async def test_a_type_that_is_no_guests_ends_the_conversation(message):
    async with dialled(link_with()) as guest:
        guest.say(**HELLO)
        await guest.hear()
        guest.say(**message)
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_a_guest_that_speaks_too_much_is_not_listened_to():
    async with dialled(link_with(clock=lambda: 0.0)) as guest:
        guest.say(**HELLO)
        await guest.hear()
        for _ in range(300):
            guest.report(ReportKind.NOTHING_YET, {})
        assert await guest.verdict() is Code.GUEST_PROTOCOL


async def test_a_guest_that_sends_too_many_bytes_is_not_listened_to():
    async with dialled(link_with(clock=lambda: 0.0)) as guest:
        guest.say(**HELLO)
        await guest.hear()

        async def pour():
            with contextlib.suppress(ConnectionError):
                while True:
                    guest.report(ReportKind.TROUBLE, {"what": "screen", "detail": "x" * 500_000})
                    await guest.writer.drain()

        pouring = spawn("pour", pour())
        assert await guest.verdict() is Code.GUEST_PROTOCOL
        await pouring


async def test_a_newer_connection_replaces_an_older_one():
    link = link_with()
    async with dialled(link) as old, dialled(link) as new:
        old.say(**HELLO)
        await old.hear()
        new.say(**{**HELLO, "has_job": True})
        await new.hear()
        await old.serving
        assert link.connected
        ident = new.report(ReportKind.SCREEN_UP, {})
        assert await new.hear() == {"type": "ack", "id": ident}


async def test_a_guest_that_dials_without_end_is_hung_up_on():
    link = link_with()
    async with contextlib.AsyncExitStack() as stack:
        guests = [await stack.enter_async_context(dialled(link)) for _ in range(AT_ONCE + 1)]
        assert await guests[-1].verdict() is Code.GUEST_PROTOCOL
        guests[0].say(**HELLO)
        assert (await guests[0].hear())["type"] == "welcome"


async def test_a_liar_does_not_take_the_place_of_the_guest():
    link = link_with()
    async with dialled(link) as guest, dialled(link) as liar:
        guest.say(**HELLO)
        await guest.hear()
        liar.say(**{**HELLO, "build": "evil"})
        assert await liar.verdict() is Code.GUEST_VERSION
        assert link.connected
        ident = guest.report(ReportKind.SCREEN_UP, {})
        assert await guest.hear() == {"type": "ack", "id": ident}


async def test_what_the_guest_missed_while_it_was_away_it_is_told_when_it_comes_back():
    link = link_with()
    await link.capture_done()
    async with dialled(link) as guest:
        guest.say(**HELLO)
        assert [(await guest.hear())["type"] for _ in range(2)] == ["welcome", "capture_done"]
        await link.stop()
        assert await guest.hear() == {"type": "stop"}


async def test_looking_again_returns_the_guests_answer_or_nothing_in_time():
    taken = []
    link = link_with(taken=taken)
    assert await link.look_again(timedelta(milliseconds=10)) is None
    async with dialled(link) as guest:
        guest.say(**HELLO)
        await guest.hear()
        looking = spawn("look", link.look_again(timedelta(seconds=20)))
        assert await guest.hear() == {"type": "look_again"}
        ident = guest.report(ReportKind.NOTHING_YET, {})
        assert await guest.hear() == {"type": "ack", "id": ident}
        answer = await looking
        assert answer is not None
        assert answer.kind is ReportKind.NOTHING_YET
        assert await link.look_again(timedelta(milliseconds=10)) is None


async def test_what_a_guest_sent_before_its_end_is_taken_before_the_link_is_drained():
    taken = []
    link = link_with(taken=taken)
    async with dialled(link) as guest:
        guest.say(**HELLO)
        await guest.hear()
        guest.report(ReportKind.SCREEN_UP, {})
        guest.report(ReportKind.STARTED, {"cli_pid_started": True})
        guest.writer.write_eof()
        await link.drained()
        assert [report.kind for report in taken] == [ReportKind.SCREEN_UP, ReportKind.STARTED]
