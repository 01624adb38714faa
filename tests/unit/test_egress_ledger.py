from __future__ import annotations

import asyncio
from datetime import timedelta

from antechamber.egress import Limits, Use, Verdict, matches
from antechamber.egress.ledger import OTHERS, Ledger
from antechamber.egress.limits import Rate
from antechamber.settings import Settings

AT_ONCE = timedelta(0)


def ledger(told: list[Use], most: int = 10, batch: timedelta = AT_ONCE) -> Ledger:
    return Ledger(told.append, most, batch)


async def test_uses_are_told_in_batches_as_differences_and_kept_as_totals():
    told: list[Use] = []
    book = ledger(told, batch=timedelta(hours=1))
    book.note(Use("some.dev", 443, Verdict.ALLOWED, connections=1))
    book.note(Use("some.dev", 443, Verdict.ALLOWED, bytes_out=10))
    assert told == []
    book.flush()
    book.note(Use("some.dev", 443, Verdict.ALLOWED, bytes_in=5))
    book.flush()
    book.flush()
    assert told == [
        Use("some.dev", 443, Verdict.ALLOWED, bytes_out=10, connections=1),
        Use("some.dev", 443, Verdict.ALLOWED, bytes_in=5),
    ]
    assert book.totals() == [Use("some.dev", 443, Verdict.ALLOWED, bytes_out=10, bytes_in=5, connections=1)]


async def test_a_batch_is_told_without_being_asked():
    told: asyncio.Queue[Use] = asyncio.Queue()
    book = Ledger(told.put_nowait, 10, AT_ONCE)
    book.note(Use("some.dev", 80, Verdict.REFUSED))
    assert await told.get() == Use("some.dev", 80, Verdict.REFUSED)


async def test_a_look_up_is_a_row_of_its_own_only_where_no_connection_follows():
    told: list[Use] = []
    book = ledger(told)
    book.note(Use("looked.dev", 0, Verdict.ALLOWED))
    book.note(Use("some.dev", 0, Verdict.ALLOWED))
    book.note(Use("some.dev", 443, Verdict.ALLOWED, connections=1))
    book.note(Use("some.dev", 0, Verdict.ALLOWED))
    book.flush()
    assert [(use.name, use.port) for use in told] == [("looked.dev", 0), ("some.dev", 443)]


async def test_where_verdicts_differ_the_one_that_let_something_out_is_shown():
    book = ledger([])
    for verdict in (Verdict.UNKNOWN_NAME, Verdict.ALLOWED, Verdict.REFUSED):
        book.note(Use("some.dev", 443, verdict))
    assert [use.verdict for use in book.totals()] == [Verdict.ALLOWED]


async def test_names_beyond_the_limit_share_one_row():
    book = ledger([], most=3)
    for number in range(50):
        book.note(Use(f"n{number}.dev", 443, Verdict.REFUSED))
    assert len(book.totals()) == 4
    assert book.totals()[-1].name == OTHERS


async def test_waiting_for_a_host_ends_when_bytes_come_back_from_it_and_not_before():
    book = ledger([])
    waiting = asyncio.get_running_loop().create_task(book.answered(["login.dev", "*.pages.dev"]))
    await asyncio.sleep(0)
    book.note(Use("login.dev", 443, Verdict.ALLOWED, bytes_out=100))
    book.note(Use("pages.dev", 443, Verdict.ALLOWED, bytes_in=100))
    await asyncio.sleep(0)
    assert not waiting.done()
    book.note(Use("a.pages.dev", 443, Verdict.ALLOWED, bytes_in=1))
    await waiting
    await book.answered(["pages.dev"])


def test_a_star_stands_for_everything_under_a_name_and_not_for_the_name():
    assert matches("a.b.dev", ["*.b.dev"])
    assert not matches("b.dev", ["*.b.dev"])
    assert not matches("xb.dev", ["*.b.dev"])
    assert matches("b.dev", ["a.dev", "b.dev"])


def test_the_rate_is_an_average_over_ten_seconds():
    rate = Rate(2, 100.0)
    assert [rate.take(100.0) for _ in range(21)] == [True] * 20 + [False]
    assert [rate.take(101.0) for _ in range(3)] == [True, True, False]
    assert sum(rate.take(10_000.0) for _ in range(100)) == 20


def test_the_settings_reach_the_limits():
    limits = Limits.of(Settings(egress_connections=1, egress_names=2, egress_bytes=3, egress_rate=4))
    assert (limits.connections, limits.names, limits.total_bytes, limits.rate) == (1, 2, 3, 4)


async def test_a_wrong_server_name_is_never_hidden_by_what_went_well_at_the_same_name():
    told: list[Use] = []
    book = ledger(told, most=3)
    book.note(Use("some.dev", 0, Verdict.ALLOWED))
    book.note(Use("some.dev", 443, Verdict.ALLOWED, connections=1))
    book.note(Use("some.dev", 443, Verdict.WRONG_SERVER_NAME, connections=1))
    book.note(Use("some.dev", 443, Verdict.ALLOWED, bytes_out=7))
    book.note(Use("some.dev", 443, Verdict.WRONG_SERVER_NAME, connections=1))
    book.flush()
    rows = [
        Use("some.dev", 443, Verdict.ALLOWED, bytes_out=7, connections=1),
        Use("some.dev", 443, Verdict.WRONG_SERVER_NAME, connections=2),
    ]
    assert book.totals() == rows
    assert told == rows


async def test_where_something_was_let_out_is_not_hidden_behind_many_refusals():
    book = ledger([], most=3)
    for port in range(1000, 1010):
        book.note(Use("some.dev", port, Verdict.REFUSED))
    book.note(Use("taker.dev", 0, Verdict.ALLOWED))
    book.note(Use("taker.dev", 443, Verdict.ALLOWED, connections=1, bytes_out=9))
    book.note(Use("front.dev", 443, Verdict.WRONG_SERVER_NAME, connections=1))
    assert [(use.name, use.port) for use in book.totals()] == [
        *[("some.dev", port) for port in (1000, 1001, 1002)],
        (OTHERS, 0),
        ("taker.dev", 443),
        ("front.dev", 443),
    ]
