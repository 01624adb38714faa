"""The worked example of docs/how-to/a-provider-of-your-own.md: installed by the command, and signed in with."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
import trustme

from antechamber import app
from antechamber.control import Client
from antechamber.egress import Resolution, World
from antechamber.guest.protocol import EgressAnswer
from antechamber.machine import Stream
from antechamber.settings import Settings
from antechamber.tasks import cancel_and_wait, spawn

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "providers"
ANTECHAMBER = Path(sys.executable).with_name("antechamber")
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


def command(*words, environment):
    done = subprocess.run([ANTECHAMBER, *words], env=environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.machine
@pytest.mark.timeout(180)
async def test_the_examples_tool_is_installed_by_its_hash_signs_in_on_a_machine_and_takes_its_own_credential():
    with tempfile.TemporaryDirectory(prefix="ac-", dir="/tmp") as made:
        folder = Path(made)
        folder.chmod(0o711)
        settings = Settings(
            world="demo",
            port=0,
            providers_dir=EXAMPLE,
            **{f"{name}_dir": folder / name for name in ("data", "run", "shared")},
        )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTECHAMBER_")},
            "ANTECHAMBER_PROVIDERS_DIR": str(EXAMPLE),
            **{f"ANTECHAMBER_{name.upper()}_DIR": str(folder / name) for name in ("data", "run", "shared")},
        }
        assert "acme" in await asyncio.to_thread(command, "providers", "check", environment=environment)
        said = await asyncio.to_thread(command, "providers", "install", "acme", environment=environment)
        assert "Acme 1.0.0 installed" in said
        listed = await asyncio.to_thread(command, "providers", "list", "--json", environment=environment)
        assert [one["installed"] for one in json.loads(listed) if one["id"] == "acme"] == [True]

        ready, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
        async with Acme(folder) as vendor:
            service = spawn(
                "service", app.run(settings, vendor.world, ready.set_result, stop=stop, keep_machines=False)
            )
            try:
                await asyncio.wait({service, ready}, return_when=asyncio.FIRST_COMPLETED)
                await _sign_in(vendor, ready.result() if ready.done() else service.result())
            finally:
                stop.set()
                await asyncio.wait({service}, timeout=30)
                await cancel_and_wait(service)


async def _sign_in(vendor, said):
    headers = {"Authorization": f"Bearer {said.token.reveal()}"}
    async with httpx.AsyncClient(base_url=said.dashboard_url, headers=headers, timeout=60, trust_env=False) as api:
        started = (await api.post("/api/auth/session", json={"user_id": "ada", "provider": "acme"})).json()
        path = f"/api/auth/session/{started['session_id']}"
        async with asyncio.timeout(90):
            while (session := (await api.get(path, params={"wait": 30})).json())["status"] != "completed":
                assert session["ended_at"] is None, session
        assert {"/authorize", "/token"} <= set(vendor.asked)
        held = (await api.get(f"{path}/credentials")).json()["credential"]
        assert (held["provider"], held["account"]) == ("acme", ACCOUNT)
        # the tool itself, in a machine of its own, takes what it wrote
        checked = await Client(said.places.control).call("credentials.check", user_id="ada", provider="acme")
        assert (checked["accepted"], checked["by"]) == (True, "acme status")
