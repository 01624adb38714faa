from datetime import timedelta

import pytest

from antechamber.model import Secret, new_secret
from tests.integration.web_service import error_of, now, running

GOOD = {"user_id": "ada", "provider": "codex"}
OPERATOR_ROUTES = [
    ("GET", "/api/dashboard"),
    ("GET", "/api/providers"),
    ("GET", "/api/auth/sessions"),
    ("POST", "/api/auth/session"),
    ("GET", "/api/auth/session/{id}"),
    ("GET", "/api/auth/session/{id}/credentials"),
    ("GET", "/api/auth/session/{id}/events"),
    ("POST", "/api/auth/session/{id}/cancel"),
    ("GET", "/api/credentials"),
    ("GET", "/api/credentials/cred_00000000000000000000"),
    ("DELETE", "/api/credentials/cred_00000000000000000000"),
    ("GET", "/api/auth/session/{id}/story"),
    ("GET", "/api/changes"),
    ("GET", "/api/machines"),
    ("GET", "/api/credentials/cred_00000000000000000000/versions"),
    ("GET", "/api/tombstones"),
    ("GET", "/api/status"),
    ("GET", "/openapi.json"),
]
PERSON_ROUTES = [
    ("GET", ""),
    ("GET", "/events"),
    ("GET", "/destinations"),
    ("POST", "/consent"),
    ("POST", "/ticket"),
    ("POST", "/again"),
    ("POST", "/shown"),
    ("POST", "/reject"),
    ("POST", "/cancel"),
]


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


@pytest.mark.parametrize(("method", "path"), OPERATOR_ROUTES)
async def test_f046_every_operator_route_refuses_whoever_has_no_credentials_or_wrong_ones(service, method, path):
    session_id = (await service.start())["session_id"]
    path = path.replace("{id}", session_id)
    origin = service.addresses.dashboard.origin
    for headers in (
        {},
        {"Authorization": f"Bearer {new_secret().reveal()}"},
        {"Authorization": f"Basic {service.token}"},
        {"Authorization": "Bearer"},
        {"Authorization": ""},
        {"Cookie": f"antechamber_dashboard={new_secret().reveal()}"},
        {"Cookie": f"antechamber_dashboard={service.token}"},
    ):
        stranger = await service.stranger(Origin=origin, **headers)
        answer = await stranger.request(method, path, json={} if method == "POST" else None)
        assert error_of(answer) == (401, "not_signed_in"), headers
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), PERSON_ROUTES)
async def test_f046_every_person_route_takes_that_sessions_cookie_and_nothing_else(service, method, path):
    session_id, _ = await service.opened()
    other_id, other = await service.opened(await service.start(user_id="bob"))
    cookie = other.cookies.get(f"antechamber_{other_id}")
    origin = service.addresses.sign_in.origin
    for headers in (
        {},
        {"Authorization": f"Bearer {service.token}"},
        {"Cookie": f"antechamber_{other_id}={cookie}"},
        {"Cookie": f"antechamber_{session_id}={cookie}"},
        {"Cookie": f"antechamber_{session_id}={service.token}"},
        {"Cookie": f"antechamber_{session_id}="},
    ):
        stranger = await service.stranger(service.addresses.sign_in.url, Origin=origin, **headers)
        answer = await stranger.request(
            method, f"/api/auth/session/{session_id}{path}", json={} if method == "POST" else None
        )
        assert error_of(answer) == (401, "not_signed_in"), headers


async def test_each_route_answers_on_its_own_host_only(service):
    session_id, browser = await service.opened()
    operator = await service.operator()
    for path in ("/", "/api/providers", "/api/auth/sessions", f"/api/auth/session/{session_id}/credentials"):
        assert error_of(await browser.get(path)) == (421, "wrong_host"), path
    for path in (f"/s/{session_id}", f"/api/auth/session/{session_id}/destinations"):
        assert error_of(await operator.get(path)) == (421, "wrong_host"), path
    for path in ("open", "consent", "ticket", "reject"):
        answer = await operator.post(f"/api/auth/session/{session_id}/{path}", json={})
        assert error_of(answer) == (421, "wrong_host"), path
    assert error_of(await browser.get("/api/nothing")) == (404, "not_found")


@pytest.mark.parametrize("host", ["example.com", "localhost", "127.0.0.1", "localhost:1", "127.0.0.1.example.com"])
async def test_a_host_that_is_not_ours_is_refused(service, host):
    stranger = await service.stranger(Host=host)
    assert error_of(await stranger.get("/healthz")) == (421, "wrong_host")


