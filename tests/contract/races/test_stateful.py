"""Several workers on one database, in steps that Hypothesis chooses: a bounded share of what `make soak` does.

Which steps they are follows from the seed, which is printed; what PostgreSQL does with those that it is asked at once
is its own affair. ANTECHAMBER_SEED names another seed.
"""

from __future__ import annotations

import os
import sys
from itertools import count

import pytest

from antechamber.store import file_url
from tests.contract.races.machine import STEPS, Bench, drive

RUNS = 20
SEED = 4


@pytest.fixture(params=["sqlite", "postgres"])
def bench(request, tmp_path):
    """Workers on each kind of database."""
    if request.param == "sqlite":
        numbers = count(1)
        made = Bench(lambda: file_url(tmp_path / f"{next(numbers)}.db"))
    else:
        server = request.getfixturevalue("postgres")
        made = Bench(lambda: server.url(server.create()))
    yield made
    made.close()


@pytest.mark.timeout(600)
def test_whatever_several_workers_do_at_once_every_property_holds_after_every_step(bench, capsys):
    number = int(os.environ.get("ANTECHAMBER_SEED", SEED))
    try:
        drive(bench, number=number, runs=RUNS)
    finally:
        with capsys.disabled():
            sys.stdout.write(f"\nseed {number}: {bench.said()}\n")
    # Hypothesis ends a few runs before their last step
    assert bench.steps.total() >= RUNS * STEPS * 3 // 4
    # what makes it worth its time: sessions and machines came to ends of many kinds, and somebody was second
    assert {"session completed", "session cancelled, superseded", "machine gone", "machine lost"} <= set(bench.seen)
    assert len(bench.seen) > 15, sorted(bench.seen)
    assert bench.outcomes["capture: capture_refused"]
    for said in ("come_back: let in", "bind_eve: bind_other_person", "come_back_elsewhere: return_not_valid"):
        assert bench.outcomes[said], said
    assert bench.outcomes["consent: not_signed_in"]
    assert {"run waiting", "run running", "run ended, exited", "run ended, machine_ended"} <= set(bench.seen)
    assert bench.outcomes["run_renew: stored"]
    assert bench.outcomes["run_renew: write_back_refused"]
