"""What goes through the egress door to port 443, with TLS servers on loopback as destinations."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
from datetime import timedelta

import pytest
import structlog
import trustme

from antechamber.machine import Stream
from antechamber.tasks import spawn
from antechamber.testing.scripted_guest import client_hello
from tests.unit.egress_scene import PUBLIC, Scene, Zone
from tests.unit.tls_hellos import body, message, named, names, record, records

NAME, OTHER = "login.some.dev", "other.dev"
MIB = 2**20
HELLO = client_hello(NAME)


class Destination:
    """A TCP server on loopback behind every address; keeps what it got of each connection."""

    def __init__(self, serve=None, context=None):
        self._serve, self._context = serve, context
        self.addresses: list[tuple[str, int, str]] = []
        self.got: list[bytearray] = []
        self.ended = asyncio.Semaphore(0)
        """Goes up by one with each connection that has ended."""
        self._open = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._one, "127.0.0.1", 0, ssl=self._context)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        while self._open:
            await asyncio.wait(self._open)

    async def connect(self, address, port, name):
        self.addresses.append((address, port, name))
        return Stream(*await asyncio.open_connection("127.0.0.1", self._port))

    async def _one(self, reader, writer):
        got, task = bytearray(), asyncio.current_task()
        self.got.append(got)
        self._open.add(task)
        try:
            if self._serve is not None:
                await self._serve(reader, writer, got)
            else:
                await keep(reader, writer, got)
        except OSError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._open.discard(task)
            self.ended.release()


async def keep(reader, writer, got):
    """Keep all that comes, and answer with its hash when it has come."""
    while chunk := await reader.read(65536):
        got += chunk
    writer.write(hashlib.sha256(got).digest())
    await writer.drain()


async def give_back(reader, writer, got):
    while chunk := await reader.read(65536):
        got += chunk
        writer.write(chunk)
        await writer.drain()


def scene(destination, **limits):
    return Scene(Zone(login_some_dev=[PUBLIC], other_dev=[PUBLIC]), destination, **limits)


def seconds(number):
    return timedelta(seconds=number)


async def asked(there, port=443):
    guest = await there.ask("connect", NAME, port)
    assert await guest.answer() == "ok"
    return guest


async def sent(there, content, *, ending=False):
    guest = await asked(there)
    guest.writer.write(content)
    if ending:
        guest.writer.write_eof()
    return guest


async def until_ended(guest):
    """Wait until the guest's connection has ended, and return what came of it."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await guest.reader.read(65536):
            received += chunk
    await guest.task
    guest.writer.transport.abort()
    return received


@pytest.fixture
def authority():
    return trustme.CA()


def serving(authority, **changes):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, OTHER).configure_cert(context)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def believing(authority, **changes):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


async def exchange(guest, context, name=NAME):
    """Do a handshake, send three megabytes, and return whether exactly they came back."""
    await guest.writer.start_tls(context, server_hostname=name)
    content = os.urandom(3 * MIB)
    guest.writer.write(content)
    back = await guest.reader.readexactly(len(content))
    guest.writer.transport.abort()
    await guest.task
    return back == content


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_for_the_name_that_was_asked_for_passes_byte_for_byte(authority, version):
    async with Destination(give_back, serving(authority)) as destination:
        there = scene(destination)
        assert await exchange(await asked(there), believing(authority, maximum_version=version))
        assert destination.addresses == [(PUBLIC, 443, NAME)]
        (use,) = there.egress.uses()
        assert (use.name, use.port, use.verdict.value, use.connections) == (NAME, 443, "allowed", 1)
        assert use.bytes_out > 3 * MIB
        assert use.bytes_in > 3 * MIB


async def test_a_server_that_asks_for_a_second_hello_gets_it(authority):
    context = serving(authority)
    context.set_ecdh_curve("secp384r1")
    async with Destination(give_back, context) as destination:
        assert await exchange(await asked(scene(destination)), believing(authority))


