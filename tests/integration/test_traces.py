"""The trace of a sign-in at a real OTLP receiver, and what a collector that is away or silent costs."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from antechamber.errors import Code, OperatorError
from antechamber.model import SessionStatus
from antechamber.settings import Settings, read_settings
from antechamber.tracing import Story, Tracing, parent_of
from tests.integration.scene import WHOLE, scene
from tests.integration.web_service import running
from tests.servers import Answering

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Collector(Answering):
    """Takes traces by OTLP over HTTP."""

    def spans(self):
        """Return every span that has come, by name, and the resource's attributes."""
        found, resource = {}, {}
        for path, headers, body in self.asked:
            assert (path, headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource |= {one.key: one.value.string_value for one in part.resource.attributes}
                for scope in part.scope_spans:
                    for span in scope.spans:
                        assert span.name not in found
                        found[span.name] = span
        return found, resource


@pytest.fixture
def collector():
    with Collector() as running_one:
        yield running_one


def seconds(span):
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


async def signed_in(tmp_path, endpoint, *, restart=False, **changes):
    """Let one session complete and its machine end, and the service stop; return the session and its machine."""
    async with scene(tmp_path, otlp_endpoint=endpoint) as stage:
        session, guest = await stage.awaiting(**changes)
        await stage.signin.screen_seen(session.id)
        if restart:
            await stage.restart()
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        row = await stage.machine_ended(session.id)
        return await stage.signin.session(session.id), row


@pytest.mark.parametrize("restart", [False, True])
async def test_a_sign_in_is_one_trace_with_the_times_of_its_events(tmp_path, collector, restart):
    session, machine = await signed_in(tmp_path, collector.url, restart=restart)
    spans, resource = collector.spans()

    assert resource["service.name"] == "antechamber"
    parents = {span.span_id: name for name, span in spans.items()}
    tree = {name: parents.get(span.parent_span_id) for name, span in spans.items()}
    assert tree == {
        "sign-in": None,
        "pending": "sign-in",
        "starting": "sign-in",
        "machine boot": "starting",
        "page asked": "starting",
        "browser confined": "starting",
        "page painted": "starting",
        "awaiting": "sign-in",
        "first sight": "awaiting",
        "person": "awaiting",
        "capture": "sign-in",
        "check": "capture",
        "seal": "capture",
        "machine stop": "sign-in",
    }
    assert {span.trace_id for span in spans.values()} == {spans["sign-in"].trace_id}
    whole = machine.ended_at - session.created_at
    assert seconds(spans["sign-in"]) == pytest.approx(whole.total_seconds(), abs=1e-5)
    boot = "machine boot"
    assert spans["page asked"].start_time_unix_nano == spans[boot].start_time_unix_nano
    for name in ("browser confined", "page painted"):
        assert spans[name].start_time_unix_nano == spans["page asked"].end_time_unix_nano
    for name, span in spans.items():
        assert span.start_time_unix_nano >= spans["sign-in"].start_time_unix_nano - 10**9, name
        assert span.end_time_unix_nano <= spans["sign-in"].end_time_unix_nano, name
    person = session.ended_at - session.screen_seen_at
    assert seconds(spans["person"]) == pytest.approx(person.total_seconds(), abs=1e-5)
    said = {one.key: one.value.string_value for one in spans["sign-in"].attributes}
    assert (said["antechamber.session"], said["antechamber.status"]) == (session.id, "completed")
    assert (said["antechamber.provider"], said["antechamber.driver"]) == ("codex", "scripted")
    assert spans["sign-in"].status.code == 0


async def test_no_user_and_no_secret_is_in_a_trace(tmp_path, collector):
    await signed_in(tmp_path, collector.url, user_id="ada-lovelace", display_name="Ada L", purpose="nightly")
    everything = b"".join(body for _, _, body in collector.asked)

    assert collector.asked
    assert [word for word in (b"ada-lovelace", b"Ada L", b"nightly", b"DUMMY", b"openai") if word in everything] == []


async def test_a_trace_hangs_on_the_callers_span(tmp_path, collector):
    await signed_in(tmp_path, collector.url, traceparent=CALLER)
    spans, _ = collector.spans()

    assert spans["sign-in"].trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert spans["sign-in"].parent_span_id.hex() == "00f067aa0ba902b7"


async def test_what_the_caller_does_not_record_is_not_sent(tmp_path, collector):
    await signed_in(tmp_path, collector.url, traceparent=CALLER[:-2] + "00")

    assert collector.asked == []


async def test_a_failed_sign_in_says_its_reason_and_leaves_out_what_never_was(tmp_path, collector):
    async with scene(tmp_path, otlp_endpoint=collector.url) as stage:
        session, guest = await stage.awaiting()
        guest.crash(1)
        await stage.machine_ended(session.id)
        await stage.until(session.id, SessionStatus.FAILED)
    spans, _ = collector.spans()

    assert (spans["sign-in"].status.code, spans["sign-in"].status.message) == (2, "machine_ended")
    assert {"capture", "person", "machine stop"} & set(spans) == set()
    assert "awaiting" in spans


async def test_a_session_that_is_cancelled_at_once_has_its_trace_too(tmp_path, collector):
    async with scene(tmp_path, otlp_endpoint=collector.url) as stage:
        session = await stage.start()
        await stage.signin.cancel(session.id, by_person=False)
        await stage.machine_ended(session.id)
    spans, _ = collector.spans()

    assert {"sign-in", "pending"} <= set(spans)
    assert spans["sign-in"].status.code == 0


@contextlib.contextmanager
def silent():
    """Listen and take connections, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def closed():
    """Give an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield url


@pytest.mark.parametrize("dead", [silent, closed])
async def test_a_dead_collector_costs_no_sign_in_and_hardly_any_time_at_the_stop(tmp_path, dead):
    with dead() as url:
        async with scene(tmp_path, otlp_endpoint=url) as stage:
            session, guest = await stage.awaiting()
            assert await guest.sign_in(WHOLE) is None
            done = await stage.until(session.id, SessionStatus.COMPLETED)
            await stage.machine_ended(session.id)
            begun = asyncio.get_running_loop().time()
            await stage.tracing.close()
            assert asyncio.get_running_loop().time() - begun < 8
    assert done.captured_version == 1


async def test_a_trace_told_twice_has_the_same_ids(tmp_path):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        guest.crash(1)
        row = await stage.machine_ended(session.id)
        events = await stage.store.sessions.events(session.id, machines=True)
        ended = await stage.signin.session(session.id)
    one, other = Story.of(ended, row, events), Story.of(ended, row, events)
    assert [one.trace_id, *map(one.span_id, ("sign-in", "pending"))] == [
        other.trace_id,
        *map(other.span_id, ("sign-in", "pending")),
    ]
    assert len({one.span_id(span.name) for span in one.spans}) == len(one.spans)


async def test_the_header_of_a_request_reaches_the_session_and_a_bad_one_is_ignored(tmp_path):
    async with running(tmp_path) as service:
        operator = await service.operator()
        kept = {}
        for user, sent in (
            ("ada", CALLER),
            ("bob", "nonsense"),
            ("eve", None),
            ("zoe", f"01{CALLER[2:]}-{'x' * 9000}"),
        ):
            answer = await operator.post(
                "/api/auth/session",
                json={"user_id": user, "provider": "codex"},
                headers={} if sent is None else {"traceparent": sent},
            )
            assert answer.status_code == 201
            created, *_ = await service.signin.events(answer.json()["session_id"])
            kept[user] = created.fields.get("traceparent")
    # of a later version what is known of it, and not whatever stands behind that
    assert kept == {"ada": CALLER, "bob": None, "eve": None, "zoe": CALLER}


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        CALLER[:-3],
        CALLER + "-x",
        CALLER.upper(),
        "ff" + CALLER[2:],
        "00-" + "0" * 32 + CALLER[35:],
        CALLER[:36] + "0" * 16 + "-01",
    ],
)
def test_a_traceparent_that_is_not_well_formed_is_none(sent):
    assert parent_of(sent) is None


