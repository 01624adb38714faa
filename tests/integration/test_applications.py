"""Applications over the API: each key opens what its scopes say, and of its own application alone."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from antechamber.lifecycle import MachineFact
from antechamber.model import ApiScope, new_secret
from antechamber.tasks import spawn
from antechamber.web.callers import RIGHTS
from tests.integration.test_access_paths import ERASURE
from tests.integration.web_service import OPERATIONS, error_of, now, running

S = ApiScope
ALL = tuple(ApiScope)
BODIES = {
    "/api/auth/session": OPERATIONS,
    "/api/auth/session/{session_id}/bind": {"user_id": "ada", "challenge": "DUMMY"},
    "/api/credentials/{credential_id}/said": {"said": "revoked"},
}
LISTS = {
    "/api/runs": "runs",
    "/api/auth/sessions": "sessions",
    "/api/credentials": "credentials",
    "/api/tombstones": "credentials",
    "/api/erasures": "erasures",
}


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def dashboard_routes(service):
    """Return every (method, path) of the dashboard's site that somebody has to be let in for."""
    described = (await (await service.operator()).get("/openapi.json")).json()["paths"]
    sign_in = service.addresses.sign_in.url
    told = {
        (method.upper(), path)
        for path, item in described.items()
        for method, operation in item.items()
        if operation.get("servers") != [{"url": sign_in}]
    }
    opened = {"/healthz", "/readyz", "/texts.js", "/static/texts.js", "/api/dashboard/open", "/api/dashboard/login"}
    return sorted(route for route in told if route[1] not in opened)


async def ask(client, method, path, names):
    body = BODIES.get(path, {}) if method == "POST" else None
    address = path.format(**names)
    if path == "/api/owners":
        address += f"?user_id={names['user_id']}"
    try:
        # a stream is let in as well, and does not end
        async with asyncio.timeout(5), client.stream(method, address, json=body) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer.status_code, None
            await answer.aread()
            return answer.status_code, answer.json().get("error", {}).get("code")
    except httpx.HTTPError as error:
        pytest.fail(f"{method} {path}: {error!r}")


async def what_it_has(service, client, erased="eve"):
    """Have an application do what leaves one of everything; return the names of those things."""
    ids = {"user_id": "ada"}
    for user, keep in (("ada", True), (erased, False)):
        started = (await client.post("/api/auth/session", json={**OPERATIONS, "user_id": user})).json()
        ids["session_id"] = started["session_id"]
        await service.ready(started["session_id"])
        await service.capture(started["session_id"])
        ids["credential_id"] = (await service.signin.session(started["session_id"])).captured_credential_id
        if not keep:
            assert (await client.delete(f"/api/owners/{user}")).status_code == 202
    erasures = (await client.get("/api/erasures")).json()["erasures"]
    hers = (await client.get("/api/auth/sessions?user_id=ada")).json()["sessions"][0]
    run = await client.post("/api/runs", json={**OPERATIONS, "argv": []})
    assert run.status_code == 201, run.text
    # no machine runs here that an erasure could wait for
    await service.runs.cancel(run.json()["id"])
    return {
        "user_id": "ada",
        "session_id": hers["session_id"],
        "credential_id": hers["credential_id"],
        "erasure_id": erasures[0]["id"],
        "application_id": "app_00000000000000000000",
        "run_id": run.json()["id"],
    }


async def test_a_key_opens_what_its_scope_says_and_nothing_else(service):
    routes = await dashboard_routes(service)
    assert len(routes) > 25
    assert set(RIGHTS) - {("GET", "/openapi.json")} <= set(routes)
    _, whole = await service.application(*ALL)
    names = await what_it_has(service, whole)
    wanted = {scope: {route for route, needed in RIGHTS.items() if needed in {scope, None}} for scope in ApiScope}
    wanted[S.ADMIN] = {route for route, needed in RIGHTS.items() if needed is not S.CREDENTIALS_REVEAL}
    for scope in ApiScope:
        _, client = await service.application(scope)
        for method, path in routes:
            status, code = await ask(client, method, path, names if path != "/api/owners" else {"user_id": "nobody"})
            refused = code in {"scope_needed", "not_allowed"}
            assert refused is ((method, path) not in wanted[scope]), (scope, method, path, status, code)
            assert (code == "not_allowed") is ((method, path) not in RIGHTS), (method, path, status, code)


