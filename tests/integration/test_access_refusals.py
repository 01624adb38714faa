import json
import logging

import pytest
from websockets.exceptions import InvalidStatus

from antechamber.model import new_secret
from tests.integration.test_relay import cookie_of, screen
from tests.integration.web_service import error_of, running

GOOD = {"user_id": "ada", "provider": "codex"}


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def test_a_refused_screen_is_no_error_to_the_log(service, caplog):
    session_id, browser, ticket = await service.ticketed()
    good, cookie = ("binary", f"ticket.{ticket}"), cookie_of(browser, session_id)
    refused = [
        (session_id, good, {}, "not_signed_in"),
        (session_id, good, {"cookie": cookie, "origin": "http://evil.example"}, "wrong_origin"),
        (session_id, ("binary",), {"cookie": cookie}, "ticket_not_valid"),
        (f"{session_id}%0A", good, {"cookie": cookie}, "not_found"),
    ]
    for named, offers, headers, code in refused:
        with pytest.raises(InvalidStatus) as caught:
            async with screen(service, named, *offers, **headers):
                pass
        assert json.loads(caught.value.response.body)["error"]["code"] == code
    await service.server.stop()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("route", ["consent", "ticket", "cancel", "open"])
async def test_on_the_sign_in_site_no_authorization_stands_in_for_the_origin(service, route):
    started = await service.start()
    session_id, browser = await service.opened(started)
    del browser.headers["Origin"]
    for token in (service.token, new_secret().reveal()):
        answer = await browser.post(
            f"/api/auth/session/{session_id}/{route}", json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert error_of(answer) == (403, "wrong_origin")
    assert (await service.signin.session(session_id)).consented_at is None


async def test_on_the_dashboard_site_only_the_operator_token_stands_in_for_the_origin(service):
    code = (await service.signin.dashboard_link()).reveal()
    browser = await service.stranger(Origin=service.addresses.dashboard.origin)
    assert (await browser.post("/api/dashboard/open", json={"code": code})).status_code == 204
    del browser.headers["Origin"]
    assert error_of(await browser.post("/api/auth/session", json=GOOD)) == (403, "wrong_origin")
    for sent in ("Bearer wrong", "Bearer", "", f"Basic {service.token}"):
        for path, body in (("/api/auth/session", GOOD), ("/api/dashboard/open", {"code": code})):
            answer = await browser.post(path, json=body, headers={"Authorization": sent})
            assert error_of(answer) == (401, "not_signed_in")
    answer = await browser.post("/api/auth/session", json=GOOD, headers={"Authorization": f"Bearer {service.token}"})
    assert answer.status_code == 201