async def test_a_resumed_session_of_tls_1_2_passes(authority):
    context, client = serving(authority), believing(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    async with Destination(give_back, context) as destination:
        there, session = scene(destination), None
        for _ in range(3):
            into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client.wrap_bio(into, out, server_hostname=NAME, session=session)
            guest = await asked(there)
            await hand_over(guest, into, out, tls.do_handshake)
            tls.write(b"word")
            assert await hand_over(guest, into, out, lambda tls=tls: tls.read(4)) == b"word"
            reused, session = tls.session_reused, tls.session
            guest.writer.transport.abort()
            await guest.task
        assert reused


async def hand_over(guest, into, out, step):
    """Do a step of TLS in memory, with the guest's connection below it."""
    while True:
        try:
            done = step()
        except ssl.SSLWantReadError:
            guest.writer.write(out.read())
            into.write(await guest.reader.read(65536))
        else:
            guest.writer.write(out.read())
            return done


async def test_tls_for_another_name_is_ended_before_a_byte_went_out(authority):
    async with Destination() as destination:
        there = scene(destination)
        guest = await asked(there)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await guest.writer.start_tls(believing(authority), server_hostname=OTHER)
        await guest.task
        await destination.ended.acquire()
        assert destination.got == [b""]
        (use,) = there.egress.uses()
        assert (use.name, use.port, use.verdict.value, use.connections) == (NAME, 443, "wrong_server_name", 1)
        assert (use.bytes_out, use.bytes_in) == (0, 0)


WRONG = {
    "no server name": record(message(body())),
    "two names": record(message(body(names((0, NAME.encode()), (0, OTHER.encode()))))),
    "a name with NUL": named(NAME.encode() + b"\0"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: login.some.dev\r\n\r\n",
    "an SSLv2 hello": b"\x80\x2e\x01\x03\x01" + bytes(43),
    "too much": records(message(bytes(2**16)), most=2**14),
    "records of one byte": records(message(body(names((0, NAME.encode())))), most=1),
    "a right hello and a wrong one behind it": HELLO + named(OTHER.encode()),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_what_is_not_tls_for_the_name_reaches_nobody_and_the_log_says_why_without_a_name(wrong):
    async with Destination() as destination:
        there = scene(destination)
        with structlog.testing.capture_logs() as logged:
            assert await until_ended(await sent(there, wrong)) == b""
        await destination.ended.acquire()
        assert destination.got == [b""]
        assert there.rows() == {(NAME, 443): "wrong_server_name"}
        (line,) = logged
        assert (line["event"], line["log_level"]) == ("egress refused", "info")
        assert "dev" not in str(line)
        assert len(line["why"]) > 5


async def test_a_second_hello_for_another_name_does_not_reach_a_server_that_the_first_one_reached():
    change = record(b"\1", kind=20)
    async with Destination(give_back) as destination:
        there = scene(destination)
        guest = await sent(there, HELLO)
        assert await guest.reader.readexactly(len(HELLO)) == HELLO
        guest.writer.write(change + named(OTHER.encode())[:40])
        assert await guest.reader.readexactly(len(change)) == change
        guest.writer.write(named(OTHER.encode())[40:])
        assert await until_ended(guest) == b""
        await destination.ended.acquire()
        assert destination.got == [HELLO + change]
        verdicts = {use.verdict.value: use.connections for use in there.egress.uses()}
        assert verdicts == {"allowed": 1, "wrong_server_name": 0}


async def test_a_client_may_send_its_hello_and_end_its_sending_at_once():
    async with Destination() as destination:
        guest = await sent(scene(destination), HELLO, ending=True)
        assert await until_ended(guest) == hashlib.sha256(HELLO).digest()
        assert destination.got == [HELLO]


async def test_a_hello_that_comes_byte_by_byte_passes_whole(authority):
    async with Destination() as destination:
        guest = await asked(scene(destination))
        for at in range(len(HELLO)):
            guest.writer.write(HELLO[at : at + 1])
            await asyncio.sleep(0)
        guest.writer.write_eof()
        assert await until_ended(guest) == hashlib.sha256(HELLO).digest()


async def test_a_hello_whose_bytes_never_end_is_ended_at_its_bound_and_others_are_served_meanwhile(authority):
    async with Destination(give_back, serving(authority)) as destination:
        there = scene(destination, hello=seconds(0.4), silent=timedelta(hours=1))
        loop = asyncio.get_running_loop()
        slow, silent = await asked(there), await asked(there)
        began = loop.time()
        others = spawn("others", exchange(await asked(there), believing(authority)))
        for at in range(len(HELLO) - 1):  # far more time than the bound, one byte after the other
            slow.writer.write(HELLO[at : at + 1])
            if (await asyncio.wait({slow.task}, timeout=0.05))[0]:
                break
        assert 0.39 <= loop.time() - began < 5
        assert await until_ended(slow) == b""
        assert await others
        assert not silent.task.done()
        assert await exchange(silent, believing(authority)), "one that has said nothing is not late"
        verdicts = {use.verdict.value: use.connections for use in there.egress.uses()}
        assert verdicts == {"allowed": 2, "wrong_server_name": 1}


async def test_a_silent_connection_is_ended_at_its_own_bound_and_is_no_fault():
    async with Destination() as destination:
        there = scene(destination, hello=seconds(0.01), silent=seconds(0.3))
        loop = asyncio.get_running_loop()
        began = loop.time()
        guest = await asked(there)
        with structlog.testing.capture_logs() as logged:
            assert await until_ended(guest) == b""
        assert 0.29 <= loop.time() - began < 5
        await destination.ended.acquire()
        assert destination.got == [b""]
        assert there.rows() == {(NAME, 443): "allowed"}
        assert logged == []


async def test_a_client_that_goes_without_a_word_is_no_fault_and_one_that_breaks_off_amid_its_hello_is():
    async with Destination() as destination:
        there = scene(destination)
        assert await until_ended(await sent(there, b"", ending=True)) == b""
        assert there.rows() == {(NAME, 443): "allowed"}
        assert await until_ended(await sent(there, HELLO[:-1], ending=True)) == b""
        assert [use.verdict.value for use in there.egress.uses()] == ["allowed", "wrong_server_name"]
        await destination.ended.acquire()
        await destination.ended.acquire()
        assert destination.got == [b"", b""]


async def test_a_server_that_hangs_up_on_a_silent_client_is_not_kept_from_it():
    async def hang_up(reader, writer, got):
        writer.write_eof()

    async with Destination(hang_up) as destination:
        guest = await asked(scene(destination, silent=timedelta(hours=1)))
        assert await guest.reader.read() == b""
        guest.writer.write_eof()
        await guest.task
        guest.writer.transport.abort()


async def test_what_a_server_says_first_is_heard_after_the_hello_alone():
    async def greet(reader, writer, got):
        writer.write(b"220 hello")
        writer.write_eof()
        got += await reader.read()

    async with Destination(greet) as destination:
        there = scene(destination, silent=seconds(0.2))
        assert await until_ended(await asked(there)) == b""
        assert [use.bytes_in for use in there.egress.uses()] == [0]
        guest = await sent(there, HELLO)
        assert await guest.reader.readexactly(9) == b"220 hello"
        guest.writer.write_eof()
        await until_ended(guest)
        assert destination.got == [b"", HELLO]


async def test_on_port_80_nothing_is_asked_of_the_first_bytes():
    async with Destination() as destination:
        guest = await asked(scene(destination), 80)
        guest.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        guest.writer.write_eof()
        assert await until_ended(guest) == hashlib.sha256(b"GET / HTTP/1.1\r\n\r\n").digest()
