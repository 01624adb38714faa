"""What the dashboard asks besides sign-ins: stories, machines, credentials' pasts, health, and the stream of hints."""

import asyncio
import contextlib
import sqlite3
from datetime import datetime
from itertools import pairwise

import pytest

from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.machine import Check
from antechamber.model import Owner
from antechamber.tasks import spawn
from antechamber.web import Installation
from tests.integration.web_service import error_of, now, running
from tests.opening import BY

NOBODY = "ses_00000000000000000000"
STORY = f"/api/auth/session/{NOBODY}/story"
CHECKS = (
    Check("bubblewrap", ok=True, message="bubblewrap 0.8.0"),
    Check("cgroups", ok=False, message="memory cannot be limited", remedy="Delegate one.", fatal=False),
)


@pytest.fixture
async def service(tmp_path):
    about = {"checks": CHECKS, "key_id": lambda: "123", "root": lambda: "transit", "node": "here"}
    found = Installation(started_at=now(), folders={"data": tmp_path}, **about)
    async with running(tmp_path, installation=found) as service:
        yield service


async def ask(service, path):
    answer = await (await service.operator()).get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def lost(service, session_id, detail):
    """Have the session's machine start, and end without being asked."""
    machine = await service.begin_machine(session_id, host_uid=200_001)
    fact = {"incarnation": machine.incarnation, "at": now(), "exit_code": 137, "detail": detail}
    await service.store.machines.apply(machine.id, MachineFact.ENDED, **fact)
    return machine


async def test_a_story_tells_the_moves_of_session_and_machine_in_order_with_reasons_and_times(service):
    session_id = (await service.start())["session_id"]
    machine = await lost(service, session_id, "killed, with token=DUMMYabcdefghijklmnop")
    await asyncio.sleep(0.2)
    await service.store.sessions.apply(session_id, SessionFact.OPENED, at=now())
    story = await ask(service, f"/api/auth/session/{session_id}/story")
    told = [(move["about"], move["kind"], move["act"], move["after"]) for move in story["moves"]]
    assert told == [
        ("session", "created", "move", "pending"),
        ("machine", "boot_began", "move", "booting"),
        ("machine", "ended", "move", "lost"),
        ("session", "machine_ended", "move", "failed"),
        ("session", "opened", "refused", "failed"),
    ]
    times = [datetime.fromisoformat(move["at"]) for move in story["moves"]]
    apart = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert [move["after_s"] for move in story["moves"]] == pytest.approx([0, *apart], abs=0.001)
    assert apart[-1] >= 0.2
    assert story["moves"][3]["explanation"]["next"]
    assert story["moves"][2]["exit_code"] == 137
    # it had not become ready
    assert story["session"]["reason"] == "machine_did_not_start"
    shown = story["machine"]
    assert (shown["state"], shown["ended"], shown["exit_code"], shown["host_uid"]) == ("lost", True, 137, 200_001)
    assert shown["node"] == "here"
    assert machine.incarnation.startswith(f"inc_{shown['incarnation']}")
    assert len(shown["incarnation"]) == 8


async def test_a_story_has_no_secret_no_handle_and_not_where_the_machine_went(service):
    session_id = (await service.start())["session_id"]
    await service.store.destinations.record(
        session_id, "auth.example.org", 443, "allowed", bytes_out=1, bytes_in=1, connections=1, at=now()
    )
    await lost(service, session_id, "killed, with token=DUMMYabcdefghijklmnop")
    text = (await (await service.operator()).get(f"/api/auth/session/{session_id}/story")).text
    for word in ("DUMMY", "auth.example.org", "business"):
        assert word not in text
    assert "[removed]" in text


async def test_sessions_are_filtered_and_paged_from_newest_to_oldest(service):
    ids = [(await service.start(user_id=f"user{n}"))["session_id"] for n in range(5)]
    await service.signin.cancel(ids[1], by_person=False)
    first = await ask(service, "/api/auth/sessions?limit=2")
    assert [row["session_id"] for row in first["sessions"]] == [ids[4], ids[3]]
    assert first["older"] == ids[3]
    second = await ask(service, f"/api/auth/sessions?limit=3&before={first['older']}")
    assert [row["session_id"] for row in second["sessions"]] == [ids[2], ids[1], ids[0]]
    assert second["older"] is None
    chosen = await ask(service, "/api/auth/sessions?status=cancelled")
    assert [row["session_id"] for row in chosen["sessions"]] == [ids[1]]
    assert (await ask(service, "/api/auth/sessions?provider=gemini"))["sessions"] == []
    assert len((await ask(service, "/api/auth/sessions?user_id=user3&provider=codex"))["sessions"]) == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=vm_created", (422, "bad_request")),
        ("provider=nobody", (422, "unknown_provider")),
        ("before=nonsense", (422, "bad_request")),
        ("before=ses_00000000000000000000", (404, "session_not_found")),
    ],
)
async def test_a_filter_that_means_nothing_is_refused(service, query, expected):
    assert error_of(await (await service.operator()).get(f"/api/auth/sessions?{query}")) == expected


