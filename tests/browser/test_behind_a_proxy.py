"""Dashboard, sign-in page and screen in a real Chromium that reaches them through nginx: https, HTTP/2, two names."""

import tempfile
from pathlib import Path

import pytest

from tests.browser.conftest import Person, installed, view
from tests.browser.unprivileged import chromium
from tests.integration import proxies
from tests.integration.web_service import running

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_f086_f086a_f086d_a_person_signs_in_through_nginx_and_the_pages_find_nothing_amiss(tmp_path):
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with (
        running(tmp_path, world="demo", installed=installed, heartbeat_s=1, **proxies.URLS) as service,
        proxies.behind("nginx", folder, service) as proxy,
    ):
        names = ",".join(
            f"MAP {name}:443 {proxies.LOOPBACK}:{proxy.port}" for name in (proxies.DASHBOARD, proxies.SIGN_IN)
        )
        with tempfile.TemporaryDirectory(prefix="antechamber-browser-") as home:
            async with chromium(Path(home), f"--host-resolver-rules={names}") as browser:
                # the certificate is the test's own; that it is checked is not this test's matter
                context = await browser.new_context(ignore_https_errors=True)
                person = Person(context, service)
                dashboard = await person.dashboard()
                async with context.expect_page() as opening:
                    await dashboard.get_by_role("button", name="Connect Codex").click()
                page = await opening.value
                await view(page, "consent")
                assert page.url.startswith(f"https://{proxies.SIGN_IN}/s/")
                session_id = page.url.partition("/s/")[2].partition("#")[0]
                await page.get_by_role("button", name="Agree").click()
                await service.ready(session_id)
                far = await person.far_end(page)
                await page.keyboard.type("a")
                while (ord("a"), True) not in far.keys:
                    await far.seen.wait()
                    far.seen.clear()
                protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
                assert await page.evaluate(protocol) == "h2"
                cookies = {cookie["name"]: cookie for cookie in await context.cookies()}
                assert set(cookies) == {f"__Host-antechamber_{session_id}", "__Host-antechamber_dashboard"}
                assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies.values())
                await person.capture(session_id)
                await page.get_by_role("heading", name="Connected as").wait_for()
                await far.end()
                assert person.faults == []


async def test_a_neighbour_under_the_same_domain_cannot_plant_a_session_of_its_own(tmp_path):
    """Eve has been let in to a session of hers, and would have the victim's browser be in it as well."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    neighbour = "neighbour.example.com"
    async with (
        running(tmp_path, world="demo", installed=installed, **proxies.URLS) as service,
        proxies.behind("nginx", folder, service) as proxy,
    ):
        session_id, eve = await service.opened()
        (planted,) = [value for name, value in eve.cookies.items() if session_id in name]
        names = f"MAP {proxies.SIGN_IN}:443 {proxies.LOOPBACK}:{proxy.port}"
        with tempfile.TemporaryDirectory(prefix="antechamber-browser-") as home:
            async with chromium(Path(home), f"--host-resolver-rules={names}") as browser:
                context = await browser.new_context(ignore_https_errors=True)
                await context.route(f"https://{neighbour}/", lambda route: route.fulfill(body="<title>x</title>"))
                page = await context.new_page()
                await page.goto(f"https://{neighbour}/")
                for prefix in ("__Host-", "__Secure-", ""):
                    for path in ("/", f"/api/auth/session/{session_id}"):
                        await page.evaluate(
                            "(cookie) => { document.cookie = cookie; }",
                            f"{prefix}antechamber_{session_id}={planted}; Domain=example.com; Path={path}; Secure",
                        )
                there = await context.cookies(f"https://{proxies.SIGN_IN}/api/auth/session/{session_id}")
                # the browser itself keeps the one that counts out, and lets the others in
                assert {cookie["name"] for cookie in there} == {
                    f"__Secure-antechamber_{session_id}",
                    f"antechamber_{session_id}",
                }
                await page.goto(f"https://{proxies.SIGN_IN}/s/{session_id}")
                await view(page, "closed")
