"""What the control socket offers: metadata as plain JSON, ids looked at first, never a secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.cli_scene import place
from tests.providers.samples import CODEX

from antechamber import control, operations
from antechamber.errors import CallerError, Code
from antechamber.keys import Keys
from antechamber.machine_logs import MachineLogs
from antechamber.model import Actor, IdPrefix, Owner, new_id
from antechamber.reconciler.errands import Verdict


@pytest.fixture
async def installation():
    with place() as here:
        async with here.opened() as opened:
            yield opened


@pytest.fixture
def offered(installation, tmp_path):
    everything = operations.of(installation.signin, installation.providers, lambda: {"machines": 0})
    everything |= operations.of_owners(installation.signin.owners, carry_out=False)
    logs = MachineLogs(tmp_path, kept=timedelta(days=1), most=2**20)
    everything |= operations.of_applications(installation.signin.applications)
    everything |= operations.of_keys(Keys(installation.store, installation.vault, installation.signin.clock))
    everything |= operations.of_logs(installation.signin, logs, "nod_00000000000000000000")
    return everything | operations.of_nodes(installation.store)


async def test_every_operation_of_a_service_is_named_and_nothing_besides(offered):
    of_the_running_service = {"dashboard.link", "credentials.check"}

    assert set(offered) | of_the_running_service == set(control.OPERATIONS)


async def test_a_session_is_told_with_its_machine_and_its_events(installation, offered):
    session_id, credential_id = await installation.complete("ada")

    told = control.plain(await offered["sessions.show"]({"id": session_id}))

    assert (told["status"], told["credential_id"], told["credential_version"]) == ("completed", credential_id, 1)
    assert told["machine"]["driver"] == "scripted"
    assert [event["kind"] for event in told["events"]] == ["created", "machine_booting", "machine_ready", "captured"]
    assert {event["about"] for event in told["events"]} == {"session"}
    assert told["destinations"] == {}
    assert [event["after"] for event in told["events"]] == ["pending", "starting", "awaiting_sign_in", "completed"]


async def test_lists_are_of_one_user_or_of_all_and_as_long_as_asked(installation, offered):
    for user in ("ada", "bob", "cyd"):
        await installation.complete(user)

    async def users(operation, **asked):
        return [row["user_id"] for row in await offered[operation](asked)]

    assert await users("sessions.list") == ["cyd", "bob", "ada"]
    assert await users("sessions.list", user_id="bob") == ["bob"]
    assert await users("sessions.list", limit=2) == ["cyd", "bob"]
    assert await users("credentials.list", user_id="ada") == ["ada"]
    assert sorted(await users("credentials.list")) == ["ada", "bob", "cyd"]


async def test_a_deleted_credential_is_told_no_more_and_its_session_stays_completed(installation, offered):
    session_id, credential_id = await installation.complete()

    deleted = await offered["credentials.delete"]({"id": credential_id})

    assert deleted["deleted_at"] is not None
    with pytest.raises(CallerError) as caught:
        await offered["credentials.show"]({"id": credential_id})
    assert caught.value.code is Code.CREDENTIAL_NOT_FOUND
    assert await offered["credentials.delete"]({"id": credential_id}) == deleted, "doing it again changes nothing"
    assert (await offered["sessions.show"]({"id": session_id}))["status"] == "completed"


@pytest.mark.parametrize("operation", ["sessions.show", "credentials.show", "credentials.delete", "nodes.forget"])
@pytest.mark.parametrize("wrong", [{}, {"id": ""}, {"id": None}, {"id": ["x"]}, {"id": "ses_x"}, {"id": "machine"}])
async def test_an_id_that_is_none_is_refused_before_anything_is_asked(offered, operation, wrong):
    if wrong.get("id") == "machine":
        wrong = {"id": new_id(IdPrefix.MACHINE)}

    with pytest.raises(CallerError) as caught:
        await offered[operation](wrong)
    assert caught.value.code is Code.MALFORMED_ID


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("sessions.list", {"limit": "many"}),
        ("sessions.list", {"limit": 0}),
        ("sessions.list", {"limit": True}),
        ("sessions.list", {"user_id": 7}),
        ("credentials.list", {"user_id": ["ada"]}),
    ],
)
async def test_arguments_of_the_wrong_type_are_the_callers_error(offered, operation, wrong):
    with pytest.raises(CallerError) as caught:
        await offered[operation](wrong)
    assert caught.value.code is Code.BAD_REQUEST


async def test_no_answer_has_a_secret_in_it(installation, offered):
    session_id, credential_id = await installation.complete()
    asked = [
        await offered["sessions.list"]({}),
        await offered["sessions.show"]({"id": session_id}),
        await offered["credentials.list"]({}),
        await offered["credentials.show"]({"id": credential_id}),
        await offered["providers.list"]({}),
        await offered["status"]({}),
    ]

    said = json.dumps(control.plain(asked))
    assert all(value not in said for value in CODEX["tokens"].values() if isinstance(value, str) and len(value) > 16)


async def test_a_node_is_listed_and_given_up_only_when_it_is_away(installation, offered):
    node = new_id(IdPrefix.NODE)
    at = datetime.now(UTC)
    await installation.store.nodes.join(node, name="one", url=None, at=at)
    session_id = await installation.start()
    claim = {"driver": "scripted", "at": at, "until": at + timedelta(seconds=10)}
    (row,) = await installation.store.machines.claim(node, **claim)
    times = {"expires_at": at + timedelta(minutes=1), "at": at}
    await installation.store.machines.begin(
        row.id, incarnation=row.incarnation, node=node, handle={}, host_uid=None, **times
    )
    waiting = await installation.start("bob")
    await installation.store.machines.claim(node, **claim)

    (told,) = control.plain(await offered["nodes.list"]({}))
    assert (told["id"], told["name"], told["machines"]) == (node, "one", 2)
    with pytest.raises(CallerError) as caught:
        await offered["nodes.forget"]({"id": node})
    assert caught.value.code is Code.NODE_SERVES

    await installation.store.nodes.seen(node, at=at - timedelta(hours=1))
    assert await offered["nodes.forget"]({"id": node}) == {"machines": 1}
    session = await installation.signin.session(session_id)
    assert (session.status, session.reason) == ("failed", "machine_did_not_start")
    assert "gave its node up" in session.detail
    machine = await installation.signin.machine(session_id)
    assert (machine.state, machine.end_detail) == ("lost", "the operator gave its node up")
    assert await offered["nodes.list"]({}) == []
    # what it had claimed and not begun is another node's to begin
    assert (await installation.signin.session(waiting)).status == "pending"
    with pytest.raises(CallerError) as caught:
        await offered["nodes.forget"]({"id": node})
    assert caught.value.code is Code.NODE_NOT_FOUND


async def test_a_check_tells_the_verdict_alone():
    async def check(owner, provider, *, by):
        asked_as_it_should = (owner, provider, by) == (Owner("ada"), "codex", Actor.COMMAND_LINE)
        return Verdict(asked_as_it_should, "codex login status", "")

    run = operations.check_with(check)

    assert await run({"user_id": "ada", "provider": "codex"}) == {
        "accepted": True,
        "by": "codex login status",
        "detail": "",
    }
    for wrong in ({}, {"user_id": "ada"}, {"user_id": "ada", "provider": 3}):
        with pytest.raises(CallerError) as caught:
            await run(wrong)
        assert caught.value.code is Code.BAD_REQUEST
