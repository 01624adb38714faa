"""Headers, targets and framing that are to confuse who is asked for what, sent byte for byte to the listening service.

Whoever lacks the right secret gets nothing but a refusal, whatever else the request says, and nothing changes.
"""

import asyncio
import contextlib
import re

import pytest

from antechamber.model import new_secret
from tests.integration.test_access_paths import UPGRADE
from tests.integration.test_relay import cookie_of
from tests.integration.web_service import running

KEY = "\r\n".join(f"{name}: {value}" for name, value in UPGRADE.items())


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


class Scene:
    """A session whose screen can be opened, another browser's session, and the requests that lead to something."""

    def __init__(self, service):
        self.service = service
        self.sign_in, self.dashboard = service.addresses.sign_in, service.addresses.dashboard

    async def prepare(self):
        started = await self.service.start(user_id="linked")
        self.linked, self.code = started["session_id"], started["sign_in_url"].partition("#")[2]
        self.session_id, self.browser = await self.service.opened(await self.service.start(user_id="ada"))
        await self.service.ready(self.session_id)
        base = f"/api/auth/session/{self.session_id}"
        assert (await self.browser.post(f"{base}/consent", json={})).status_code == 200
        self.cookie = cookie_of(self.browser, self.session_id)
        other, other_browser = await self.service.opened(await self.service.start(user_id="eve"))
        self.others_cookie = cookie_of(other_browser, other)
        self.base = base
        return self

    def request(self, method, target, site, *lines, body=None, host=None):
        """Return a request's bytes; `host` stands in the place of the Host line."""
        head = [f"{method} {target} HTTP/1.1", *([f"Host: {site.host}"] if host is None else host), *lines]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*head, "", body or ""])

    def wishes(self, *lines, host=None):
        """Return, by name, everything that may be wished for, without the secret that it takes."""
        origin = f"Origin: {self.sign_in.origin}"
        own = [] if any(line.lower().startswith("origin") for line in lines) else [origin]
        wrong = f'{{"code": "{new_secret().reveal()}"}}'
        offer = "Sec-WebSocket-Protocol: binary, ticket.DUMMY"
        return {
            "ticket": self.request("POST", f"{self.base}/ticket", self.sign_in, *own, *lines, body="{}", host=host),
            "session": self.request("GET", self.base, self.sign_in, *lines, host=host),
            "link": self.request(
                "POST", f"/api/auth/session/{self.linked}/open", self.sign_in, *own, *lines, body=wrong, host=host
            ),
            "screen": self.request("GET", f"{self.base}/screen", self.sign_in, *own, KEY, offer, *lines, host=host),
            "credentials": self.request("GET", "/api/credentials", self.dashboard, *lines, host=host),
            "start": self.request(
                *("POST", "/api/auth/session", self.dashboard, f"Origin: {self.dashboard.origin}", *lines),
                body='{"user_id": "mallory", "provider": "codex"}',
                host=host,
            ),
            "dashboard": self.request(
                *("POST", "/api/dashboard/open", self.dashboard, f"Origin: {self.dashboard.origin}", *lines),
                body=wrong,
                host=host,
            ),
        }

    async def statuses(self, request):
        """Send bytes, and after them a request for nothing that ends the connection; return every answer's status."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.service.server.port)
        end = f"GET /nothing HTTP/1.1\r\nHost: {self.dashboard.host}\r\nConnection: close\r\n\r\n" * 6
        with contextlib.suppress(ConnectionError):
            writer.write((request + end).encode("latin-1"))
            await writer.drain()
        heard = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(65536), 20):
                heard += piece
        writer.close()
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", heard)]

    async def state(self):
        signin = self.service.signin
        return (
            await signin.events(self.session_id),
            await signin.events(self.linked),
            [row.id for row in await signin.sessions(limit=100)],
            self.service.stage.screens.qsize(),
        )


@pytest.fixture
async def scene(service):
    scene = await Scene(service).prepare()
    before = await scene.state()
    yield scene
    # whatever was tried changed nothing, and whoever has the secret has what it is for
    assert await scene.state() == before
    right = scene.request(
        *("POST", f"{scene.base}/ticket", scene.sign_in, f"Origin: {scene.sign_in.origin}", f"Cookie: {scene.cookie}"),
        body="{}",
    )
    assert 200 in await scene.statuses(right)
    code = f'{{"code": "{scene.code}"}}'
    link = scene.request(
        *("POST", f"/api/auth/session/{scene.linked}/open", scene.sign_in, f"Origin: {scene.sign_in.origin}"), body=code
    )
    assert 204 in await scene.statuses(link)
    token = f"Authorization: Bearer {service.token}"
    assert 200 in await scene.statuses(scene.request("GET", "/api/credentials", scene.dashboard, token))


async def refused(scene, wishes):
    for name, request in wishes.items():
        statuses = await scene.statuses(request)
        assert statuses, (name, request)
        assert min(statuses) >= 400, (name, request, statuses)
        assert max(statuses) < 500, (name, request, statuses)


async def test_no_header_stands_in_for_a_secret(scene):
    tricks = [
        [f"X-Forwarded-Host: {scene.dashboard.host}", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"],
        ["X-Original-URL: /healthz", "X-Rewrite-URL: /healthz"],
        [f"X-Original-URL: {scene.base}/open"],
        ["X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: OPTIONS"],
        [
            "Forwarded: for=127.0.0.1;proto=https;by=127.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Prefix: /static",
        ],
        [f"Referer: {scene.sign_in.url}{scene.base}", "Sec-Fetch-Site: same-origin"],
        ["Connection: close, Host, Origin, Cookie"],
        ["antechamber-passed-on-by: nod_00000000000000000000"],
        ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings"],
        ["Expect: 200-ok"],
        ["X: " + "a" * 20_000],
        [f"X-{number}: {'a' * 200}" for number in range(60)],
    ]
    for lines in tricks:
        await refused(scene, scene.wishes(*lines))


async def test_no_form_of_a_cookie_or_a_token_is_taken_for_the_right_one(scene):
    name, _, value = scene.cookie.partition("=")
    tricks = [
        [f"Cookie: {scene.others_cookie}"],
        [f"Cookie: {name}={scene.others_cookie.partition('=')[2]}"],
        [f"Cookie: {name}={new_secret().reveal()}; {name}={new_secret().reveal()}"],
        [f"Cookie: {name}={value[:-1]}", f"Cookie: {name}={value}x"],
        [f'Cookie: {name}="{value}"'],
        [f"Cookie: {name} = {value}", f"Cookie: {name.upper()}={value}", f"Cookie: $Version=1; x{name}={value}"],
        [f"Cookie: {name}=%{ord(value[0]):02x}{value[1:]}"],
        [f"Cookie: a={name}={value}", f"Cookie: {name},{value}", f"Cookie: x; {name}"],
        [f"Cookie: antechamber_dashboard={value}", f"Authorization: Bearer {value}"],
        [f"Authorization: Bearer {scene.service.token[:-1]}"],
        [f"Authorization: Bearer {scene.service.token}x"],
        [f"Authorization: Bearer {new_secret().reveal()}", f"Authorization: Bearer {scene.service.token}"],
        [f"Authorization: Basic {scene.service.token}"],
        [f"Authorization: {scene.service.token}"],
        [f"Authorization: Bearer,{scene.service.token}"],
        [f"Proxy-Authorization: Bearer {scene.service.token}", f"X-Authorization: Bearer {scene.service.token}"],
        [f"Authorization: Bearer {scene.service.measured.token.reveal()}"],
    ]
    for lines in tricks:
        await refused(scene, scene.wishes(*lines))


async def test_with_the_right_cookie_another_origin_is_refused(scene):
    right = scene.sign_in.origin
    origins = [
        ["Origin: null"],
        ["Origin: "],
        [f"Origin: {scene.dashboard.origin}"],
        ["Origin: http://localhost"],
        ["Origin: http://localhost:1"],
        [f"Origin: {right}/"],
        [f"Origin: {right}.evil.example"],
        [f"Origin: {right.replace('http://', 'https://')}"],
        [f"Origin: {right.replace('http://', 'http://x@')}"],
        [f"Origin: {right} {right}"],
        [f"Origin: {right}", f"Origin: {right}"],
        [f"Origin: {right}", "Origin: null"],
        [f"X-Origin: {right}", f"Referer: {right}/", "Origin : null"],
    ]
    for lines in origins:
        wishes = scene.wishes(f"Cookie: {scene.cookie}", *lines)
        await refused(scene, {name: wishes[name] for name in ("ticket", "link", "screen")})


async def test_with_the_right_secrets_another_host_is_refused(scene):
    right, token = scene.sign_in.host, f"Authorization: Bearer {scene.service.token}"
    hosts = [
        [],
        ["Host: "],
        ["Host: evil.example"],
        [f"Host: {right}.evil.example"],
        [f"Host: {right}."],
        [f"Host: x@{right}"],
        [f"Host: {right}/"],
        [f"Host: {right}:80"],
        ["Host: localhost"],
        ["Host: 127.1"],
        ["Host: [::1]"],
        [f"Host: {right}", "Host: evil.example"],
        ["Host: evil.example", f"Host: {right}"],
        [f"Host: {right}", f"Host: {right}"],
        [f"Host: {right},{right}"],
        ["Host: evil.example", f"X-Forwarded-Host: {right}", f"X-Host: {right}"],
    ]
    for host in hosts:
        await refused(scene, scene.wishes(f"Cookie: {scene.cookie}", token, host=host))
    for target in (
        f"{scene.sign_in.url}{scene.base}/ticket",
        f"http://x@{right}{scene.base}/ticket",
        "*",
        f"//{right}/x",
    ):
        for site in (scene.sign_in, scene.dashboard):
            lines = (f"Origin: {site.origin}", f"Cookie: {scene.cookie}", token)
            await refused(scene, {target: scene.request("POST", target, site, *lines, body="{}")})


async def test_no_framing_makes_a_second_request_of_a_body_or_a_body_of_a_second_request(scene):
    second = scene.wishes()["ticket"]
    chunked = f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
    bodies = [
        f"Content-Length: 5\r\n{chunked}",
        f"{chunked[:26]}\r\nContent-Length: 5{chunked[26:]}",
        f"Content-Length: 0\r\nContent-Length: {len(second)}\r\n\r\n{second}",
        f"Content-Length: {len(second)}\r\nContent-Length: 0\r\n\r\n{second}",
        f"Content-Length: 0, 2\r\n\r\n{{}}{second}",
        f"Content-Length: +2\r\n\r\n{{}}{second}",
        f"Content-Length: -2\r\n\r\n{{}}{second}",
        f"Content-Length: 0x2\r\n\r\n{{}}{second}",
        f"Content-Length: {'9' * 30}\r\n\r\n{{}}{second}",
        f"Content-Length:\r\n 2\r\n\r\n{{}}{second}",
        f"X: a\r\n Content-Length: 2\r\n\r\n{second}",
        f"Transfer-Encoding: identity\r\n\r\n{second}",
        f"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{second}",
        f"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{second}",
        f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{second}",
        f'Transfer-Encoding: chunked\r\n\r\n2;x="\r\n"\r\n{{}}\r\n0\r\n\r\n{second}',
        f"Transfer-Encoding: chunked\r\n\r\n2\n{{}}\n0\n\n{second}",
        f"Transfer-Encoding: chunked\r\n\r\n-2\r\n{{}}\r\n0\r\n\r\n{second}",
        f"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFFF\r\n{{}}\r\n0\r\n\r\n{second}",
        f"Transfer-Encoding: chunked\r\n\r\n0\r\nCookie: {scene.cookie}\r\n\r\n{second}",
        f"X: a\rCookie: {scene.cookie}\r\n\r\n{second}",
        f"X: a\0b\r\n\r\n{second}",
        f"Cookie : {scene.cookie}\r\n\r\n{second}",
        f"\r\nCookie: {scene.cookie}\r\n\r\n{second}",
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{{}}{second}",
        f"Upgrade: websocket\r\nConnection: Upgrade\r\n{chunked}",
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 777\r\n\r\n{second}",
    ]
    for body in bodies:
        for method in ("POST", "GET"):
            head = [f"{method} {scene.base}/ticket HTTP/1.1", f"Host: {scene.sign_in.host}"]
            await refused(scene, {body: "\r\n".join([*head, f"Origin: {scene.sign_in.origin}", body])})


async def test_with_the_right_cookie_only_binary_and_one_good_ticket_open_the_screen(scene):
    ticket = await scene.service.ticket(scene.session_id, scene.browser)
    offers = [
        [],
        [""],
        ["binary"],
        [f"ticket.{ticket}"],
        ["binary, ticket."],
        ["binary, ticket"],
        [f"binary, ticket.{ticket}, ticket.{ticket}"],
        [f"binary, ticket.{ticket}, ticket.DUMMY"],
        [f"binary, ticket.DUMMY, ticket.{ticket}"],
        [f"BINARY, ticket.{ticket}"],
        [f"binary, TICKET.{ticket}"],
        [f"binary, xticket.{ticket}"],
        [f"binary;ticket.{ticket}"],
        [f"binary ticket.{ticket}"],
        ["binary", f"x, ticket.{ticket}, ticket.x"],
    ]
    lines = (f"Origin: {scene.sign_in.origin}", f"Cookie: {scene.cookie}", KEY)
    for offer in offers:
        said = [f"Sec-WebSocket-Protocol: {line}" for line in offer]
        await refused(scene, {str(offer): scene.request("GET", f"{scene.base}/screen", scene.sign_in, *lines, *said)})
    # as a wrong ticket is told to a page: after the handshake, by the close code, and without a screen
    good = f"Sec-WebSocket-Protocol: binary, ticket.{new_secret().reveal()}"
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.service.server.port)
    writer.write(scene.request("GET", f"{scene.base}/screen", scene.sign_in, *lines, good).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    closed = await reader.readexactly(4)
    assert (closed[0], int.from_bytes(closed[2:])) == (0x88, 4003)
    writer.close()
    assert scene.service.stage.screens.empty()
