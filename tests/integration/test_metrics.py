"""What the metrics say of sign-ins, and who may read them: real store, reconciler, app and sockets."""

import asyncio
import json

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from websockets.asyncio.client import connect

from antechamber.errors import Code
from antechamber.metrics import TABLE, Fixed, Kind, Scrape, watch_loop
from antechamber.metrics.collect import endings, whole_at
from antechamber.model import Reason, SessionStatus
from antechamber.store.standing import LIVE_MACHINES, LIVE_SESSIONS
from tests.integration.scene import WHOLE, scene
from tests.integration.web_service import error_of, no_faults, running

HISTOGRAMS = [metric.name for metric in TABLE if metric.kind is Kind.HISTOGRAM]


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def samples(text):
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value for family in families(text) for one in family.samples
    }


def durations(metrics, name, **labels):
    return value(metrics, f"{name}_count", **labels), value(metrics, f"{name}_sum", **labels)


async def test_each_duration_of_a_sign_in_is_what_its_committed_events_say(tmp_path):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        assert await guest.sign_in(WHOLE) is None
        row = await stage.machine_ended(session.id)
        done = await stage.signin.session(session.id)
        at = {event.kind: event for event in await stage.store.sessions.events(session.id, machines=True)}
        metrics = stage.metrics

    def between(one, other):
        return pytest.approx((other - one).total_seconds(), abs=1e-6)

    ready_at = at["machine_ready"].at
    assert durations(metrics, "antechamber_session_ready_seconds", provider="codex") == (
        1,
        between(done.created_at, ready_at),
    )
    assert durations(metrics, "antechamber_first_sight_seconds", provider="codex") == (
        1,
        between(ready_at, done.screen_seen_at),
    )
    assert durations(metrics, "antechamber_sign_in_seconds", provider="codex") == (
        1,
        between(done.screen_seen_at, done.ended_at),
    )
    count, seconds = durations(metrics, "antechamber_capture_stored_seconds", provider="codex")
    assert (count, seconds) == (1, max(0, (done.ended_at - whole_at(at["captured"].fields)).total_seconds()))
    assert durations(metrics, "antechamber_machine_start_seconds", phase="requested") == (
        1,
        between(row.created_at, at["boot_began"].at),
    )
    assert durations(metrics, "antechamber_machine_start_seconds", phase="booting") == (
        1,
        between(at["boot_began"].at, at["ready"].at),
    )
    assert durations(metrics, "antechamber_machine_stop_seconds") == (1, between(at["stop_asked"].at, row.ended_at))
    ended = "antechamber_sessions_ended_total"
    assert value(metrics, ended, provider="codex", status="completed", reason="none") == 1
    assert value(metrics, "antechamber_machines_ended_total", state="gone") == 1
    assert value(metrics, "antechamber_machines_attended") == 0
    assert value(metrics, "antechamber_egress_requests_total", verdict="allowed") >= 1
    assert value(metrics, "antechamber_egress_bytes_total", direction="in") > 0


async def test_a_restart_in_between_neither_loses_nor_shortens_a_duration(tmp_path):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        before = stage.metrics
        await stage.restart()
        assert stage.metrics is not before
        assert await guest.sign_in(WHOLE) is None
        done = await stage.until(session.id, SessionStatus.COMPLETED)

        count, seconds = durations(stage.metrics, "antechamber_sign_in_seconds", provider="codex")
        assert (count, seconds) == (1, pytest.approx((done.ended_at - done.screen_seen_at).total_seconds(), abs=1e-6))
        assert value(before, "antechamber_sign_in_seconds_count", provider="codex") == 0
        assert value(before, "antechamber_session_ready_seconds_count", provider="codex") == 1
        assert value(stage.metrics, "antechamber_session_ready_seconds_count", provider="codex") == 0


async def test_an_ending_counts_once_with_its_reason_however_often_it_is_told(tmp_path):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        guest.crash(1)
        await stage.until(session.id, SessionStatus.FAILED)
        await stage.machine_ended(session.id)
        counted = {
            (sample.labels["status"], sample.labels["reason"])
            for family in stage.metrics.registry.collect()
            if family.name == "antechamber_sessions_ended"
            for sample in family.samples
            if sample.name.endswith("_total") and sample.value
        }
        assert counted == {("failed", "machine_ended")}
        assert value(stage.metrics, "antechamber_machines_ended_total", state="lost") == 1
        assert value(stage.metrics, "antechamber_machine_stop_seconds_count") == 0


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as opened:
        yield opened


