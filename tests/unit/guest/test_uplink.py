"""The guest's end of the link, against a host that comes and goes."""

from __future__ import annotations

import asyncio

import pytest

from antechamber.guest.protocol import PROTOCOL, Framer, ReportKind, encode
from antechamber.guest.tasks import Tasks
from antechamber.guest.uplink import Uplink


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer, self._framer, self._come = reader, writer, Framer(), []

    async def hear(self):
        while not self._come:
            received = await self.reader.read(65536)
            assert received, "the guest hung up"
            self._come += self._framer.feed(received)
        return self._come.pop(0)

    def say(self, **message):
        self.writer.write(encode(message))

    async def ended(self):
        while await self.reader.read(65536):
            pass


class Host:
    def __init__(self, door):
        self.door, self.dialled, self.server, self.all = door, asyncio.Queue(), None, []

    async def listen(self):
        self.server = await asyncio.start_unix_server(self._take, self.door)

    def _take(self, reader, writer):
        self.all.append(writer)
        self.dialled.put_nowait(Connection(reader, writer))

    async def next(self):
        async with asyncio.timeout(20):
            return await self.dialled.get()


@pytest.fixture
async def both(tmp_path):
    host, told, settled, tasks, has_job = Host(tmp_path / "link.sock"), [], [], Tasks(), []
    uplink = Uplink(
        host.door,
        build="b1",
        incarnation="inc_1",
        has_job=lambda: bool(has_job),
        on_message=lambda message: (told.append(message), has_job.append(1)),
        on_settled=lambda ident, kind, refused: settled.append((ident, kind, refused)),
    )
    tasks.spawn("uplink", uplink.run())
    yield host, uplink, told, settled
    await tasks.close()
    if host.server is not None:
        host.server.close()
    for writer in host.all:
        writer.transport.abort()


async def test_it_dials_until_there_is_a_host_and_says_who_it_is(both):
    host, _, told, _ = both
    await host.listen()
    here = await host.next()
    assert await here.hear() == {
        "type": "hello", "protocol": PROTOCOL, "build": "b1", "incarnation": "inc_1", "has_job": False,
    }  # fmt: skip
    here.say(type="welcome", job={"kind": "check"})
    here.writer.close()
    again = await host.next()
    assert (await again.hear())["has_job"] is True
    assert told == [{"type": "welcome", "job": {"kind": "check"}}]


async def test_f039_a_report_is_sent_again_after_each_break_until_it_is_acknowledged(both):
    host, uplink, _, settled = both
    await host.listen()
    ident = uplink.report(ReportKind.SCREEN_UP, {})
    report = {"type": "report", "id": ident, "kind": "screen_up", "body": {}}
    for _ in range(3):
        here = await host.next()
        await here.hear()
        here.say(type="welcome")
        assert await here.hear() == report
        here.writer.close()
    here = await host.next()
    await here.hear()
    here.say(type="welcome")
    assert await here.hear() == report
    here.say(type="ack", id="rep_somebody_elses")
    here.say(type="ack", id=ident)
    here.writer.close()
    here = await host.next()
    await here.hear()
    here.say(type="welcome")
    later = uplink.report(ReportKind.NOTHING_YET, {})
    assert (await here.hear())["id"] == later
    assert settled == [(ident, ReportKind.SCREEN_UP, None)]


async def test_a_refused_report_is_not_sent_again_and_its_code_is_told(both):
    host, uplink, _, settled = both
    await host.listen()
    ident = uplink.report(ReportKind.CREDENTIAL, {})
    here = await host.next()
    await here.hear()
    here.say(type="welcome")
    await here.hear()
    assert uplink.send_again(ident)
    assert (await here.hear())["id"] == ident
    here.say(type="refuse", id=ident, code="credential_incomplete")
    here.writer.close()
    await host.next()
    assert settled == [(ident, ReportKind.CREDENTIAL, "credential_incomplete")]
    assert not uplink.send_again(ident)


async def test_nothing_is_reported_to_a_host_that_has_not_welcomed(both):
    host, uplink, _, _ = both
    await host.listen()
    here = await host.next()
    await here.hear()
    uplink.report(ReportKind.SCREEN_UP, {})
    here.say(type="welcome")
    assert (await here.hear())["kind"] == "screen_up"


async def test_a_host_that_speaks_nonsense_is_hung_up_on_and_dialled_again(both):
    host, _, _, _ = both
    await host.listen()
    here = await host.next()
    here.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await here.ended()
    assert (await (await host.next()).hear())["type"] == "hello"