async def test_the_dashboards_credentials_are_not_looked_at_on_the_sign_in_host_nor_the_other_way(service):
    code = (await service.signin.dashboard_link()).reveal()
    operator = await service.stranger(Origin=service.addresses.dashboard.origin)
    assert (await operator.post("/api/dashboard/open", json={"code": code})).status_code == 204
    dashboard_cookie = operator.cookies["antechamber_dashboard"]
    session_id, browser = await service.opened()
    session_cookie = browser.cookies[f"antechamber_{session_id}"]
    path = f"/api/auth/session/{session_id}"
    on_sign_in = await service.stranger(
        service.addresses.sign_in.url,
        Cookie=f"antechamber_dashboard={dashboard_cookie}; antechamber_{session_id}={dashboard_cookie}",
    )
    assert error_of(await on_sign_in.get(path)) == (401, "not_signed_in")
    on_dashboard = await service.stranger(
        Cookie=f"antechamber_{session_id}={session_cookie}; antechamber_dashboard={session_cookie}"
    )
    assert error_of(await on_dashboard.get(path)) == (401, "not_signed_in")


async def test_the_dashboards_link_opens_once_and_its_cookie_does_what_the_token_does(service):
    code = (await service.signin.dashboard_link()).reveal()
    browser = await service.stranger(Origin=service.addresses.dashboard.origin)
    answer = await browser.post("/api/dashboard/open", json={"code": code})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Domain" not in cookie
    assert (await browser.get("/api/auth/sessions")).status_code == 200
    assert (await browser.post("/api/auth/session", json=GOOD)).status_code == 201
    again = await browser.post("/api/dashboard/open", json={"code": code})
    assert error_of(again) == (403, "link_not_valid")


async def test_a_wrong_token_is_not_rescued_by_a_good_cookie(service):
    code = (await service.signin.dashboard_link()).reveal()
    browser = await service.stranger(Origin=service.addresses.dashboard.origin)
    await browser.post("/api/dashboard/open", json={"code": code})
    answer = await browser.get("/api/auth/sessions", headers={"Authorization": "Bearer wrong"})
    assert error_of(answer) == (401, "not_signed_in")


async def test_a_sign_in_link_opens_once_and_gives_a_cookie_of_that_session_only(service):
    started = await service.start()
    session_id, code = started["session_id"], started["sign_in_url"].partition("#")[2]
    browser = await service.browser()
    path = f"/api/auth/session/{session_id}"
    wrong = await browser.post(f"{path}/open", json={"code": new_secret().reveal()})
    assert error_of(wrong) == (403, "link_not_valid")
    answer = await browser.post(f"{path}/open", json={"code": code})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"antechamber_{session_id}=")
    assert f"Path={path}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert code not in cookie
    other = await service.browser()
    assert error_of(await other.post(f"{path}/open", json={"code": code})) == (403, "link_not_valid")
    assert (await browser.get(path)).status_code == 200
    of_another = (await service.start(user_id="bob"))["session_id"]
    refused = await browser.post(f"/api/auth/session/{of_another}/open", json={"code": code})
    assert error_of(refused) == (403, "link_not_valid")


async def test_an_unknown_session_is_told_to_whoever_asks_for_its_page(service):
    browser = await service.browser()
    path = "/api/auth/session/ses_00000000000000000000"
    assert error_of(await browser.get(path)) == (404, "session_not_found")
    assert error_of(await browser.post(f"{path}/open", json={"code": "x"})) == (404, "session_not_found")
    assert error_of(await browser.get("/api/auth/session/nonsense")) == (422, "malformed_id")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://localhost"])
async def test_an_unsafe_request_from_another_site_is_refused_whatever_it_carries(service, origin):
    session_id, browser = await service.opened()
    answer = await browser.post(f"/api/auth/session/{session_id}/consent", json={}, headers={"Origin": origin})
    assert error_of(answer) == (403, "wrong_origin")
    operator = await service.operator()
    answer = await operator.post("/api/auth/session", json=GOOD, headers={"Origin": origin})
    assert error_of(answer) == (403, "wrong_origin")
    assert (await service.signin.session(session_id)).consented_at is None


async def test_a_browsers_unsafe_request_must_say_where_it_comes_from(service):
    session_id, browser = await service.opened()
    del browser.headers["Origin"]
    answer = await browser.post(f"/api/auth/session/{session_id}/cancel", json={})
    assert error_of(answer) == (403, "wrong_origin")
    code = (await service.signin.dashboard_link()).reveal()
    stranger = await service.stranger()
    assert error_of(await stranger.post("/api/dashboard/open", json={"code": code})) == (403, "wrong_origin")


