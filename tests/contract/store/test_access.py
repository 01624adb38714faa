from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.store.conftest import DAY

from antechamber.model import AccessKind, Secret, new_secret

LINK, COOKIE, TICKET = AccessKind.LINK, AccessKind.SESSION_COOKIE, AccessKind.TICKET


@pytest.fixture
def grant(store, noon):
    async def granted(kind, session_id, *, seconds=60, **wishes):
        secret = new_secret()
        await store.access.grant(
            kind, secret, session_id=session_id, at=noon, expires_at=noon + timedelta(seconds=seconds), **wishes
        )
        return secret

    return granted


async def test_a_right_is_redeemed_once(store, steps, noon, grant):
    session = await steps.pending()
    secret = await grant(LINK, session.id)
    assert await store.access.redeem(LINK, secret, session_id=session.id, at=noon)
    assert not await store.access.redeem(LINK, secret, session_id=session.id, at=noon)
    assert not await store.access.holds(LINK, secret, session_id=session.id, at=noon)


async def test_a_right_that_is_held_is_not_used_up(store, steps, noon, grant):
    session = await steps.pending()
    secret = await grant(COOKIE, session.id)
    for _ in range(2):
        assert await store.access.holds(COOKIE, secret, session_id=session.id, at=noon)


async def test_a_right_ends_at_its_time(store, steps, noon, grant):
    session = await steps.pending()
    secret = await grant(LINK, session.id, seconds=60)
    assert await store.access.holds(LINK, secret, session_id=session.id, at=noon + timedelta(seconds=59))
    assert not await store.access.holds(LINK, secret, session_id=session.id, at=noon + timedelta(seconds=60))
    assert not await store.access.redeem(LINK, secret, session_id=session.id, at=noon + timedelta(seconds=60))


async def test_a_right_is_of_its_kind_and_session_alone(store, steps, noon, grant):
    mine, other = await steps.pending("ada"), await steps.pending("bob")
    secret = await grant(COOKIE, mine.id)
    assert not await store.access.holds(COOKIE, secret, session_id=other.id, at=noon)
    assert not await store.access.holds(COOKIE, secret, session_id=None, at=noon)
    assert not await store.access.redeem(LINK, secret, session_id=mine.id, at=noon)
    assert not await store.access.holds(COOKIE, Secret("DUMMY guess"), session_id=mine.id, at=noon)


async def test_the_dashboards_right_opens_no_session_and_no_sessions_right_the_dashboard(store, steps, noon, grant):
    session = await steps.pending()
    dashboard = await grant(AccessKind.DASHBOARD_COOKIE, None)
    assert await store.access.holds(AccessKind.DASHBOARD_COOKIE, dashboard, session_id=None, at=noon)
    assert not await store.access.holds(COOKIE, dashboard, session_id=session.id, at=noon)
    with pytest.raises(RuntimeError):
        await grant(AccessKind.DASHBOARD_COOKIE, session.id)
    with pytest.raises(RuntimeError):
        await grant(COOKIE, None)


async def test_a_new_grant_can_void_the_earlier_ones_of_its_kind_and_session(store, steps, noon, grant):
    mine, other = await steps.pending("ada"), await steps.pending("bob")
    old, cookie, others = await grant(LINK, mine.id), await grant(COOKIE, mine.id), await grant(LINK, other.id)
    new = await grant(LINK, mine.id, void_others=True)
    held = [
        await store.access.holds(kind, secret, session_id=session.id, at=noon)
        for kind, secret, session in (
            (LINK, old, mine),
            (LINK, new, mine),
            (COOKIE, cookie, mine),
            (LINK, others, other),
        )
    ]
    assert held == [False, True, True, True]


async def test_a_voided_right_is_gone(store, steps, noon, grant):
    session = await steps.pending()
    secret, dashboard = await grant(TICKET, session.id), await grant(AccessKind.DASHBOARD_LINK, None)
    await store.access.void(TICKET, session.id)
    assert not await store.access.redeem(TICKET, secret, session_id=session.id, at=noon)
    await store.access.void(AccessKind.DASHBOARD_LINK, None)
    assert not await store.access.redeem(AccessKind.DASHBOARD_LINK, dashboard, session_id=None, at=noon)


async def test_no_secret_is_in_the_database(store, steps, grant, prompt):
    session = await steps.pending()
    secret = await grant(LINK, session.id)
    stored = prompt.bytes_on_disk()
    assert session.id.encode() in stored
    assert secret.reveal().encode() not in stored


async def test_expired_rights_are_pruned_and_others_stay(store, steps, noon, grant):
    session = await steps.pending()
    await grant(TICKET, session.id, seconds=30)
    cookie = await grant(COOKIE, session.id, seconds=600)
    pruned = await store.retention.prune(noon + timedelta(seconds=30), DAY)
    assert pruned.access == 1
    assert await store.access.holds(COOKIE, cookie, session_id=session.id, at=noon)
