"""Whole months of the audit go, the oldest first, by a cut that tells what it takes, and no other line does."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.contract.store.conftest import NOON, later

from antechamber.control import plain
from antechamber.model import Actor, AuditAction, GuestText, Owner, Purpose
from antechamber.operations import audit_view
from antechamber.store import Asked, NotTaken, Store
from antechamber.store.audit_retention import AuditRetention

NOVEMBER, DECEMBER = datetime(2025, 11, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
KEPT = "a line of the audit is kept"
LIES = "a cut of the audit takes every line"


@pytest.fixture
async def store(prompt):
    """A store by the role that may let lines go: the service's own may not, see `test_roles`."""
    made = await Store.open(prompt.owner_url, world="demo")
    yield made
    await made.close()


async def opened(store, at, user="nobody"):
    await store.credentials.open(Owner(user), "codex", purpose=Purpose.CHECK, actor=Actor.COMMAND_LINE, at=at)


async def filled(store, steps):
    """Fill the audit: two persons in October, one of them later too, and the edges of November."""
    await steps.completed("ada", at=datetime(2025, 10, 5, tzinfo=UTC))
    await steps.completed("bob", at=datetime(2025, 10, 6, tzinfo=UTC))
    await opened(store, NOVEMBER - MOMENT, "bob")
    await opened(store, NOVEMBER, "ada")
    await opened(store, DECEMBER - MOMENT)
    await opened(store, DECEMBER)
    await opened(store, NOON)
    return await store.audit.list()


async def cut(store, until, **how):
    return await cut_by(store.audit_retention, until, **how)


async def cut_by(retention, until, **how):
    wishes = {"by": Actor.SERVICE, "at": NOON, "taken_only": False} | how
    return await retention.cut(until, **wishes)


def in_steps_of_two(store):
    return AuditRetention(store._database, batch=2)


def digest(exported):
    """Return what somebody who has the exported lines computes: `jq -cS 'del(.reason)' | sha256sum`."""
    whole = [{name: value for name, value in line.items() if name != "reason"} for line in exported]
    said = [json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for line in whole]
    return hashlib.sha256("".join(said).encode()).hexdigest()


async def test_what_is_older_than_the_month_goes_and_a_line_says_so(store, steps):
    before = await filled(store, steps)
    exported = [plain(audit_view(line)) for line in before]
    made = await cut(store, DECEMBER)
    assert (made.until, made.lines, made.first_seq, made.last_seq) == (DECEMBER, 5, before[0].seq, before[4].seq)
    assert made.digest == digest(exported[:5])
    assert await store.audit_retention.clear() == 5
    left = await store.audit.list()
    assert left[:-1] == before[5:]
    assert (left[-1].action, left[-1].actor, left[-1].owner) == (AuditAction.AUDIT_PRUNED, Actor.SERVICE, None)
    assert left[-1].fields == {
        "until": "2025-12-01T00:00:00Z",
        "lines": 5,
        "first_seq": made.first_seq,
        "last_seq": made.last_seq,
        "digest": made.digest,
    }
    assert await store.audit_retention.cuts() == [made]
    assert await store.audit_retention.clear() == 0


async def test_nothing_to_take_is_no_cut_and_no_line(store, steps):
    before = await filled(store, steps)
    assert await cut(store, datetime(2025, 10, 1, tzinfo=UTC)) is None
    assert await store.audit.list() == before
    await cut(store, NOVEMBER)
    assert await cut(store, NOVEMBER) is None
    assert len(await store.audit.list()) == len(before) + 1


async def test_before_a_cut_no_line_goes_and_after_it_none_but_those(store, steps, prompt):
    lines = await filled(store, steps)
    for line in lines:
        assert KEPT in prompt.refusal("DELETE FROM audit WHERE seq = ?", line.seq)
    await cut(store, NOVEMBER)
    for line in lines[3:]:
        assert KEPT in prompt.refusal("DELETE FROM audit WHERE seq = ?", line.seq)
    assert KEPT in prompt.refusal("DELETE FROM audit")
    assert "does not change" in prompt.refusal("UPDATE audit SET actor = 'person' WHERE seq = ?", lines[0].seq)
    if prompt.kind == "postgres":
        assert KEPT in prompt.refusal("TRUNCATE audit")
    for line in lines[:3]:
        prompt.run("DELETE FROM audit WHERE seq = ?", line.seq)


