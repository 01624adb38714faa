"""Requests that a proxy and a service could take apart at different places: none reaches us that nginx did not see.

Between nginx and the service stands a tap, so that a test knows when nothing is on its way any more. What reached the
service is counted where its app begins; what nginx passed on stands in its access log.
"""

import asyncio
import contextlib
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tests.integration import proxies
from tests.integration.proxies import DASHBOARD, LOOPBACK, SIGN_IN
from tests.integration.web_service import running

SECOND = f"GET /smuggled HTTP/1.1\r\nHost: {DASHBOARD}\r\n\r\n"
TAIL = f"GET /healthz HTTP/1.1\r\nHost: {DASHBOARD}\r\nConnection: close\r\n\r\n" * 4
"""Ends whatever is still waited for, and then the connection."""


class Tap:
    """Passes bytes on both ways and knows how many connections there are."""

    def __init__(self, port):
        self._to = port
        self.open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self.quiet()

    async def quiet(self):
        """Wait until there is no connection."""
        await asyncio.wait_for(self._quiet.wait(), 20)

    async def _accepted(self, reader, writer):
        self.open += 1
        self._quiet.clear()
        try:
            there = await asyncio.open_connection(LOOPBACK, self._to)
            await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))
            for end in (writer, there[1]):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
        finally:
            self.open -= 1
            if not self.open:
                self._quiet.set()

    @staticmethod
    async def _pass(reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@dataclass
class Counted:
    """What reached the service, and what nginx says that it passed on."""

    proxy: proxies.Proxy
    tap: Tap
    reached: list = field(default_factory=list)
    _seen: int = 0
    innocents: int = 0

    async def passed_on(self):
        """Return what nginx has passed on since the last call, and what has reached the service."""
        await self.tap.quiet()
        # one process writes in order: once an innocent request is in its log, everything before is
        self.innocents += 1
        mark = f"{self.innocents:032x}"
        head = f"Host: {DASHBOARD}\r\nX-Request-Id: {mark}\r\nConnection: close"
        answer = await self.exchange(f"GET /readyz?{mark} HTTP/1.1\r\n{head}\r\n\r\n".encode())
        # and it got its own answer, not one that somebody left behind
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert f"x-request-id: {mark}".encode() in answer.lower()
        async with asyncio.timeout(20):
            while not any(mark in request for request, _ in self._lines()):
                await asyncio.sleep(0.01)
        await self.tap.quiet()
        lines = self._lines()
        fresh, self._seen = lines[self._seen :], len(lines)
        passed = [request.rpartition(" HTTP/")[0] for request, upstream in fresh if upstream != "-"]
        # of a target that is a whole URL nginx passes the path on
        told = Counter(re.sub(r"\A(\w+) https?://[^/]+", r"\1 ", request) for request in passed)
        reached, self.reached[:] = Counter(self.reached), []
        innocent = f"GET /readyz?{mark}"
        assert told[innocent] == reached[innocent] == 1
        del told[innocent], reached[innocent]
        return told, reached

    def _lines(self):
        """Return (request, upstream) of each line of the access log."""
        form = r'^[\d.]+ - \S+ \[.*?\] "(.*?)" \d+ \d+ ".*?" ".*?" "(.*?)"$'
        return re.findall(form, self.proxy.log.read_text(), re.MULTILINE)

    async def exchange(self, sent, *, tls=True):
        """Send bytes to nginx; return all that comes until it hangs up."""
        options = {"ssl": self.proxy.trust, "server_hostname": DASHBOARD} if tls else {}
        port = self.proxy.port if tls else self.tap.port
        reader, writer = await asyncio.open_connection(LOOPBACK, port, **options)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                await writer.drain()
            return await asyncio.wait_for(heard(reader), 20)
        finally:
            writer.close()


async def heard(reader):
    text = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := await reader.read(65536):
            text += piece
    return text


@pytest.fixture
async def counted(tmp_path):
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with running(tmp_path, **proxies.URLS) as service, Tap(service.server.port) as tap:
        behind = SimpleNamespace(server=tap)
        async with proxies.behind("nginx", folder, behind) as proxy:
            counted = Counted(proxy, tap)
            inner = service.app._app

            async def watched(scope, receive, send):
                target = scope["raw_path"].decode("latin-1")
                query = scope["query_string"].decode("latin-1")
                counted.reached.append(f"{scope.get('method', 'GET')} {target}{'?' if query else ''}{query}")
                await inner(scope, receive, send)

            service.app._app = watched
            yield counted


def post(*lines, body="", path="/api/dashboard/open"):
    head = [f"POST {path} HTTP/1.1", f"Host: {DASHBOARD}", f"Origin: https://{DASHBOARD}", *lines]
    return "\r\n".join([*head, "", body])


def get(*lines, body="", path="/readyz"):
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {DASHBOARD}", *lines, "", body])


CLOSED = "0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(CLOSED + SECOND)}"
IN_A_CHUNK = f"{len(SECOND):x}\r\n{SECOND}\r\n{CLOSED}"
# ways to write it that one side may read and the other not
OBSCURE = [
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding\r\n : chunked",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: chunked;x=1",
    "Transfer-Encoding: CHUNKED",
    "Transfer-Encoding: chunked\x00",
    "Transfer-Encoding: chunk\xc3\xa9d",
    "Transfer_Encoding: chunked",
    " Transfer-Encoding: chunked",
    "X: x\nTransfer-Encoding: chunked",
    "X: x\rTransfer-Encoding: chunked",
    "\x00Transfer-Encoding: chunked",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
]
VECTORS = {
    "CL.TE": [post(LENGTH, CHUNKED, body=CLOSED + SECOND)],
    "TE.CL": [post("Content-Length: 4", CHUNKED, body=IN_A_CHUNK), post(CHUNKED, "Content-Length: 4", body=IN_A_CHUNK)],
    "TE.TE": [
        *(post(LENGTH, obscure, body=CLOSED + SECOND) for obscure in OBSCURE),
        *(post("Content-Length: 4", obscure, body=IN_A_CHUNK) for obscure in OBSCURE),
        *(post(obscure, body=CLOSED + SECOND) for obscure in OBSCURE),
        post(CHUNKED, LENGTH, body=CLOSED + SECOND).replace("HTTP/1.1", "HTTP/1.0", 1),
    ],
    "CL.0": [
        post(f"Content-Length: {len(SECOND)}", body=SECOND, path=path)
        for path in ("/static/base.css", "/", "/healthz", "/nothing", "/api//x", "/api/dashboard/open")
    ],
    "0.CL": [
        get(f"Content-Length: {len(SECOND)}", body=SECOND),
        *(
            get(*lines, body=SECOND)
            for lines in (
                ("Content-Length: 0", f"Content-Length: {len(SECOND)}"),
                (f"Content-Length: {len(SECOND)}", "Content-Length: 0"),
                (f"Content-Length: 0, {len(SECOND)}",),
                (f"Content-Length: +{len(SECOND)}",),
                (f"Content-Length: -{len(SECOND)}",),
                (f"Content-Length: 0x{len(SECOND):x}",),
                (f"Content-Length:\r\n {len(SECOND)}",),
                (f"Content-Length : {len(SECOND)}",),
                (f"Content_Length: {len(SECOND)}",),
                (f"Content-Length: {len(SECOND)} ", "Expect: 100-continue"),
                ("Content-Length: 18446744073709551616",),
            )
        ),
    ],
    "chunks": [
        post(CHUNKED, body=body + SECOND)
        for body in (
            "2;x\n{}\r\n0\r\n\r\n",
            '2;x="\r\n"\r\n{}\r\n0\r\n\r\n',
            "2;\r\n{}\r\n0\r\n\r\n",
            "2\n{}\n0\n\n",
            "2\r\n{}0\r\n\r\n",
            "2 \r\n{}\r\n0\r\n\r\n",
            "0x2\r\n{}\r\n0\r\n\r\n",
            "+2\r\n{}\r\n0\r\n\r\n",
            "-2\r\n{}\r\n0\r\n\r\n",
            "2_0\r\n{}\r\n0\r\n\r\n",
            "FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
            "00000000000000000000002\r\n{}\r\n0\r\n\r\n",
            "2\r\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}\r\n0\r\nContent-Length: 99\r\n\r\n",
            "2\r\n{}\r\n0\r\nX: y\n\n",
            "2\r\n{}\r\n0;\n\r\n\r\n",
            "0\n\n",
            "0\r\n\n",
            "\r\n0\r\n\r\n",
        )
    ],
    "line ends": [
        get("X: a\rX: b", body=SECOND),
        get(f"X: a\rGET /smuggled HTTP/1.1\rHost: {DASHBOARD}\r\r"),
        get(f"X: a\n\nGET /smuggled HTTP/1.1\nHost: {DASHBOARD}\n\n"),
        get("X: a\x00b"),
        get("X: a\x0b\r\n\tb"),
        get(": x", " : y", "\t"),
        get().replace("\r\n", "\n") + SECOND,
        get().replace("\r\n", "\r") + SECOND,
        get(path="/readyz\rX:").replace(" HTTP", "\tHTTP"),
        get(path="/readyz HTTP/1.1\r\nX: x\r\n\r\nGET /smuggled"),
        get(path="/readyz\x00/smuggled"),
        "\r\n\r\n" + get(),
        f"GET /smuggled\r\n{get()}",
        get().replace("HTTP/1.1", "HTTP/1.1 HTTP/1.1"),
        get().replace("HTTP/1.1", "HTTP/2.0"),
        get().replace("HTTP/1.1", "HTTP/1.10"),
    ],
    "headers": [
        get("X_Forwarded_Host: x", "Host_: y", "Upgrade_: websocket"),
        get(f"Host: {SIGN_IN}"),
        get(path=f"https://{SIGN_IN}/readyz"),
        get(path=f"http://{DASHBOARD}:80@{SIGN_IN}/readyz"),
        get(path="//evil.example/readyz"),
        get("Connection: close, X-Request-Id, Host"),
        get("Connection: keep-alive", "Keep-Alive: 300", "Proxy-Connection: keep-alive"),
        get("X: " + "a" * 7000),
        get(*(f"X-{number}: x" for number in range(90))),
    ],
    "upgrades": [
        get("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 777", body=SECOND),
        get(
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: x",
            body=SECOND,
        ),
        get("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__", body=SECOND),
        get("Upgrade: websocket, h2c", LENGTH, body=CLOSED + SECOND),
        post("Upgrade: websocket", LENGTH, body=CLOSED + SECOND),
        post("Upgrade: x", LENGTH, CHUNKED, body=CLOSED + SECOND),
        post("Upgrade: websocket", CHUNKED, body=CLOSED + SECOND),
    ],
}


@pytest.mark.parametrize("kind", VECTORS)
async def test_nothing_reaches_the_service_that_nginx_did_not_pass_on_as_it_is(counted, kind):
    for vector in VECTORS[kind]:
        heard = await counted.exchange((vector + TAIL).encode("latin-1"))
        told, reached = await counted.passed_on()
        assert not reached - told, (vector, heard)
        # what was never looked at by the service is no proof of it
        assert heard or not reached, vector


async def test_a_second_request_that_nginx_sees_is_counted_on_both_sides(counted):
    await counted.exchange((get() + SECOND + TAIL).encode())
    told, reached = await counted.passed_on()
    assert told == reached == Counter({"GET /readyz": 1, "GET /smuggled": 1, "GET /healthz": 1})


async def test_a_second_request_that_nginx_does_not_see_would_be_found(counted):
    # past nginx, as a request would go that is hidden in another one
    await counted.exchange((get() + SECOND + TAIL).encode(), tls=False)
    told, reached = await counted.passed_on()
    assert reached - told == Counter({"GET /readyz": 1, "GET /smuggled": 1, "GET /healthz": 1})


# HTTP/2 to nginx, which writes it down anew as HTTP/1.1 for the service: RFC 9113 (frames), RFC 7541 (header lists)
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def literal(text):
    """Return a string of a header list as it is, without Huffman's code; its length has a prefix of 7 bits."""
    raw, length = text.encode("latin-1"), len(text)
    if length < 127:
        return bytes([length]) + raw
    rest, more = length - 127, bytearray([127])
    while rest >= 128:
        more.append(rest % 128 + 128)
        rest //= 128
    return bytes(more) + bytes([rest]) + raw


def http_2(*headers, body="", **pseudo):
    """Return a connection with one request."""
    first = {"method": "POST", "scheme": "https", "path": "/api/dashboard/open", "authority": DASHBOARD, **pseudo}
    pairs = [(f":{name}", value) for name, value in first.items()] + list(headers)
    listed = b"".join(b"\0" + literal(name) + literal(value) for name, value in pairs)
    sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
    sent += frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), 1, listed)
    return sent + (frame(DATA, END_STREAM, 1, body.encode("latin-1")) if body else b"")


