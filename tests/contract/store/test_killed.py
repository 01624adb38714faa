"""Kill -9 at any instruction: what was acknowledged is there, and what was not is whole or absent (design rule 4)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from antechamber.model import SessionStatus
from antechamber.store import Store

INTEGRITY = {
    "sqlite": "PRAGMA integrity_check",
    "postgres": "SELECT count(*) FROM pg_index WHERE NOT indisvalid UNION ALL SELECT count(*) FROM pg_prepared_xacts",
}
SOUND = {"sqlite": [("ok",)], "postgres": [(0,), (0,)]}
ROOT = Path(__file__).parents[3]


def told_before_it_was_killed(url: str, acknowledged: int) -> list[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.store.capturing_forever", url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as writer:
        told = [writer.stdout.readline().strip() for _ in range(acknowledged)]
        writer.kill()
    return told


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
async def test_f001_f003_a_killed_writer_leaves_every_capture_whole(prompt, acknowledged):
    told = told_before_it_was_killed(prompt.url, acknowledged)
    store = await Store.open(prompt.url, world="demo")
    for session_id in told:
        assert (await store.sessions.get(session_id)).status is SessionStatus.COMPLETED
    completed = {one.id for one in await store.sessions.list(live=False, limit=1000)}
    history = {session for (session,) in prompt.run("SELECT session_id FROM credential_versions")}
    recorded = {session for (session,) in prompt.run("SELECT session_id FROM events WHERE kind = 'captured'")}
    assert completed == history == recorded
    # whoever signed in again has the new version or the one before, whole
    for credential in await store.credentials.list():
        known, sealed = await store.credentials.sealed(credential.id)
        assert sealed.ciphertext == b"DUMMY ciphertext of version %d" % known.version
        captured = [event for event in await store.statuses.events(credential.id) if event.kind == "captured"]
        assert [event.version for event in captured] == list(range(1, known.version + 1))
    assert prompt.run(INTEGRITY[prompt.kind]) == SOUND[prompt.kind]
    await store.close()
