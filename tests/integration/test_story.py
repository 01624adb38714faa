"""Every event that a service records is as `story.py`, and so docs/events.md, describes it."""

import pytest

from antechamber import story
from antechamber.errors import CallerError
from tests.integration.scene import WHOLE, scene


@pytest.fixture
async def installation(tmp_path):
    async with scene(tmp_path) as opened:
        yield opened


async def recorded(installation):
    """Return every event of every session and machine."""
    found = []
    for session in await installation.signin.sessions():
        found += await installation.store.sessions.events(session.id, machines=True)
    return found


async def test_every_event_of_sign_ins_that_end_in_each_way_is_as_described(installation):
    signin = installation.signin
    completed, guest = await installation.awaiting()
    await signin.screen_seen(completed.id)
    await signin.consent(completed.id)
    assert await guest.sign_in(WHOLE) is None
    await signin.success_shown(completed.id)
    with pytest.raises(CallerError):
        await signin.cancel(completed.id, by_person=True)
    await signin.reject(completed.id)
    await installation.machine_ended(completed.id)

    failed, guest = await installation.awaiting(user_id="bob")
    await guest.end_cli(3, "no such account")
    await installation.until(failed.id, "failed")
    await installation.machine_ended(failed.id)

    lost, guest = await installation.awaiting(user_id="cleo")
    guest.crash(7)
    await installation.until(lost.id, "failed")
    await installation.machine_ended(lost.id)

    await installation.awaiting(user_id="dan")
    replaced, _ = await installation.awaiting(user_id="dan", replace=True)
    await signin.cancel(replaced.id, by_person=False)
    await installation.machine_ended(replaced.id)

    events = await recorded(installation)
    odd = [said for one in events for said in story.odd(one.kind, dict(one.fields), of_machine=bool(one.machine_id))]
    assert odd == []
    kinds = {one.kind for one in events}
    assert {"captured", "rejected", "credential_deleted", "sign_in_failed", "superseded", "cancelled"} <= kinds
    assert {"boot_began", "stop_asked", "ended", "machine_ended"} <= kinds
    assert any(one.fields.get("refused") for one in events)


def test_what_is_not_described_is_said():
    assert story.odd("created", {}) == []
    assert story.odd("never", {}) == ["there is no event never"]
    assert story.odd("created", {"more": 1}) == ["created has a field more that is not described"]
    assert story.odd("credential_deleted", {"credential_id": "x"}) == ["credential_deleted lacks version"]
    assert story.odd("credential_deleted", {"credential_id": "x", "version": "1"}) == [
        "credential_deleted.version is no int"
    ]
    assert story.odd("captured", {"refused": True}) == []
