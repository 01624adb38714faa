"""Runs where a service, the clock, the database or a whole node goes away; machines are scripted."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from antechamber.errors import Code
from antechamber.guest.protocol import UNSTORED
from antechamber.machine import Door
from antechamber.model import CredentialReason, CredentialStatus, RunReason, RunStatus
from antechamber.nodes import give_up
from antechamber.runs import Runs
from antechamber.signin import now
from antechamber.tasks import spawn
from antechamber.testing.run_guest import RunGuest
from antechamber.testing.scripted_guest import client_hello
from tests.integration.scene import BUILD, scene, told
from tests.integration.test_runs import (
    RENEWAL_HOST,
    begun,
    over,
    read,
    renewed,
    run,
    signed_in,
    status,
    until,
)
from tests.postgres import Server, programs


async def test_a_renewal_that_an_earlier_service_saw_begin_is_over_with_a_file_of_after_that_alone(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made, held=False)
        before_ns = made.clock.ns()
        await guest.connect(RENEWAL_HOST)
        await made.restart()
        # what was in hand then says nothing of the renewal that the restart has cut
        guest.clock_ns = lambda: before_ns
        assert await guest.renew(renewed(1)) is None
        assert (await made.store.runs.lease(found.id)).renewing_at is not None
        guest.clock_ns = made.clock.ns
        assert await guest.renew(renewed(2)) is None
        assert (await made.store.runs.lease(found.id)).renewing_at is None
        await guest.exit()


async def test_a_connection_that_is_kept_open_is_a_renewal_until_its_outcome_is_stored_and_with_each_request(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)

        async def is_renewing():
            return (await made.store.runs.lease(found.id)).renewing_at is not None

        stream = await guest._guest.dial(Door.EGRESS)
        request = {"op": "connect", "name": RENEWAL_HOST, "port": 443}
        stream.writer.write(json.dumps(request).encode() + b"\n")
        await stream.reader.readline()

        async def asks(piece):
            # whatever goes out comes back, once it has gone out
            stream.writer.write(piece)
            assert await stream.reader.readexactly(len(piece)) == piece

        await asks(client_hello(RENEWAL_HOST))
        assert await is_renewing()
        before_ns = made.clock.ns()
        await asks(b"\x17" * 500)
        # a file of before the last request is not what came of that
        guest.clock_ns = lambda: before_ns
        assert await guest.renew(renewed(1)) is None
        assert await is_renewing()
        guest.clock_ns = made.clock.ns
        assert await guest.renew(renewed(2)) is None
        assert not await is_renewing()
        await asks(b"\x15" * 24)
        assert not await is_renewing()
        await asks(b"\x17" * 500)
        assert await is_renewing()
        stream.writer.close()
        guest.crash()
        await over(made, found.id)
        assert await status(made) == (CredentialStatus.NEEDS_SIGN_IN, CredentialReason.CUT_SHORT)


async def test_a_renewal_that_was_not_stored_may_have_used_it_up(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made)
        await guest.connect(RENEWAL_HOST)
        assert await guest.renew({"credential": b'{"tokens": {}}'}) == Code.CREDENTIAL_INCOMPLETE
        await guest.exit(0, file=UNSTORED)
        await over(made, found.id)
        assert await status(made) == (CredentialStatus.NEEDS_SIGN_IN, CredentialReason.CUT_SHORT)


async def test_a_clock_that_goes_back_lets_no_run_go_on_for_longer(tmp_path):
    async with signed_in(tmp_path) as made:
        found, guest = await begun(made, seconds=3)
        seen = made.reconciler._run_deadlines
        async with asyncio.timeout(20):
            while seen._seen.get(found.id, (None, 0))[0] != found.expires_at:  # within a sweep
                await asyncio.sleep(0.02)
        made.clock.ahead = timedelta(hours=-1)
        assert (await over(made, found.id)).reason is RunReason.TIMED_OUT
        await guest.asked_to_finish.wait()


@pytest.mark.timeout(120)
async def test_readers_stay_while_the_database_is_away(tmp_path, capsys):
    if (folder := programs()) is None:
        pytest.skip("PostgreSQL's programs are not installed; `make test` installs them")
    server = Server(folder)
    try:
        async with signed_in(tmp_path, database_url=server.url(server.create())) as made:
            found, guest = await begun(made)
            waiting = await run(made)
            telling = [spawn("test", read(made, one.id)) for one in (found, waiting)]
            server.stop()
            guest.write(b"meanwhile")
            await told(capsys, "a reader waits for the database")
            server.start()
            await guest.exit()
            guest = await made.guests.get()
            await guest.began.wait()
            await guest.exit(2)
            answers = [await one for one in telling]
            assert [one[-1].run.exit_code for one in answers] == [0, 2]
            assert answers[0][0].output == b"meanwhile"
    finally:
        server.close()


async def test_a_node_that_is_given_up_gives_its_credentials_back(tmp_path, database):
    settings = {"database_url": database, "run_finish_s": 3, "run_kept_s": 1}
    async with signed_in(tmp_path, **settings) as gone, scene(tmp_path, **settings) as here:
        here.make_guest = lambda: RunGuest(build=BUILD)
        found, _ = await begun(gone)
        there, mine = await run(gone), await run(here)
        await gone.close()
        await here.store.nodes.seen(gone.node_id, at=now() - timedelta(hours=1))
        assert await give_up(here.store, gone.node_id) == 1
        assert (await over(here, found.id)).reason is RunReason.MACHINE_ENDED
        assert (await over(here, there.id)).reason is RunReason.CALLER_GONE
        guest = await here.guests.get()
        await guest.began.wait()
        await until(here, mine.id, RunStatus.RUNNING)
        await guest.exit()
        await gone.open()


async def test_who_was_next_at_a_node_that_is_given_up_is_passed_over(tmp_path, database):
    settings = {"database_url": database, "run_finish_s": 3, "run_kept_s": 1}
    async with signed_in(tmp_path, **settings) as gone, scene(tmp_path, **settings) as here:
        here.make_guest = lambda: RunGuest(build=BUILD)
        await gone.close()
        await gone.open_store()
        gone.runs = Runs(
            store=gone.store,
            vault=gone.vault,
            signin=gone.signin,
            providers=gone.providers,
            settings=gone.settings,
            driver="scripted",
            node=gone.node_id,
        )
        next_one = await run(gone)
        assert next_one.status is RunStatus.STARTING
        mine = await run(here)
        await gone.store.close()
        await here.store.nodes.seen(gone.node_id, at=now() - timedelta(hours=1))
        await give_up(here.store, gone.node_id)
        guest = await here.guests.get()
        await guest.began.wait()
        await until(here, mine.id, RunStatus.RUNNING)
        await guest.exit()
        await gone.open()
