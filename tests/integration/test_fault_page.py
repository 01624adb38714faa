"""A browser that is sent to an address where there is no page reads why; whoever calls the API gets the envelope."""

import base64
import hashlib
import re
from datetime import timedelta

import pytest

from antechamber.openid import WAY_BACK
from antechamber.web.fault_page import KINDS
from tests.integration.web_service import error_of, running

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
NOBODYS = "somebody.example"
SESSION = "/s/ses_00000000000000000000"


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path, world="demo") as service:
        yield service


def kind_of(answer):
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    (kind,) = re.findall(r'data-variant="([\w-]+)"', answer.text)
    return answer.status_code, kind


def links(answer):
    return re.findall(r'<a [^>]*href="([^"]+)"', answer.text)


async def test_a_browser_reads_in_words_what_is_at_each_address(service):
    dashboard, sign_in = service.addresses.dashboard.url, service.addresses.sign_in.url
    stranger = await service.stranger(**BROWSER)
    seen = set()
    for address, headers, expected, leads_to in [
        (f"{sign_in}/", {}, (421, "only-sign-ins"), [f"{dashboard}/"]),
        (
            f"{sign_in}/sessions/ses_00000000000000000000",
            {},
            (421, "only-sign-ins"),
            [f"{dashboard}/sessions/ses_00000000000000000000"],
        ),
        (
            f"{sign_in}/credentials/cred_00000000000000000000",
            {},
            (421, "only-sign-ins"),
            [f"{dashboard}/credentials/cred_00000000000000000000"],
        ),
        (f"{sign_in}/api/status", {}, (421, "only-sign-ins"), [f"{dashboard}/"]),
        (f"{dashboard}{SESSION}", {}, (421, "only-dashboard"), [f"{sign_in}{SESSION}"]),
        (f"{dashboard}/api/auth/session/x/destinations", {}, (421, "only-dashboard"), []),
        (f"{dashboard}/", {"Host": NOBODYS}, (421, "nobodys"), [f"{dashboard}/"]),
        (f"{dashboard}/nowhere", {}, (404, "nothing"), [f"{dashboard}/"]),
        (f"{dashboard}/a%2Fb", {}, (404, "nothing"), [f"{dashboard}/"]),
        (f"{dashboard}/static/nowhere.css", {}, (404, "nothing"), [f"{dashboard}/"]),
        (f"{sign_in}/nowhere", {}, (404, "nothing-here"), []),
        (f"{dashboard}/api/status", {}, (401, "other"), []),
        (f"{dashboard}/api/dashboard/open", {}, (405, "other"), []),
        # nobody logs in by an issuer here
        (f"{dashboard}{WAY_BACK}", {}, (404, "login"), [f"{dashboard}/"]),
    ]:
        answer = await stranger.get(address, headers=headers)
        assert kind_of(answer) == expected, address
        assert links(answer) == leads_to, address
        seen.add(expected[1])
    assert seen == set(KINDS)


async def test_whoever_calls_the_api_gets_the_envelope_at_the_same_addresses(service):
    stranger = await service.stranger()
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", "text/event-stream"):
        answer = await stranger.get("/nowhere", headers={"Accept": accept})
        assert error_of(answer) == (404, "not_found")
    # a page that sends a form or a script's request reads the envelope too
    answer = await stranger.post("/nowhere", json={}, headers=BROWSER)
    assert error_of(answer) == (404, "not_found")


async def test_the_page_brings_its_style_along_and_allows_no_other(service):
    stranger = await service.stranger(**BROWSER)
    for host in (service.addresses.dashboard.host, NOBODYS):
        answer = await stranger.get("/nowhere", headers={"Host": host})
        (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer.headers["content-security-policy"]
        assert f"style-src 'sha256-{digest}'" in policy
        assert "script-src" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert (answer.headers["cache-control"], answer.headers["x-frame-options"]) == ("no-store", "DENY")
        assert answer.headers["x-request-id"]
        assert not re.search(r"<script|\son\w+=|(?:src|href)=\"/", answer.text)
        assert "Practice world." in answer.text


async def test_what_somebody_put_into_the_address_is_not_in_the_page(service):
    stranger = await service.stranger(**BROWSER)
    for address in ("/DUMMYnowhere?x=DUMMYquery", "/%3Cscript%3EDUMMY", "/sessions/DUMMY%22"):
        assert "DUMMY" not in (await stranger.get(address)).text
    assert "DUMMY" not in (await stranger.get("/", headers={"Host": 'DUMMY"><b>'})).text


async def test_a_browser_that_comes_while_the_service_stops_reads_that(service):
    stranger = await service.stranger(**BROWSER)
    assert (await stranger.get("/")).status_code == 200
    assert await service.app.closing.end(timedelta(seconds=5))
    answer = await stranger.get("/sessions")
    assert kind_of(answer) == (503, "other")
    assert "The service is stopping." in answer.text
