"""A machine that failed leaves what it printed, on its node, for its operator; one that did its task leaves nothing."""

from datetime import timedelta

import pytest

from antechamber.machine_logs import MachineLogs
from antechamber.model import Actor, SessionStatus
from antechamber.reconciler.pruning import prune_logs
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.cli_scene import place
from tests.integration.scene import ADA, BUILD, PAGE_HOST, WHOLE, erased, scene


class Printing(SignInGuest):
    """A guest whose programs print."""

    async def __call__(self, guest):
        guest.print("starting\nDUMMY token=DUMMYabcdefghijklmnop1234567\n")
        return await super().__call__(guest)


@pytest.fixture
async def stage(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.make_guest = lambda: Printing(build=BUILD, page_host=PAGE_HOST)
        stage.reconciler.logs = MachineLogs(site.folder / "logs", kept=timedelta(days=90), most=2**20)
        yield stage


async def test_what_a_machine_printed_that_ended_by_itself_is_kept_without_secrets(stage):
    session, guest = await stage.awaiting()
    guest.crash(3)
    await stage.until(session.id, SessionStatus.FAILED)
    row = await stage.machine_ended(session.id)
    lines = stage.reconciler.logs.read(row.id)
    assert lines[0] == "machine: starting"
    assert "DUMMYabcdef" not in "".join(lines)
    assert not await stage.reconciler.driver.found()


async def test_of_a_sign_in_that_worked_nothing_is_kept(stage):
    session, guest = await stage.awaiting()
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, SessionStatus.COMPLETED)
    await stage.machine_ended(session.id)
    assert stage.reconciler.logs.ids() == []


async def test_with_its_person_the_log_goes_too(stage):
    session, guest = await stage.awaiting()
    guest.crash(3)
    await stage.until(session.id, SessionStatus.FAILED)
    row = await stage.machine_ended(session.id)
    assert stage.reconciler.logs.ids() == [row.id]
    assert await prune_logs(stage.store, stage.reconciler.logs, stage.clock()) == 0
    progress = await stage.signin.owners.erase(ADA, by=Actor.DASHBOARD)
    await erased(stage.store, progress.erasure.id)
    assert await prune_logs(stage.store, stage.reconciler.logs, stage.clock()) == 1
    assert stage.reconciler.logs.ids() == []


async def test_the_command_line_prints_it_and_says_where_it_lies():
    with place() as here:
        async with here.opened() as installation:
            session_id = await installation.start()
            machine = await installation.signin.machine(session_id)
        said = here.says("sessions", "logs", session_id)
        assert (said.code, said.out) == (0, "")
        assert "Nothing is kept" in said.err
        logs = MachineLogs(here.data / "machine-logs", kept=timedelta(days=1), most=2**20)
        logs.keep(machine.id, {"machine": "it [bold]broke[/]\n"})
        said = here.says("sessions", "logs", session_id)
        assert said.out == "machine: it [bold]broke[/]\n"
        assert str(logs.path(machine.id)) in said.err
        assert here.says("sessions", "logs", session_id, "--json").json["lines"] == ["machine: it [bold]broke[/]"]
        told = here.says("sessions", "show", session_id)
        assert told.code == 0, told.err
        for words in (
            "nightly [bold]builds[/]",
            "no service has begun it yet",
            "It was asked for.",
            str(logs.path(machine.id)),
        ):
            assert words in told.out, told.out