async def test_what_is_anothers_is_answered_as_what_does_not_exist_on_every_route(service):
    _, acme = await service.application(*ALL)
    _, other = await service.application(*ALL, name="Other")
    theirs = await what_it_has(service, other)
    operators = (await service.start(user_id="grace"))["session_id"]
    nobodys = {
        "session_id": "ses_00000000000000000000",
        "credential_id": "cred_00000000000000000000",
        "erasure_id": ERASURE,
        "run_id": "run_00000000000000000000",
        "user_id": "nobody",
    }
    before = await service.signin.sessions()
    looked_at = 0
    for method, path in RIGHTS:
        if "{" not in path and path != "/api/owners":
            continue
        looked_at += 1
        unknown = await ask(acme, method, path, nobodys)
        assert unknown[0] == 404, (method, path, unknown)
        assert await ask(acme, method, path, theirs) == unknown, (method, path)
        if "{session_id}" in path:
            assert await ask(acme, method, path, {**theirs, "session_id": operators}) == unknown, (method, path)
    assert looked_at >= 15
    assert await service.signin.sessions() == before


async def test_lists_show_an_application_its_own_and_the_operator_all(service):
    acme, of_acme = await service.application(*ALL)
    other, of_other = await service.application(*ALL, name="Other")
    await service.start(user_id="ada")
    for client in (of_acme, of_other):
        names = await what_it_has(service, client)
        assert (await client.delete(f"/api/credentials/{names['credential_id']}")).status_code == 200
        await what_it_has(service, client, erased="mallory")
    operator = await service.operator()
    for path, kind in LISTS.items():
        everything = (await operator.get(path)).json()[kind]
        own = {}
        for application, client in ((acme, of_acme), (other, of_other)):
            own[application.id] = (await client.get(path)).json()[kind]
            assert own[application.id], path
            same = (await operator.get(f"{path}?application={application.id}")).json()[kind]
            assert [row.get("id", row.get("session_id")) for row in same] == [
                row.get("id", row.get("session_id")) for row in own[application.id]
            ]
        assert len(everything) == sum(map(len, own.values())) + (path == "/api/auth/sessions"), path
        refused = await of_acme.get(f"{path}?application={other.id}")
        assert error_of(refused) == (404, "application_not_found")
        assert (await of_acme.get(f"{path}?application={acme.id}")).status_code == 200


async def test_anothers_session_is_no_place_to_go_on_from(service):
    _, acme = await service.application(*ALL)
    _, other = await service.application(*ALL, name="Other")
    theirs = (await other.post("/api/auth/session", json=OPERATIONS)).json()["session_id"]
    refused = await acme.get(f"/api/auth/sessions?before={theirs}")
    assert error_of(refused) == error_of(await acme.get("/api/auth/sessions?before=ses_00000000000000000000"))


async def test_the_same_user_of_two_applications_is_two_owners(service):
    clients = [(await service.application(*ALL, name=name))[1] for name in ("Acme", "Other")]
    started = [(await client.post("/api/auth/session", json=OPERATIONS)).json() for client in clients]
    started.append(await service.start())
    assert len({one["session_id"] for one in started}) == 3
    for client, one in zip(clients, started, strict=False):
        again = await client.post("/api/auth/session", json=OPERATIONS)
        assert (again.status_code, again.json()["session_id"]) == (200, one["session_id"])


async def test_idempotency_keys_are_each_applications_own(service):
    clients = [(await service.application(*ALL, name=name))[1] for name in ("Acme", "Other")]
    key = {"Idempotency-Key": "one"}
    started = [(await client.post("/api/auth/session", json=OPERATIONS, headers=key)).json() for client in clients]
    assert started[0]["session_id"] != started[1]["session_id"]


async def test_a_key_that_opens_nothing_any_more_is_refused_at_once(service):
    acme, client = await service.application(*ALL)
    assert (await client.get("/api/auth/sessions")).status_code == 200
    key = (await service.signin.applications.keys(acme.id))[0]
    assert key.last_used_at is not None
    assert (now() - key.last_used_at).total_seconds() < 60
    await service.signin.applications.change(acme.id, {"disabled": True})
    assert error_of(await client.get("/api/auth/sessions")) == (401, "not_signed_in")
    await service.signin.applications.change(acme.id, {"disabled": False})
    assert (await client.get("/api/auth/sessions")).status_code == 200
    await service.signin.applications.revoke(key.id)
    assert error_of(await client.get("/api/auth/sessions")) == (401, "not_signed_in")
    guess = await service.stranger(Authorization=f"Bearer ante_{new_secret().reveal()}")
    assert error_of(await guess.get("/api/auth/sessions")) == (401, "not_signed_in")
    assert error_of(await guess.post("/api/auth/session", json=OPERATIONS)) == (401, "not_signed_in")


