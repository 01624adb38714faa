"""The checker of invariants finds nothing after ordinary sign-ins, and each thing that was broken by hand."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from antechamber.model import IdPrefix, new_id
from antechamber.store import file_url
from tests import invariants
from tests.integration.scene import WHOLE, scene

DOUBLED = """
    INSERT INTO events (id, session_id, kind, act, before, after, at, fields)
    SELECT 'evt_' || seq, session_id, kind, act, before, after, at, fields FROM events WHERE kind = 'captured'
"""


async def broken(there, **more):
    return await invariants.broken(file_url(there.folder / "scene.db"), key=there.folder / "key", **more)


async def ended(there):
    """Take one session to its credential, and cancel another; both machines are gone."""
    session, guest = await there.awaiting()
    assert await guest.sign_in(WHOLE) is None
    other, _ = await there.awaiting(user_id="bob")
    await there.signin.cancel(other.id, by_person=False)
    for one in (session, other):
        await there.machine_ended(one.id)
    return session, other


@pytest.fixture
async def there(tmp_path):
    async with scene(tmp_path, grace_completed_s=0, egress_after_capture_s=0) as there:
        yield there


@contextlib.contextmanager
def prompt(there):
    """A SQL prompt of somebody whom no trigger stops."""
    with contextlib.closing(sqlite3.connect(there.folder / "scene.db", timeout=10)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield connection
        connection.commit()


async def test_ordinary_sign_ins_break_nothing(there):
    await ended(there)
    assert await broken(there) == []


async def test_a_sign_in_under_way_breaks_nothing_and_is_not_settled(there):
    session, _ = await there.awaiting()
    assert await broken(there, settled=False) == []
    assert await broken(there) == [f"{session.id} is awaiting_sign_in", f"{session.machine_id} is ready"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM provider_credentials", "is completed without its credential"),
        (
            "UPDATE auth_sessions SET status = 'failed', reason = 'cli_ended' WHERE status = 'completed'",
            "is stored, and ses_",
        ),
        ("UPDATE provider_credentials SET ciphertext = zeroblob(900)", "does not open"),
        ("UPDATE provider_credentials SET version = 3", "is at version 3, and has [1]"),
        ("DELETE FROM events WHERE kind = 'machine_booting'", "machine_ready left starting, and it was pending"),
        ("UPDATE events SET before = 'ready' WHERE kind = 'boot_began'", "moved it from ready to booting"),
        ("DELETE FROM events WHERE kind = 'machine_ended'", "was not told that its machine"),
        ("UPDATE auth_sessions SET reason = 'nobody_came' WHERE status = 'cancelled'", "its row says nobody_came"),
        (
            DOUBLED,
            "it ended 2 times",
        ),
        ("DELETE FROM audit WHERE action = 'credential_stored'", "v1 is stored, and 0 lines say so"),
        ("UPDATE audit SET action = 'credential_deleted'", "is active, and 1 lines say that it is gone"),
    ],
)
async def test_what_is_broken_in_the_rows_is_said(there, statement, said):
    await ended(there)
    with prompt(there) as connection:
        assert connection.execute(statement).rowcount > 0
    assert any(said in fault for fault in await broken(there))


async def test_an_end_that_is_not_true_is_said(there):
    session, other = await ended(there)
    ends = {session.id: {"completed"}, other.id: {"cancelled_by_caller"}}
    assert await broken(there, true_ends=ends) == []
    (fault,) = await broken(there, true_ends={**ends, other.id: {"machine_ended"}})
    assert fault.startswith(f"{other.id} ended as cancelled cancelled_by_caller")
    missing = new_id(IdPrefix.SESSION)
    assert await broken(there, true_ends={missing: {"completed"}}) == [f"{missing} was acknowledged and is not there"]


async def test_what_is_left_on_the_host_is_said(there, tmp_path):
    await ended(there)
    run, data = tmp_path / "run", tmp_path / "data"
    for folder in (run, data):
        folder.mkdir()
    (data / "vault.key").touch()
    assert await broken(there, run=run, data=data) == []
    (run / new_id(IdPrefix.INCARNATION)).mkdir()
    shutil.copy(there.folder / "key", data / ".vault.key.0011223344556677")
    argv = [sys.executable, "-c", "input()", f"{run}/plan.json"]
    left = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    told = await broken(there, run=run, data=data)
    left.stdin.close()
    await left.wait()
    assert len(told) == 3
    assert f"process {left.pid} of uid {os.getuid()} is left" in " ".join(told)
