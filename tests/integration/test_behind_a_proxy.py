"""The service behind nginx and behind Caddy, with the configurations that deploy/ has: a sign-in from end to end."""

import asyncio
import contextlib
import json
import re
import shutil
import ssl

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration import proxies
from tests.integration.proxies import DASHBOARD, SIGN_IN
from tests.integration.test_events import Stream, kinds
from tests.integration.web_service import error_of, running

BANNER = b"RFB 003.008\n"
HSTS = "max-age=31536000"


@pytest.fixture(params=list(proxies.KINDS))
async def behind(request, tmp_path):
    """Give (service, proxy)."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with (
        running(tmp_path, heartbeat_s=0.2, **proxies.URLS) as service,
        proxies.behind(request.param, folder, service) as proxy,
    ):
        yield service, proxy


def screen(proxy, session_id, cookie, *offers):
    return connect(
        f"wss://{SIGN_IN}/api/auth/session/{session_id}/screen",
        origin=f"https://{SIGN_IN}",
        subprotocols=list(offers),
        additional_headers={"Cookie": cookie},
        compression=None,
        proxy=None,
        **proxy.screen(),
    )


def cookies_set(answer):
    """Return name, value and attributes of each cookie that an answer sets."""
    found = {}
    for line in answer.headers.get_list("set-cookie"):
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        found[name] = value, {attribute.lower() for attribute in attributes}
    return found


async def test_f040_f045_f086d_a_sign_in_from_end_to_end_whose_secrets_are_in_no_log(behind):
    service, proxy = behind
    operator = await service.operator()
    started = await service.start()
    session_id, code = started["session_id"], started["sign_in_url"].partition("#")[2]
    assert started["sign_in_url"].startswith(f"https://{SIGN_IN}/s/")
    path = f"/api/auth/session/{session_id}"

    browser = await service.browser()
    assert (await browser.get(f"/s/{session_id}")).headers["content-type"].startswith("text/html")
    opened = await browser.post(f"{path}/open", json={"code": code})
    cookie, attributes = cookies_set(opened)[f"__Host-antechamber_{session_id}"]
    assert {"secure", "httponly", "samesite=strict"} <= attributes

    async with browser.stream("GET", f"{path}/events") as events:
        stream = Stream(events)
        # what has happened comes at once, and what happens now when it happens: the stream stays open meanwhile
        assert kinds([await stream.next(), await stream.next()]) == ["created", "opened"]
        while not stream.comments:
            line = await anext(stream._lines)
            stream.comments += line.startswith(":")
        await service.ready(session_id)
        assert kinds([await stream.next(), await stream.next()]) == ["machine_booting", "machine_ready"]
        polling = asyncio.get_running_loop().create_task(browser.get(path, params={"wait": 20}))
        assert (await browser.post(f"{path}/consent", json={})).json()["consented"] is True
        assert kinds([await stream.next()]) == ["consented"]

        ticket = await service.ticket(session_id, browser)
        cookies = f"__Host-antechamber_{session_id}={cookie}"
        async with screen(proxy, session_id, cookies, "binary", f"ticket.{ticket}") as page:
            machine = await service.stage.screens.get()
            machine.writer.write(BANNER)
            assert await page.recv() == BANNER
            picture = bytes(range(256)) * 4096
            await page.send(picture[: 2**19])
            assert await machine.reader.readexactly(2**19) == picture[: 2**19]
            machine.writer.write(picture)
            got = b""
            while len(got) < len(picture):
                got += await page.recv()
            assert got == picture
            service.stage.input_ended(session_id).set()
            await service.capture(session_id)
            machine.writer.write_eof()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await page.recv()
            assert page.close_code == 4010
            machine.writer.close()
        assert kinds(await stream.rest()) == ["screen_seen", "captured", "<end>"]
    assert (await polling).status_code == 200
    poll = (await operator.get(f"{path}/credentials")).json()
    assert poll["status"] == "ready"

    dashboard = await service.stranger(Origin=f"https://{DASHBOARD}")
    dashboard_code = (await service.signin.dashboard_link()).reveal()
    answer = await dashboard.post("/api/dashboard/open", json={"code": dashboard_code})
    dashboard_cookie, attributes = cookies_set(answer)["__Host-antechamber_dashboard"]
    assert {"secure", "path=/", "httponly", "samesite=strict"} <= attributes
    assert (await dashboard.get("/api/dashboard")).json()["sign_in_url"] == f"https://{SIGN_IN}"

    # access log on, which deploy/ has off: what it holds says that the requests came by here, and no secret
    async with asyncio.timeout(20):
        while not all(f"{path}{rest}" in (log := proxy.log.read_text()) for rest in ("/events", "/screen", "/ticket")):
            await asyncio.sleep(0.02)
    secrets = {"token": service.token, "code": code, "cookie": cookie, "ticket": ticket}
    secrets |= {"dashboard code": dashboard_code, "dashboard cookie": dashboard_cookie}
    assert [name for name, secret in secrets.items() if secret in log] == []


async def test_only_the_two_names_are_answered_each_with_its_own_routes(behind):
    service, _ = behind
    operator = await service.operator()
    session_id = (await service.start())["session_id"]
    assert error_of(await operator.post(f"/api/auth/session/{session_id}/ticket", json={})) == (421, "wrong_host")
    browser = await service.browser()
    assert error_of(await browser.get("/api/credentials")) == (421, "wrong_host")
    # a certificate is shown for these names alone
    with pytest.raises((httpx.ConnectError, ssl.SSLError)):
        await (await service.stranger("https://other.example.com")).get("/healthz")
    # the right name in TLS, and another in the request
    stranger = await service.stranger(Host="other.example.com")
    try:
        answer = await stranger.get("/healthz")
    except httpx.TransportError:
        return
    assert answer.status_code in {400, 421, 404} or not answer.content
    assert "ok" not in answer.text


async def test_what_a_caller_says_of_forwarding_changes_nothing(behind):
    service, _ = behind
    liar = {
        "X-Forwarded-Host": SIGN_IN,
        "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "127.0.0.1",
        "X-Real-IP": "127.0.0.1",
        "X-Original-URL": "/healthz",
        "X-Rewrite-URL": "/healthz",
        "Forwarded": f"for=127.0.0.1;host={SIGN_IN};proto=http",
    }
    stranger = await service.stranger(**liar)
    assert error_of(await stranger.get("/api/dashboard")) == (401, "not_signed_in")
    assert error_of(await stranger.get("/s/ses_aaaaaaaaaaaaaaaaaaaa")) == (421, "wrong_host")
    operator = await service.stranger(**liar, Authorization=f"Bearer {service.token}")
    answer = await operator.post("/api/auth/session", json={"user_id": "ada", "provider": "codex"})
    assert answer.json()["sign_in_url"].startswith(f"https://{SIGN_IN}/s/")


async def test_the_services_own_headers_arrive_once_and_https_is_demanded_for_a_year(behind):
    service, _ = behind
    operator = await service.operator()
    for answer in (await operator.get("/api/dashboard"), await operator.get("/nothing"), await operator.get("/")):
        for name in ("content-security-policy", "x-frame-options", "referrer-policy", "cache-control"):
            assert len(answer.headers.get_list(name)) == 1, (answer.url, name)
        assert answer.headers["strict-transport-security"] == HSTS
        assert "content-encoding" not in answer.headers
    assert f"wss://{SIGN_IN}" in answer.headers["content-security-policy"]


async def test_http_leads_to_https_with_the_same_path(behind):
    service, _ = behind
    for name in (DASHBOARD, SIGN_IN):
        stranger = await service.stranger(f"http://{name}")
        answer = await stranger.get("/s/ses_x?a=b")
        assert answer.status_code in {301, 308}
        assert re.sub(r":\d+", "", answer.headers["location"]) == f"https://{name}/s/ses_x?a=b"


async def test_a_body_that_is_too_large_is_refused_by_the_service_in_words_and_far_larger_by_the_proxy(behind):
    service, _ = behind
    operator = await service.operator()
    body = {"user_id": "x" * 70_000, "provider": "codex"}
    assert error_of(await operator.post("/api/auth/session", json=body)) == (413, "body_too_large")
    answer = await operator.post("/api/auth/session", json={**body, "user_id": "x" * 400_000})
    # nginx says so itself; Caddy has been cut off by the service while it was sending
    assert answer.status_code in {413, 502}


@pytest.mark.parametrize(
    "path", ["/static/../api/dashboard", "/api//dashboard", "/api/%64ashboard", "/static/%2e%2e/api/dashboard"]
)
async def test_a_path_that_can_be_read_in_two_ways_leads_to_nothing_protected(behind, path):
    _, proxy = behind
    # by hand: a client would tidy the path up
    reader, writer = await asyncio.open_connection(
        proxies.LOOPBACK, proxy.port, ssl=proxy.trust, server_hostname=DASHBOARD
    )
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {DASHBOARD}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    status = int(answer.split(b" ")[1])
    assert status in {400, 401, 404, 421}, answer
    assert b"driver" not in answer


async def test_f110_whoever_goes_away_is_noticed_by_the_service(behind):
    service, proxy = behind
    session_id, browser, ticket = await service.ticketed()
    name = f"__Host-antechamber_{session_id}"
    async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as events:
        stream = Stream(events)
        assert kinds([await stream.next()]) == ["created"]
        async with screen(proxy, session_id, f"{name}={browser.cookies[name]}", "binary", f"ticket.{ticket}") as page:
            machine = await service.stage.screens.get()
            assert service.app.closing.count == 2
            page.transport.abort()
            with contextlib.suppress(ConnectionResetError):
                assert await machine.reader.read() == b""
            machine.writer.close()
    async with asyncio.timeout(20):
        while service.app.closing.count:
            await asyncio.sleep(0.02)


async def test_a_screen_without_its_cookie_is_refused_before_the_handshake(behind):
    service, proxy = behind
    session_id, _, ticket = await service.ticketed()
    with pytest.raises(InvalidStatus) as caught:
        async with screen(proxy, session_id, "other=1", "binary", f"ticket.{ticket}"):
            pass
    assert caught.value.response.status_code == 401
    assert json.loads(caught.value.response.body)["error"]["code"] == "not_signed_in"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here, which speaks HTTP/2")
async def test_events_come_when_they_happen_over_http_2_too(behind, tmp_path):
    service, proxy = behind
    session_id = (await service.start())["session_id"]
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sN", "--http2", "-D", "-", "--cacert", tmp_path / "proxy" / "ca.pem"),
        *("--connect-to", f"{DASHBOARD}:443:{proxies.LOOPBACK}:{proxy.port}", "-K", "-"),
        f"https://{DASHBOARD}/api/auth/session/{session_id}/events",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    curl.stdin.write(f'header = "Authorization: Bearer {service.token}"\n'.encode())
    curl.stdin.close()
    async with asyncio.timeout(20):
        assert (await curl.stdout.readline()).startswith(b"HTTP/2 200")
        await curl.stdout.readuntil(b'"kind":"created"')
        await service.ready(session_id)
        await curl.stdout.readuntil(b'"kind":"machine_ready"')
        await service.signin.cancel(session_id, by_person=False)
        assert (await curl.stdout.read()).endswith(b"event: end\ndata: {}\n\n")
    assert await curl.wait() == 0