async def test_behind_https_the_cookies_are_secure_and_their_names_say_so(tmp_path):
    urls = {"dashboard_url": "https://ante.example", "sign_in_url": "https://sign-in.ante.example"}
    async with running(tmp_path, **urls) as service:
        port = service.server.port
        dashboard = await service.stranger(
            f"http://127.0.0.1:{port}", Host="ante.example", Origin="https://ante.example"
        )
        code = (await service.signin.dashboard_link()).reveal()
        cookie = (await dashboard.post("/api/dashboard/open", json={"code": code})).headers["set-cookie"]
        assert cookie.startswith("__Host-antechamber_dashboard=")
        assert "Secure" in cookie
        assert "Path=/;" in cookie
        started = (
            await dashboard.post("/api/auth/session", json=GOOD, headers={"Authorization": f"Bearer {service.token}"})
        ).json()
        assert started["sign_in_url"].startswith("https://sign-in.ante.example/s/ses_")
        person = await service.stranger(
            f"http://127.0.0.1:{port}",
            Host="sign-in.ante.example:443",
            Origin="https://sign-in.ante.example",
        )
        code = started["sign_in_url"].partition("#")[2]
        answer = await person.post(f"/api/auth/session/{started['session_id']}/open", json={"code": code})
        assert answer.headers["set-cookie"].startswith(f"__Host-antechamber_{started['session_id']}=")
        assert "Secure" in answer.headers["set-cookie"]


async def test_a_page_that_was_open_before_the_upgrade_goes_on(tmp_path):
    async with running(tmp_path, sign_in_url="https://sign-in.ante.example") as service:
        started = await service.start()
        session_id = started["session_id"]
        before = new_secret()
        at = now()
        link = Secret(started["sign_in_url"].partition("#")[2])
        await service.store.access.open_link(
            link, before, session_id=session_id, at=at, cookie_expires_at=at + timedelta(hours=24)
        )
        person = await service.stranger(
            f"http://127.0.0.1:{service.port}",
            Host="sign-in.ante.example",
            Origin="https://sign-in.ante.example",
            Cookie=f"__Secure-antechamber_{session_id}={before.reveal()}",
        )
        assert (await person.get(f"/api/auth/session/{session_id}")).status_code == 200
        assert (await person.post(f"/api/auth/session/{session_id}/consent", json={})).status_code == 200


async def test_only_the_sign_in_page_may_be_in_a_frame_and_only_of_the_listed_origins(tmp_path):
    listed = ("https://builds.example.com", "https://other.example.com:8443")
    async with running(tmp_path, embed_origins=listed) as service:
        session_id, browser = await service.opened()
        operator = await service.operator()
        page = await browser.get(f"/s/{session_id}")
        assert f"frame-ancestors {' '.join(listed)}" in page.headers["content-security-policy"]
        assert "x-frame-options" not in page.headers
        other = {"Host": service.addresses.dashboard.host}
        for answer in (
            await operator.get("/"),
            await operator.get("/applications"),
            await browser.get(f"/s/{session_id}", headers=other),
            await browser.get(f"/api/auth/session/{session_id}"),
            await browser.get("/static/base.css"),
            await browser.get("/", headers={"Host": "evil.example"}),
        ):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], answer.url
            assert answer.headers["x-frame-options"] == "DENY"


async def test_a_page_says_that_it_is_in_a_frame_and_where_none_is_listed_that_changes_nothing(tmp_path):
    for listed, attributes in (((), "SameSite=strict"), (("https://builds.example.com",), "Partitioned")):
        folder = tmp_path / str(len(listed))
        folder.mkdir()
        async with running(folder, embed_origins=listed) as service:
            started = await service.start()
            browser = await service.browser()
            code = {"code": started["sign_in_url"].partition("#")[2], "framed": True}
            answer = await browser.post(f"/api/auth/session/{started['session_id']}/open", json=code)
            assert attributes in answer.headers["set-cookie"]


async def test_every_answer_carries_the_security_headers(service):
    session_id, browser = await service.opened()
    operator = await service.operator()
    answers = [
        await operator.get("/"),
        await operator.get("/api/auth/sessions"),
        await operator.get("/api/nothing"),
        await browser.get(f"/s/{session_id}"),
        await browser.get(f"/api/auth/session/{session_id}"),
        await browser.get("/", headers={"Host": "evil.example"}),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    style = await browser.get("/static/base.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["cache-control"] == "no-cache"
    script = await browser.get("/static/api.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"


async def test_the_pages_say_nothing_before_somebody_is_known(service):
    stranger = await service.stranger()
    assert (await stranger.get("/")).headers["content-type"] == "text/html; charset=utf-8"
    person = await service.stranger(service.addresses.sign_in.url)
    one = await person.get("/s/ses_00000000000000000000")
    started = await service.start(display_name="Ada of the DUMMY name")
    other = await person.get(f"/s/{started['session_id']}")
    assert one.text == other.text