async def scraped(service, **headers):
    answer = await (await service.scraper(**headers)).get("/metrics")
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_page_holds_every_metric_of_the_table_and_nothing_unknown(service):
    text = (await scraped(service)).text
    found = {family.name: family for family in families(text)}
    ours = {metric.name.removesuffix("_total"): metric for metric in TABLE}
    others = {name for name in found if not name.startswith("antechamber_")}

    assert {name for name in found if name.startswith("antechamber_")} == set(ours)
    assert all(name.startswith(("process_", "python_")) for name in others)
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "python_info"} <= others
    for name, metric in ours.items():
        assert (found[name].type, found[name].documentation) == (metric.kind, metric.help)
        for sample in found[name].samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample


async def test_every_word_of_a_label_is_there_before_it_first_happens(service):
    found = samples((await scraped(service)).text)

    for status, reason in endings():
        key = ("antechamber_sessions_ended_total", (("provider", "codex"), ("reason", reason), ("status", status)))
        assert found[key] == 0
    assert {reason for _, reason in endings()} == {*Reason, "none"}
    for code in Code:
        assert found[("antechamber_requests_refused_total", (("code", code),))] == 0


async def test_live_sessions_and_machines_are_counted_in_the_database(service):
    for user in ("ada", "bob"):
        await service.start(user_id=user)
    ended = await service.start(user_id="eve")
    await service.signin.cancel(ended["session_id"], by_person=False)
    found = samples((await scraped(service)).text)

    def live(status, provider="codex"):
        return found[("antechamber_sessions", (("provider", provider), ("status", status)))]

    assert (live("pending"), live("starting"), live("pending", "gemini")) == (2, 0, 0)
    assert found[("antechamber_machines", (("state", "requested"),))] == 3
    assert found[("antechamber_machine_longest_seconds", (("state", "requested"),))] > 0
    assert found[("antechamber_machine_longest_seconds", (("state", "stopping"),))] == 0
    assert found[("antechamber_sessions_created_total", (("provider", "codex"),))] == 3


async def test_counting_what_is_live_does_not_read_what_has_ended(service):
    async with service.store._database.read() as connection:
        for statement in (LIVE_SESSIONS, LIVE_MACHINES):
            text = str(statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            plan = " ".join(row[-1] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
            assert "USING INDEX" in plan
            assert "_due" in plan, plan


async def test_no_label_tells_of_a_person_a_session_or_a_host(service):
    session_id, browser = await service.opened(await service.start(user_id="ada-lovelace"))
    await service.ready(session_id)
    await browser.get("/api/auth/session/ses_00000000000000000000")
    await service.capture(session_id)
    text = (await scraped(service)).text

    assert [word for word in ("ada-lovelace", "ses_", "mac_", "DUMMY", "localhost", "127.0.0.1") if word in text] == []


async def test_requests_that_are_refused_are_counted_by_their_code(service):
    stranger = await service.stranger()
    operator = await service.operator()
    await stranger.get("/api/dashboard")
    await operator.post("/api/auth/session", json={"user_id": "ada", "provider": "none"})
    await operator.post("/api/auth/session", content="x")
    await operator.get("/no/such")
    found = samples((await scraped(service)).text)

    def refused(code):
        return found[("antechamber_requests_refused_total", (("code", code),))]

    counts = [refused(code) for code in ("not_signed_in", "unknown_provider", "not_json", "not_found", "internal")]
    assert counts == [1, 1, 1, 1, 0]


async def test_a_capture_is_measured_until_each_open_stream_has_been_told(service):
    session_id, browser = await service.opened()
    await service.ready(session_id)
    path = f"/api/auth/session/{session_id}/events"
    async with browser.stream("GET", path) as answer:
        lines = answer.aiter_lines()
        while "opened" not in await anext(lines):
            pass
        found = samples((await scraped(service)).text)
        assert found[("antechamber_event_streams_open", ())] == 1
        await service.capture(session_id)
        async for _ in lines:
            pass
    async with browser.stream("GET", path) as answer:
        assert "captured" in (await answer.aread()).decode()
    found = samples((await scraped(service)).text)
    # the second stream was opened after it: what it was told says nothing of how long that takes
    assert found[("antechamber_capture_told_seconds_count", ())] == 1
    assert found[("antechamber_event_streams_open", ())] == 0


async def test_a_screens_bytes_are_counted_both_ways(service):
    session_id, browser, ticket = await service.ticketed()
    url = f"{service.addresses.sign_in.websocket_origin}/api/auth/session/{session_id}/screen"
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with connect(
        url,
        origin=service.addresses.sign_in.origin,
        subprotocols=["binary", f"ticket.{ticket}"],
        additional_headers={"Cookie": cookie},
        proxy=None,
    ) as page:
        far = await service.stage.screens.get()
        far.writer.write(b"x" * 1000)
        assert await page.recv() == b"x" * 1000
        await page.send(b"12345")
        assert await far.reader.readexactly(5) == b"12345"
        found = samples((await scraped(service)).text)
        assert found[("antechamber_relays_open", ())] == 1
    while found[("antechamber_relays_open", ())]:
        found = samples((await scraped(service)).text)
    assert found[("antechamber_relay_bytes_total", (("direction", "to_page"),))] == 1000
    assert found[("antechamber_relay_bytes_total", (("direction", "to_machine"),))] == 5
    far.writer.close()


async def test_the_page_speaks_openmetrics_where_that_is_asked_for(service):
    answer = await scraped(service, Accept="application/openmetrics-text; version=1.0.0")

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "antechamber_sessions_ended" in {family.name for family in open_families(answer.text)}


async def test_without_its_database_the_page_says_so_and_shows_no_old_numbers(service, tmp_path):
    await service.start()
    await scraped(service)
    # closes what is open; the next transaction connects anew
    await service.store.close()
    (tmp_path / "test.db").rename(tmp_path / "away")
    (tmp_path / "test.db").mkdir()
    found = samples((await scraped(service)).text)

    assert found[("antechamber_store_up", ())] == 0
    assert found[("antechamber_ready", ())] == 0
    assert [name for name, _ in found if name in {"antechamber_sessions", "antechamber_machines"}] == []
    assert found[("antechamber_store_unavailable_total", (("kind", "read"),))] == 1


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}])
async def test_without_a_token_nothing_is_shown(service, header):
    stranger = await service.stranger(**header)

    assert error_of(await stranger.get("/metrics")) == (401, "not_signed_in")