def lie(until="2025-12-01 00:00:00+00", lines=5, first=0, last=4, at="2026-01-31 12:00:00+00"):
    return until, lines, first, last, at


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        (lie(lines=4), LIES),
        (lie(lines=6), LIES),
        (lie(last=5), LIES),
        (lie(lines=4, last=3), LIES),
        (lie(lines=0, last=0), LIES),
        (lie(first=1), LIES),
        # not a line is that old
        (lie(until="2025-10-01 00:00:00+00", lines=0, last=0), LIES),
        (lie(until="2025-12-01 00:00:01+00", lines=6, last=5), "CHECK constraint failed"),
        (lie(until="2025-12-02 00:00:00+00", lines=6, last=5), "CHECK constraint failed"),
        # a month that is not over
        (lie(until="2026-02-01 00:00:00+00", lines=7, last=6), "CHECK constraint failed"),
        (lie(until="2026-03-01 00:00:00+00", lines=7, last=6, at="2026-02-28 23:59:59+00"), "CHECK constraint failed"),
    ],
)
async def test_a_cut_that_does_not_tell_the_truth_is_refused(store, steps, prompt, told, refused):
    lines = await filled(store, steps)
    until, count, first, last, at = told
    if prompt.kind == "sqlite":
        until, at = (f"{time.replace(' ', 'T').removesuffix('+00')}.000000Z" for time in (until, at))
    whole = (until, count, lines[first].seq, lines[last].seq, "0" * 64, at)
    statement = "INSERT INTO audit_cuts (until, lines, first_seq, last_seq, digest, at) VALUES (?, ?, ?, ?, ?, ?)"
    assert refused in prompt.refusal(statement, *whole)


async def test_a_cut_stays_and_another_one_goes_on_from_it(store, steps, prompt):
    await filled(store, steps)
    await cut(store, DECEMBER)
    assert "a cut of the audit does not change" in prompt.refusal("UPDATE audit_cuts SET lines = 1")
    assert "a cut of the audit is kept" in prompt.refusal("DELETE FROM audit_cuts")
    assert await cut(store, NOVEMBER) is None
    await store.audit_retention.clear()
    assert (await cut(store, JANUARY)).lines == 1
    assert [made.until for made in await store.audit_retention.cuts()] == [JANUARY, DECEMBER]


async def test_a_line_of_a_clock_that_went_back_is_kept_by_the_cut_before_it_and_taken_by_the_next(
    store, steps, prompt
):
    await filled(store, steps)
    await cut(store, DECEMBER)
    await opened(store, NOVEMBER + MOMENT)
    late = (await store.audit.list())[-1]
    assert KEPT in prompt.refusal("DELETE FROM audit WHERE seq = ?", late.seq)
    assert await store.audit_retention.clear() == 5
    assert late in await store.audit.list()
    made = await cut(store, JANUARY)
    assert (made.lines, made.last_seq) == (2, late.seq)
    assert await store.audit_retention.clear() == 2
    assert late not in await store.audit.list()


async def test_what_a_kill_has_left_the_next_one_deletes(store, steps, prompt):
    await filled(store, steps)
    made = await cut(store, DECEMBER)
    assert await in_steps_of_two(store)._clear_some() == 2
    again = await Store.open(prompt.owner_url, world="demo")
    try:
        assert await again.audit_retention.clear() == 3
        assert await again.audit_retention.cuts() == [made]
    finally:
        await again.close()


async def test_more_lines_than_one_step_takes_all_go_with_one_digest(store, steps):
    lines = await filled(store, steps)
    small = in_steps_of_two(store)
    made = await cut_by(small, DECEMBER)
    assert (made.lines, made.digest) == (5, digest([plain(audit_view(line)) for line in lines[:5]]))
    assert await small.clear() == 5


