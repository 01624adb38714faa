import asyncio
import json
from datetime import timedelta

import httpx
import pytest

from antechamber.errors import CATALOGUE, CallerError, Code, OperatorError
from antechamber.web.addresses import Site
from antechamber.web.closing import Closing
from antechamber.web.front import Bodies, Guard, Hosted, Hosts, Origins, content_policy

SITE = Site("http://one.example")
POLICY = content_policy(SITE)


def answering(text):
    """Return the smallest app: it answers with a text and the body that it got."""

    async def app(scope, receive, send):
        body = b""
        if scope["method"] == "POST":
            body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": text.encode() + body})

    return app


def raising(error):
    async def app(scope, receive, send):
        raise error

    return app


def client(app, base="http://one.example"):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=True), base_url=base)


def guarded(app, closing=None):
    return Guard(app, POLICY, closing or Closing())


@pytest.mark.parametrize("code", Code)
async def test_f109_each_error_is_answered_with_its_status_and_envelope_and_without_its_detail(code):
    error = CallerError(code, detail="DUMMY detail")
    async with client(guarded(raising(error))) as browser:
        answer = await browser.get("/")
    meaning = CATALOGUE[code]
    assert answer.status_code == meaning.http_status
    assert answer.json() == {
        "error": {
            "code": str(code),
            "message": meaning.message,
            "next": meaning.next,
            "retryable": meaning.retryable,
        }
    }
    assert "DUMMY" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY.decode()


async def test_a_bug_is_answered_without_its_text_and_logged_whole(capfd):
    async with client(guarded(raising(ValueError("DUMMY bug")))) as browser:
        answer = await browser.get("/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "DUMMY" not in answer.text


async def test_an_error_of_the_operating_system_is_no_clients_leaving():
    async with client(guarded(raising(FileNotFoundError("DUMMY")))) as browser:
        assert (await browser.get("/")).status_code == 500


async def test_a_bug_in_the_middle_of_an_answer_does_not_leave_the_layer():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("DUMMY bug")

    sent = []

    async def send(message):
        sent.append(message)

    await guarded(app)({"type": "http", "path": "/", "headers": []}, None, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_cancellation_passes_through():
    with pytest.raises(asyncio.CancelledError):
        await guarded(raising(asyncio.CancelledError()))({"type": "http", "path": "/", "headers": []}, None, None)


async def test_a_websocket_that_fails_before_its_handshake_is_answered_in_http():
    sent = []

    async def send(message):
        sent.append(message)

    app = guarded(raising(CallerError(Code.NOT_SIGNED_IN)))
    await app({"type": "websocket", "path": "/", "headers": []}, None, send)
    start, body = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert json.loads(body["body"])["error"]["code"] == "not_signed_in"


async def test_an_app_may_choose_its_own_caching_but_none_is_the_default():
    async def cached(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"no-cache")]})
        await send({"type": "http.response.body", "body": b""})

    async with client(guarded(cached)) as browser:
        assert (await browser.get("/")).headers["cache-control"] == "no-cache"
    async with client(guarded(answering("x"))) as browser:
        assert (await browser.get("/")).headers["cache-control"] == "no-store"


async def test_a_closing_service_refuses_what_is_new_but_says_that_it_lives():
    closing = Closing()
    await closing.end(timedelta(seconds=1))
    async with client(guarded(answering("x"), closing)) as browser:
        answer = await browser.get("/")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
        assert answer.json()["error"]["retryable"] is True
        assert (await browser.get("/healthz")).status_code == 200


def two_sites():
    def knows(*paths):
        return lambda scope: scope["path"] in paths

    return guarded(
        Hosts(
            Hosted(SITE, answering("one"), knows("/", "/mine")),
            Hosted(Site("https://two.example:444"), answering("two"), knows("/", "/yours")),
        )
    )


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        ("one.example", "/", "one"),
        ("ONE.example", "/", "one"),
        ("one.example:80", "/", "one"),
        ("two.example:444", "/", "two"),
        ("one.example", "/mine", "one"),
        ("one.example", "/yours", "wrong_host"),
        ("two.example:444", "/mine", "wrong_host"),
        ("one.example", "/nobodys", "not_found"),
        ("two.example", "/", "wrong_host"),
        ("two.example:443", "/", "wrong_host"),
        ("one.example:443", "/", "wrong_host"),
        ("one.example.", "/", "wrong_host"),
        ("xone.example", "/", "wrong_host"),
        ("one.example@two.example:444", "/", "wrong_host"),
        ("", "/", "wrong_host"),
    ],
)
async def test_the_host_header_chooses_the_site_and_each_route_is_on_its_own(host, path, wanted):
    async with client(two_sites()) as browser:
        answer = await browser.get(path, headers={"Host": host})
    assert (answer.text if answer.status_code == 200 else answer.json()["error"]["code"]) == wanted


