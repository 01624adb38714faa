from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.store.conftest import DAY

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SessionFact
from antechamber.model import DEFAULT_APPLICATION, SessionStatus


async def test_sessions_are_listed_newest_first_and_page_by_page(store, steps, noon):
    made = [await steps.pending(f"user{n}", at=noon + timedelta(seconds=n // 2)) for n in range(5)]
    whole = await store.sessions.list()
    assert {session.id for session in whole} == {session.id for session in made}
    assert [session.created_at for session in whole] == sorted((one.created_at for one in whole), reverse=True)
    pages, before = [], None
    while page := await store.sessions.list(limit=2, before=before):
        pages += page
        before = page[-1].id
    assert pages == whole


async def test_sessions_can_be_chosen_by_owner_provider_and_life(store, steps):
    ended = await steps.cancelled("ada", "codex")
    live = await steps.awaiting("ada", "codex")
    gemini = await steps.pending("ada", "gemini")
    other = await steps.pending("bob", "codex")

    async def chosen(**wishes):
        return {session.id for session in await store.sessions.list(**wishes)}

    assert await chosen(user_id="ada", application=DEFAULT_APPLICATION) == {ended.id, live.id, gemini.id}
    assert await chosen(user_id="ada", application="another") == set()
    assert await chosen(provider="codex") == {ended.id, live.id, other.id}
    assert await chosen(live=True) == {live.id, gemini.id, other.id}
    assert await chosen(live=False) == {ended.id}
    assert await chosen(user_id="ada", application=DEFAULT_APPLICATION, provider="codex", live=True) == {live.id}
    assert await chosen(status=SessionStatus.CANCELLED) == {ended.id}
    assert await chosen(status=SessionStatus.PENDING, user_id="bob", application=DEFAULT_APPLICATION) == {other.id}


async def test_a_page_before_an_unknown_session_is_an_error_of_the_caller(store):
    with pytest.raises(CallerError) as refused:
        await store.sessions.list(before="ses_00000000000000000000")
    assert refused.value.code is Code.SESSION_NOT_FOUND


async def test_f008_a_live_session_is_due_from_its_deadline_on_and_an_ended_one_never(store, steps, noon):
    session = await steps.pending()
    assert await store.sessions.due(noon + timedelta(seconds=59)) == []
    assert await store.sessions.due(noon + timedelta(seconds=60)) == [session]
    await store.sessions.apply(session.id, SessionFact.TIME_RAN_OUT, at=noon)
    assert await store.sessions.due(noon + timedelta(days=1)) == []


async def test_events_are_resumed_after_the_last_one_that_was_seen(store, steps):
    session = await steps.awaiting()
    events = await store.sessions.events(session.id)
    assert [event.kind for event in events] == ["created", "machine_booting", "machine_ready"]
    assert await store.sessions.events(session.id, after=events[0].seq) == events[1:]
    assert await store.sessions.events(session.id, limit=1) == events[:1]
    assert await store.sessions.events(session.id, after=events[-1].seq) == []
    assert await store.sessions.events("ses_00000000000000000000") == []


async def test_destinations_add_up_by_name_port_and_verdict(store, steps, noon):
    session = await steps.pending()
    uses = [("b.example.test", 443, "allowed"), ("a.example.test", 443, "allowed"), ("a.example.test", 80, "refused")]
    for second, (name, port, verdict) in enumerate([*uses, uses[0]]):
        await store.destinations.record(
            session.id,
            name,
            port,
            verdict,
            bytes_out=5,
            bytes_in=7,
            connections=1,
            at=noon + timedelta(seconds=second),
        )
    listed = await store.destinations.list(session.id)
    assert [(one.name, one.port, one.verdict) for one in listed] == uses
    assert (listed[0].bytes_out, listed[0].bytes_in, listed[0].connections) == (10, 14, 2)
    assert (listed[0].first_at, listed[0].last_at) == (noon, noon + timedelta(seconds=3))


async def test_destinations_of_an_unknown_session_are_not_recorded(store, noon):
    with pytest.raises(CallerError):
        await store.destinations.record(
            "ses_00000000000000000000", "x.test", 443, "allowed", bytes_out=0, bytes_in=0, connections=1, at=noon
        )


async def test_destinations_are_forgotten_after_their_time(store, steps, noon):
    session = await steps.pending()
    for hours in (0, 2):
        await store.destinations.record(
            session.id,
            f"h{hours}.test",
            443,
            "allowed",
            bytes_out=0,
            bytes_in=0,
            connections=1,
            at=noon + timedelta(hours=hours),
        )
    pruned = await store.retention.prune(noon + timedelta(hours=25), DAY)
    assert pruned.destinations == 1
    assert [one.name for one in await store.destinations.list(session.id)] == ["h2.test"]
