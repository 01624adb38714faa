"""What `test_full_disk` runs where the data directory is a disk of a few megabytes."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.model import SessionStatus
from antechamber.store import Store, file_url
from tests import invariants, small_disk
from tests.integration.scene import ADA, WHOLE, told
from tests.integration.web_service import error_of
from tests.integration.whole_service import metric, whole
from tests.opening import opened

DISK = Path(os.environ[small_disk.AT])
UNAVAILABLE = "antechamber_store_unavailable_total"


@pytest.fixture
async def service():
    folder = Path(tempfile.mkdtemp(dir=DISK))
    async with whole(folder, file_url(folder / "test.db"), sweep_s=0.2, egress_after_capture_s=0) as running:
        yield running


@pytest.fixture
def disk():
    """The disk, with its room given back in any case."""
    filler = small_disk.Filler(DISK)
    yield filler
    (DISK / "filler").unlink(missing_ok=True)


async def start_until_refused(service):
    """Fill the disk's last pages by asking for sessions; return the first answer that is an error."""
    operator = await service.operator()
    for number in range(2000):
        body = {"user_id": f"user{number}", "provider": "codex"}
        answer = await operator.post("/api/auth/session", json=body)
        if not answer.is_success:
            return answer
    message = "the disk does not get full"
    raise AssertionError(message)


async def sound(service):
    folder = service.stage.folder
    return await invariants.broken(file_url(folder / "test.db"), key=folder / "key", settled=False)


async def test_a_full_disk_is_told_and_a_credential_waits_until_there_is_room(service, disk, capsys):
    stage = service.stage
    session, guest = await stage.awaiting()
    disk.fill()
    refused = await start_until_refused(service)
    assert error_of(refused) == (503, Code.STORE_UNAVAILABLE)
    assert refused.json()["error"]["retryable"] is True
    sending = asyncio.get_running_loop().create_task(guest.sign_in(WHOLE))
    await told(capsys, "a report waits", "full")
    # reading goes on, and what was promised before is there
    operator = await service.operator()
    answer = await operator.get(f"/api/auth/session/{session.id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "awaiting_sign_in")
    assert await metric(service, UNAVAILABLE) > 0
    disk.free()
    assert await sending is None, "the report is taken, not refused"
    await stage.until(session.id, SessionStatus.COMPLETED)
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
    await stage.machine_ended(session.id)
    assert (await operator.post("/api/auth/session", json={"user_id": "grace", "provider": "codex"})).status_code == 201
    assert await sound(service) == []


async def test_a_machine_that_ends_while_the_disk_is_full_ends_its_session_for_that_reason_afterwards(
    service, disk, capsys
):
    stage = service.stage
    session, guest = await stage.awaiting()
    disk.fill()
    await start_until_refused(service)
    guest.crash()
    await told(capsys, "could not be attended")
    disk.free()
    assert (await stage.until(session.id, SessionStatus.FAILED)).reason == "machine_ended"
    await stage.machine_ended(session.id)
    assert await sound(service) == []


async def test_a_cancel_that_does_not_fit_is_refused_and_works_when_it_is_tried_again(service, disk):
    stage = service.stage
    session, _ = await stage.awaiting()
    disk.fill()
    await start_until_refused(service)
    operator = await service.operator()
    path = f"/api/auth/session/{session.id}/cancel"
    assert error_of(await operator.post(path, json={})) == (503, Code.STORE_UNAVAILABLE)
    assert (await stage.signin.session(session.id)).status is SessionStatus.AWAITING_SIGN_IN
    disk.free()
    assert (await operator.post(path, json={})).json()["status"] == "cancelled"
    await stage.machine_ended(session.id)


async def test_a_service_that_starts_on_a_full_disk_says_so_and_starts_when_there_is_room(disk):
    folder = Path(tempfile.mkdtemp(dir=DISK))
    disk.fill()
    with pytest.raises(OperatorError) as refused:
        await Store.open(file_url(folder / "test.db"), world="demo")
    assert refused.value.code is Code.STORE_UNAVAILABLE
    assert refused.value.message == "The database cannot be opened."
    disk.free()
    await (await Store.open(file_url(folder / "test.db"), world="demo")).close()


async def test_a_read_only_disk_is_told_at_the_start_and_nothing_is_lost():
    folder = Path(tempfile.mkdtemp(dir=DISK))
    url = file_url(folder / "test.db")
    async with whole(folder, url, sweep_s=0.2, egress_after_capture_s=0) as running:
        session, guest = await running.stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        await running.stage.machine_ended(session.id)
    small_disk.read_only(DISK, on=True)
    try:
        with pytest.raises(OperatorError) as refused:
            await Store.open(url, world="demo")
        assert refused.value.code is Code.STORE_UNAVAILABLE
        assert "read" in refused.value.detail.lower()
    finally:
        small_disk.read_only(DISK, on=False)
    async with whole(folder, url, sweep_s=0.2) as running:
        assert (await running.signin.session(session.id)).status is SessionStatus.COMPLETED
        assert b"DUMMY" in await opened(running.signin, ADA, "codex")
