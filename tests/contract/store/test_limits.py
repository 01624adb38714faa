"""How many sessions there may be, decided where one is created: also with two services, and two Connects at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SessionFact
from antechamber.model import DEFAULT_APPLICATION, Reason, SessionStatus
from antechamber.store import Idempotency, Limits, Store

from .conftest import Steps, later


@pytest.fixture
async def pair(store, prompt):
    """Two stores on one database."""
    other = await Store.open(prompt.url, world="demo")
    yield Steps(store), Steps(other)
    await other.close()


async def refusal_of(creating) -> CallerError:
    with pytest.raises(CallerError) as refused:
        await creating
    return refused.value


async def race(*creating) -> tuple[list, list]:
    """Return what was created, and how the others were refused."""
    answers = await asyncio.gather(*creating, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, CallerError) for answer in refused), refused
    return [answer for answer in answers if answer not in refused], refused


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(owner_live=3), Code.OWNER_LIVE_LIMIT),
        (Limits(owner_starts=3), Code.OWNER_START_LIMIT),
        (Limits(live=3), Code.LIVE_LIMIT),
        (Limits(starts=3), Code.START_LIMIT),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_of_many_that_come_at_once_to_two_services_not_one_too_many_passes(pair, prompt, limits, code):
    creating = [
        pair[number % 2].create("ada" if "OWNER" in code.name else f"user{number}", f"tool{number}", limits=limits)
        for number in range(12)
    ]
    created, refused = await race(*creating)
    assert (len(created), {error.code for error in refused}, len(refused)) == (3, {code}, 9)
    assert prompt.run("SELECT count(*) FROM auth_sessions") == [(3,)]
    assert prompt.run("SELECT count(*) FROM machines") == [(3,)]
    assert prompt.run("SELECT count(*) FROM events") == [(3,)]


@pytest.mark.parametrize(
    ("given", "code"),
    [({"live": 3}, Code.APPLICATION_LIVE_LIMIT), ({"starts_an_hour": 3}, Code.APPLICATION_START_LIMIT)],
)
async def test_of_many_that_an_application_asks_for_at_once_of_two_services_not_one_too_many_passes(
    pair, prompt, noon, given, code
):
    acme = await pair[0].store.applications.add("Acme", bind_url=None, at=noon, limits=given)
    other = await pair[0].store.applications.add("Other", bind_url=None, at=noon)
    creating = [pair[number % 2].create(f"user{number}", application=acme.id) for number in range(12)]
    created, refused = await race(*creating)
    assert (len(created), {error.code for error in refused}, len(refused)) == (3, {code}, 9)
    assert prompt.run("SELECT count(*) FROM auth_sessions") == [(3,)]
    # it is nobody else's limit, and is as it is set at that moment
    for application in (other.id, DEFAULT_APPLICATION):
        assert (await pair[0].create("eve", application=application)).outcome == "created"
    await pair[0].store.applications.change(acme.id, dict.fromkeys(given, 4))
    assert (await pair[1].create("eve", application=acme.id)).outcome == "created"
    await pair[0].store.applications.change(acme.id, dict.fromkeys(given, 0))
    assert (await pair[1].create("mallory", application=acme.id)).outcome == "created"


async def test_f078_one_owners_limit_is_nobody_elses(steps):
    limits = Limits(owner_live=1, owner_starts=1)
    await steps.create("ada", "codex", limits=limits)
    assert (await refusal_of(steps.create("ada", "gemini", limits=limits))).code is Code.OWNER_START_LIMIT
    assert (await steps.create("grace", "codex", limits=limits)).outcome == "created"


async def test_an_answer_that_is_not_new_counts_for_nothing_and_is_never_refused(steps, pair):
    limits = Limits(owner_live=1, owner_starts=1, live=1, starts=1)
    key = Idempotency("k", "aa", "operator")
    first, second = pair
    created, refused = await race(*(one.create(idempotency=key, limits=limits) for one in (first, second) * 4))
    assert refused == []
    assert sorted(one.outcome for one in created) == ["created", *["repeated"] * 7]
    assert (await steps.create(limits=limits)).outcome == "live"
    session = created[0].session
    await steps.store.sessions.apply(session.id, SessionFact.CANCELLED, at=later(1), reason=Reason.CANCELLED_BY_CALLER)
    assert (await steps.create(idempotency=key, limits=limits, at=later(2))).outcome == "repeated"


async def test_starts_are_counted_over_the_hour_before_and_the_time_told_is_exactly_when_the_next_is_allowed(
    steps, noon
):
    limits = Limits(owner_starts=2)
    for minute in (0, 20):
        created = await steps.create(at=noon + timedelta(minutes=minute), limits=limits)
        await steps.store.sessions.apply(
            created.session.id,
            SessionFact.CANCELLED,
            at=noon + timedelta(minutes=minute + 1),
            reason=Reason.CANCELLED_BY_CALLER,
        )
    asked_at = noon + timedelta(minutes=30)
    refused = await refusal_of(steps.create(at=asked_at, limits=limits))
    assert (refused.code, refused.http_status, refused.retry_after) == (
        Code.OWNER_START_LIMIT,
        429,
        timedelta(minutes=30),
    )
    allowed_at = asked_at + refused.retry_after
    assert (await refusal_of(steps.create(at=allowed_at - timedelta(milliseconds=1), limits=limits))).retry_after
    assert (await steps.create(at=allowed_at, limits=limits)).outcome == "created"
    # the next hour's count has the one of 12:20 and this one
    assert (await refusal_of(steps.create("ada", "gemini", at=allowed_at, limits=limits))).retry_after == timedelta(
        minutes=20
    )


async def test_with_more_starts_than_a_lowered_limit_the_time_told_still_is_when_the_next_is_allowed(steps, noon):
    for number in range(4):
        await steps.create("ada", f"tool{number}", at=noon + timedelta(minutes=number))
    refused = await refusal_of(steps.create("ada", "codex", at=noon + timedelta(minutes=4), limits=Limits(starts=2)))
    # of those of 12:00 to 12:03 three must be an hour old
    assert refused.retry_after == timedelta(minutes=58)


async def test_of_live_sessions_the_time_told_is_the_first_deadline_and_a_session_that_ended_counts_no_more(
    steps, noon
):
    limits = Limits(owner_live=2)
    first = (await steps.create("ada", "codex", limits=limits)).session
    await steps.create("ada", "gemini", limits=limits)
    refused = await refusal_of(steps.create("ada", "claude_code", at=later(20), limits=limits))
    assert (refused.code, refused.retry_after) == (Code.OWNER_LIVE_LIMIT, timedelta(seconds=40))
    late = await refusal_of(steps.create("ada", "claude_code", at=later(90), limits=limits))
    assert late.retry_after == timedelta(0)
    await steps.store.sessions.apply(first.id, SessionFact.NOBODY_CAME, at=later(91))
    assert (await steps.create("ada", "claude_code", at=later(92), limits=limits)).outcome == "created"


async def test_a_replacement_takes_the_place_of_what_it_ends(steps):
    limits = Limits(owner_live=1, live=1)
    first = (await steps.create(limits=limits)).session
    created = await steps.create(replace=True, limits=limits)
    assert created.outcome == "created"
    assert created.superseded is not None
    assert created.superseded.id == first.id


async def test_a_replacement_that_is_refused_ends_nothing(steps):
    first = (await steps.create()).session
    refused = await refusal_of(steps.create(replace=True, limits=Limits(owner_starts=1)))
    assert refused.code is Code.OWNER_START_LIMIT
    assert (await steps.store.sessions.get(first.id)).status is SessionStatus.PENDING
    assert [event.kind for event in await steps.store.sessions.events(first.id)] == ["created"]


async def test_whoever_read_the_clock_before_the_start_that_won_waits_no_longer_than_from_that_start(steps):
    await steps.create("ada", "codex", at=later(10), limits=Limits(starts=1))
    refused = await refusal_of(steps.create("ada", "gemini", at=later(9), limits=Limits(live=1)))
    at_the_same_time = await refusal_of(steps.create("ada", "gemini", at=later(10), limits=Limits(live=1)))
    assert refused.retry_after == at_the_same_time.retry_after > timedelta(0)


async def test_of_several_limits_the_one_that_lasts_longest_is_told(steps):
    limits = Limits(owner_live=1, owner_starts=1, live=1, starts=1)
    await steps.create("ada", "codex", limits=limits)
    refused = await refusal_of(steps.create("ada", "gemini", at=later(10), limits=limits))
    assert (refused.code, refused.retry_after) == (Code.OWNER_START_LIMIT, timedelta(minutes=59, seconds=50))
