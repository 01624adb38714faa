"""Operators' logins: each ends once, gives one cookie, and is on record in what its operator does."""

from __future__ import annotations

import pytest
from tests.contract.store.conftest import DAY, NOON, later

from antechamber.model import AccessKind, Actor, Operator, Owner, new_secret
from antechamber.store import Entered

ANN = Operator("https://issuer.example", "4711", "ann@example.com")
UNNAMED = Operator(ANN.issuer, ANN.subject)


async def entered(store, login=None, operator=ANN):
    """Return (whether, the cookie) of a login that ends."""
    cookie = new_secret()
    did = await store.logins.enter(
        login or new_secret(),
        cookie,
        operator,
        terms="a" * 64,
        at=NOON,
        login_expires_at=later(600),
        cookie_expires_at=later(3600),
    )
    return did, cookie


async def test_a_login_gives_a_cookie_that_names_its_operator_until_its_end(store):
    did, cookie = await entered(store)
    assert did
    assert await store.logins.entered(cookie, at=later(3599)) == Entered(ANN, "a" * 64)
    assert await store.logins.entered(cookie, at=later(3600)) is None
    assert await store.logins.entered(new_secret(), at=NOON) is None


async def test_the_services_own_link_gives_a_cookie_that_names_nobody(store):
    cookie = new_secret()
    await store.access.grant(AccessKind.DASHBOARD_COOKIE, cookie, session_id=None, at=NOON, expires_at=later(1))
    assert await store.logins.entered(cookie, at=NOON) == Entered(None, None)


async def test_a_login_serves_once_and_gives_no_right_itself(store):
    login = new_secret()
    assert (await entered(store, login))[0]
    did, cookie = await entered(store, login)
    assert not did
    for secret in (cookie, login):
        assert await store.logins.entered(secret, at=NOON) is None


async def test_who_leaves_is_out_and_nobody_else_is(store):
    cookies = [(await entered(store))[1] for _ in range(2)]
    for _ in range(2):
        await store.logins.leave(cookies[0])
    assert await store.logins.entered(cookies[0], at=NOON) is None
    assert await store.logins.entered(cookies[1], at=NOON) is not None


async def test_nothing_of_a_login_is_kept_beyond_its_end(store, prompt):
    await entered(store)
    await store.retention.prune(later(3601), DAY)
    assert prompt.run("SELECT count(*) FROM access") == [(0,)]


async def test_which_operator_did_it_is_in_the_audit_and_without_a_name(store, steps, prompt):
    captured = await steps.completed("ada")
    await store.credentials.delete(captured.credential.id, at=NOON, by=Actor.DASHBOARD, operator=ANN)
    stored, deleted = await store.audit.list()
    assert (stored.operator, deleted.actor, deleted.operator) == (None, Actor.DASHBOARD, UNNAMED)
    assert ANN.name not in str(prompt.run("SELECT * FROM audit"))


async def test_which_operator_had_somebody_removed_is_in_each_line_of_it(store, steps):
    captured = await steps.completed("ada")
    await steps.end_machine(await steps.machine(captured.session))
    erasure = await store.erasures.begin(Owner("ada"), by=Actor.DASHBOARD, at=NOON, operator=ANN)
    while (await store.erasures.step(erasure.id, at=NOON))[1]:
        pass
    assert (await store.erasures.get(erasure.id)).operator == UNNAMED
    assert [line.operator for line in await store.audit.list()] == [None, UNNAMED, UNNAMED]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE access SET operator_issuer = NULL",
        "UPDATE access SET operator_subject = NULL",
        "UPDATE access SET operator_terms = NULL",
        "UPDATE access SET kind = 'dashboard_link'",
    ],
)
async def test_the_database_keeps_an_operator_whole_and_at_the_dashboard(store, prompt, statement):
    await entered(store)
    assert "operator" in prompt.refusal(statement)


async def test_a_login_that_ended_is_no_cookie_of_the_dashboard(store, prompt):
    await entered(store)
    kinds = prompt.run("SELECT kind, used_at IS NOT NULL FROM access ORDER BY kind")
    assert [(kind, bool(used)) for kind, used in kinds] == [("dashboard_cookie", False), ("login", True)]