async def test_machines_are_listed_those_that_run_first_and_then_the_last_that_ended(service):
    ended, running_one = [(await service.start(user_id=user))["session_id"] for user in ("ada", "bob")]
    await lost(service, ended, "killed")
    await service.begin_machine(running_one)
    told = await ask(service, "/api/machines")
    assert [(row["session_id"], row["state"], row["detail"]) for row in told["machines"]] == [
        (running_one, "booting", ""),
        (ended, "lost", "killed"),
    ]
    assert [row["ended"] for row in (await ask(service, "/api/machines?ended=0"))["machines"]] == [False]


async def test_a_credential_has_its_versions_and_a_tombstone_keeps_them_without_account_or_plan(service):
    ids = []
    for _ in range(2):
        session_id = (await service.start())["session_id"]
        await service.ready(session_id)
        await service.capture(session_id)
        ids.append(session_id)
    credential = await service.store.credentials.current(Owner("ada"), "codex")
    path = f"/api/credentials/{credential.id}/versions"
    versions = (await ask(service, path))["versions"]
    assert [(one["version"], one["session_id"]) for one in versions] == [(2, ids[1]), (1, ids[0])]
    assert (await ask(service, "/api/tombstones"))["credentials"] == []
    await service.signin.delete_credential(credential.id, by=BY)
    assert (await ask(service, path))["versions"] == versions
    [tombstone] = (await ask(service, "/api/tombstones"))["credentials"]
    assert (tombstone["id"], tombstone["account"], tombstone["plan"]) == (credential.id, None, None)
    assert tombstone["deleted_at"]
    unknown = await (await service.operator()).get("/api/credentials/cred_00000000000000000000/versions")
    assert error_of(unknown) == (404, "credential_not_found")


async def test_f096_f099_the_status_says_what_the_service_runs_on_and_what_is_wrong(service, tmp_path):
    await service.start()
    told = await ask(service, "/api/status")
    assert told["database"] == {"reachable": True, "kind": "sqlite", "revision": told["database"]["revision"]}
    assert told["database"]["revision"]
    assert (told["key_id"], told["root"], told["node"]) == ("123", "transit", "here")
    assert (told["live_sessions"], told["machines"]) == (1, 1)
    [folder] = told["folders"]
    assert (folder["name"], folder["path"]) == ("data", str(tmp_path))
    assert 0 < folder["free"] <= folder["total"]
    assert [(check["name"], check["ok"], check["remedy"]) for check in told["checks"]] == [
        ("bubblewrap", True, ""),
        ("cgroups", False, "Delegate one."),
    ]
    assert [check["by_nature"] for check in told["checks"]] == [False, False]


async def test_a_database_that_does_not_answer_is_in_the_status_instead_of_an_error(service, tmp_path):
    operator = await service.operator()
    with contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as database:
        database.execute("ALTER TABLE auth_sessions RENAME TO away")
    told = (await operator.get("/api/status")).json()
    assert told["database"] == {"reachable": False, "kind": None, "revision": None}
    assert not told["ready"]
    assert told["faults"]


async def test_the_stream_of_hints_tells_of_a_change_and_of_the_end_of_the_service(service):
    operator = await service.operator()
    events = asyncio.Queue()

    async def listen():
        async with operator.stream("GET", "/api/changes") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    events.put_nowait(line.removeprefix("event: "))

    listening = spawn("listening", listen())
    async with asyncio.timeout(10):
        assert await events.get() == "changed"
        await service.start()
        assert await events.get() == "changed"
        await service.server.stop()
        while (last := await events.get()) == "changed":
            pass
        assert last == "closing"
        await listening


@pytest.mark.parametrize(
    "path",
    [
        "/api/status",
        "/api/machines",
        "/api/changes",
        "/api/tombstones",
        "/api/auth/session/ses_00000000000000000000/story",
    ],
)
async def test_nobody_but_the_operator_is_told(service, path):
    assert error_of(await (await service.stranger()).get(path)) == (401, "not_signed_in")
    browser = await service.browser()
    assert error_of(await browser.get(path))[0] in {401, 404, 421}


@pytest.mark.parametrize(
    "path",
    [
        "/sessions",
        "/sessions/ses_00000000000000000000",
        "/machines",
        "/credentials",
        "/credentials/cred_00000000000000000000",
        "/health",
    ],
)
async def test_each_view_of_the_dashboard_has_an_address_whose_page_is_empty(service, path):
    stranger = await service.stranger()
    answer = await stranger.get(path)
    assert answer.status_code == 200
    assert answer.text == (await stranger.get("/")).text