async def spoken(proxy, sent):
    """Send a connection of HTTP/2; return the kinds of the frames with which its request ended, and their payloads."""
    trust = proxy.trust
    trust.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port, ssl=trust, server_hostname=DASHBOARD)
    trust.set_alpn_protocols(["http/1.1"])
    frames = []
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                frames.append((head[3], payload))
                over = head[3] in {DATA, HEADERS} and head[4] & END_STREAM
                if over or head[3] in {RST_STREAM, GOAWAY}:
                    return frames
    except (asyncio.IncompleteReadError, ConnectionError):
        return frames
    finally:
        writer.close()


HIDDEN = CLOSED + SECOND
DOWNGRADED = [
    http_2(("content-length", "0"), body=SECOND),
    http_2(("content-length", "5"), body=SECOND),
    http_2(("content-length", "999"), body=SECOND),
    http_2(("content-length", "0"), ("content-length", str(len(SECOND))), body=SECOND),
    http_2(("content-length", f"+{len(SECOND)}"), body=SECOND),
    http_2(("content-length", "0"), ("content-type", "application/json"), body=SECOND, method="GET", path="/readyz"),
    http_2(("transfer-encoding", "chunked"), body=HIDDEN),
    http_2(("transfer-encoding", "chunked"), ("content-length", str(len(HIDDEN))), body=HIDDEN),
    http_2(("Transfer-Encoding", "chunked"), body=HIDDEN),
    http_2(("transfer_encoding", "chunked"), body=HIDDEN),
    http_2(("x", "x\r\nTransfer-Encoding: chunked"), body=HIDDEN),
    http_2(("x", "x\nTransfer-Encoding: chunked"), body=HIDDEN),
    http_2(("x", f"x\r\n\r\n{SECOND}"), body=HIDDEN),
    http_2(("x", "x\0y"), body=HIDDEN),
    http_2(("x: x\r\ntransfer-encoding", "chunked"), body=HIDDEN),
    http_2(("transfer-encoding: chunked\r\nx", "x"), body=HIDDEN),
    http_2(("transfer-encoding ", "chunked"), body=HIDDEN),
    http_2(("", "x"), body=HIDDEN),
    http_2(("connection", "transfer-encoding"), ("te", "trailers, chunked"), body=HIDDEN),
    http_2(("upgrade", "websocket"), ("connection", "Upgrade"), body=HIDDEN),
    http_2(("host", SIGN_IN), body=HIDDEN),
    http_2(body=HIDDEN, path=f"/readyz HTTP/1.1\r\nHost: {DASHBOARD}\r\n\r\nGET /smuggled"),
    http_2(body=HIDDEN, path="/readyz HTTP/1.1"),
    http_2(body=HIDDEN, path="/readyz\r\nX: x"),
    http_2(body=HIDDEN, path="/readyz\tx"),
    http_2(body=HIDDEN, path=f"https://{SIGN_IN}/readyz"),
    http_2(body=HIDDEN, method=f"GET /smuggled HTTP/1.1\r\nHost: {DASHBOARD}\r\n\r\nPOST"),
    http_2(body=HIDDEN, method="GET /smuggled"),
    http_2(body=HIDDEN, scheme="https://x/\r\n"),
    http_2(body=HIDDEN, authority=f"{DASHBOARD}\r\nTransfer-Encoding: chunked"),
    http_2((":path", "/smuggled"), body=HIDDEN),
    http_2((":status", "200"), body=HIDDEN),
]


async def test_nothing_hidden_in_a_request_of_http_2_reaches_the_service_as_another_one(counted):
    frames = await spoken(counted.proxy, http_2(method="GET", path="/readyz"))
    assert b"".join(payload for kind, payload in frames if kind == DATA) == b'{"status":"ready"}'
    told, reached = await counted.passed_on()
    assert told == reached == Counter({"GET /readyz": 1})
    for sent in DOWNGRADED:
        frames = await spoken(counted.proxy, sent)
        assert frames, sent
        told, reached = await counted.passed_on()
        assert not reached - told, (sent, frames)
        assert "GET /smuggled" not in reached, (sent, frames)
