"""A door with its two sides, for tests of egress: a guest's end, and a remote server behind a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from ipaddress import ip_address

from antechamber.egress import Egress, Limits, Policy, Resolution, World
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Stream

PUBLIC = "8.8.8.8"


class Zone:
    """A resolver over a table; what is not in it does not exist."""

    def __init__(self, **table):
        self.table = {name.replace("_", "."): addresses for name, addresses in table.items()}
        self.asked: list[str] = []
        self.began = asyncio.Semaphore(0)
        """Goes up by one with each look-up."""

    async def resolve(self, name):
        self.asked.append(name)
        self.began.release()
        match self.table.get(name):
            case None:
                return Resolution(EgressAnswer.NXDOMAIN)
            case "servfail":
                return Resolution(EgressAnswer.SERVFAIL)
            case asyncio.Event() as answer:
                await answer.wait()
                return Resolution(EgressAnswer.NXDOMAIN)
            case addresses:
                return Resolution(EgressAnswer.OK, tuple(map(ip_address, addresses)))


class Remote:
    """A server that is reached whatever the address is called, and writes down which was asked for."""

    def __init__(self, path, serve):
        self._path, self._serve = path, serve
        self.connected: list[tuple[str, int]] = []

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def connect(self, address, port, name):
        self.connected.append((address, port))
        return Stream(*await asyncio.open_unix_connection(self._path))


class Guest:
    """The guest's end of one stream through the door."""

    def __init__(self, reader, writer, task):
        self.reader, self.writer, self.task = reader, writer, task

    async def answer(self):
        line = await self.reader.readline()
        return json.loads(line)["answer"] if line else None

    async def close(self):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        await self.task


class Scene:
    """One egress and its guest."""

    def __init__(self, resolver, connector, *, uses=None, policy=None, background=(), **limits):
        self.told = [] if uses is None else uses
        self.egress = Egress(
            world=World("demo", resolver, connector),
            policy=policy or Policy(own_addresses=frozenset),
            background_hosts=background,
            limits=Limits(**{"uniform": 0 * Limits().uniform, **limits}),
            on_use=self.told.append,
        )

    async def dial(self, first: bytes = b"") -> Guest:
        ours, theirs = socket.socketpair()
        host = Stream(*await asyncio.open_connection(sock=ours))
        task = asyncio.get_running_loop().create_task(self.egress.serve(host))
        guest = Guest(*await asyncio.open_connection(sock=theirs), task)
        guest.writer.write(first)
        return guest

    async def ask(self, op, name, port=443) -> Guest:
        message = {"op": op, "name": name} | ({"port": port} if op == "connect" else {})
        return await self.dial(json.dumps(message).encode() + b"\n")

    async def word(self, op, name, port=443):
        guest = await self.ask(op, name, port)
        word = await guest.answer()
        await guest.close()
        return word

    def rows(self):
        return {(use.name, use.port): use.verdict.value for use in self.egress.uses()}
