"""The way out: a DNS and a forwarder on loopback, which ask the host's egress door."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any, cast

from antechamber.guest import dns
from antechamber.guest.doors import dial, join, reset
from antechamber.guest.names import Names
from antechamber.guest.protocol import EGRESS_LINE, EgressAnswer
from antechamber.guest.tasks import Tasks

if TYPE_CHECKING:
    from antechamber.guest.layout import Layout

_QUESTIONS_AT_ONCE = 128
_ANSWER_S = 10.0
_AWAY_S = 8.0
"""Seconds that the service may be away without a page in the browser failing; the resolver waits ten."""
_CONNECT_S = 60.0
_TRIES = 3
"""How often one thing is asked where the service goes away with the question, as one that is killed does."""
_AGAIN_S = 0.05

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Egress:
    """Answers names and carries connections, by name and port; knows no address of the outside."""

    def __init__(self, layout: Layout) -> None:
        """Prepare; `start` opens the sockets."""
        self._layout = layout
        self._tasks = Tasks()
        self.names = Names()
        self._asking = 0
        self._dns: asyncio.DatagramTransport | None = None
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Listen; raises OSError when an address is taken."""
        loop = asyncio.get_running_loop()
        self._dns, _ = await loop.create_datagram_endpoint(lambda: _Questions(self), local_addr=self._layout.dns)
        for listen, port in self._layout.forward:
            server = await asyncio.start_server(
                functools.partial(self._forward, port),
                "0.0.0.0",  # noqa: S104 - every 127.x.y.z; the machine has no other interface than lo
                listen,
                backlog=512,
            )
            self._servers.append(server)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that the forwarder listens on, the DNS first."""
        assert self._dns is not None  # noqa: S101 - started before it is asked
        listening = [server.sockets[0].getsockname()[1] for server in self._servers]
        return (self._dns.get_extra_info("sockname")[1], *listening)

    async def close(self) -> None:
        """End what runs and close the sockets."""
        if self._dns is not None:
            self._dns.abort()
        for server in self._servers:
            server.close()
        await self._tasks.close()

    def ask(self, datagram: bytes, transport: asyncio.DatagramTransport, sender: tuple[str, int]) -> None:
        """Answer a DNS question, now or once the host has said what it knows."""
        try:
            query = dns.parse(datagram)
        except dns.NotAQuestionError:
            return
        if query.fault:
            transport.sendto(dns.answer(query, query.fault), sender)
        elif query.type != dns.TYPE_A:
            # empty, not refused: a client then uses the A answer alone, and no HTTPS record sends it to QUIC or ECH
            transport.sendto(dns.answer(query, dns.NOERROR), sender)
        elif query.name is None:
            transport.sendto(dns.answer(query, dns.NXDOMAIN), sender)
        elif self._asking >= _QUESTIONS_AT_ONCE:
            transport.sendto(dns.answer(query, dns.SERVFAIL), sender)
        else:
            self._asking += 1
            self._tasks.spawn("dns", self._resolve(query, query.name, transport, sender))

    async def _resolve(
        self, query: dns.Query, name: str, transport: asyncio.DatagramTransport, sender: tuple[str, int]
    ) -> None:
        code, address = dns.SERVFAIL, None
        try:
            word = await self._word({"op": "resolve", "name": name})
            if word is EgressAnswer.NXDOMAIN:
                code = dns.NXDOMAIN
            elif word is EgressAnswer.OK and (address := self.names.address(name)) is not None:
                code = dns.NOERROR
        finally:
            self._asking -= 1
            if not transport.is_closing():
                transport.sendto(dns.answer(query, code, address), sender)

    async def _word(self, request: dict[str, Any]) -> EgressAnswer:
        """Ask one thing and hang up."""
        try:
            connection, answer = await self._asked(request, within=_ANSWER_S)
        except OSError:
            return EgressAnswer.SERVFAIL
        connection[1].transport.abort()
        return answer

    async def _asked(self, request: dict[str, Any], *, within: float) -> tuple[Connection, EgressAnswer]:
        """Ask one thing, and again where the service went away with the question; raises OSError."""
        tries = 0
        while True:
            connection = await dial(self._layout.egress, within=_AWAY_S, patient=True)
            tries += 1
            try:
                async with asyncio.timeout(within):
                    return connection, await _request(connection, request)
            except BaseException as error:
                connection[1].transport.abort()
                if not isinstance(error, ConnectionError) or tries == _TRIES:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _forward(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # kept here as well: the server itself holds a client's task only weakly
        task = asyncio.current_task()
        outside: Connection | None = None
        try:
            name = self.names.name(writer.get_extra_info("sockname")[0])
            if name is None:
                return
            async with asyncio.timeout(_CONNECT_S):
                request = {"op": "connect", "name": name, "port": port}
                outside, answer = await self._asked(request, within=_CONNECT_S)
                if answer is not EgressAnswer.OK:
                    return
            await join((reader, writer), outside)
        except OSError:  # includes TimeoutError: nothing to say to the client but the reset below
            return
        except asyncio.CancelledError:
            # raised in a server's own callback it would be printed as an error of asyncio's
            if task is not None:
                task.uncancel()
        finally:
            for end in (writer, outside[1] if outside else None):
                if end is not None and not end.is_closing():
                    reset(end)


async def _request(connection: Connection, request: dict[str, Any]) -> EgressAnswer:
    """Return the host's answer; raises ConnectionError where the connection ends without one."""
    reader, writer = connection
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        line = await reader.readuntil(b"\n")
        if len(line) > EGRESS_LINE:
            return EgressAnswer.SERVFAIL
        return EgressAnswer(json.loads(line)["answer"])
    except (asyncio.IncompleteReadError, OSError) as error:
        raise ConnectionResetError from error
    except (asyncio.LimitOverrunError, ValueError, KeyError, TypeError, RecursionError):
        return EgressAnswer.SERVFAIL


class _Questions(asyncio.DatagramProtocol):
    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's datagram transport is no asyncio.DatagramTransport, so isinstance would say no
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._egress.ask(data, self._transport, addr)
