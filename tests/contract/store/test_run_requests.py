"""What a run is asked for with: how many there may be, repeats of one request, its input; on each database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from antechamber.errors import CallerError, Code
from antechamber.model import AccessKind, Actor, Owner, RunStatus, new_secret
from antechamber.run_life import RunFact
from antechamber.store import Idempotency, NewRun, RunLimits, Store

from .conftest import DAY, NODE, NOON, later

KEY = Idempotency("k", "aa", "operator")


def new(credential, *, user="ada", given=None):
    return NewRun(
        owner=Owner(user),
        provider="codex",
        credential_id=credential.id,
        arguments=("exec",),
        terminal=False,
        held=True,
        seconds=60,
        node=NODE,
        driver="scripted",
        asked_by=Actor.OPERATOR_TOKEN,
        api_key=None,
        wait=timedelta(minutes=10),
        start=timedelta(minutes=1),
        given=given,
    )


@pytest.fixture
async def pair(store, prompt):
    """Two stores on one database."""
    other = await Store.open(prompt.url, world="demo")
    yield store, other
    await other.close()


async def credential_of(steps, user="ada"):
    return (await steps.completed(user)).credential


async def test_of_many_that_come_at_once_with_one_key_one_run_is_made(steps, pair, prompt):
    credential = await credential_of(steps)
    made = await asyncio.gather(
        *(pair[number % 2].runs.create(new(credential), at=NOON, idempotency=KEY) for number in range(8))
    )
    assert len({run.id for run in made}) == 1
    assert prompt.run("SELECT count(*) FROM runs") == [(1,)]
    other = Idempotency("k", "bb", "operator")
    with pytest.raises(CallerError) as refused:
        await pair[0].runs.create(new(credential), at=NOON, idempotency=other)
    assert refused.value.code is Code.IDEMPOTENCY_MISMATCH
    anothers = Idempotency("k", "aa", "app")
    assert (await pair[0].runs.create(new(credential), at=NOON, idempotency=anothers)).id != made[0].id


@pytest.mark.parametrize(
    ("limits", "code"), [(RunLimits(owner=3), Code.OWNER_RUN_LIMIT), (RunLimits(all=3), Code.RUN_LIMIT)]
)
async def test_of_many_that_come_at_once_to_two_services_not_one_too_many_passes(steps, pair, prompt, limits, code):
    credentials = {user: await credential_of(steps, user) for user in ("ada", "bob")}
    users = ["ada"] * 10 if limits.owner else ["ada", "bob"] * 5
    asked = [
        pair[number % 2].runs.create(new(credentials[user], user=user), at=NOON, limits=limits)
        for number, user in enumerate(users)
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, CallerError)]
    assert (len(refused), {error.code for error in refused}) == (7, {code})
    assert all(error.retry_after == timedelta(minutes=1) for error in refused)
    assert prompt.run("SELECT count(*) FROM runs") == [(3,)]
    run = next(answer for answer in answers if not isinstance(answer, BaseException))
    await pair[0].runs.apply(run.id, RunFact.CANCELLED, at=later(1))
    assert (await pair[1].runs.create(new(credentials["ada"]), at=later(1), limits=limits)).status in RunStatus


async def test_of_two_limits_the_one_that_lasts_longest_is_told(steps, store):
    credentials = {user: await credential_of(steps, user) for user in ("ada", "bob")}
    await store.runs.create(new(credentials["ada"]), at=NOON)
    await store.runs.create(new(credentials["bob"], user="bob"), at=later(30))
    with pytest.raises(CallerError) as refused:
        await store.runs.create(new(credentials["ada"]), at=later(30), limits=RunLimits(owner=1, all=1))
    assert (refused.value.code, refused.value.retry_after) == (Code.RUN_LIMIT, timedelta(minutes=1))


async def test_one_owners_limit_is_nobody_elses(steps, store):
    limits = RunLimits(owner=1)
    await store.runs.create(new(await credential_of(steps)), at=NOON, limits=limits)
    await store.runs.create(new(await credential_of(steps, "bob"), user="bob"), at=NOON, limits=limits)


async def test_input_is_kept_until_the_run_has_ended_and_then_forgotten(steps, store, prompt):
    given = b"DUMMY \0\xff question"
    run = await store.runs.create(new(await credential_of(steps), given=given), at=NOON)
    assert (await store.runs.get(run.id)).given == given
    await store.runs.apply(run.id, RunFact.CANCELLED, at=later(1))
    assert (await store.runs.get(run.id)).given is None
    assert prompt.run("SELECT count(*) FROM runs WHERE request IS NOT NULL") == [(0,)]


async def test_a_key_goes_after_its_time_and_with_its_run(steps, store, prompt):
    credential = await credential_of(steps)
    await store.runs.create(new(credential), at=NOON, idempotency=KEY)
    assert (await store.retention.prune(later(3600), DAY)).idempotency_keys == 0
    assert (await store.retention.prune(later(25 * 3600), DAY)).idempotency_keys == 1
    run = await store.runs.create(new(credential), at=later(25 * 3600), idempotency=KEY)
    assert run.status is RunStatus.WAITING
    await store.runs.apply(run.id, RunFact.CANCELLED, at=later(25 * 3600))
    prompt.run("DELETE FROM runs WHERE id = ?", run.id)
    assert prompt.run("SELECT count(*) FROM run_keys") == [(0,)]


async def test_a_ticket_to_a_terminal_is_of_no_session(steps, store):
    session = (await steps.create()).session
    grant = {"at": NOON, "expires_at": later(30)}
    with pytest.raises(Exception, match=r"session_or_dashboard"):
        await store.access.grant(AccessKind.RUN_TICKET, new_secret(), session_id=session.id, **grant)
    ticket = new_secret()
    await store.access.grant(AccessKind.RUN_TICKET, ticket, session_id=None, **grant)
    for kind in (AccessKind.DASHBOARD_LINK, AccessKind.DASHBOARD_COOKIE):
        assert not await store.access.redeem(kind, ticket, session_id=None, at=later(1))
    assert await store.access.redeem(AccessKind.RUN_TICKET, ticket, session_id=None, at=later(1))
    assert not await store.access.redeem(AccessKind.RUN_TICKET, ticket, session_id=None, at=later(1))
