"""What the operator asks about one person, and the removal of everything of theirs: machines first, then every row."""

import asyncio
import contextlib
from urllib.parse import quote

import pytest

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import MachineFact
from antechamber.model import Actor, IdPrefix, MachineState, Owner, SessionStatus, new_id
from antechamber.tasks import spawn
from tests.integration.cli_scene import place
from tests.integration.scene import ADA, WHOLE, erased, scene
from tests.integration.web_service import error_of, now, running

BOB = Owner("bob")


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


# -- the API ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["ada", "team/ada", "..", "ada@example.org", "Ада 100 %"])
async def test_a_person_is_counted_and_removed_whatever_their_id_is(service, user):
    operator = await service.operator()
    address = f"/api/owners/{user}" if user == "ada" else f"/api/owners?user_id={quote(user, safe='')}"
    session_id = (await service.start(user_id=user))["session_id"]
    await service.ready(session_id)
    await service.capture(session_id)
    await service.start(user_id=user, provider="gemini")
    told = (await operator.get(address)).json()
    assert {name: told[name] for name in ("user_id", "live_sessions", "sessions", "machines", "credentials")} == {
        "user_id": user,
        "live_sessions": 1,
        "sessions": 2,
        "machines": 2,
        "credentials": 1,
    }
    answer = await operator.delete(address)
    assert answer.status_code == 202
    asked = answer.json()
    assert (asked["user_id"], asked["asked_by"], asked["finished_at"]) == (user, "operator_token", None)
    assert {one["state"] for one in asked["waits_for"]} == {"requested"}
    assert "vendors" in asked["remains"][0]
    assert "Backups" in asked["remains"][1]
    assert (await operator.get(address)).json()["erasing"]["id"] == asked["id"]
    assert (await operator.delete(address)).json()["id"] == asked["id"], "asking again asks for nothing more"
    assert error_of(await operator.post("/api/auth/session", json={"user_id": user, "provider": "codex"})) == (
        409,
        "owner_being_erased",
    )
    for one in asked["waits_for"]:
        row = await service.store.machines.get(one["id"])
        await service.store.machines.apply(row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=now())
    await service.signin.owners.go_on()
    done = (await operator.get(f"/api/erasures/{asked['id']}")).json()
    assert (done["user_id"], done["sessions"], done["credentials"], done["waits_for"]) == (None, 2, 1, [])
    assert done["finished_at"] is not None
    assert error_of(await operator.get(address)) == (404, "owner_not_found")
    assert error_of(await operator.delete(address)) == (404, "owner_not_found")
    listed = (await operator.get("/api/erasures")).json()["erasures"]
    assert [one["id"] for one in listed] == [asked["id"]]
    assert user not in str(listed)


async def test_nobody_but_the_operator_removes_anything(service):
    await service.start()
    stranger = await service.stranger(Origin=service.addresses.dashboard.origin)
    assert error_of(await stranger.delete("/api/owners/ada")) == (401, "not_signed_in")
    another_site = await service.stranger()
    assert error_of(await another_site.delete("/api/owners/ada")) == (403, "wrong_origin")
    scraper = await service.scraper(Origin=service.addresses.dashboard.origin)
    assert error_of(await scraper.delete("/api/owners/ada")) == (401, "not_signed_in")
    browser = await service.browser()
    assert error_of(await browser.delete("/api/owners/ada"))[0] in {401, 421}
    assert (await service.signin.owners.about(Owner("ada"))).erasing is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/owners/nobody", (404, "owner_not_found")),
        ("/api/owners?user_id=%20ada", (422, "bad_request")),
        ("/api/owners", (422, "bad_request")),
        ("/api/owners/" + "a" * 129, (422, "malformed_id")),
        ("/api/erasures/nonsense", (422, "malformed_id")),
        ("/api/erasures/era_00000000000000000000", (404, "erasure_not_found")),
    ],
)
async def test_who_or_what_there_is_not_is_said_so(service, path, expected):
    assert error_of(await (await service.operator()).get(path)) == expected


# -- the machines ----------------------------------------------------------------------------------------------------


