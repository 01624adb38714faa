"""The fictional vendor of the worked example, and a service whose whole world it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import urllib.parse
from ipaddress import IPv4Address

import trustme

from antechamber import app
from antechamber.egress import Resolution, World
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Stream
from antechamber.tasks import cancel_and_wait, spawn

VENDOR = "sign-in.acme.example.com"
ACCOUNT = "ada@example.com"
TOKENS = {"account": ACCOUNT, "tokens": {"access": "DUMMY-access", "refresh": "DUMMY-refresh"}}


class Acme:
    """The fictional vendor: a page that lets everybody in and the exchange of its code; and the world that has it."""

    def __init__(self, folder):
        self.socket = folder / "acme.sock"
        self.authority = trustme.CA()
        self.asked = []

    @property
    def world(self):
        return World("demo", self, self, (self.authority.cert_pem.bytes().decode(),))

    async def resolve(self, name):
        if name == VENDOR:
            return Resolution(EgressAnswer.OK, (IPv4Address("192.31.196.1"),))
        return Resolution(EgressAnswer.NXDOMAIN)

    async def connect(self, address, port, name):
        return Stream(*await asyncio.open_unix_connection(self.socket))

    async def __aenter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(VENDOR).configure_cert(context)
        self._server = await asyncio.start_unix_server(self._serve, self.socket, ssl=context)
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = urllib.parse.urlsplit(head.split(" ")[1])
            self.asked.append(target.path)
            kind, body = self._answer(target.path, dict(urllib.parse.parse_qsl(target.query)))
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()

    def _answer(self, path, query):
        if path == "/authorize":
            back = f"{query['redirect_uri']}?state={query['state']}&code=DUMMY-code"
            return "text/html", f'<meta http-equiv="refresh" content="0; url={back}"><h1>Welcome back</h1>'.encode()
        if path == "/token":
            return "application/json", json.dumps(TOKENS).encode()
        return "text/plain", b""


@contextlib.asynccontextmanager
async def served(settings, vendor):
    """Serve with those settings, machines included, and give what the service says once it is ready."""
    ready, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    service = spawn("service", app.run(settings, vendor.world, ready.set_result, stop=stop, keep_machines=False))
    try:
        await asyncio.wait({service, ready}, return_when=asyncio.FIRST_COMPLETED)
        yield ready.result() if ready.done() else service.result()
    finally:
        stop.set()
        await asyncio.wait({service}, timeout=30)
        await cancel_and_wait(service)
