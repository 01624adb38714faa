"""Paths that a wall and the router could read differently, sent byte for byte as no client library would."""

import asyncio

import pytest

from antechamber.errors import CallerError
from antechamber.model import new_secret
from antechamber.web.access import CallersOnly, SessionBrowserOnly
from antechamber.web.rates import Guesses, Rates
from tests.integration.web_service import running

MARKS = ["%0A", "%0D", "%00", "%20", "%7F", "%2F", "%5C", "%2e", "%252F", "/", "/.", "/..", ";x", "\\"]
CREDENTIAL = "cred_00000000000000000000"
ERASURE = "era_00000000000000000000"
APPLICATION = "app_00000000000000000000"
RUN = "run_00000000000000000000"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def status_of(service, site, method, target, **headers):
    """Send a request with that target as it stands; return the answer's status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.server.port)
    sent = {"Host": site.host, "Origin": site.origin, "Connection": "close", **headers}
    if method == "POST":
        sent |= {"Content-Type": "application/json", "Content-Length": "2"}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    writer.write("\r\n".join(lines).encode() + (b"{}" if "Content-Length" in sent else b""))
    try:
        return int((await asyncio.wait_for(reader.readline(), 10)).split()[1])
    finally:
        writer.close()


def spellings(path):
    """Return the path with each mark put before each slash, at the end, and in a slash's place."""
    at = [place for place, letter in enumerate(path) if letter == "/" and place]
    for mark in MARKS:
        yield path + mark
        for place in at:
            yield path[:place] + mark + path[place:]
            if mark[0] != "/":
                yield path[:place] + mark + path[place + 1 :]
    yield "/" + path
    yield "/." + path
    yield "/static/.." + path
    yield "/static/..%2f" + path.removeprefix("/")


async def operations(service, session_id):
    """Return every (method, path) that /openapi.json tells of, on both sites, and the pages."""
    described = (await (await service.operator()).get("/openapi.json")).json()["paths"]
    told = [(method.upper(), path) for path, item in described.items() for method in item]
    assert len(told) > 15
    told += [("GET", "/s/{session_id}"), ("GET", "/openapi.json"), ("GET", "/static/base.css")]
    owner = (await service.signin.session(session_id)).owner
    names = {
        "session_id": session_id,
        "credential_id": CREDENTIAL,
        "erasure_id": ERASURE,
        "application_id": APPLICATION,
        "run_id": RUN,
        "user_id": owner.user_id,
    }
    return [(method, path.format(**names)) for method, path in told]


async def test_no_other_spelling_of_any_route_is_let_in_whether_one_is_known_or_not(service):
    session_id, browser = await service.opened()
    name = f"antechamber_{session_id}"
    known = {
        service.addresses.sign_in: {"Cookie": f"{name}={browser.cookies[name]}"},
        service.addresses.dashboard: {"Authorization": f"Bearer {service.token}"},
    }
    before = await service.signin.events(session_id)
    for method, path in await operations(service, session_id):
        for spelling in spellings(path):
            for site, headers in known.items():
                for sent in ({}, headers):
                    status = await status_of(service, site, method, spelling, **sent)
                    assert status in {400, 404}, (site.url, method, spelling, sent)
    assert await service.signin.events(session_id) == before


async def test_no_other_spelling_of_the_screen_is_a_websocket(service):
    session_id, browser, ticket = await service.ticketed()
    name = f"antechamber_{session_id}"
    offers = {"Sec-WebSocket-Protocol": f"binary, ticket.{ticket}", **UPGRADE}
    site = service.addresses.sign_in
    path = f"/api/auth/session/{session_id}/screen"
    for spelling in spellings(path):
        for cookie in ({}, {"Cookie": f"{name}={browser.cookies[name]}"}):
            assert await status_of(service, site, "GET", spelling, **offers, **cookie) in {400, 404}, spelling
    assert await status_of(service, site, "GET", path, **offers) == 401
    assert await status_of(service, site, "GET", path, **offers, Cookie=f"{name}={browser.cookies[name]}") == 101


async def test_a_target_that_is_a_whole_url_names_no_route(service):
    session_id, _ = await service.opened()
    for site in (service.addresses.sign_in, service.addresses.dashboard):
        for path in (f"/api/auth/session/{session_id}/cancel", "/healthz"):
            assert await status_of(service, site, "POST", site.url + path) == 404


async def test_f046_f097_every_route_as_it_is_spelt_is_behind_its_wall_unless_it_is_listed_as_open(service):
    session_id, _ = await service.opened()
    open_on_both = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/static/base.css")}
    exchange = f"/api/auth/session/{session_id}/open"
    way_back = f"/api/auth/session/{session_id}/return"
    expected = {
        service.addresses.sign_in: open_on_both | {("GET", f"/s/{session_id}"), ("POST", exchange), ("POST", way_back)},
        service.addresses.dashboard: open_on_both
        | {("GET", "/"), ("POST", "/api/dashboard/open"), ("POST", "/api/dashboard/login")},
    }
    told = {*await operations(service, session_id), ("GET", "/")}
    for site, wanted in expected.items():
        statuses = {route: await status_of(service, site, *route) for route in told}
        let_in = {route for route, status in statuses.items() if status not in {401, 421}}
        assert let_in == wanted, site.url
    # the exchange is open to the method that it has, and to no other
    assert await status_of(service, service.addresses.sign_in, "GET", exchange) == 401


async def test_f090_each_wall_refuses_what_is_not_listed_even_with_nothing_before_it(service):
    session_id, _ = await service.opened()
    arrived = []

    async def app(scope, receive, send):
        arrived.append(scope["path"])

    sign_in, dashboard = service.addresses.sign_in, service.addresses.dashboard
    person = SessionBrowserOnly(app, sign_in, service.signin, refused=lambda session_id: None)
    operator = CallersOnly(
        app,
        dashboard,
        new_secret(),
        service.signin,
        service.runs,
        route_of=lambda scope: None,
        guesses=Guesses(Rates(), behind_proxy=True),
    )
    base = f"/api/auth/session/{session_id}"
    paths = [
        f"{base}{rest}" for rest in ("", "\n", "/", "/ticket\n", "/screen\n", "/open\n", "/open/", "//open", "\n/open")
    ]
    paths += ["", "/", "/x", "/healthz\n", "/readyz/", "/s", f"/s/{session_id}/x", "/static", "//static/x", base[:-21]]
    for path in paths:
        for kind in ("http", "websocket"):
            scope = {"type": kind, "method": "POST", "path": path, "headers": []}
            with pytest.raises(CallerError):
                await person(scope, None, None)
            if path != "/" or kind == "websocket":
                with pytest.raises(CallerError):
                    await operator(scope, None, None)
    assert arrived == []
