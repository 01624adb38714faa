"""Operators log in by a real issuer, are named in what they do, and go out again."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from antechamber.errors import Code
from antechamber.model import Actor
from tests.hostile_issuer import HostileIssuer, Stalling
from tests.integration.test_credentials_api import stored
from tests.integration.test_login_attacks import Clock, begun, browser_of, is_in
from tests.integration.test_logs import written
from tests.integration.web_service import error_of, running
from tests.issuer import RealIssuer, signed_in

__all__ = ["written"]

LATE = timedelta(hours=12, seconds=1)


@pytest.fixture
def issuer(tmp_path):
    serving = RealIssuer(tmp_path)
    yield serving
    serving.close()


async def answer_of(service, issuer, who, browser=None):
    """Log in as somebody; return (the browser, what it was answered when it came back)."""
    browser = browser or await browser_of(service)
    url = (await browser.post("/api/dashboard/login")).json()["url"]
    async with issuer.person() as person:
        back = await signed_in(person, url, who, back=service.addresses.dashboard.url)
    return browser, await browser.get(back.removeprefix(service.addresses.dashboard.url))


async def logged_in(service, issuer, who, browser=None):
    browser, answered = await answer_of(service, issuer, who, browser)
    assert answered.status_code == 303, answered.text
    return browser


async def operator_of(browser):
    return (await browser.get("/api/dashboard")).json()["operator"]


async def test_an_operator_signs_in_at_an_issuer_with_tls_and_out_again(tmp_path):
    issuer = RealIssuer(tmp_path, tls=True)
    try:
        async with running(tmp_path, oidc_subjects="ann", **issuer.settings) as service:
            issuer.register(service.addresses.dashboard.url)
            browser = await logged_in(service, issuer, "ann")
            assert await operator_of(browser) == {"issuer": issuer.url, "subject": "ann", "name": "ann@example.com"}
            kept = browser.cookies["antechamber_dashboard"]
            away = (await browser.post("/api/dashboard/logout")).json()["url"]
            assert not await is_in(browser)
            assert "antechamber_dashboard" not in browser.cookies
            # nor for whoever had a copy of it
            assert not await is_in(await service.stranger(Cookie=f"antechamber_dashboard={kept}"))
            asked = parse_qs(urlsplit(away).query)
            assert away.startswith(f"{issuer.url}/session/end?")
            assert asked["post_logout_redirect_uri"] == [f"{service.addresses.dashboard.url}/"]
            async with issuer.person() as person:
                # it knows the client and the way back, and asks whether it is meant
                assert "/session/end/confirm" in (await person.get(away)).text
    finally:
        issuer.close()


async def test_an_issuer_whose_authority_is_not_trusted_is_shown_no_secret(tmp_path):
    issuer = RealIssuer(tmp_path, tls=True)
    try:
        settings = {**issuer.settings, "oidc_ca_file": None}
        async with running(tmp_path, oidc_subjects="ann", **settings) as service:
            issuer.register(service.addresses.dashboard.url)
            answered = await (await browser_of(service)).post("/api/dashboard/login")
            assert error_of(answered) == (503, Code.ISSUER_UNAVAILABLE)
    finally:
        issuer.close()


@pytest.mark.parametrize(
    ("lists", "who"),
    [
        ({"oidc_subjects": "ann"}, ("ann", "ann2", "op-ann")),
        ({"oidc_emails": "ann@example.com,unverified-ann@example.com"}, ("ann", "bob", "unverified-ann")),
        ({"oidc_claim": "groups", "oidc_values": "operators", "oidc_scopes": "openid,groups"}, ("op-ann", "ann")),
    ],
)
async def test_who_is_named_comes_in_and_nobody_else(tmp_path, issuer, lists, who, capsys):
    one, *others = who
    async with running(tmp_path, **issuer.settings, **lists) as service:
        issuer.register(service.addresses.dashboard.url)
        assert await is_in(await logged_in(service, issuer, one))
        for other in others:
            browser, answered = await answer_of(service, issuer, other)
            assert error_of(answered) == (403, Code.LOGIN_NOT_ALLOWED)
            assert not await is_in(browser)
            refused = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "is not let in" in line]
            assert [line["subject"] for line in refused] == [other]


async def test_each_operator_is_named_in_what_they_do(tmp_path, issuer, written):
    async with running(tmp_path, oidc_subjects="ann,bob", **issuer.settings) as service:
        issuer.register(service.addresses.dashboard.url)
        operator, first = await stored(service, user_id="ada")
        second = (await service.opened(await service.start(user_id="eve")))[0]
        await service.ready(second)
        await service.capture(second)
        browsers = [await logged_in(service, issuer, who) for who in ("ann", "bob")]
        assert (await browsers[0].delete(f"/api/credentials/{first['id']}")).status_code == 200
        erased = await browsers[1].delete("/api/owners/eve")
        assert erased.json()["operator"] == {"issuer": issuer.url, "subject": "bob"}
        lines = (await operator.get("/api/audit")).json()["lines"]
        did = [(line["credential_id"], line["operator"]) for line in lines if line["action"] == "credential_deleted"]
        named = [{"issuer": issuer.url, "subject": who} for who in ("ann", "bob")]
        assert did == [
            (first["id"], named[0]),
            ((await service.signin.session(second)).captured_credential_id, named[1]),
        ]
        assert {line["actor"] for line in lines if line["operator"]} == {Actor.DASHBOARD}
        told = [(line["event"], line["subject"]) for line in written() if "subject" in line]
        for event, who in (
            ("credential deleted", "ann"),
            ("an owner is to be erased", "bob"),
            ("request served", "bob"),
        ):
            assert (event, who) in told
        assert ("credential deleted", "bob") not in told


async def test_the_services_own_link_and_token_name_nobody_and_go_on_opening(tmp_path, issuer):
    async with running(tmp_path, oidc_subjects="ann", **issuer.settings) as service:
        browser = await browser_of(service)
        code = (await service.signin.dashboard_link()).reveal()
        assert (await browser.post("/api/dashboard/open", json={"code": code})).status_code == 204
        assert await operator_of(browser) is None
        assert await operator_of(await service.operator()) is None


async def test_the_operator_token_opens_nothing_where_it_is_turned_off(tmp_path, issuer):
    async with running(tmp_path, oidc_subjects="ann", operator_token=False, **issuer.settings) as service:
        issuer.register(service.addresses.dashboard.url)
        for client in (await service.operator(), await service.stranger(Authorization="Bearer None")):
            for path in ("/api/dashboard", "/metrics"):
                assert error_of(await client.get(path)) == (401, Code.NOT_SIGNED_IN)
        assert (await (await service.scraper()).get("/metrics")).status_code == 200
        assert await is_in(await logged_in(service, issuer, "ann"))
        browser = await browser_of(service)
        code = (await service.signin.dashboard_link()).reveal()
        assert (await browser.post("/api/dashboard/open", json={"code": code})).status_code == 204
        assert await is_in(browser)


async def test_a_login_that_is_begun_at_one_service_ends_at_another(tmp_path, issuer, postgres):
    name = postgres.create()
    shared = {"database_url": postgres.url(name), "oidc_subjects": "ann", **issuer.settings}
    try:
        async with running(tmp_path, **shared) as first:
            # behind a proxy both have one address
            url = first.addresses.dashboard.url
            addresses = {"dashboard_url": url, "sign_in_url": first.addresses.sign_in.url}
            async with running(tmp_path, **shared, **addresses, node="nod_00000000000000000001") as second:
                issuer.register(url)
                browser = await browser_of(first)
                asked = (await browser.post("/api/dashboard/login")).json()["url"]
                async with issuer.person() as person:
                    back = (await signed_in(person, asked, "ann", back=url)).removeprefix(url)
                at_second = {"Host": url.removeprefix("http://")}
                there = await second.stranger(f"http://127.0.0.1:{second.port}", **at_second)
                there.headers["Cookie"] = f"antechamber_login={browser.cookies['antechamber_login']}"
                done = await there.get(back)
                assert done.status_code == 303, done.text
                given = done.headers.get_list("set-cookie")[0].partition(";")[0]
                assert (await (await first.stranger(Cookie=given)).get("/api/dashboard")).status_code == 200
                # and at neither once more
                kept = await first.stranger(Cookie=there.headers["Cookie"])
                assert error_of(await kept.get(back)) == (403, Code.LOGIN_NOT_VALID)
    finally:
        postgres.drop(name)


async def test_a_login_ends_at_its_time(tmp_path, issuer):
    clock = Clock()
    async with running(tmp_path, clock=clock, oidc_subjects="ann", **issuer.settings) as service:
        issuer.register(service.addresses.dashboard.url)
        browser = await logged_in(service, issuer, "ann")
        clock.ahead = LATE - timedelta(seconds=10)
        assert await is_in(browser)
        clock.ahead = LATE
        assert error_of(await browser.get("/api/dashboard")) == (401, Code.NOT_SIGNED_IN)


async def test_whoever_is_named_no_more_is_out_with_the_next_start(tmp_path, issuer):
    database = {"database_url": f"sqlite:///{tmp_path}/kept.db"}
    async with running(tmp_path, oidc_subjects="ann,bob", **database, **issuer.settings) as service:
        issuer.register(service.addresses.dashboard.url)
        cookie = (await logged_in(service, issuer, "ann")).cookies["antechamber_dashboard"]
    for settings, stays in (
        ({"oidc_subjects": "bob,ann", **issuer.settings}, True),
        ({"oidc_subjects": "bob", **issuer.settings}, False),
        ({}, False),
    ):
        async with running(tmp_path, **database, **settings) as service:
            assert await is_in(await service.stranger(Cookie=f"antechamber_dashboard={cookie}")) is stays


async def test_an_issuer_that_changes_its_keys_between_is_believed_by_the_new_ones(tmp_path, issuer):
    async with running(tmp_path, oidc_subjects="ann", **issuer.settings) as service:
        issuer.register(service.addresses.dashboard.url)
        await logged_in(service, issuer, "ann")
        issuer.close()
        issuer.start()
        assert await is_in(await logged_in(service, issuer, "ann"))


async def test_a_client_secret_in_a_file_is_read_at_each_login(tmp_path, issuer):
    file = tmp_path / "client-secret"
    file.write_text("DUMMY-an-old-one\n")
    settings = {**issuer.settings, "oidc_client_secret": None, "oidc_client_secret_file": file}
    async with running(tmp_path, oidc_subjects="ann", **settings) as service:
        issuer.register(service.addresses.dashboard.url)
        _, answered = await answer_of(service, issuer, "ann")
        assert error_of(answered) == (502, Code.ISSUER_NOT_BELIEVED)
        file.write_text(f"{issuer.secret}\n")
        assert await is_in(await logged_in(service, issuer, "ann"))
        file.unlink()
        _, answered = await answer_of(service, issuer, "ann")
        assert error_of(answered) == (503, Code.ISSUER_UNAVAILABLE)


async def test_while_the_issuer_is_away_that_is_said_and_nobody_is_put_out(tmp_path, issuer):
    # nobody listens there yet, and the service starts all the same
    async with running(tmp_path, oidc_subjects="ann", oidc_s=1, **issuer.settings) as service:
        browser = await browser_of(service)
        answered = await browser.post("/api/dashboard/login")
        assert error_of(answered) == (503, Code.ISSUER_UNAVAILABLE)
        assert answered.json()["error"]["retryable"]
        assert "antechamber link" in answered.json()["error"]["next"]
    issuer.register(service.addresses.dashboard.url)
    again = {"port": int(service.addresses.dashboard.url.rpartition(":")[2])}
    async with running(tmp_path, oidc_subjects="ann", oidc_s=1, **again, **issuer.settings) as service:
        browser = await logged_in(service, issuer, "ann")
        with issuer.hanging():
            assert await is_in(browser)
            assert await operator_of(browser) is not None
            await asyncio.wait_for(browser.post("/api/dashboard/logout"), 5)
        assert not await is_in(browser)


async def test_a_login_under_way_outlives_an_issuer_that_is_away_for_a_moment(tmp_path):
    with HostileIssuer() as issuer:
        async with running(tmp_path, oidc_subjects="ada", oidc_s=1, **issuer.settings) as service:
            browser, asked = await begun(service, issuer)
            issuer.instead["/token"] = stalling = Stalling()
            assert error_of(await browser.get(issuer.back(asked))) == (503, Code.ISSUER_UNAVAILABLE)
            stalling.let_go.set()
            issuer.instead.clear()
            assert (await browser.get(issuer.back(asked))).status_code == 303


async def test_without_an_issuer_there_is_no_login(tmp_path):
    async with running(tmp_path) as service:
        browser = await browser_of(service)
        assert error_of(await browser.post("/api/dashboard/login")) == (404, Code.NOT_FOUND)
        assert error_of(await browser.get("/login/callback?state=x&code=y")) == (404, Code.NOT_FOUND)
        assert error_of(await browser.post("/api/dashboard/logout")) == (401, Code.NOT_SIGNED_IN)


async def test_behind_https_the_logins_cookies_are_secure_and_their_names_say_so(tmp_path):
    urls = {"dashboard_url": "https://ante.example", "sign_in_url": "https://sign-in.ante.example"}
    with HostileIssuer() as issuer:
        async with running(tmp_path, oidc_subjects="ada", **urls, **issuer.settings) as service:
            named = {"Host": "ante.example", "Origin": "https://ante.example"}
            browser = await service.stranger(f"http://127.0.0.1:{service.port}", **named)
            begun_at = await browser.post("/api/dashboard/login")
            cookie = begun_at.headers["set-cookie"]
            assert cookie.startswith("__Host-antechamber_login=")
            for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/;", "Max-Age=600"):
                assert word in cookie
            asked = issuer.sent_to(begun_at.json()["url"])
            assert asked["redirect_uri"] == "https://ante.example/login/callback"
            done = await browser.get(issuer.back(asked), headers={"Cookie": cookie.partition(";")[0]})
            given, taken = done.headers.get_list("set-cookie")
            assert given.startswith("__Host-antechamber_dashboard=")
            for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/;", "Max-Age=43200"):
                assert word in given
            assert taken.startswith('__Host-antechamber_login=""')