def test_a_later_version_of_traceparent_is_read_as_far_as_it_is_known():
    assert parent_of("01" + CALLER[2:] + "-more") == parent_of(CALLER)


def test_without_a_setting_there_are_no_traces():
    assert Tracing.of(Settings(), {}) is None
    assert (
        Tracing.of(Settings(), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"})
        is None
    )


@pytest.mark.parametrize("given", ["collector:4318", "ftp://collector", "http://user@collector", "http://"])
def test_an_endpoint_that_is_no_address_is_refused(given):
    with pytest.raises(OperatorError, match="ANTECHAMBER_OTLP_ENDPOINT"):
        read_settings(otlp_endpoint=given)


@pytest.mark.parametrize("by_setting", [True, False])
def test_without_the_extra_a_setting_is_an_error_and_the_standard_variable_a_warning(by_setting):
    program = (
        "import sys\n"
        "sys.modules['opentelemetry.sdk'] = None\n"  # as Python itself marks what cannot be imported
        "from antechamber import log\n"
        "from antechamber.errors import OperatorError\n"
        "from antechamber.settings import Settings\n"
        "from antechamber.tracing import Tracing\n"
        "log.configure()\n"
        f"given = {'http://127.0.0.1:1' if by_setting else None!r}\n"
        "try:\n"
        "    print(Tracing.of(Settings(otlp_endpoint=given), {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1'}))\n"
        "except OperatorError as error:\n"
        "    print(error.code, error.next)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    if by_setting:
        assert ended.stdout.startswith(f"{Code.MISCONFIGURED} Install antechamber[otel]")
    else:
        assert ended.stdout == "None\n"
        (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
        assert (line["event"], line["level"]) == ("no traces", "warning")


def test_the_longest_goodbye_is_shorter_than_a_stop_may_take():
    from antechamber.tracing import export
    from antechamber.web.server import GRACE

    assert timedelta(seconds=2 * export._GOODBYE_S) < GRACE