async def test_a_key_is_a_programs_and_needs_no_origin_but_a_wrong_one_is_refused(service):
    _, client = await service.application(*ALL)
    assert (await client.post("/api/auth/session", json=OPERATIONS)).status_code == 201
    foreign = await client.post("/api/auth/session", json=OPERATIONS, headers={"Origin": "https://evil.example.test"})
    assert error_of(foreign) == (403, "wrong_origin")


async def test_a_key_opens_nothing_on_the_sign_in_site(service):
    _, client = await service.application(*ALL)
    started = (await client.post("/api/auth/session", json=OPERATIONS)).json()
    person = await service.browser()
    person.headers["Authorization"] = client.headers["Authorization"]
    answer = await person.get(f"/api/auth/session/{started['session_id']}")
    assert error_of(answer) == (401, "not_signed_in")


async def test_the_dashboard_lists_applications_without_what_their_keys_are(service):
    acme, client = await service.application(S.SESSIONS_READ)
    await client.get("/api/auth/sessions")
    listed = (await (await service.operator()).get("/api/applications")).json()["applications"]
    assert [(one["id"], one["name"], one["bind_url"]) for one in listed] == [(acme.id, "Acme", acme.bind_url)]
    assert [(key["name"], key["scopes"], key["revoked_at"]) for key in listed[0]["keys"]] == [
        ("k0", ["sessions:read"], None)
    ]
    assert listed[0]["keys"][0]["last_used_at"] is not None
    secret = client.headers["Authorization"].removeprefix("Bearer ")
    assert secret not in str(listed)


async def test_what_an_application_deletes_stands_in_the_audit_with_its_key(service):
    acme, client = await service.application(*ALL)
    names = await what_it_has(service, client)
    assert (await client.delete(f"/api/credentials/{names['credential_id']}")).status_code == 200
    key = (await service.signin.applications.keys(acme.id))[0]
    lines = (await (await service.operator()).get("/api/audit?limit=500")).json()["lines"]
    deleted = [line for line in lines if line["credential_id"] == names["credential_id"]][-1]
    assert (deleted["action"], deleted["actor"], deleted["api_key"]) == ("credential_deleted", "application", key.id)
    told = await carried_out(service, client, "ada")
    assert (told["application"], told["user_id"]) == (acme.id, None)
    lines = (await (await service.operator()).get("/api/audit?limit=500")).json()["lines"]
    by = {(line["action"], line["actor"], line["api_key"]) for line in lines if line["actor"] != "person"}
    assert by == {(action, "application", key.id) for action in ("credential_deleted", "owner_erased")}


async def carried_out(service, client, user_id):
    """Have everything of a person removed; return the erasure as the application sees it."""
    erasure = (await client.delete(f"/api/owners/{user_id}")).json()
    for machine in await service.signin.machines(ended=0):
        await service.store.machines.apply(
            machine.id, MachineFact.ENDED, incarnation=machine.incarnation, at=now(), exit_code=0
        )
    await service.signin.owners.go_on()
    return (await client.get(f"/api/erasures/{erasure['id']}")).json()


async def test_what_is_open_already_ends_with_the_key(service):
    """A stream, and a request that waits, go on no longer than the key that opened them."""
    for end in ("revoke", "disable"):
        acme, client = await service.application(*ALL, name=f"Acme {end}")
        started = (await client.post("/api/auth/session", json=OPERATIONS)).json()
        base = f"/api/auth/session/{started['session_id']}"
        waiting = spawn("waiting request", client.get(f"{base}?wait=30"))
        async with client.stream("GET", f"{base}/events") as stream:
            lines = stream.aiter_lines()
            while "created" not in await anext(lines):
                pass
            if end == "revoke":
                key = (await service.signin.applications.keys(acme.id))[0]
                await service.signin.applications.revoke(key.id)
            else:
                await service.signin.applications.change(acme.id, {"disabled": True})
            await service.ready(started["session_id"])
            async with asyncio.timeout(10):
                rest = [line async for line in lines]
        assert "event: closing" in rest
        assert not any("machine_ready" in line for line in rest)
        assert error_of(await waiting) == (401, "not_signed_in")


async def test_a_user_that_the_operator_names_alone_is_one_of_the_operators_own(service):
    _, acme = await service.application(*ALL)
    names = await what_it_has(service, acme)
    operator = await service.operator()
    for path, kind in (("/api/auth/sessions", "sessions"), ("/api/credentials", "credentials")):
        assert (await operator.get(f"{path}?user_id=ada")).json()[kind] == []
    own = (await service.start(user_id="ada"))["session_id"]
    (row,) = (await operator.get("/api/auth/sessions?user_id=ada")).json()["sessions"]
    assert (row["session_id"], row["application"]) == (own, "default")
    assert own != names["session_id"]
    assert error_of(await operator.get("/api/audit?application=default")) == (404, "owner_not_found")