async def test_two_host_headers_name_no_site():
    async with client(two_sites()) as browser:
        request = browser.build_request("GET", "/")
        request.headers = httpx.Headers([("Host", "one.example"), ("Host", "one.example")])
        assert (await browser.send(request)).status_code == 421


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        ("GET", {}, True),
        ("HEAD", {"Origin": "http://evil.example"}, True),
        ("POST", {"Origin": "http://one.example"}, True),
        ("POST", {}, False),
        ("POST", {"Origin": "http://evil.example"}, False),
        ("POST", {"Origin": "null"}, False),
        ("POST", {"Origin": "https://one.example"}, False),
        ("POST", {"Origin": "http://one.example:81"}, False),
        ("POST", {"Origin": "http://one.example/"}, False),
        ("DELETE", {"Origin": "http://evil.example"}, False),
        ("PUT", {}, False),
        ("BREW", {}, False),
        ("POST", {"Authorization": "Bearer x"}, False),
        ("POST", {"Authorization": "Bearer x", "Origin": "http://one.example"}, True),
        ("POST", {"Authorization": "Bearer x", "Origin": "http://evil.example"}, False),
    ],
)
async def test_an_unsafe_request_must_come_from_the_site_itself(method, headers, passes):
    async with client(guarded(Origins(answering("x"), SITE))) as browser:
        answer = await browser.request(method, "/", headers=headers)
    assert answer.status_code == (200 if passes else 403)


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
async def test_a_websocket_must_come_from_the_site_itself_even_with_a_token(origin):
    headers = [(b"authorization", b"Bearer x")] + ([(b"origin", origin.encode())] if origin else [])
    with pytest.raises(CallerError) as caught:
        await Origins(answering("x"), SITE)({"type": "websocket", "path": "/", "headers": headers}, None, None)
    assert caught.value.code is Code.WRONG_ORIGIN


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{}", None),
        ("Application/JSON; charset=utf-8", b"{}", None),
        ("", b"", None),
        ("text/plain", b"", None),
        ("text/plain", b"{}", "not_json"),
        ("application/jsonx", b"{}", "not_json"),
        ("", b"{}", "not_json"),
        ("application/json", b"x" * 100, None),
        ("application/json", b"x" * 101, "body_too_large"),
    ],
)
async def test_a_body_is_json_and_limited_and_reaches_the_app_whole(kind, body, code):
    async with client(guarded(Bodies(answering(""), 100))) as browser:
        answer = await browser.post("/", content=body, headers={"Content-Type": kind} if kind else {})
    if code is None:
        assert answer.content == body
    else:
        assert answer.json()["error"]["code"] == code


async def test_a_body_in_pieces_is_counted_as_it_comes_and_read_away_to_an_end():
    pieces = iter([*[b"x" * 60] * 7, b"never read"])

    async def receive():
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}
    with pytest.raises(CallerError) as caught:
        await Bodies(answering(""), 100)(scope, receive, None)
    assert caught.value.code is Code.BODY_TOO_LARGE
    assert next(pieces) == b"never read"


@pytest.mark.parametrize(("length", "read"), [(101, 101), (400, 400), (401, 0)])
async def test_a_body_that_is_said_to_be_too_large_is_read_away_unless_it_is_far_too_large(length, read):
    sent = 0

    async def receive():
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": b"x", "more_body": sent < length}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"%d" % length)]}
    with pytest.raises(CallerError) as caught:
        await Bodies(answering(""), 100)(scope, receive, None)
    assert caught.value.code is Code.BODY_TOO_LARGE
    assert sent == read


async def test_a_client_that_leaves_while_it_sends_is_no_error():
    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"5")]}
    await guarded(Bodies(raising(AssertionError("not reached")), 100))(scope, receive, None)


async def test_no_layer_holds_a_streamed_answer_back():
    arrived = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await arrived.wait()
        await send({"type": "http.response.body", "body": b"second"})

    sent = []

    async def send(message):
        sent.append(message.get("body"))
        if message.get("body") == b"first":
            arrived.set()

    layers = guarded(Hosts(Hosted(SITE, Origins(Bodies(app, 100), SITE), lambda scope: True)))
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"one.example")]}
    await asyncio.wait_for(layers(scope, None, send), 5)
    assert sent == [None, b"first", b"second"]


def test_the_content_policy_lets_nothing_in_but_own_files():
    policy = POLICY.decode()
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "connect-src 'self' ws://one.example;" in policy


async def test_an_operators_error_keeps_its_detail_for_the_log():
    error = OperatorError(Code.STORE_UNAVAILABLE, detail="DUMMY disk")
    async with client(guarded(raising(error))) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 503
    assert "DUMMY" not in answer.text
