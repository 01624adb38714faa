"""Whatever a request is made of: one answer, never a fault of ours, and nothing for whoever has no right to it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antechamber.web import refusals
from tests.integration.web_service import running

OPEN_PAGES = {"/", "/sessions", "/credentials", "/machines", "/health", "/owners", "/healthz", "/readyz"}
OPEN_PREFIXES = ("/static/", "/s/", "/sessions/", "/credentials/")
ONE_SERVICE = {"derandomize": True, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
SESSION = "ses_00000000000000000000"


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


WORDS = f"api auth session sessions {SESSION} ticket screen terminal open consent events story credentials owners audit"
segments = st.sampled_from([*WORDS.split(), "metrics", "static", "s", "openapi.json", "base.css"]) | st.text(
    max_size=12
)
paths = st.lists(segments, max_size=6).map("/".join).map("/".__add__) | st.text(max_size=60)
methods = st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "get", "X"])
ROUTES = [(method, path.replace("{session_id}", SESSION)) for method, path in refusals.OF_ROUTES]
asked = st.sampled_from(ROUTES) | st.sampled_from(ROUTES) | st.tuples(methods, paths)
raw_paths = st.binary(max_size=60) | paths.map(lambda path: path.encode(errors="replace"))
# as h11 gives them: names in lower case, values without line ends
noise = st.binary(max_size=60).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\0"))
NAMES = [b"authorization", b"cookie", b"origin", b"host", b"content-type", b"x-request-id", b"accept", b"range"]
NAMES += [
    b"accept-language",
    b"last-event-id",
    b"idempotency-key",
    b"traceparent",
    b"if-none-match",
    b"if-modified-since",
]
NAMES += [b"antechamber-passed-on-by", b"x-forwarded-host", b"x-http-method-override", b"sec-websocket-protocol"]
VALUES = [b"Bearer ", b"bearer DUMMY", b"null", b"text/html", b"application/json", b"application/json; charset=utf-16"]
VALUES += [
    f"antechamber_{SESSION}={'a' * 43}".encode(),
    b"antechamber_dashboard=" + b"a" * 43,
    b"bytes=0-,-1",
    b"*;q=9",
]
headers = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | noise), max_size=8)
HALF = "\ud800"
fields = st.sampled_from(["user_id", "provider", "code", "attempt", "said", HALF, "x"]) | st.text(max_size=5)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(f"a{HALF}"))
bodies = st.one_of(
    st.just(b""),
    st.binary(max_size=60),
    st.dictionaries(fields, values | st.lists(values, max_size=2), max_size=4).map(
        lambda body: json.dumps(body).encode()
    ),
    st.sampled_from([b"[" * 5000, b'{"code":' * 2000, b"9" * 6000, b'{"attempt": 1e999}', b"\xff\xfe{\0}\0"]),
)
queries = st.binary(max_size=40) | st.sampled_from(
    [b"wait=1e400", b"limit=" + b"9" * 5000, b"user_id=%ff", b"wait=nan"]
)


@st.composite
def drawn(draw, routes, sent=headers, kinds=("http",)):
    """Draw (scope without its site, body, where the body is cut)."""
    method, path = draw(routes)
    body, sent = draw(bodies), draw(sent)
    if body:
        kind = [] if any(name == b"content-type" for name, _ in sent) else [(b"content-type", b"application/json")]
        sent = [*sent, (b"content-length", str(len(body)).encode()), *kind]
    raw = draw(raw_paths) if draw(st.integers(0, 9)) == 9 else None
    scope = {
        "type": draw(st.sampled_from(kinds)),
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": raw if raw is not None else path.encode(errors="surrogatepass"),
        "query_string": draw(queries),
        "root_path": "",
        "headers": sent,
        "client": ("127.0.0.1", 9),
        "server": ("127.0.0.1", 80),
        "subprotocols": ["binary", "ticket.DUMMY"],
        "extensions": {"websocket.http.response": {}},
    }
    return scope, body, draw(st.integers(0, len(body)))


async def answered(service, site, request, *more):
    """Return the one answer to a request whose body comes in two pieces, and its text."""
    scope, body, cut = request
    scope = {**scope, "headers": [(b"host", site.host.encode()), *scope["headers"], *more]}
    coming = [
        {"type": "http.request", "body": body[:cut], "more_body": True},
        {"type": "http.request", "body": body[cut:], "more_body": False},
    ]
    said = []

    async def receive():
        if scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message):
        said.append(message)

    await service.app(scope, receive, send)
    (start,) = [message for message in said if message["type"].endswith("response.start")]
    text = b"".join(message.get("body", b"") for message in said if message["type"].endswith("response.body"))
    return start["status"], dict(start["headers"]), text


@settings(max_examples=2000, **ONE_SERVICE)
@given(drawn(asked, kinds=["http", "http", "http", "websocket"]), st.booleans(), st.booleans())
async def test_a_stranger_gets_one_answer_and_it_is_a_refusal_or_open_to_all(
    service, request_, on_dashboard, own_origin
):
    site = service.addresses.dashboard if on_dashboard else service.addresses.sign_in
    more = [(b"origin", site.origin.encode())] if own_origin else []
    status, answer, text = await answered(service, site, request_, *more)
    scope, path = request_[0], request_[0]["path"]
    assert status < 500, text
    assert answer[b"x-content-type-options"] == b"nosniff"
    if status < 400:
        assert (scope["type"], scope["method"]) == ("http", "GET")
        assert path in OPEN_PAGES or path.startswith(OPEN_PREFIXES)
    elif answer.get(b"content-type") == b"application/json" and scope["method"] != "HEAD":
        assert json.loads(text)["error"]["code"]


BARE = headers.map(lambda pairs: [pair for pair in pairs if pair[0] not in {b"authorization", b"host", b"origin"}])


@settings(max_examples=1000, **ONE_SERVICE)
@given(drawn(st.sampled_from(ROUTES), sent=BARE))
async def test_the_operator_gets_one_answer_and_never_a_fault_of_ours(service, request_):
    right = (b"authorization", f"Bearer {service.token}".encode())
    status, _, text = await answered(service, service.addresses.dashboard, request_, right)
    assert status < 500, text