async def test_running_machines_end_first_and_then_every_row_goes_and_nobody_else_notices(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, _ = await stage.awaiting()
        done, guest = await stage.awaiting(user_id="bob")
        other = await stage.start(provider="gemini")
        progress = await stage.signin.owners.erase(ADA, by=Actor.DASHBOARD)
        assert {row.session_id for row in progress.waits_for} == {session.id, other.id}
        record = await erased(stage.store, progress.erasure.id)
        assert (record.sessions, record.machines, record.asked_by) == (2, 2, Actor.DASHBOARD)
        for one in (session, other):
            with pytest.raises(CallerError, match="session_not_found"):
                await stage.signin.session(one.id)
        assert (await stage.signin.session(done.id)).status is SessionStatus.AWAITING_SIGN_IN
        assert guest is not None
        async with asyncio.timeout(10):
            while len(stage.host.running()) > 1 or len(await stage.reconciler.driver.found()) > 1:
                await asyncio.sleep(0.02)
        assert len(stage.reconciler.live.attendants) == 1


async def test_a_service_that_stops_in_the_middle_is_followed_by_one_that_goes_on(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        again, _ = await stage.awaiting()
        await stage.close()
        # what a killed service had got to: it was asked for, and nothing was done
        await stage.open_store()
        progress = await stage.signin.owners.erase(ADA, by=Actor.COMMAND_LINE)
        assert await stage.signin.credentials() == []
        await stage.store.close()
        await stage.open()
        done = await erased(stage.store, progress.erasure.id)
        assert (done.sessions, done.credentials) == (2, 1)
        assert not stage.host.running()
        for one in (session, again):
            assert await stage.store.sessions.get(one.id) is None


async def test_a_machine_whose_session_is_gone_when_its_end_is_told_is_removed_all_the_same(site):
    async with scene(site.folder, database_url=site.url, sweep_s=60) as stage:
        session, _ = await stage.awaiting()
        row = await stage.signin.machine(session.id)
        await stage.signin.cancel(session.id, by_person=False)
        # another service, which was quicker than this one's attendant
        with contextlib.suppress(CallerError):
            while not (await stage.store.machines.get(row.id)).state.ended:
                await asyncio.sleep(0)
            await stage.store.erasures.begin(ADA, by=Actor.DASHBOARD, at=now())
        await stage.signin.owners.go_on()
        async with asyncio.timeout(10):
            while await stage.reconciler.driver.found():
                await asyncio.sleep(0.02)
        assert stage.reconciler.live.attendants.get(row.id) is None


async def test_a_machine_on_a_node_that_is_away_is_waited_for_and_named(service):
    session_id = (await service.start())["session_id"]
    machine = await service.begin_machine(session_id)
    await service.signin.owners.erase(Owner("ada"), by=Actor.DASHBOARD)
    await service.signin.owners.go_on()
    told = (await (await service.operator()).get("/api/owners/ada")).json()
    assert told["erasing"]["waits_for"] == [{"id": machine.id, "state": "booting", "node": "here"}]
    assert told["sessions"] == 1
    await service.store.machines.apply(
        machine.id, MachineFact.ENDED, incarnation=machine.incarnation, at=now(), exit_code=None
    )
    await service.signin.owners.go_on()
    assert (await service.signin.owners.erasure(told["erasing"]["id"])).erasure.finished_at is not None
    assert (await service.store.machines.get(machine.id)) is None is not MachineState.GONE


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def here():
    with place() as made:
        yield made


async def test_the_command_line_asks_names_the_person_and_says_what_remains(here):
    async with here.opened() as installation:
        session_id, _ = await installation.complete("ada")
        await installation.complete("bob")
        for row in await installation.store.machines.not_ended():
            await installation.store.machines.apply(
                row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=now()
            )
    shown = here.says("owners", "show", "ada", "--json").json
    assert (shown["sessions"], shown["credentials"], shown["erasing"]) == (1, 1, None)
    refused = here.says("owners", "delete", "ada", typed="n\n")
    assert "Remove everything of ada?" in refused.err
    assert refused.code == 1
    done = here.says("owners", "delete", "ada", "--yes")
    assert done.code == 0, done.err
    assert done.out.startswith("Removed: 1 sessions, 1 machines, 1 credentials")
    assert "vendors" in done.out
    assert "Backups" in done.out
    assert here.says("owners", "delete", "ada", "--yes").error()[2] == "owner_not_found"
    assert here.says("sessions", "show", session_id).error()[2] == "session_not_found"
    assert [one["user_id"] for one in here.says("credentials", "list", "--json").json] == ["bob"]


async def test_without_a_service_the_command_line_removes_what_it_can_and_says_what_waits(here):
    async with here.opened() as installation:
        await installation.complete("ada")
    said = here.says("owners", "delete", "ada", "--yes")
    message, _, code = said.error() if not said.err.startswith("Waiting") else ("", "", "service_not_running")
    assert code == "service_not_running", said.err
    assert "Waiting for machines to end" in said.err + message
    assert here.says("credentials", "list", "--json").json == []
    shown = here.says("owners", "show", "ada", "--json").json
    assert len(shown["erasing"]["waits_for"]) == 1
    unfinished = here.says("owners", "delete", "ada", "--yes", "--no-wait", "--json").json
    assert unfinished["id"] == shown["erasing"]["id"]


async def test_a_running_service_is_asked_and_the_command_waits_for_it(here):
    async with here.opened() as installation:
        await installation.complete("ada")
        async with installation.answering(here.data):
            asked = spawn("the command", here.says_meanwhile("owners", "delete", "ada", "--yes"))
            async with asyncio.timeout(30):
                while not await installation.store.erasures.unfinished():
                    await asyncio.sleep(0.02)
            for row in await installation.store.machines.not_ended():
                await installation.store.machines.apply(
                    row.id, MachineFact.STOP_ASKED, incarnation=row.incarnation, at=now()
                )
            await installation.signin.owners.go_on()
            said = await asked
    assert said.code == 0, said.err
    assert "Removed: 1 sessions" in said.out


def test_a_person_of_whom_nothing_is_kept_is_said_so(here):
    here.data.mkdir()
    assert here.says("owners", "show", new_id(IdPrefix.SESSION)).code == 1
    assert Code.OWNER_NOT_FOUND == "owner_not_found"
