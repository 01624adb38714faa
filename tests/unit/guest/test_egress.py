"""The guest's way out: its DNS and its forwarder, over real sockets on loopback and a host's door of the test's own."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager

import pytest

from antechamber.guest import dns
from antechamber.guest.egress import Egress
from antechamber.guest.layout import Layout

NAME = "login.vendor-one.com"


class Door:
    """Answers as a host would; what it connects to is an echo."""

    def __init__(self, answers, breaks=0):
        self.answers, self.asked = answers, []
        self.breaks = breaks
        """How often it goes away with the question, as a service that is killed does."""
        self._writers = []

    async def end(self):
        """Break what is still open; a connection that stalls is."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def __call__(self, reader, writer):
        self._writers.append(writer)
        request = json.loads(await reader.readline())
        self.asked.append(request)
        if self.breaks:
            self.breaks -= 1
            writer.transport.abort()
            return
        answer = self.answers.get((request["op"], request["name"]), "nxdomain")
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            writer.write(json.dumps({"answer": answer}).encode() + b"\n")
            if request["op"] == "connect" and answer == "ok":
                while received := await reader.read(65536):
                    writer.write(received)
                    await writer.drain()
                writer.write(b" and bye")
        writer.close()


@asynccontextmanager
async def way_out(tmp_path, answers=None, *, door=True, breaks=0):
    layout = Layout(home=tmp_path, doors=tmp_path, dns=("127.0.0.1", 0), forward=((0, 443),))
    host = Door(answers or {("resolve", NAME): "ok", ("connect", NAME): "ok"}, breaks)
    server = await asyncio.start_unix_server(host, layout.egress) if door else None
    egress = Egress(layout)
    await egress.start()
    try:
        yield egress, host
    finally:
        await egress.close()
        if server is not None:
            server.close()
            await host.end()


async def ask(egress, name, kind=dns.TYPE_A):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">HHHHHH", 9, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0)
        await loop.sock_connect(client, ("127.0.0.1", egress.ports[0]))
        await loop.sock_sendall(client, question)
        async with asyncio.timeout(20):
            answer = await loop.sock_recv(client, 512)
    _, flags, _, answers, _, _ = struct.unpack_from(">HHHHHH", answer)
    return flags & 15, socket.inet_ntoa(answer[-4:]) if answers else None


async def test_a_name_that_the_host_knows_gets_an_address_of_its_own(tmp_path):
    async with way_out(tmp_path) as (egress, host):
        assert await ask(egress, NAME.upper()) == (dns.NOERROR, "127.64.0.1")
        assert await ask(egress, NAME) == (dns.NOERROR, "127.64.0.1")
        assert host.asked == [{"op": "resolve", "name": NAME}] * 2


@pytest.mark.parametrize("kind", [28, 65, 64, 16, 15, 255])
async def test_f093_every_other_question_is_answered_empty_without_asking(tmp_path, kind):
    async with way_out(tmp_path) as (egress, host):
        assert await ask(egress, NAME, kind) == (dns.NOERROR, None)
        assert host.asked == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [("nxdomain", dns.NXDOMAIN), ("servfail", dns.SERVFAIL), (b"", dns.SERVFAIL), (b"[]\n", dns.SERVFAIL),
     (b"x" * 3000 + b"\n", dns.SERVFAIL), (b"[" * 1000 + b"\n", dns.SERVFAIL), (b"\xff\n", dns.SERVFAIL),
     (b'{"answer": ["ok"]}\n', dns.SERVFAIL)],
)  # fmt: skip
async def test_what_the_host_says_of_a_name_is_passed_on(tmp_path, capfd, answer, code):
    async with way_out(tmp_path, {("resolve", NAME): answer}) as (egress, _):
        assert await ask(egress, NAME) == (code, None)
    assert "Error" not in capfd.readouterr().err


async def test_without_a_host_no_name_can_be_told(tmp_path):
    async with way_out(tmp_path, door=False) as (egress, _):
        assert await ask(egress, NAME) == (dns.SERVFAIL, None)


async def test_what_a_killed_service_took_with_it_is_asked_again(tmp_path):
    async with way_out(tmp_path, breaks=2) as (egress, host):
        code, address = await ask(egress, NAME)
        assert code == dns.NOERROR
        assert [one["op"] for one in host.asked] == ["resolve"] * 3
        host.breaks = 1
        reader, writer = await asyncio.open_connection(address, egress.ports[1])
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello and bye"
        writer.close()
        assert [one["op"] for one in host.asked[3:]] == ["connect"] * 2


async def test_a_host_that_always_hangs_up_is_asked_three_times(tmp_path):
    async with way_out(tmp_path, breaks=99) as (egress, host):
        assert (await ask(egress, NAME))[0] == dns.SERVFAIL
        assert len(host.asked) == 3


async def test_a_connection_goes_out_by_name_and_port_with_each_half_for_itself(tmp_path):
    async with way_out(tmp_path) as (egress, host):
        _, address = await ask(egress, NAME)
        reader, writer = await asyncio.open_connection(address, egress.ports[1])
        sent = b"0123456789" * 300_000

        async def send():
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        received, _ = await asyncio.gather(reader.read(-1), send())
        assert received == sent + b" and bye"
        assert host.asked[-1] == {"op": "connect", "name": NAME, "port": 443}
        writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.64.0.2", "127.100.1.1"])
async def test_an_address_that_no_name_led_to_is_reset(tmp_path, address):
    async with way_out(tmp_path) as (egress, host):
        await ask(egress, NAME)
        with pytest.raises(ConnectionResetError):
            await _first_byte(address, egress.ports[1])
        assert [request["op"] for request in host.asked] == ["resolve"]


@pytest.mark.parametrize("answer", ["nxdomain", "servfail", "failed", b"", b'{"answer": "yes"}\n'])
async def test_a_connection_that_the_host_does_not_make_is_reset(tmp_path, answer):
    async with way_out(tmp_path, {("resolve", NAME): "ok", ("connect", NAME): answer}) as (egress, _):
        _, address = await ask(egress, NAME)
        with pytest.raises(ConnectionResetError):
            await _first_byte(address, egress.ports[1])


async def _first_byte(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    try:
        async with asyncio.timeout(20):
            assert await reader.readexactly(1)
    finally:
        writer.transport.abort()


async def test_sixty_four_connections_go_on_while_one_stalls(tmp_path):
    async with way_out(tmp_path) as (egress, _):
        _, address = await ask(egress, NAME)
        _, stalled = await asyncio.open_connection(address, egress.ports[1])
        stalled.write(b"x" * 4_000_000)

        async def once(number):
            reader, writer = await asyncio.open_connection(address, egress.ports[1])
            writer.write(b"%d" % number)
            writer.write_eof()
            answer = await reader.read(-1)
            writer.close()
            return answer

        answers = await asyncio.gather(*map(once, range(64)))
        assert answers == [b"%d and bye" % number for number in range(64)]
        stalled.transport.abort()
