"""The stand-in's own side: its process, its control socket, its modes, and the practice world made of it."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import tempfile
from pathlib import Path

import httpx
import pytest

from antechamber.egress import Policy
from antechamber.errors import Code, OperatorError
from antechamber.guest.protocol import EgressAnswer
from antechamber.testing.practice import PRACTICE_ADDRESS, StandInClient, practice_world
from tests.integration.standin_person import browser, callback, claude, codex, open_page, running
from tests.unit.egress_scene import Scene

TOKEN = "https://auth.openai.com/oauth/token"


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="standin-") as made:
        yield Path(made) / "s"


@pytest.fixture(scope="module")
def process():
    with running() as client:
        yield client


@pytest.fixture
async def standin(process):
    await process.mode(reset=True)
    return process


@pytest.fixture
async def fresh(folder):
    """A stand-in that nobody has asked for anything yet."""
    client = await StandInClient.start(folder)
    yield client
    await client.stop()


@pytest.fixture
async def person(standin):
    async with browser(standin.folder, standin.ca) as client:
        yield client


async def test_it_outlives_who_started_it_and_is_found_again_with_the_same_ca(folder):
    assert await StandInClient.find(folder) is None
    first = await StandInClient.start(folder)
    again = await StandInClient.start(folder)
    assert again.ca == first.ca
    await first.stop()
    assert await StandInClient.find(folder) is None
    await first.stop()
    other = await StandInClient.start(folder)
    assert other.ca != first.ca, "the key was in the memory of a process that has ended"
    await other.stop()


async def test_two_starts_at_once_make_one(folder):
    one, two = await asyncio.gather(StandInClient.start(folder), StandInClient.start(folder))
    assert one.ca == two.ca
    await one.stop()


async def test_nothing_but_sockets_a_lock_and_a_log_is_on_the_disk_and_only_for_its_owner(fresh):
    async with browser(fresh.folder, fresh.ca) as client:
        await client.get("https://claude.com/favicon.ico")
    assert {path.name for path in fresh.folder.iterdir()} == {"tls.sock", "plain.sock", "control.sock", "lock", "log"}
    assert stat.S_IMODE(fresh.folder.stat().st_mode) == 0o700
    for name in ("tls.sock", "plain.sock", "control.sock", "lock"):
        assert stat.S_IMODE((fresh.folder / name).stat().st_mode) == 0o600
    assert (fresh.folder / "log").read_bytes() == b""


async def test_it_ends_when_nobody_asks_for_anything(folder):
    # long enough for two questions on a computer that is busy
    await StandInClient.start(folder, idle_s=2)
    await asyncio.to_thread(_until_free, folder)
    assert await StandInClient.find(folder) is None


async def test_a_path_that_is_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(OperatorError) as caught:
        await StandInClient.start(tmp_path / ("x" * 100))
    assert caught.value.code is Code.MISCONFIGURED


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another uid needs root")
async def test_a_folder_of_another_owner_is_refused(folder):
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(OperatorError) as caught:
        await StandInClient.start(folder)
    assert caught.value.code is Code.WRONG_OWNER


async def test_a_beacon_says_which_page_was_shown_and_whether_a_program_drives_the_browser(standin, person):
    before = max((beacon.n for beacon in await standin.beacons()), default=0)
    waiting = asyncio.get_running_loop().create_task(standin.beacons(after=before, wait=30))
    page = await open_page(person, codex().url())
    shown = {"page": page.name, "path": "/practice/x/email", "vendor": "codex", "sign_in": "x", "webdriver": False}
    assert (await person.post("https://auth.openai.com/practice/beacon", json=shown)).status_code == 204
    (beacon,) = await waiting
    assert (beacon.n, beacon.page, beacon.host, beacon.webdriver) == (before + 1, "email", "auth.openai.com", False)
    for webdriver in (True, None):
        await person.post("https://claude.com/practice/beacon", json={**shown, "page": "code", "webdriver": webdriver})
    assert [(later.page, later.webdriver) for later in await standin.beacons(after=before + 1)] == [("code", True)] * 2
    assert await standin.beacons(after=before + 3, wait=0) == []
    for bad in ({"page": "other"}, [], {**shown, "path": "x" * 5000}):
        assert (await person.post("https://claude.com/practice/beacon", json=bad)).status_code == 400


async def test_each_page_carries_the_script_of_its_beacon(person):
    text = (await open_page(person, claude().url())).answer.text
    assert "requestAnimationFrame(() => requestAnimationFrame(" in text
    assert "/practice/beacon" in text
    assert "navigator.webdriver" in text


async def test_what_it_does_not_serve_is_written_down_without_the_query(fresh):
    async with browser(fresh.folder, fresh.ca) as client:
        assert (await client.get("https://auth.openai.com/new/path?code=DUMMY-x")).status_code == 404
        assert (await client.get("https://auth.openai.com/oauth/token")).status_code == 405
        assert (await client.get("https://claude.com/x", headers={"Host": "new.claude.com"})).status_code == 421
        with pytest.raises(httpx.ConnectError):
            await client.get("https://statsig.dev/")
    odd = await fresh.odd()
    assert [(entry.host, entry.path) for entry in odd.requests] == [
        ("auth.openai.com", "/new/path"),
        ("auth.openai.com", "/oauth/token"),
        ("new.claude.com", "/x"),
    ]
    assert odd.tls_names == ("statsig.dev",)


async def test_plain_http_leads_to_https(standin):
    async with browser(standin.folder, standin.ca, plain=True) as client:
        answer = await client.get("http://claude.com/cai/oauth/authorize?x=y")
    assert (answer.status_code, answer.headers["location"]) == (308, "https://claude.com/cai/oauth/authorize")


async def test_a_mode_that_is_not_known_changes_nothing(standin):
    for bad in ({"consent": "maybe"}, {"nonsense": 1}, {"slow_s": -1}):
        with pytest.raises(httpx.HTTPStatusError):
            await standin.mode(**bad)
    assert (await standin.mode(plan="team"))["plan"] == "team"
    assert (await standin.mode(consent="deny"))["plan"] == "team"
    assert (await standin.mode(reset=True)) == {
        "plan": None,
        "consent": "grant",
        "slow_s": 0,
        "token": "ok",
        "callback": "right",
        "token_lifetime_s": None,
        "renewed_lifetime_s": None,
        "rotate": None,
        "refresh": "whole",
    }


@pytest.mark.parametrize(("mode", "status"), [("refuse", 400), ("fail", 503), ("garbage", 200)])
async def test_the_token_endpoint_can_go_wrong(standin, person, mode, status):
    asked = codex()
    given = await callback(person, asked.url())
    await standin.mode(token=mode)
    answer = await person.post(TOKEN, data=asked.token_request(given["code"]))
    assert answer.status_code == status
    assert "refresh_token" not in answer.text


async def test_a_hanging_token_endpoint_answers_when_the_mode_ends(standin, person):
    asked = codex()
    given = await callback(person, asked.url())
    await standin.mode(token="hang")
    hanging = asyncio.get_running_loop().create_task(person.post(TOKEN, data=asked.token_request(given["code"])))
    assert await standin.beacons(after=1_000_000, wait=0.1) == []
    assert not hanging.done()
    await standin.mode(token="ok")
    assert (await hanging).status_code == 200


async def test_consent_can_be_refused_by_the_vendor(standin, person):
    await standin.mode(consent="deny")
    assert (await callback(person, codex().url()))["error"] == "access_denied"


async def test_the_callback_can_come_with_a_wrong_a_missing_or_a_replayed_state(standin, person):
    first = codex()
    before = await callback(person, first.url())
    await standin.mode(callback="wrong_state")
    asked = codex()
    assert (await callback(person, asked.url()))["state"] != asked.state
    await standin.mode(callback="no_state")
    assert "state" not in await callback(person, codex().url())
    await standin.mode(callback="right")
    before = await callback(person, first.url())
    await standin.mode(callback="replay")
    assert await callback(person, codex().url()) == before
    await standin.mode(callback="wrong_code")
    wrong = await callback(person, asked.url())
    assert wrong["state"] == asked.state
    assert (await person.post(TOKEN, data=asked.token_request(wrong["code"]))).status_code == 400


async def test_the_practice_world_passes_the_unchanged_policy_and_reaches_the_stand_in_alone(standin):
    world = practice_world(standin)
    assert (world.name, world.trust_anchors) == ("demo", (standin.ca,))
    policy = Policy()
    for name in standin.names:
        assert policy.judge_name(name).allowed
        found = await world.resolver.resolve(name)
        assert [policy.judge_address(address).allowed for address in found.addresses] == [True]
    assert (await world.resolver.resolve("other.dev")).answer is EgressAnswer.NXDOMAIN
    stream = await world.connector.connect(str(PRACTICE_ADDRESS), 80, "claude.com")
    stream.writer.write(b"GET /x HTTP/1.0\r\nHost: claude.com\r\n\r\n")
    assert (await stream.reader.read()).startswith(b"HTTP/1.1 308")
    stream.writer.close()
    for address, port in (("127.0.0.1", 443), (str(PRACTICE_ADDRESS), 22)):
        with pytest.raises(ConnectionRefusedError):
            await world.connector.connect(address, port, "claude.com")


async def test_tls_for_a_name_of_the_stand_in_reaches_it_through_the_way_out_and_for_another_does_not(standin):
    world = practice_world(standin)
    way_out = Scene(world.resolver, world.connector, policy=Policy())
    believing = ssl.create_default_context(cadata=standin.ca)
    guest = await way_out.ask("connect", "claude.com")
    assert await guest.answer() == "ok"
    await guest.writer.start_tls(believing, server_hostname="claude.com")
    guest.writer.write(b"GET /x HTTP/1.1\r\nHost: claude.com\r\nConnection: close\r\n\r\n")
    assert (await guest.reader.readline()).startswith(b"HTTP/1.1 ")
    guest.writer.transport.abort()
    await guest.task
    guest = await way_out.ask("connect", "claude.com")
    assert await guest.answer() == "ok"
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await guest.writer.start_tls(believing, server_hostname="auth.openai.com")
    await guest.task
    assert "auth.openai.com" in standin.names
    assert [(use.name, use.verdict.value) for use in way_out.egress.uses()] == [
        ("claude.com", "allowed"),
        ("claude.com", "wrong_server_name"),
    ]


def _until_free(folder):
    import fcntl

    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
