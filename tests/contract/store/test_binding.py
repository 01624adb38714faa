"""A session that binds opens to one browser: the one that was sent, of the person whom the application named."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tests.contract.store.conftest import NOON, Steps, later

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SessionFact
from antechamber.model import AccessKind, new_secret
from antechamber.store import Store, bindings

COOKIE = AccessKind.SESSION_COOKIE


@dataclass
class Way:
    """The steps of the way, each as somebody takes it."""

    store: Store
    steps: Steps

    async def begin(self, user="ada"):
        """Return a session that binds, and the cookie of the browser that opened its link."""
        new = replace(self.steps.new(user), binds=True)
        session = (await self.store.sessions.create(new, at=NOON)).session
        return session, await self.open_link(session)

    async def open_link(self, session):
        link, cookie = new_secret(), new_secret()
        assert await self.store.access.grant_link(link, session_id=session.id, at=NOON, expires_at=later(600))
        assert await self.store.access.open_link(
            link, cookie, session_id=session.id, at=NOON, cookie_expires_at=later(3600)
        )
        return cookie

    async def challenge(self, session, cookie):
        made = new_secret()
        given = await self.store.bindings.challenge(cookie, made, session_id=session.id, at=NOON, expires_at=later(60))
        return made if given else None

    async def bind(self, session, challenge, user="ada", at=NOON):
        way_back = new_secret()
        outcome = await self.store.bindings.bind(
            challenge, way_back, session_id=session.id, user_id=user, at=at, expires_at=later(60)
        )
        return outcome, way_back

    async def come_back(self, session, way_back, *cookies, at=NOON):
        cookie = new_secret()
        outcome = await self.store.bindings.come_back(
            way_back, list(cookies), cookie, session_id=session.id, at=at, cookie_expires_at=later(3600)
        )
        holds = await self.store.access.holds(COOKIE, cookie, session_id=session.id, at=NOON)
        assert holds is (outcome == "opened")
        return outcome


@pytest.fixture
def way(store, steps):
    return Way(store, steps)


async def kinds(store, session):
    return [event.kind for event in await store.sessions.events(session.id)]


async def test_the_whole_way_opens_the_session_once(store, way, noon):
    session, cookie = await way.begin()
    assert not await store.access.holds(COOKIE, cookie, session_id=session.id, at=noon)
    challenge = await way.challenge(session, cookie)
    outcome, way_back = await way.bind(session, challenge)
    assert (outcome, (await store.sessions.get(session.id)).opened_at) == ("bound", None)
    assert await way.come_back(session, way_back, cookie) == "opened"
    assert (await store.sessions.get(session.id)).opened_at == noon
    assert await kinds(store, session) == ["created", "sent_to_bind", "bound", "opened"]
    # nothing of the way leads anybody else in, and no other link is given
    assert await way.come_back(session, way_back, new_secret()) == "not_valid"
    assert await way.challenge(session, cookie) is None
    assert (await way.bind(session, challenge))[0] == "bad_challenge"
    assert not await store.access.grant_link(new_secret(), session_id=session.id, at=noon, expires_at=later(60))


async def test_the_database_opens_it_to_nobody_before(store, way, prompt, noon):
    session, _ = await way.begin()
    said = "a session opens to nobody before its browser is bound"
    for fact in (SessionFact.CONSENTED, SessionFact.MACHINE_BOOTING, SessionFact.MACHINE_READY):
        if fact is SessionFact.CONSENTED:
            with pytest.raises(RuntimeError, match=said):
                await store.sessions.apply(session.id, fact, at=noon)
        else:
            await store.sessions.apply(session.id, fact, at=noon, expires_at=later(600))
    with pytest.raises(RuntimeError, match=said):
        await store.sessions.apply(session.id, SessionFact.SCREEN_SEEN, at=noon, expires_at=later(600))
    off = "binds = 0" if prompt.kind == "sqlite" else "binds = false"
    assert "is settled when it begins" in prompt.refused_change("auth_sessions", off, session.id)


async def test_another_person_is_refused_and_the_challenge_is_used_up(store, way):
    session, cookie = await way.begin()
    challenge = await way.challenge(session, cookie)
    outcome, way_back = await way.bind(session, challenge, user="eve")
    assert outcome == "other_person"
    assert await way.come_back(session, way_back, cookie) == "not_valid"
    assert (await way.bind(session, challenge, user="ada"))[0] == "bad_challenge"
    assert {"bind_other_person", "bind_bad_challenge"} <= set(await kinds(store, session))


async def test_another_browser_does_not_come_back_and_uses_the_way_up(store, way):
    session, cookie = await way.begin()
    for others in ([], [new_secret()]):
        _, way_back = await way.bind(session, await way.challenge(session, cookie))
        assert await way.come_back(session, way_back, *others) == "other_browser"
        assert await way.come_back(session, way_back, cookie) == "not_valid"
    assert "bind_other_browser" in await kinds(store, session)
    # the browser that was sent can begin anew
    _, way_back = await way.bind(session, await way.challenge(session, cookie))
    assert await way.come_back(session, way_back, new_secret(), cookie) == "opened"


async def test_each_tab_of_the_browser_has_a_challenge_that_serves_and_the_last_way_back_is_the_good_one(way):
    session, cookie = await way.begin()
    first, second = await way.challenge(session, cookie), await way.challenge(session, cookie)
    _, old = await way.bind(session, first)
    outcome, way_back = await way.bind(session, second)
    assert outcome == "bound"
    assert await way.come_back(session, old, cookie) == "not_valid"
    assert await way.come_back(session, way_back, cookie) == "opened"


async def test_a_browser_has_a_bounded_number_of_challenges(way):
    session, cookie = await way.begin()
    given = [await way.challenge(session, cookie) for _ in range(bindings.CHALLENGES + 1)]
    assert (await way.bind(session, given[0]))[0] == "bad_challenge"
    assert (await way.bind(session, given[-1]))[0] == "bound"


async def test_an_answer_that_did_not_come_is_given_again_to_the_same_browser_for_a_minute(store, way):
    session, cookie = await way.begin()
    _, way_back = await way.bind(session, await way.challenge(session, cookie))
    assert await way.come_back(session, way_back, cookie) == "opened"
    assert await way.come_back(session, way_back) == "not_valid"
    assert await way.come_back(session, way_back, new_secret()) == "not_valid"
    # after others who had it without the cookie too
    assert await way.come_back(session, way_back, cookie, at=later(59)) == "opened"
    assert await way.come_back(session, way_back, cookie, at=later(60)) == "not_valid"
    assert (await kinds(store, session)).count("opened") == 1


async def test_a_newer_link_puts_out_whoever_opened_the_one_before(way):
    session, stranger = await way.begin()
    challenge = await way.challenge(session, stranger)
    _, way_back = await way.bind(session, challenge)
    cookie = await way.open_link(session)
    assert await way.challenge(session, stranger) is None
    assert (await way.bind(session, challenge))[0] == "bad_challenge"
    assert await way.come_back(session, way_back, stranger) == "not_valid"
    _, own = await way.bind(session, await way.challenge(session, cookie))
    assert await way.come_back(session, own, stranger, cookie) == "opened"


async def test_what_is_of_one_session_is_of_no_other(way):
    (hers, her_cookie), (his, his_cookie) = await way.begin("ada"), await way.begin("bob")
    challenge = await way.challenge(hers, her_cookie)
    assert await way.challenge(hers, his_cookie) is None
    assert (await way.bind(his, challenge, user="bob"))[0] == "bad_challenge"
    _, way_back = await way.bind(hers, challenge)
    assert await way.come_back(his, way_back, his_cookie, her_cookie) == "not_valid"
    assert await way.come_back(hers, way_back, her_cookie) == "opened"


async def test_challenge_and_way_back_end_at_their_time(way):
    session, cookie = await way.begin()
    challenge = await way.challenge(session, cookie)
    assert (await way.bind(session, challenge, at=later(60)))[0] == "bad_challenge"
    _, way_back = await way.bind(session, challenge, at=later(59))
    assert await way.come_back(session, way_back, cookie, at=later(60)) == "not_valid"


async def test_a_session_that_ended_meanwhile_shows_its_end(store, way, noon):
    session, cookie = await way.begin()
    await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)
    _, way_back = await way.bind(session, await way.challenge(session, cookie))
    assert await way.come_back(session, way_back, cookie) == "opened"
    assert (await store.sessions.get(session.id)).opened_at is None


async def test_there_is_nothing_to_bind_where_there_is_no_session(store, noon):
    nobody = "ses_00000000000000000000"
    secret = new_secret()
    for work in (
        store.bindings.challenge(secret, secret, session_id=nobody, at=noon, expires_at=later(1)),
        store.bindings.bind(secret, secret, session_id=nobody, user_id="ada", at=noon, expires_at=later(1)),
        store.bindings.come_back(secret, [], secret, session_id=nobody, at=noon, cookie_expires_at=later(1)),
    ):
        with pytest.raises(CallerError) as refused:
            await work
        assert refused.value.code is Code.SESSION_NOT_FOUND