async def test_the_operator_reads_the_metrics_too(service):
    assert (await (await service.operator()).get("/metrics")).status_code == 200


async def test_the_scrapers_token_opens_nothing_else(service):
    scraper = await service.scraper()
    for method, path in (
        ("GET", "/api/dashboard"),
        ("GET", "/api/auth/sessions"),
        ("GET", "/api/credentials"),
        ("GET", "/openapi.json"),
        ("POST", "/api/auth/session"),
        ("POST", "/metrics"),
    ):
        assert error_of(await scraper.request(method, path, json={})) == (401, "not_signed_in"), path


async def test_the_sign_in_site_has_no_metrics(service):
    token = service.measured.token.reveal()
    stranger = await service.stranger(service.addresses.sign_in.url, Authorization=f"Bearer {token}")

    assert error_of(await stranger.get("/metrics")) == (421, "wrong_host")


async def test_a_listener_of_its_own_serves_metrics_for_their_token_and_nothing_else(service):
    base = await service.metrics_listener()
    token = service.measured.token.reveal()
    scraper = await service.stranger(base, Authorization=f"Bearer {token}", Host="scraped.example")
    answer = await scraper.get("/metrics")
    assert answer.status_code == 200
    assert "antechamber_build_info" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/api/dashboard", "/api/auth/sessions", "/healthz", "/metrics/x"):
        assert error_of(await scraper.get(path)) == (404, "not_found")
    assert error_of(await scraper.post("/metrics", json={})) == (405, "method_not_allowed")
    operator = await service.stranger(base, Authorization=f"Bearer {service.token}")
    for stranger in (operator, await service.stranger(base)):
        assert error_of(await stranger.get("/metrics")) == (401, "not_signed_in")


async def test_a_busy_event_loop_is_seen(service):
    metrics = service.measured.metrics
    watching = asyncio.get_running_loop().create_task(watch_loop(metrics))
    while not value(metrics, "antechamber_event_loop_lag_seconds_count"):
        await asyncio.wait({watching}, timeout=0.05)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert value(metrics, "antechamber_event_loop_lag_seconds_sum") >= 0


def test_f099_every_name_and_label_keeps_prometheus_conventions():
    for metric in TABLE:
        assert metric.name.startswith("antechamber_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        if metric.kind is Kind.HISTOGRAM:
            assert metric.name.endswith("_seconds")
        assert metric.help.endswith(".")
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    assert json.dumps(HISTOGRAMS)


async def test_a_folder_whose_room_cannot_be_told_has_no_series_and_a_line_in_the_log(tmp_path, capfd):
    async with running(tmp_path) as service:
        fixed = Fixed(
            build={},
            key_id=lambda: "1",
            checks={},
            providers={},
            folders={"data": tmp_path, "machines": tmp_path / "nowhere"},
        )
        text, kind = await Scrape(service.measured.metrics, service.store.standing, no_faults, fixed).page("text/plain")
    assert "text/plain" in kind
    told = samples(text.decode())
    assert ("antechamber_disk_free_bytes", (("folder", "data"),)) in told
    assert ("antechamber_disk_free_bytes", (("folder", "machines"),)) not in told
    assert "the room in a folder cannot be told" in capfd.readouterr().out
