"""How long the audit is kept: as the settings say, by hand, and what an exporter is told of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from antechamber.auditing import Auditing
from antechamber.errors import CallerError, Code
from antechamber.model import Actor, AuditAction, Owner, Purpose
from antechamber.reconciler.pruning import prune_audit
from antechamber.settings import Settings
from antechamber.store import Store, file_url
from tests.integration.cli_scene import place

NOW = datetime(2026, 4, 15, 8, 30, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path):
    opened = await Store.open(file_url(tmp_path / "antechamber.db"), world="demo")
    for year, month in ((2025, 12), (2026, 1), (2026, 2), (2026, 3), (2026, 4)):
        await looked(opened, datetime(year, month, 3, tzinfo=UTC))
    yield opened
    await opened.close()


async def looked(store, at):
    await store.credentials.open(Owner("ada"), "codex", purpose=Purpose.CHECK, actor=Actor.COMMAND_LINE, at=at)


def auditing(store, **settings):
    return Auditing(store, Settings(world="demo", **settings), lambda: NOW)


async def months(store):
    return [line.at.month for line in await store.audit.list() if line.action is not AuditAction.AUDIT_PRUNED]


async def test_all_is_kept_unless_somebody_says_for_how_long(store):
    await auditing(store).keep(by=Actor.SERVICE)
    assert await months(store) == [12, 1, 2, 3, 4]
    with pytest.raises(CallerError) as refused:
        await auditing(store).prune(by=Actor.COMMAND_LINE)
    assert "AUDIT_KEPT_MONTHS" in refused.value.next


@pytest.mark.parametrize(
    ("kept", "left"), [(1, [3, 4]), (3, [1, 2, 3, 4]), (4, [12, 1, 2, 3, 4]), (1200, [12, 1, 2, 3, 4])]
)
async def test_so_many_whole_months_are_kept_besides_the_present_one(store, kept, left):
    await prune_audit(store, Settings(world="demo", audit_kept_months=kept), NOW)
    assert await months(store) == left
    await prune_audit(store, Settings(world="demo", audit_kept_months=kept), NOW)
    pruned = [line for line in await store.audit.list() if line.action is AuditAction.AUDIT_PRUNED]
    assert [line.actor for line in pruned] == ([Actor.SERVICE] if left[0] != 12 else [])


@pytest.mark.parametrize("wrong", ["2026-05", "2026-13", "2026", "2026-1", "0000-01", "2026-01-01", "x"])
async def test_a_month_that_is_none_or_is_not_over_is_refused(store, wrong):
    with pytest.raises(CallerError, match="bad_request"):
        await auditing(store).prune(by=Actor.COMMAND_LINE, before=wrong)
    assert await months(store) == [12, 1, 2, 3, 4]


async def test_by_hand_any_month_that_is_over_goes(store):
    done = await auditing(store).prune(by=Actor.COMMAND_LINE, before="2026-04")
    assert (done.lines, done.cut.lines) == (4, 4)
    assert await months(store) == [4]
    assert await auditing(store).gone_up_to() == done.cut.last_seq
    assert (await auditing(store).prune(by=Actor.COMMAND_LINE, before="2026-04")).cut is None


async def test_what_is_not_exported_stays_where_that_is_asked_for(store):
    asked = auditing(store, audit_exported_first=True, audit_kept_months=1)
    with pytest.raises(CallerError) as refused:
        await asked.prune(by=Actor.COMMAND_LINE)
    assert refused.value.code is Code.NOT_EXPORTED
    await asked.keep(by=Actor.SERVICE)
    assert await months(store) == [12, 1, 2, 3, 4]
    with pytest.raises(CallerError, match="no such line"):
        await asked.exported(99)
    assert await asked.exported(3) == 3
    await asked.keep(by=Actor.SERVICE)
    assert await months(store) == [3, 4]


@pytest.mark.parametrize("answering", [True, False], ids=["asked_of_the_service", "read_from_the_store"])
async def test_the_command_line_deletes_says_what_and_an_exporter_learns_what_it_missed(answering):
    with place() as here:
        async with here.opened() as installation:
            for month in (1, 2, 3):
                await looked(installation.store, datetime(2026, month, 3, tzinfo=UTC))
            if answering:
                async with installation.answering(here.data):
                    await by_hand(here)
        if not answering:
            await by_hand(here)


async def by_hand(here):
    whole = (await here.says_meanwhile("audit", "export")).out.splitlines()
    assert len(whole) == 3
    unsure = await here.says_meanwhile("audit", "prune", "--before", "2026-03", typed="n\n")
    assert (unsure.code, "for ever" in unsure.err) == (1, True)
    assert (await here.says_meanwhile("audit", "prune", "--yes")).error()[2] == "bad_request"
    done = await here.says_meanwhile("audit", "prune", "--before", "2026-03", "--yes")
    assert "2 lines are deleted" in done.out
    (cut,) = (await here.says_meanwhile("audit", "cuts", "--json")).json
    assert cut["digest"] in done.out
    assert (cut["until"], cut["lines"], cut["last_seq"]) == ("2026-03-01T00:00:00Z", 2, json.loads(whole[1])["seq"])
    behind = await here.says_meanwhile("audit", "export", "--after", str(cut["first_seq"]))
    assert [json.loads(line)["action"] for line in behind.out.splitlines()] == ["credential_opened", "audit_pruned"]
    assert "have been deleted" in behind.err
    assert (await here.says_meanwhile("audit", "export", "--after", str(cut["last_seq"]))).err == ""
    assert (await here.says_meanwhile("audit", "exported")).out.strip() == "0"
    assert (await here.says_meanwhile("audit", "exported", "3")).out.strip() == "3"
    assert (await here.says_meanwhile("audit", "exported", "999")).error()[2] == "bad_request"