async def test_two_that_cut_at_once_make_one_cut_of_it(store, steps, prompt):
    await filled(store, steps)
    other = await Store.open(prompt.owner_url, world="demo")
    try:
        made = await asyncio.gather(cut(store, DECEMBER), cut(other, DECEMBER))
        assert sorted(one is None for one in made) == [False, True]
        cleared = await asyncio.gather(store.audit_retention.clear(), other.audit_retention.clear())
    finally:
        await other.close()
    assert sum(cleared) >= 5
    pruned = [line for line in await store.audit.list() if line.action is AuditAction.AUDIT_PRUNED]
    assert len(pruned) == 1


async def test_a_pseudonyms_key_goes_with_the_last_line_that_needs_it(store, steps, prompt):
    await filled(store, steps)
    await cut(store, NOVEMBER)
    await store.audit_retention.clear()
    assert prompt.run("SELECT user_id FROM audit_keys") == [("ada",)]
    assert len(await store.audit.list(owner=Owner("ada"))) == 1
    await cut(store, JANUARY)
    await store.audit_retention.clear()
    assert prompt.run("SELECT user_id FROM audit_keys") == []
    # whose lines begin anew is found again by them
    await opened(store, NOON, "ada")
    assert len(await store.audit.list(owner=Owner("ada"))) == 1


async def revealed(store, credential_id, at, reason="moving house"):
    asked = Asked(Purpose.REVEAL, Actor.COMMAND_LINE, reason=GuestText(reason))
    await store.openings.allow_reveal("codex", date(2025, 1, 1), by=Actor.COMMAND_LINE, at=at)
    return await store.openings.ask(credential_id, asked, at=at, an_hour=0)


async def test_a_reason_stays_with_its_line_and_goes_with_it(store, steps, prompt):
    october = datetime(2025, 10, 5, tzinfo=UTC)
    stored = (await steps.completed("ada", at=october)).credential
    await revealed(store, stored.id, october)
    (line,) = [line for line in await store.audit.list() if line.reason]
    assert line.reason == "moving house"
    assert "a reason is kept" in prompt.refusal("DELETE FROM audit_reasons")
    assert "a reason does not change" in prompt.refusal("UPDATE audit_reasons SET reason = 'x'")
    await cut(store, NOVEMBER)
    await store.audit_retention.clear()
    assert prompt.run("SELECT count(*) FROM audit_reasons") == [(0,)]


async def test_a_reason_goes_with_everything_of_its_owner_and_its_digest_is_the_same_before_and_after(
    store, steps, prompt
):
    stored = (await steps.completed("ada", at=datetime(2025, 10, 5, tzinfo=UTC))).credential
    await revealed(store, stored.id, datetime(2025, 10, 5, tzinfo=UTC), "for Ada Lovelace")
    exported = [plain(audit_view(line)) for line in await store.audit.list()]
    await steps.end_machine(await steps.machine(await store.sessions.get(stored.session_id)))
    erasure = await store.erasures.begin(Owner("ada"), by=Actor.DASHBOARD, at=NOON)
    while (await store.erasures.step(erasure.id, at=NOON))[1]:
        pass
    assert prompt.run("SELECT count(*) FROM audit_reasons") == [(0,)]
    assert "Lovelace" not in str(await store.audit.list())
    assert (await cut(store, NOVEMBER)).digest == digest(exported)


async def test_lines_go_only_once_they_are_said_to_be_elsewhere_where_that_is_asked_for(store, steps):
    lines = await filled(store, steps)
    assert await store.audit_retention.taken() == 0
    assert await cut(store, DECEMBER, taken_only=True) == NotTaken(lines[4].seq, 0)
    assert await store.audit_retention.taken(lines[3].seq) == lines[3].seq
    assert await cut(store, DECEMBER, taken_only=True) == NotTaken(lines[4].seq, lines[3].seq)
    assert await store.audit.list() == lines
    assert await store.audit_retention.taken(lines[4].seq) == lines[4].seq
    # it is not taken back
    assert await store.audit_retention.taken(1) == lines[4].seq
    assert (await cut(store, DECEMBER, taken_only=True)).lines == 5


async def test_what_is_due_is_told_by_its_age_alone(store, steps):
    await filled(store, steps)
    assert await store.audit_retention.is_due(DECEMBER)
    assert not await store.audit_retention.is_due(datetime(2025, 10, 5, tzinfo=UTC))
    assert await store.audit_retention.may_cut()
    assert later(0) == NOON
